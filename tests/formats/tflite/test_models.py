"""TFLite models: the numbers of LiteRT's interpreter, or a refusal by name."""

import numpy as np
import pytest
from run import run
from tflite_models import (
    Graph,
    arrays,
    asymmetric,
    error,
    float16,
    interpreter,
    model,
    per_channel,
    per_tensor,
    random,
    saved,
    schema,
)

import fusedlstm as fl
from fusedlstm import formats

VARIANTS = {
    "plain": ({}, {}),
    "24 inputs": ({}, {"inputs": 24}),
    "cifg": ({"cifg": True}, {}),
    "peepholes": ({"peephole": True}, {}),
    "peepholes, cifg": ({"peephole": True, "cifg": True}, {}),
    "projection": ({"output": 2}, {}),
    "projection without bias": ({"output": 2, "bias": False}, {}),
    "cell clip": ({"scale": 4}, {"cellClip": 0.3}),
    "cell clip seen by the peephole": ({"scale": 4, "peephole": True}, {"cellClip": 0.3}),
    "projection clip": ({"output": 2}, {"projClip": 0.05, "cellClip": 10.0}),
    "projection clip without projection": ({}, {"projClip": 0.05}),
    "normalised": ({"norm": True}, {"inputs": 24}),
    "normalised, all else": (
        {"norm": True, "cifg": True, "peephole": True, "output": 3},
        {"inputs": 24, "cellClip": 0.4, "projClip": 0.3},
    ),
    "normalised, peepholes": ({"norm": True, "peephole": True}, {"inputs": 24}),
    "relu": ({}, {"fusedActivationFunction": schema.ActivationFunctionType.RELU}),
}


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_unidirectional(name, time_major, tmp_path):
    made, options = VARIANTS[name]
    x = random(2, 6, 3)
    graph = model(arrays(**made), time_major=time_major, **options)
    assert error(graph, x.swapaxes(0, 1).copy() if time_major else x, tmp_path, run) < 1e-6
    assert formats.open(saved(graph, tmp_path)).load(fl.LSTMWeights).batch_first != time_major


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("name", [name for name in VARIANTS if "normalised" not in name and "24" not in name])
def test_bidirectional(name, time_major, merge, tmp_path):
    made, options = VARIANTS[name]
    # Batch first and merged, LiteRT 2.3 writes the second row's h past the end of its tensor: one row then.
    batch = 1 if merge and not time_major else 2
    graph = model(arrays(**made), arrays(**made, seed=1), batch=batch, time_major=time_major, merge=merge, **options)
    x = random(batch, 6, 3)
    assert error(graph, x.swapaxes(0, 1).copy() if time_major else x, tmp_path, run) < 1e-6
    read = formats.open(saved(graph, tmp_path)).load(fl.LSTMWeights)
    assert (read.merge, read.bidirectional) == ("concat" if merge else "none", True)


@pytest.mark.parametrize("seed", range(30))
def test_random_models(seed, tmp_path):
    """Any mixture of the options, in float32."""
    rng = np.random.default_rng(seed)
    both, output, norm = rng.random() < 0.4, rng.random() < 0.4, rng.random() < 0.4
    features, cells = (int(size) for size in rng.integers(2, 9, 2))
    made = {"features": features, "cells": cells, "output": int(rng.integers(1, cells + 1)) if output else None}
    made |= {key: bool(rng.random() < 0.5) for key in ("cifg", "peephole", "bias")}
    norm = norm and not both
    options = {"cellClip": float(rng.uniform(0.1, 1)) if rng.random() < 0.5 else 0.0, "inputs": 24 if norm else 20}
    options |= {"projClip": float(rng.uniform(0.05, 0.5)) if output and rng.random() < 0.5 else 0.0}
    batch, time = (int(size) for size in rng.integers(1, 5, 2))
    backward = arrays(**made, seed=seed + 100) if both else None
    graph = model(
        arrays(**made, norm=norm, seed=seed),
        backward,
        batch=batch,
        time=time,
        time_major=True,
        merge=bool(seed % 2),
        **options,
    )
    assert error(graph, random(time, batch, features, seed=seed), tmp_path, run) < 1e-5


# -- quantised --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("put", [per_channel, asymmetric, float16])
def test_weights_behind_dequantize(put, tmp_path):
    made = arrays(cells=8, peephole=True, output=4)
    assert error(model(made, put=put), random(2, 6, 3), tmp_path, run) < 1e-6


