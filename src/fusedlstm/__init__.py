"""fusedlstm: run a trained LSTM on a CPU as fast as the machine allows."""

from .cell import Activation, Cell
from .lstm import LSTM
from .machine import cpu_info, get_num_threads, set_num_threads
from .weights import DirectionWeights, FormatError, LSTMWeights

__version__ = "0.1.0"

__all__ = [
    "LSTM",
    "Activation",
    "Cell",
    "DirectionWeights",
    "FormatError",
    "LSTMWeights",
    "cpu_info",
    "get_num_threads",
    "set_num_threads",
]
