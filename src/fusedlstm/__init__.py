"""fusedlstm: run a trained LSTM on a CPU as fast as the machine allows."""

from .cell import Activation, Cell
from .lstm import LSTM
from .machine import c_api, cpu_info, get_num_threads, include_dir, set_num_threads
from .pool import StreamPool
from .stream import Stream
from .weights import DirectionWeights, FormatError, LSTMWeights

__version__ = "0.1.0"

__all__ = [
    "LSTM",
    "Activation",
    "Cell",
    "DirectionWeights",
    "FormatError",
    "LSTMWeights",
    "Stream",
    "StreamPool",
    "c_api",
    "cpu_info",
    "get_num_threads",
    "include_dir",
    "set_num_threads",
]