def test_scales_along_the_second_axis(tmp_path):
    """LiteRT's DEQUANTIZE takes an axis as well; these weights are square, so only the numbers tell."""

    def put(graph, array):
        scale = (np.abs(array).max(axis=0) / 127).astype(np.float32)
        return graph.dequantized(np.round(array / scale).astype(np.int8), scale=scale, axis=1)

    assert error(model(arrays(5, 5), put=put), random(2, 6, 5), tmp_path, run) < 1e-6


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("asymmetric_inputs", [True, False])
def test_hybrid(both, asymmetric_inputs, tmp_path):
    """The operator rounds x and h to 8 bits as well; measured: 2e-3."""
    made = {"cells": 8, "cifg": True, "peephole": True, "output": 4}
    backward = arrays(**made, seed=1) if both else None
    graph = model(arrays(**made), backward, put=per_tensor, time_major=True, asymmetricQuantizeInputs=asymmetric_inputs)
    assert error(graph, random(6, 2, 3), tmp_path, run) < 1e-2


@pytest.mark.parametrize("norm", [True, False])
def test_hybrid_on_an_input_that_8_bits_hold(norm, tmp_path):
    """One step, no h yet: the rounding of x is exact, and nothing is left to differ."""
    x = np.random.default_rng(0).integers(-127, 128, (3, 1, 16)).astype(np.float32) / 64
    x[:, 0, 0] = 127 / 64
    made = arrays(16, 8, norm=norm)
    assert error(model(made, put=per_tensor, batch=3, time=1, inputs=24), x, tmp_path, run) < 1e-6


def test_dequantized_weights(tmp_path):
    one = arrays(cells=8)
    (weights,) = formats.open(saved(model(one, put=per_tensor), tmp_path)).load(fl.LSTMWeights).layers[0]
    for gate, array in enumerate(one.w):
        scale = np.float32(np.abs(array).max() / 127)
        expected = np.round(array / scale).astype(np.int8).astype(np.float64) * scale
        np.testing.assert_allclose(weights.weight_ih[gate * 8 : gate * 8 + 8], expected, rtol=1e-6)


def test_what_the_operator_does_not_honour(tmp_path):
    """LiteRT ignores a second scale, a zero point and the sign of the type: no meaning is the file's own."""
    by_channel = model(arrays(cells=8), put=lambda graph, array: per_channel(graph, array, Graph.stored))
    refused(by_channel, tmp_path, r"weights of the input gate \(input 1\): .*one scale.*found int8, 8 scale")
    shifted = model(arrays(), put=lambda graph, array: graph.stored((array * 99).astype(np.int8), scale=0.01, zero=3))
    refused(shifted, tmp_path, r"zero point of 0.*found int8, 1 scale\(s\), zero points \[3\]")
    unsigned = model(arrays(), put=lambda graph, array: graph.stored((array * 99).astype(np.uint8), scale=0.01))
    refused(unsigned, tmp_path, r"expected int8 with one scale .* found uint8")


# -- several operators ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("turned_back", [True, False])
def test_behind_a_reversal(axis, turned_back, tmp_path):
    """What tf_keras's Bidirectional and go_backwards become: the reader takes the reversals into the LSTM."""
    graph = model(arrays(), time_major=axis == 0)
    (x,), (y,) = graph.ends
    shape = graph.graph.tensors[x].shape
    index = graph.constant(np.array([axis if turned_back else axis - 3], np.int32))
    before = graph.op("REVERSE_V2", [x, index], shape, ["turned"])[0]
    graph.graph.operators.insert(0, graph.graph.operators.pop())
    graph.graph.operators[1].inputs[0] = before
    if turned_back:
        graph.outputs(graph.op("REVERSE_V2", [y, index], graph.graph.tensors[y].shape, ["z"]))
    data = random(*shape)
    read = formats.open(saved(graph, tmp_path)).load(fl.LSTMWeights)
    assert (read.reverse, read.flip_output) == (True, not turned_back)
    assert error(graph, data, tmp_path, run) < 1e-6


def test_a_reversal_of_another_axis_is_no_business_of_the_lstm(tmp_path):
    graph = model(arrays())
    (x,), _ = graph.ends
    before = graph.op("REVERSE_V2", [x, graph.constant(np.array([2], np.int32))], (2, 6, 3), ["turned"])[0]
    graph.graph.operators.insert(0, graph.graph.operators.pop())
    graph.graph.operators[1].inputs[0] = before
    read, data = formats.open(saved(graph, tmp_path)).load(fl.LSTMWeights), random(2, 6, 3)
    assert not read.reverse
    np.testing.assert_allclose(run(read, data[:, :, ::-1])[0], interpreter(graph, data)[0][0], rtol=0, atol=1e-6)


