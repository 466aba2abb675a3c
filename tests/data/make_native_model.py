"""native_model_1.safetensors, the native form of a model as version 1 writes it, and PyTorch's outputs for it.

The stored file is what older versions have left with people: it is not to be written again. A new version adds a file.
"""

from pathlib import Path

import numpy as np
import torch

import fusedlstm as fl
from fusedlstm.graph import Graph, Value, node

HERE = Path(__file__).parent

torch.manual_seed(0)
embedding, first, second = torch.nn.Embedding(7, 4), torch.nn.LSTM(4, 3), torch.nn.LSTM(3, 3, bidirectional=True)
linear = torch.nn.Linear(6, 2)


def forward(tokens, loud):
    y = second(first(embedding(tokens).transpose(0, 1))[0])[0].transpose(0, 1)
    y = torch.nn.functional.hardsigmoid(linear(y))
    return torch.softmax(y * 2.5, -1) if loud else -y


def onnx_order(array):
    """Gates i, f, g, o as i, o, f, g, with an axis for directions."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, o, f, g])[None]


def numbers(tensor):
    return tensor.detach().numpy()


def lstm_node():
    """The first as ONNX has it, the second as ours."""
    w, r, b_w, b_r = (onnx_order(numbers(one)) for one in first.parameters())
    return {"w": w, "r": r, "b": np.concatenate([b_w, b_r], 1)}, fl.LSTM.from_torch(second).weights


def graph():
    inner = Graph((), (), ())
    louder = inner.replace(
        nodes=(node("Mul", ["scores", "factor"], "times"), node("Softmax", ["times"], "shares")),
        outputs=(Value("shares"),),
    )
    softer = inner.replace(nodes=(node("Neg", ["scores"], "negative"),), outputs=(Value("negative"),))
    constants, weights = lstm_node()
    nodes = [
        node("Gather", ["words", "tokens"], "embedded", "embedding"),
        node("Transpose", ["embedded"], "steps", perm=(1, 0, 2)),
        node("LSTM", ["steps", "w", "r", "b"], "onnx", "first", hidden_size=3),
        node("Squeeze", ["onnx", "axis"], "squeezed"),
        node("fusedlstm.LSTM", ["squeezed"], "y", "second", weights=weights, y_batch_first=1),
        node("MatMul", ["y", "kernel"], "product", "linear"),
        node("Cast", ["bias64"], "bias", to=np.dtype(np.float32)),
        node("Add", ["product", "bias"], "sum"),
        node("HardSigmoid", ["sum"], "scores", alpha=1 / 6, beta=0.5),
        node("If", ["loud"], "out", then_branch=louder, else_branch=softer),
    ]
    constants |= {
        "words": numbers(embedding.weight),
        "axis": np.array([1]),
        "kernel": numbers(linear.weight).T,
        "bias64": numbers(linear.bias).astype(np.float64),
        "factor": np.array(2.5, np.float32),
    }
    inputs = [Value("tokens", np.dtype(np.int64), ("batch", "time")), Value("loud", np.dtype(np.bool_), ())]
    outputs = [Value("out", np.dtype(np.float32), ("batch", "time", 2))]
    return Graph(inputs, outputs, nodes, constants, "stored")


if __name__ == "__main__":
    fl.Model(graph()).save(HERE / "native_model_1.safetensors")
    tokens = np.random.default_rng(0).integers(0, 7, (2, 6))
    with torch.no_grad():
        expected = {f"loud_{loud}": forward(torch.from_numpy(tokens), loud).numpy() for loud in (True, False)}
    np.savez(HERE / "native_model_outputs.npz", tokens=tokens, **expected)
