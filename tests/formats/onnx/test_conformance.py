"""ONNX's own tests of the operator, and random nodes against ONNX Runtime."""

import warnings

import numpy as np
import pytest
from onnx_models import model as make
from onnx_models import numpy_helper, onnx, peepholes, runtime, saved, weights
from run import run

import fusedlstm as fl
from fusedlstm import formats

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.loader import load_model_tests

    # All of them: what is collected first, and for which operator, is what everybody gets afterwards.
    OFFICIAL = {
        case.name: case
        for case in load_model_tests(kind="node")
        if case.model is not None and any(one.op_type == "LSTM" for one in case.model.graph.node)
    }


def test_there_are_official_cases():
    assert len(OFFICIAL) >= 6


@pytest.mark.parametrize("name", OFFICIAL)
def test_official(name, tmp_path):
    """Their weights are inputs; they become initializers here, as in a trained model."""
    case = OFFICIAL[name]
    model, (inputs, expected) = onnx.ModelProto(), case.data_sets[0]
    model.CopyFrom(case.model)
    fed = dict(zip([one.name for one in model.graph.input], inputs, strict=True))
    for which in "WRBP":
        if which in fed:
            model.graph.initializer.append(numpy_helper.from_array(fed[which], which))
    read = formats.open(saved(model, tmp_path)).load(fl.LSTMWeights)
    state = (fed["initial_h"], fed["initial_c"]) if "initial_h" in fed else None
    y, (h, c) = run(read, fed["X"], state, fed.get("sequence_lens"))
    directions = 2 if read.bidirectional else 1
    y = y.reshape(*y.shape[:2], directions, -1)  # (time, batch, directions, hidden), or (batch, time, …) with layout 1
    if not read.batch_first:
        y = y.swapaxes(1, 2)
    else:
        h, c = h.swapaxes(0, 1), c.swapaxes(0, 1)
    found = dict(zip(("Y", "Y_h", "Y_c"), (y, h, c), strict=True))
    outputs = [one for one in model.graph.node[0].output if one]
    assert len(outputs) == len(expected)
    for one, array in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(found[one], array, rtol=case.rtol, atol=case.atol)


# -- random nodes -----------------------------------------------------------------------------------------------------

# What each takes, in bounds that keep c from growing without end.
ALPHA = {
    "Affine": (0.2, 0.6),
    "Elu": (0.3, 1.2),
    "HardSigmoid": (0.1, 0.4),
    "LeakyRelu": (0.01, 0.5),
    "ScaledTanh": (0.3, 1.2),
    "ThresholdedRelu": (0.1, 0.9),
}
BETA = {"Affine": (-0.2, 0.2), "HardSigmoid": (0.3, 0.6), "ScaledTanh": (0.3, 1.2)}
GATES = ["Sigmoid", "HardSigmoid", "Softsign", "Tanh", "Affine", "Elu", "LeakyRelu", "Relu", "ScaledTanh"]
GATES += ["ThresholdedRelu", "Softplus"]
OTHERS = [*GATES, "Tanh", "Tanh"]
DEFAULTED = ("Elu", "HardSigmoid", "LeakyRelu")


def random_node(seed):
    """A model with any mixture of the operator's options, and feeds for it."""
    rng = np.random.default_rng(seed)
    direction = rng.choice(["forward", "reverse", "bidirectional"])
    directions = 2 if direction == "bidirectional" else 1
    features, hidden, batch, time = (int(rng.integers(1, most)) for most in (7, 8, 4, 7))
    w, r, b = weights(features, hidden, directions, seed)
    given, inputs, tensors = {"direction": direction, "hidden_size": hidden}, {}, {}
    if rng.random() < 0.5:
        inputs["P"], tensors["p"] = "p", peepholes(hidden, directions, seed) * 0.5
    if rng.random() < 0.4:
        given["clip"] = float(rng.uniform(0.1, 1.5))
    if rng.random() < 0.3:
        given["input_forget"] = 1
    if rng.random() < 0.7:
        given |= random_activations(rng, directions)
    feeds = {"x": rng.standard_normal((time, batch, features)).astype(np.float32)}
    if rng.random() < 0.5:
        inputs["sequence_lens"] = "lengths"
        feeds["lengths"] = rng.integers(1, time + 1, batch).astype(np.int32)
    how = rng.choice(["none", "caller", "learned"])
    for which, name in (("initial_h", "h0"), ("initial_c", "c0")) if how != "none" else ():
        state = rng.uniform(-1, 1, (directions, 1, hidden)).repeat(batch, 1).astype(np.float32)
        inputs[which] = name
        (tensors if how == "learned" else feeds)[name] = state
    opset = int(rng.choice([7, 14, 22]))
    return make(w, r, b if rng.random() < 0.7 else None, inputs=inputs, tensors=tensors, opset=opset, **given), feeds


def random_activations(rng, directions):
    names = [str(rng.choice(GATES if role == 0 else OTHERS)) for _ in range(directions) for role in range(3)]
    given = {"activations": names}
    for key, bounds in (("activation_alpha", ALPHA), ("activation_beta", BETA)):
        taking = [name for name in names if name in bounds]
        values = [float(rng.uniform(*bounds[name])) for name in taking]
        while taking and taking[-1] in DEFAULTED and rng.random() < 0.5:  # the rest have their defaults
            taking.pop(), values.pop()
        if values:
            given[key] = values
    return given


def error(seed, tmp_path):
    proto, feeds = random_node(seed)
    state = (feeds["h0"], feeds["c0"]) if "h0" in feeds else None
    found = run(formats.open(saved(proto, tmp_path)).load(fl.LSTMWeights), feeds["x"], state, feeds.get("lengths"))
    expected = runtime(proto, **feeds)
    pairs = [(found[0], expected[0]), *zip(found[1], expected[1], strict=True)]
    assert all(np.isfinite(b).all() for _, b in pairs), seed
    return max(float((np.abs(a - b) / np.maximum(np.abs(b), 1)).max()) for a, b in pairs)


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_random_nodes(first, tmp_path):
    errors = {seed: error(seed, tmp_path) for seed in range(first, first + 10)}
    assert max(errors.values()) <= 1e-5, errors


@pytest.mark.slow
def test_500_random_nodes(tmp_path):
    errors = {seed: error(seed, tmp_path) for seed in range(1000, 1500)}
    print("largest error", max(errors.values()))
    assert max(errors.values()) <= 1e-5, {seed: one for seed, one in errors.items() if one > 1e-5}