def test_names(tmp_path):
    graph = model(arrays())
    (_,), (y,) = graph.ends
    second = model(arrays(5, 4))
    states = [graph.tensor((2, 4), variable=True) for _ in range(2)]
    wired = [y] + [graph.constant(a) for a in (*second.arrays.w, *second.arrays.r)] + [-1] * 3
    wired += [graph.constant(a) for a in second.arrays.b] + [-1, -1, *states]
    tanh = schema.ActivationFunctionType.TANH
    graph.outputs(graph.op("UNIDIRECTIONAL_SEQUENCE_LSTM", wired, (2, 6, 4), ["z"], fusedActivationFunction=tanh))
    path = saved(graph, tmp_path)
    assert list(formats.open(path).expect(fl.LSTMWeights)) == ["y", "z"]
    assert (
        formats.open(path).load(fl.LSTMWeights, "y").input_size,
        formats.open(path).load(fl.LSTMWeights, "z").input_size,
    ) == (3, 5)
    with pytest.raises(fl.FormatError, match=r"model.tflite: expected one LSTM, found 2.*'y', 'z'"):
        formats.open(path).load(fl.LSTMWeights)
    graph.graph.tensors[graph.ends[1][0]].name = "y"
    assert list(formats.open(saved(graph, tmp_path)).expect(fl.LSTMWeights)) == ["LSTM 0", "LSTM 1"]


# -- refused ----------------------------------------------------------------------------------------------------------


def refused(graph, tmp_path, match):
    with pytest.raises(fl.FormatError, match=match) as caught:
        formats.open(saved(graph, tmp_path)).load(fl.LSTMWeights)
    assert "model.tflite: " in str(caught.value)


def _changed(inputs=None, tensor=None, options=None, **kwargs):
    """A model with some inputs replaced, fields of an input's tensor set, or options set."""
    graph = model(arrays(peephole=True, output=2, norm=True), inputs=24, **kwargs)
    operator = graph.graph.operators[-1]
    for number, index in (inputs or {}).items():
        operator.inputs[number] = index
    for (number, name), value in (tensor or {}).items():
        setattr(graph.graph.tensors[operator.inputs[number]], name, value)
    for name, value in (options or {}).items():
        setattr(operator.builtinOptions, name, value)
    return graph


