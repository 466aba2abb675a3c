"""Panels that are partly filled: any number of outputs and rows has the bits of whole panels, and writes nothing else."""

import numpy as np
import pytest
from graphs import random

from fusedlstm import _core

INPUTS = 70
PRECISIONS = [
    ("float32", "float32"),
    ("float16", "float32"),
    ("bfloat16", "float32"),
    ("bfloat16", "bfloat16"),
    ("int8", "int16"),
    ("int8", "int8"),
]


def product(weights, bias, x, precision, beside=1):
    """y = x weights' + bias, `beside` unused numbers before and behind each row of y."""
    rows, outputs = len(x), len(weights)
    width = outputs + 2 * beside
    program = _core.Program(0, [("f", x.shape), ("f", (rows, width))], [("f", (rows, width))], [])
    whole = (rows, width)
    program.copy((2, 0, "f", whole, (width, 1)), (3, 0, "f", whole, (width, 1)))
    packed = _core.PackedWeights(weights, bias, *precision)
    y = (3, 4 * beside, "f", (rows, outputs), (width, 1))
    program.product(packed, (1, 0, "f", x.shape, (INPUTS, 1)), y, None, None)
    (found,) = program.run(x, np.full((rows, width), 7, np.float32))
    assert (found[:, :beside] == 7).all() and (found[:, beside + outputs :] == 7).all()
    return found[:, beside : beside + outputs]


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
def test_any_number_of_outputs_and_rows(isa, precision):
    weights, bias, x = random(150, INPUTS), random(150, seed=1), random(13, INPUTS, seed=2)
    wanted = product(weights[:128], bias[:128], x, precision)
    if precision == ("float32", "float32"):
        exact = x.astype(float) @ weights[:128].T.astype(float) + bias[:128]
        np.testing.assert_allclose(wanted, exact, rtol=0, atol=2e-6 * np.abs(exact).max())
    for outputs in (*range(1, 68), 96, 97, 127):
        for rows in (1, 2, 5, 13) if outputs % 8 else (1, 2, 3, 4, 6, 7, 11):
            found = product(weights[:outputs], bias[:outputs], x[:rows], precision)
            assert found.tobytes() == wanted[:rows, :outputs].tobytes(), (outputs, rows)
