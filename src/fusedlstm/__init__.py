"""fusedlstm: run a trained LSTM on a CPU as fast as the machine allows."""

from typing import TYPE_CHECKING, Any

from .conv_lstm import ConvLSTM
from .lstm import LSTM
from .machine import c_api, cpu_info, get_num_threads, include_dir, set_num_threads
from .pool import StreamPool
from .stream import Stream
from .tensors import load_tensors
from .weights import Activation, Cell, ConvLSTMWeights, DirectionWeights, FormatError, LSTMWeights

if TYPE_CHECKING:
    from .batcher import AsyncBatcher
else:

    def __getattr__(name: str) -> Any:
        """AsyncBatcher, when it is first asked for: asyncio takes long to import."""
        if name == "AsyncBatcher":
            from .batcher import AsyncBatcher

            return AsyncBatcher
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__version__ = "0.1.0"

__all__ = [
    "LSTM",
    "Activation",
    "AsyncBatcher",
    "Cell",
    "ConvLSTM",
    "ConvLSTMWeights",
    "DirectionWeights",
    "FormatError",
    "LSTMWeights",
    "Stream",
    "StreamPool",
    "c_api",
    "cpu_info",
    "get_num_threads",
    "include_dir",
    "load_tensors",
    "set_num_threads",
]
