"""Trained weights in their neutral form: what every format is read into, and all that the engine takes."""

from ..errors import FormatError
from .cell import ARRAYS, PLAIN, SIGMOID, TANH, Activation, Cell, DirectionWeights
from .checked import FloatArray
from .conv_lstm import ConvLSTMWeights
from .lstm import ACTIVATIONS, DTYPES, GATES, LSTMWeights, checked_activations, reorder_gates

__all__ = [
    "ACTIVATIONS",
    "ARRAYS",
    "DTYPES",
    "GATES",
    "PLAIN",
    "SIGMOID",
    "TANH",
    "Activation",
    "Cell",
    "ConvLSTMWeights",
    "DirectionWeights",
    "FloatArray",
    "FormatError",
    "LSTMWeights",
    "checked_activations",
    "reorder_gates",
]
