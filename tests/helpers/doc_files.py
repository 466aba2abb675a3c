"""What the code blocks of README and of the site find: files by the names that they have there, small, and values."""

import json

import numpy as np
import onnx_models
import tflite_models
from conftest import random_weights

import fusedlstm as fl


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32) * 0.3


def silero(path):
    """Inputs, outputs and states as Silero's file has them; the layers are fewer."""
    node, tensor, helper = onnx_models.node, onnx_models.tensor, onnx_models.helper
    nodes = [
        node("Unsqueeze", ["input", "one"], "wave"),
        node("Conv", ["wave", "kernel"], "frames", strides=[32]),
        node("ReduceMax", ["frames", "two"], "most"),
        node("Transpose", ["most"], "x", perm=[2, 0, 1]),
        helper.make_node("Split", ["state"], ["h", "c"], axis=0, num_outputs=2),
        helper.make_node("LSTM", ["x", "W", "R", "", "", "h", "c"], ["y", "yh", "yc"], "lstm", hidden_size=128),
        node("Concat", ["yh", "yc"], "stateN", axis=0),
        node("Squeeze", ["yh", "zero"], "row"),
        node("Gemm", ["row", "head"], "score"),
        node("Cast", ["sr"], "rate", to=1),
        node("Div", ["rate", "usual"], "share"),
        node("Mul", ["score", "share"], "scaled"),
        node("Sigmoid", ["scaled"], "output"),
    ]
    constants = {"one": [1], "two": [2], "zero": [0], "usual": np.float32(16000), "kernel": random(4, 1, 64)}
    constants |= {"W": random(1, 512, 4), "R": random(1, 512, 128), "head": random(128, 1)}
    inputs = {"input": (1, ["n", "samples"]), "state": (1, [2, "n", 128]), "sr": (7, [])}
    outputs = {"output": (1, ["n", 1]), "stateN": (1, [2, "n", 128])}
    told = [[helper.make_tensor_value_info(name, *kind) for name, kind in one.items()] for one in (inputs, outputs)]
    stored = [tensor(name, value) for name, value in constants.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "g", *told, stored), opset_imports=[helper.make_opsetid("", 20)], ir_version=9
    )
    path.write_bytes(made.SerializeToString())


def onnx(path):
    """x and an initial h, y and the last one."""
    helper = onnx_models.helper
    w, r, b = onnx_models.weights(8, 16)
    op = helper.make_node("LSTM", ["x", "W", "R", "B", "", "h", "c0"], ["Y", "h_out"], "lstm", hidden_size=16)
    flat = helper.make_node("Squeeze", ["Y", "axes"], ["y"])
    turned = helper.make_node("Transpose", ["x_in"], ["x"], perm=[1, 0, 2])
    stored = {"W": w, "R": r, "B": b, "c0": np.zeros((1, 1, 16), np.float32), "axes": np.array([1])}
    values = {"x_in": [1, "time", 8], "h": [1, 1, 16], "y": ["time", 1, 16], "h_out": [1, 1, 16]}
    told = [helper.make_tensor_value_info(name, 1, shape) for name, shape in values.items()]
    graph = helper.make_graph(
        [turned, op, flat], "g", told[:2], told[2:], [onnx_models.tensor(*one) for one in stored.items()]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path.write_bytes(made.SerializeToString())


def keras_model():
    from keras import Input, Sequential, layers

    lstm = layers.LSTM(8, return_sequences=True, name="lstm")
    return Sequential([Input((None, 3), name="x"), lstm, layers.Dense(2, name="head")])


def radar(path):
    import keras

    layers = [keras.Input((None, 8, 8, 3)), keras.layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True)]
    keras.Sequential(layers).save(path)


def tflite(path):
    graph = tflite_models.model(tflite_models.arrays(features=3, cells=5), batch=1)
    graph.graph.tensors[graph.graph.outputs[0]].name = "hidden"
    path.write_bytes(graph.serialised())


def tagger():
    import torch

    parts = {"emb": torch.nn.Embedding(100, 16), "rnn": torch.nn.LSTM(16, 32), "head": torch.nn.Linear(32, 5)}
    return torch.nn.ModuleDict(parts)


def torch_module():
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = torch.nn.LSTM(3, 8, batch_first=True), torch.nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    return Net().eval()


def state_dict(path):
    import torch

    torch.save(tagger().state_dict(), path)


def checkpoint(path):
    import torch

    torch.save({"model": {"encoder.rnn." + name: w for name, w in torch.nn.LSTM(3, 4).state_dict().items()}}, path)


def program(path):
    import torch

    torch.export.save(torch.export.export(torch_module(), (torch.zeros(1, 6, 3),)), path)


def amplifier(path):
    arrays = random(1, 32), random(8, 32), random(32)
    layer = {
        "type": "lstm",
        "activation": "tanh",
        "shape": [None, None, 8],
        "weights": [one.tolist() for one in arrays],
    }
    path.write_text(json.dumps({"in_shape": [None, None, 1], "layers": [layer]}))


def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), 3, 4))


FILES = {
    "silero_vad.onnx": silero, "model.onnx": onnx, "model.keras": lambda path: keras_model().save(path),
    "amp.keras": lambda path: keras_model().save(path),
    "radar.keras": radar, "model.tflite": tflite, "tagger.pt": state_dict, "checkpoint.pt": checkpoint,
    "model.pt2": program, "amp.json": amplifier, "lstm.safetensors": lambda path: lstm().save(path),
    "x.npy": lambda path: np.save(path, random(1, 10, 3)), "frame.npy": lambda path: np.save(path, random(1, 576)),
    "state.npy": lambda path: np.save(path, np.zeros((2, 1, 128), np.float32)),
}  # fmt: skip


BEFORE = {
    "README.md": {
        "import numpy": "x, words, x_t, block = random(1, 6, 3), np.zeros((1, 7), int), random(3), random(5, 3)",
    },
    "docs/formats.md": {"config =": "import flax_trees; params = flax_trees.cell()"},
    "docs/integrations.md": {
        "import fusedlstm.torch": "import torch; model, x = torch_module(), torch.zeros(1, 6, 3)",
        "import fusedlstm.keras": "model, x = keras_model(), random(2, 6, 3)",
    },
    "docs/models.md": {
        'model = fl.Model.load("silero': "frame, state = random(1, 576), np.zeros((2, 1, 128), np.float32)",
        "stream = model": "frame = frame[:, 64:]; frames = [frame] * 3",
        'model = fl.Model.load("model.keras")': "x, keras_model = random(1, 10, 3), keras_model()",
        'model = fl.Model.load("model.tflite")': "x = random(1, 6, 3)",
        "torch.export.save": "import torch; module, x = torch_module(), torch.zeros(2, 6, 3)",
    },
    "docs/streams.md": {
        "stream = lstm": "lstm, x_t, y_t = lstm(), random(3), np.empty(4, np.float32); chunk, mask = random(5, 3), [True]",
        "pool = fl.StreamPool(lstm": "x, other = random(2, 3), random(2, 3)",
        "stream = model": "model = fl.Model.load('amp.keras')",
        "pool = fl.StreamPool(model": """\
            model = fl.Model.load("silero_vad.onnx")
            frames, chunk, other, frame = random(2, 512), random(3, 512), random(1, 512), random(512)
            stream = model.stream(fixed={"sr": 16000}, context={"input": 64})
            state = (stream.step(frames[:1]), stream.state)[1]
        """,
    },
}
"""Of pages, what is run before the block that begins so: the values that the block is about."""
