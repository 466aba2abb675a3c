"""DynamicQuantizeLSTM: the arithmetic of ONNX Runtime's own weights, and its output within the rounding of x and h."""

import numpy as np
import pytest
from onnx_models import (
    TensorProto,
    close,
    helper,
    model,
    onnx,
    peepholes,
    quantized,
    random,
    refused,
    runtime,
    saved,
    weights,
)
from run import run

import fusedlstm as fl
from fusedlstm import formats
from fusedlstm.weights import reorder_gates

FEATURES, HIDDEN = 16, 5
CASES = [(np.int8, False, 0), (np.uint8, False, 128), (np.uint8, False, 93), (np.int8, True, 0), (np.uint8, True, 128)]


@pytest.mark.parametrize(("dtype", "per_channel", "zero"), CASES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_weights(dtype, per_channel, zero, direction, tmp_path):
    directions = 2 if direction == "bidirectional" else 1
    proto, meant = quantized(dtype, per_channel, directions, zero=zero, direction=direction)
    read = formats.open(saved(proto, tmp_path)).load(fl.LSTMWeights)
    for d, one in enumerate(read.layers[0]):
        np.testing.assert_allclose(one.weight_ih, reorder_gates(meant["W"][d], "iofg"), rtol=1e-6)
        np.testing.assert_allclose(one.weight_hh, reorder_gates(meant["R"][d], "iofg"), rtol=1e-6)


@pytest.mark.parametrize(("dtype", "per_channel", "zero"), CASES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_one_step_of_an_input_that_8_bits_hold(dtype, per_channel, zero, direction, tmp_path):
    """Its rounding is exact then, and there is no h to round yet: nothing is left to differ."""
    directions = 2 if direction == "bidirectional" else 1
    proto, _ = quantized(dtype, per_channel, directions, zero=zero, direction=direction)
    x = np.random.default_rng(3).integers(-128, 128, (1, 3, FEATURES)).astype(np.float32) / 64
    x[0, 0, :2] = -2, 127 / 64
    close(run(formats.open(saved(proto, tmp_path)).load(fl.LSTMWeights), x), runtime(proto, x=x), atol=1e-6)


@pytest.mark.parametrize(("dtype", "per_channel", "zero"), CASES)
def test_sequences(dtype, per_channel, zero, tmp_path):
    """Each of x and h is rounded to 255 steps of its range, so pre-activations differ by at most half a step times the
    sum of the weights; measured: 8e-3.
    """
    proto, meant = quantized(dtype, per_channel, 2, zero=zero, direction="bidirectional")
    x = random(6, 3, FEATURES)
    found, expected = run(formats.open(saved(proto, tmp_path)).load(fl.LSTMWeights), x), runtime(proto, x=x)
    close(found, expected, atol=1e-2)
    plain = model(meant["W"], meant["R"], *weights(FEATURES, HIDDEN, 2)[2:], direction="bidirectional")
    close(found, runtime(plain, x=x), atol=1e-6)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
def test_what_the_quantiser_writes(per_channel, kind, tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")
    plain = model(*weights(FEATURES, 12, 2), direction="bidirectional", hidden_size=12)
    how = {"per_channel": per_channel, "weight_type": getattr(quantization.QuantType, kind)}
    quantization.quantize_dynamic(saved(plain, tmp_path, "plain.onnx"), tmp_path / "model.onnx", **how)
    proto = onnx.load(tmp_path / "model.onnx")
    assert [one.op_type for one in proto.graph.node] == ["DynamicQuantizeLSTM"]
    read, x = formats.open(tmp_path / "model.onnx").load(fl.LSTMWeights), random(6, 2, FEATURES)
    close(run(read, x), runtime(proto, x=x), atol=1e-2)
    original = formats.open(tmp_path / "plain.onnx").load(fl.LSTMWeights)
    for one, other in zip(read.layers[0], original.layers[0], strict=True):
        step = 2 * np.abs(other.weight_ih).max() / 255
        assert np.abs(one.weight_ih - other.weight_ih).max() <= step * 0.51


def test_variants(tmp_path):
    """Peepholes, clip, input_forget and activations are as in LSTM."""
    wired = {"inputs": {"P": "p"}, "clip": 0.9, "input_forget": 1}
    acts = {"activations": ["HardSigmoid", "Tanh", "Elu"], "activation_alpha": [0.3, 0.4], "activation_beta": [0.4]}
    proto, meant = quantized(np.int8, True, **wired, **acts)
    p = peepholes(HIDDEN)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(p, "p"))
    kept = [one for one in proto.graph.input if one.name == "x"]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    read, x = formats.open(saved(proto, tmp_path)).load(fl.LSTMWeights), random(6, 3, FEATURES)
    close(run(read, x), runtime(proto, x=x), atol=1e-2)
    plain = model(
        meant["W"], meant["R"], weights(FEATURES, HIDDEN)[2], tensors={"p": p}, hidden_size=HIDDEN, **wired, **acts
    )
    close(run(read, x), runtime(plain, x=x), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "array", "match"),
    [
        ("W", np.zeros((1, 16, 20), np.int32), r"input W: expected 8-bit integers of rank 3, found int32"),
        ("W", np.zeros((16, 20), np.int8), r"input W: expected 8-bit integers of rank 3, found int8 \(16, 20\)"),
        ("W", np.zeros((1, 16, 16), np.int8), r"input W: expected floats of shape \(1, 20, 16\)"),
        ("R", np.zeros((1, 20, 5), np.int8), r"input R: expected floats of shape \(1, 80, 20\)"),
        ("W_scale", np.ones((1, 19), np.float32), r"input W_scale: expected float32 \(1,\) or \(1, 20\), found"),
        ("W_scale", np.ones((2,), np.float32), "input W_scale: expected float32"),
        ("R_scale", np.ones((1,), np.float64), "input R_scale: expected float32"),
        ("R_zero_point", np.zeros((1,), np.uint8), r"input R_zero_point: expected int8 \(1,\), found uint8 \(1,\)"),
        ("R_zero_point", np.zeros((2,), np.int8), r"input R_zero_point: expected int8 \(1,\), found int8 \(2,\)"),
    ],
)
def test_refused(name, array, match, tmp_path):
    proto, _ = quantized(np.int8, False)
    for index, one in enumerate(proto.graph.initializer):
        if one.name == name:
            proto.graph.initializer[index].CopyFrom(onnx.numpy_helper.from_array(array, name))
    refused(proto, tmp_path, f"DynamicQuantizeLSTM node 'rnn': {match}")


def test_a_scale_that_is_missing_or_not_constant(tmp_path):
    proto, _ = quantized(np.int8, False)
    proto.graph.node[-1].input[8] = ""
    refused(proto, tmp_path, "input W_scale: expected float32 .* found none")
    proto.graph.node[-1].input[8] = "free"
    proto.graph.input.append(helper.make_tensor_value_info("free", TensorProto.FLOAT, [1]))
    refused(proto, tmp_path, "input W_scale: expected a constant, found the graph's input 'free'")
