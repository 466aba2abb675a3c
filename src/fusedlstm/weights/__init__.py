"""Trained weights in their neutral form: what every format is read into, and all that the engine takes."""

from ..errors import FormatError
from .assumption import BATCH_FIRST, Assumption
from .cell import ARRAYS, PLAIN, SIGMOID, TANH, Activation, Cell, DirectionWeights
from .checked import FloatArray
from .conv_lstm import ConvLSTMWeights
from .lstm import DTYPES, GATES, PRODUCTS, LSTMWeights, checked_products, reorder_gates

__all__ = [
    "ARRAYS",
    "BATCH_FIRST",
    "DTYPES",
    "GATES",
    "PLAIN",
    "PRODUCTS",
    "SIGMOID",
    "TANH",
    "Activation",
    "Assumption",
    "Cell",
    "ConvLSTMWeights",
    "DirectionWeights",
    "FloatArray",
    "FormatError",
    "LSTMWeights",
    "checked_products",
    "reorder_gates",
]
