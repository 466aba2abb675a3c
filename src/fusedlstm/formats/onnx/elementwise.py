"""Element-wise operators on constants, by their meaning in a graph: what exporters leave around a learned state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import FormatError
from ...graph.operators import OPERATORS
from ...graph.operators import Call as Told
from .graph import Array

ELEMENTWISE = (
    *("Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Clip", "Cos", "Cosh"),
    *("Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish"),
    *("LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or"),
    *("Pow", "PRelu", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign"),
    *("Sqrt", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor"),
)
"""Those whose outputs depend on one element of each input."""


def compute(
    name: str, given: Sequence[Array | None], attributes: Mapping[str, Any], spend: Callable[[Sequence[int]], None]
) -> Array:
    """One operator on constants; `spend` is told the shape before it is computed.

    Raises
    ------
    FormatError, ValueError
        Inputs or attributes that it does not take.
    """
    operator, present = OPERATORS[name], [one for one in given if one is not None]
    least, most = operator.inputs
    if not least <= len(present) <= len(given) <= most:
        raise FormatError(f"expected {least if least == most else f'{least} to {most}'} inputs, found {len(present)}")
    said = operator.complete(attributes)
    shapes, dtypes = [getattr(one, "shape", None) for one in given], [getattr(one, "dtype", None) for one in given]
    ((shape, _),) = operator.shape(Told(said, shapes, dtypes, given, 1))
    spend([int(size) for size in shape])
    try:
        with np.errstate(all="ignore"):
            return np.asarray(operator.compute(said, *given))
    except TypeError as error:  # NumPy does not subtract booleans
        raise FormatError(f"expected numbers that go together, found others ({error})") from error
