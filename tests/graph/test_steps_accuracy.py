"""Against float64 no step is further off than 1.5 times what ONNX Runtime's float32 is, or than rounding the result is."""

import warnings

import numpy as np
import onnxruntime
import pytest
from graphs import random
from onnx_models import helper, numpy_helper, onnx
from planned import run_planned

from fusedlstm.formats.onnx.whole import from_proto
from fusedlstm.graph import evaluate

ROW, CHANNELS = 300, 12
CASES = {
    name: (name, [], {})
    for name in ("Sigmoid", "Tanh", "Exp", "Erf", "Softplus", "Elu", "Selu", "Celu", "Mish", "HardSwish", "Softsign")
}
CASES |= {
    "Gelu": ("Gelu", [], {}),
    "Gelu tanh": ("Gelu", [], {"approximate": "tanh"}),
    "Softmax": ("Softmax", [], {"axis": -1}),
    "Softmax across": ("Softmax", [], {"axis": 1}),
    "LogSoftmax": ("LogSoftmax", [], {"axis": -1}),
    "LayerNormalization": ("LayerNormalization", [random(ROW), random(ROW, seed=1)], {}),
    "InstanceNormalization": ("InstanceNormalization", [random(CHANNELS), random(CHANNELS, seed=1)], {}),
    "GroupNormalization": ("GroupNormalization", [random(CHANNELS), random(CHANNELS, seed=1)], {"num_groups": 3}),
    "BatchNormalization": ("BatchNormalization", [np.abs(random(CHANNELS, seed=k)) + 0.1 for k in range(4)], {}),
    "LpNormalization": ("LpNormalization", [], {}),
    "LRN": ("LRN", [], {"size": 3}),
    "AveragePool": ("AveragePool", [], {"kernel_shape": [5]}),
    "LpPool": ("LpPool", [], {"kernel_shape": [5]}),
    "GlobalAveragePool": ("GlobalAveragePool", [], {}),
    "depthwise": ("Conv", [random(CHANNELS, 1, 9), random(CHANNELS, seed=1)], {"group": CHANNELS}),
    "transposed": ("ConvTranspose", [random(CHANNELS, 5, 8)], {"strides": [3]}),
    "linear": ("Resize", [np.zeros(0, np.float32), np.array([1, 1, 1.7], np.float32)], {"mode": "linear"}),
    "cubic": ("Resize", [np.zeros(0, np.float32), np.array([1, 1, 1.3, 1.7], np.float32)], {"mode": "cubic"}),
}
for _name in ("Sum", "Mean", "L1", "L2", "SumSquare", "LogSumExp"):
    for _axis in (1, 2):
        CASES[f"{_name} {_axis}"] = (f"Reduce{_name}", [np.array([_axis])], {})


def model_of(op, constants, attributes, shape):
    names = [f"c{k}" for k in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *names], ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(one, name) for one, name in zip(constants, names)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("scale, offset", [(1.0, 0.0), (5.0, 0.0), (1.0, 10.0)])
def test_as_close_as_another_engine(name, scale, offset):
    planes = name in ("LRN", "cubic")
    shape = (4, CHANNELS, 15, 20) if planes else (4, CHANNELS, ROW)  # planes: the other engine takes nothing else
    model, x = model_of(*CASES[name], shape), random(*shape, scale=scale) + np.float32(offset)
    graph = from_proto(model)
    (exact,) = evaluate(graph, {"x": x.astype(np.float64)}).values()
    (ours,) = run_planned(graph, {"x": x})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (other,) = session.run(None, {"x": x})
    with np.errstate(over="ignore"):
        rounding = np.abs(exact.astype(np.float32) - exact).max()
        errors = [np.abs(one.astype(np.float64) - exact).max() for one in (ours, other)]
    assert errors[0] <= 1.5 * max(errors[1], rounding)