TYPE = schema.TensorType
ACTIVATION = schema.ActivationFunctionType


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"inputs": {2: -1}}, r"weights of the forget gate \(input 2\): expected a tensor, found none"),
        ({"inputs": {1: -1}}, r"expected inputs 1, 5, 12 or none of them, found \[5, 12\]"),
        ({"inputs": {1: -1, 5: -1, 12: -1}}, "expected no peephole of an input gate that is not there"),
        ({"inputs": {1: -1, 5: -1, 12: -1, 9: -1}}, "expected no normalisation of an input gate that is not there"),
        ({"inputs": {10: -1}}, r"expected inputs 9, 10, 11 or none of them"),
        ({"inputs": {14: -1}}, r"bias of the cell gate \(input 14\): expected a tensor, found none"),
        ({"inputs": {16: -1}}, "expected a projection beside its bias, found none"),
        ({"inputs": {21: -1}}, r"expected inputs 18, 19, 20, 21 or none of them"),
        (
            {"inputs": {2: 0}},
            r"weights of the forget gate \(input 2\): tensor 'x': expected a constant, found an input",
        ),
        ({"inputs": {18: -1}}, "expected variable tensors without data as states, found none"),
        ({"inputs": {18: 3}}, "expected variable tensors without data as states, found tensor 't3'"),
        ({"tensor": {(0, "type"): TYPE.INT8}}, "input x: expected FLOAT32, found INT8; LSTMs that compute in integers"),
        ({"tensor": {(0, "type"): TYPE.INT16}}, "input x: expected FLOAT32, found INT16"),
        ({"tensor": {(2, "type"): TYPE.INT4}}, "tensor 't2': expected floats or 8-bit integers, found INT4"),
        ({"tensor": {(2, "type"): TYPE.INT32}}, "tensor 't2': expected floats or 8-bit integers, found INT32"),
        ({"tensor": {(2, "type"): 99}}, "tensor 't2': expected floats or 8-bit integers, found number 99"),
        ({"tensor": {(2, "type"): TYPE.INT8}}, r"expected 15 bytes for INT8 \(5, 3\), found 60"),
        ({"tensor": {(2, "type"): TYPE.INT8, (2, "shape"): [20, 3]}}, "expected floats or 8-bit integers, found INT8"),
        ({"tensor": {(2, "shape"): [5, 4]}}, r"expected 80 bytes for FLOAT32 \(5, 4\), found 60"),
        ({"tensor": {(2, "shape"): [3, 5]}}, r"weights: expected one shape, found \(5, 3\), \(3, 5\)"),
        ({"tensor": {(2, "shape"): [-5, -3]}}, r"expected a shape, found \(-5, -3\)"),
        ({"tensor": {(2, "shape"): [15]}}, r"expected 2 dimension\(s\), found shape \(15,\)"),
        ({"tensor": {(2, "shape"): [2**31 - 1] * 8}}, "expected .* bytes for FLOAT32"),
        ({"tensor": {(2, "shape"): [1] * 9}}, "expected a shape"),
        ({"tensor": {(2, "buffer"): 0}}, "tensor 't2': expected a constant, found no data"),
        ({"tensor": {(2, "isVariable"): True}}, "tensor 't2': expected a constant, found no data or a variable"),
        ({"tensor": {(2, "sparsity"): schema.SparsityParametersT()}}, "expected a dense tensor"),
        ({"tensor": {(9, "shape"): [1, 5]}}, r"peephole i \(input 9\): expected 1 dimension\(s\)"),
        ({"options": {"fusedActivationFunction": ACTIVATION.NONE}}, "expected TANH or RELU, found NONE"),
        ({"options": {"fusedActivationFunction": ACTIVATION.RELU6}}, "expected TANH or RELU, found RELU6"),
        (
            {"options": {"fusedActivationFunction": ACTIVATION.RELU_N1_TO_1}},
            "expected TANH or RELU, found RELU_N1_TO_1",
        ),
        ({"options": {"fusedActivationFunction": ACTIVATION.SIGN_BIT}}, "expected TANH or RELU, found SIGN_BIT"),
        ({"options": {"fusedActivationFunction": 77}}, "expected TANH or RELU, found 77"),
        ({"options": {"cellClip": -1.0}}, "clip: expected a number from 0, found -1.0"),
        ({"options": {"cellClip": float("nan")}}, "clip: expected a number from 0, found nan"),
        ({"options": {"projClip": float("inf")}}, "clip: expected a number from 0, found inf"),
        ({"options": {"diagonalRecurrentTensors": True}}, "found diagonal ones, which are not supported"),
    ],
)
def test_refused(change, match, tmp_path):
    refused(_changed(**change), tmp_path, rf"UNIDIRECTIONAL_SEQUENCE_LSTM operator 'y': .*{match}")


def test_other_operators(tmp_path):
    graph = model(arrays())
    graph.model.operatorCodes[0].builtinCode = graph.model.operatorCodes[0].deprecatedBuiltinCode = 16
    refused(graph, tmp_path, "LSTM operator 'y': expected an operator on sequences, found one on single steps")
    graph.model.operatorCodes[0].builtinCode = graph.model.operatorCodes[0].deprecatedBuiltinCode = 119
    refused(graph, tmp_path, "expected an LSTM, found none .*loops .WHILE.*Model.load.*load the .keras file")
    graph.model.operatorCodes[0].builtinCode = graph.model.operatorCodes[0].deprecatedBuiltinCode = 9
    refused(graph, tmp_path, "expected an LSTM, found none in this TensorFlow Lite")


def test_other_inputs(tmp_path):
    graph = model(arrays())
    graph.graph.operators[-1].inputs.append(0)
    refused(graph, tmp_path, "expected 20 or 24 inputs, found 21")
    graph = model(arrays(), arrays(seed=1))
    graph.graph.operators[-1].inputs[39] = 0
    refused(graph, tmp_path, "expected one input for both directions, found an auxiliary one")
    graph.graph.operators[-1].inputs.pop()
    refused(graph, tmp_path, "expected 48 inputs, found 47")
    refused(model(arrays(), arrays(cells=4)), tmp_path, r"layers\[0\]\[1\]: expected hidden size 5")


def test_options_of_another_operator(tmp_path):
    graph = model(arrays())
    graph.graph.operators[-1].builtinOptionsType = schema.BuiltinOptions.LSTMOptions
    refused(graph, tmp_path, r"expected its options \(type 71\), found type 14")
    graph.graph.operators[-1].builtinOptions = None
    refused(graph, tmp_path, r"expected its options \(type 71\)")


def test_weights_made_by_an_operator(tmp_path):
    graph = model(arrays(), put=lambda graph, array: graph.op("TANH", [graph.constant(array)], array.shape, ["t"])[0])
    refused(graph, tmp_path, "tensor 't': expected a constant, found the output of operator 28")
