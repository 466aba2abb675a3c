"""Graphs run by the engine: planned for the shapes of their inputs, and what came out as the graph's types have it."""

import numpy as np

import fusedlstm.graph.lowering  # noqa: F401
from fusedlstm.graph import evaluate
from fusedlstm.graph.packed import Packed
from fusedlstm.graph.plan import plan
from fusedlstm.graph.specialise import deciding_inputs, specialise

HELD = {"f": np.float32, "b": np.bool_}


def run_planned(graph, inputs, packed=None):
    """Every output of a graph, in order."""
    values = {name: inputs[name] for name in deciding_inputs(graph)}
    return run_special(
        specialise(graph, {name: np.shape(value) for name, value in inputs.items()}, values), inputs, packed
    )


def run_special(special, inputs, packed=None):
    """The same of a graph whose shapes are known."""
    program, _ = plan(special, packed or Packed())
    given = [
        np.ascontiguousarray(inputs[one.name], HELD.get(np.asarray(inputs[one.name]).dtype.kind, np.int64)).reshape(
            np.shape(inputs[one.name])
        )
        for one in special.inputs
    ]
    found = program.run(*given)
    return [array.astype(special.types[one.name].dtype) for array, one in zip(found, special.outputs)]


def check_planned(graph, inputs, rtol=1e-5, atol=1e-6):
    """The engine's outputs are those of the operators' meaning."""
    wanted = list(evaluate(graph, inputs).values())
    found = run_planned(graph, inputs)
    assert len(found) == len(wanted)
    for one, expected in zip(found, wanted):
        assert (one.dtype, one.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(one.astype(np.float64), expected.astype(np.float64), rtol=rtol, atol=atol)
    return found
