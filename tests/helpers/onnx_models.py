"""ONNX models with one LSTM for the tests, and what ONNX Runtime makes of them."""

import numpy as np
import pytest
from run import run

import fusedlstm as fl
from fusedlstm import formats

onnx = pytest.importorskip("onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

OPSET = 20


def weights(features=3, hidden=5, directions=1, seed=0):
    """W, R, B as ONNX has them, uniform as PyTorch initialises."""
    rng = np.random.default_rng(seed)
    bound = 1 / np.sqrt(hidden)
    shapes = (4 * hidden, features), (4 * hidden, hidden), (8 * hidden,)
    return [rng.uniform(-bound, bound, (directions, *shape)).astype(np.float32) for shape in shapes]


def tensor(name, array):
    return array if isinstance(array, TensorProto) else numpy_helper.from_array(np.asarray(array), name)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=attributes.pop("name", f"make_{output}"), **attributes)


def peepholes(hidden=5, directions=1, seed=7):
    """P, gates i, o, f."""
    return np.random.default_rng(seed).uniform(-1, 1, (directions, 3 * hidden)).astype(np.float32)


def model(
    w=None, r=None, b=None, *, tensors=None, nodes=(), inputs=None, lstm=None, name="rnn", opset=OPSET, **attributes
):
    """A model whose only LSTM takes W, R, B and, by name, whatever `inputs` adds (``{"initial_h": "h0"}``).

    `tensors` are further initializers, `nodes` run before the LSTM, `lstm` replaces parts of it.
    """
    default = weights()
    w, r = default[0] if w is None else w, default[1] if r is None else r
    tensors = {"W": w, "R": r} | ({} if b is None else {"B": b}) | (tensors or {})
    wired = {"X": "x", "W": "W", "R": "R", "B": "" if b is None else "B"} | (inputs or {})
    order = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
    attributes.setdefault("hidden_size", 5)
    op = helper.make_node("LSTM", [wired.get(one, "") for one in order], ["Y", "Y_h", "Y_c"], name=name, **attributes)
    for key, value in (lstm or {}).items():
        setattr(op, key, value)
    made = {one for n in nodes for one in n.output} | {key for key, value in tensors.items() if value is not None}
    free = [
        one for one in dict.fromkeys([*wired.values(), *(i for n in nodes for i in n.input)]) if one and one not in made
    ]
    graph = helper.make_graph(
        [*nodes, op],
        "g",
        [
            helper.make_tensor_value_info(one, TensorProto.INT32 if one == "lengths" else TensorProto.FLOAT, None)
            for one in free
        ],
        [helper.make_tensor_value_info(one, TensorProto.FLOAT, None) for one in ("Y", "Y_h", "Y_c")],
        [tensor(key, value) for key, value in tensors.items() if value is not None],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def quantized(dtype, per_channel, directions=1, *, zero=0, seed=0, features=16, hidden=5, **attributes):
    """A DynamicQuantizeLSTM of random integers, and the W, R of the LSTM that they stand for."""
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    _, _, b = weights(features, hidden, directions)
    tensors, meant = {"B": b}, {}
    for which, columns in (("W", features), ("R", hidden)):
        shape = (directions, 4 * hidden) if per_channel else (directions,)
        stored = rng.integers(limits.min, limits.max + 1, (directions, columns, 4 * hidden)).astype(dtype)
        scale, zeros = rng.uniform(0.001, 0.004, shape).astype(np.float32), np.full(shape, zero, dtype)
        tensors |= {which: stored, f"{which}_scale": scale, f"{which}_zero_point": zeros}
        wide = scale if per_channel else scale[:, None]
        meant[which] = ((stored.astype(np.float64) - zero) * wide[:, None]).swapaxes(1, 2).astype(np.float32)
    proto = model(tensors=tensors, hidden_size=hidden, **attributes)
    op = proto.graph.node[-1]
    op.op_type, op.domain = "DynamicQuantizeLSTM", "com.microsoft"
    names = ["x", "W", "R", "B", *[""] * 4, "W_scale", "W_zero_point", "R_scale", "R_zero_point"]
    names[4:8] = list(op.input)[4:8] + [""] * (4 - len(op.input[4:8]))
    del op.input[:]
    op.input.extend(names)
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto, meant


def saved(proto, tmp_path, name="model.onnx"):
    path = tmp_path / name
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    return path


def runtime(proto, **feeds):
    """y, (h, c) of the LSTM in ONNX Runtime, in our layout: (time, batch, directions * hidden)."""
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    y, h, c = ort.InferenceSession(proto.SerializeToString(), options).run(["Y", "Y_h", "Y_c"], feeds)
    time, directions, batch, hidden = y.shape
    return y.transpose(0, 2, 1, 3).reshape(time, batch, directions * hidden), (h, c)


def close(found, expected, atol=1e-5):
    (y, (h, c)), (y_ref, (h_ref, c_ref)) = found, expected
    for a, b in ((y, y_ref), (h, h_ref), (c, c_ref)):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check(proto, tmp_path, **feeds):
    """Our numbers against ONNX Runtime's for a model that takes only x."""
    feeds = feeds or {"x": random(6, 2, 3)}
    read = formats.open(saved(proto, tmp_path)).load(fl.LSTMWeights)
    close(run(read, feeds["x"]), runtime(proto, **feeds))
    return read


def refused(proto, tmp_path, match, prefix=None):
    with pytest.raises(fl.FormatError, match=match) as caught:
        fl.LSTM.load(saved(proto, tmp_path), prefix)
    assert "model.onnx: " in str(caught.value)
