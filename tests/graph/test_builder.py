"""A graph while a reader writes it."""

import numpy as np
import pytest

from fusedlstm import FormatError
from fusedlstm.graph import Value, evaluate
from fusedlstm.graph.builder import Builder

F = np.dtype(np.float32)


def test_types_and_names():
    graph = Builder()
    x = graph.input(Value("x", F, ("batch", 3)))
    w = graph.constant(np.ones((3, 2), np.float32), "w")
    (y,) = graph.add("MatMul", [x, w], "y", name="dense")
    (z,) = graph.add("MatMul", [x, w], "y")
    assert (y, z, graph.fresh("y"), graph.fresh("y~1")) == ("y", "y~1", "y~2", "y~1~1")
    assert str(graph.shape(y)[0]) == "batch" and graph.shape(y)[1] == 2
    made = graph.finish([Value(y)])
    assert [one.name for one in made.nodes] == ["dense"]  # what nothing needs is gone
    np.testing.assert_array_equal(evaluate(made, {"x": np.ones((4, 3), np.float32)})["y"], np.full((4, 2), 3))


def test_refused_nodes_and_what_does_not_fit():
    graph = Builder()
    x = graph.input(Value("x", F, (2, 3)))
    gone = graph.refuse("Lambda", [x], "l", "mine", "it runs code")
    (after,) = graph.add("Relu", [gone], "r")
    assert graph.shape(after) is None
    assert graph.finish([Value(after)]).refusals == ("Lambda node 'mine': it runs code",)
    with pytest.raises(FormatError, match=r"MatMul of \(2, 3\), \(2, 3\)"):
        graph.add("MatMul", [x, x], "y")
