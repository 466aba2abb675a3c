"""fusedlstm: run a trained LSTM on a CPU as fast as the machine allows."""

from typing import TYPE_CHECKING, Any

from .conv_lstm import ConvLSTM
from .errors import AssumptionWarning
from .lstm import LSTM
from .machine import c_api, cpu_info, get_num_threads, include_dir, set_num_threads
from .pool import StreamPool
from .stream import Stream
from .tensors import load_tensors
from .weights import Activation, Cell, ConvLSTMWeights, DirectionWeights, FormatError, LSTMWeights

if TYPE_CHECKING:
    from ._model_parts import TensorSpec
    from .batcher import AsyncBatcher
    from .model import Model
    from .parts import BatchNorm1d, Conv1d, Embedding, Last, LayerNorm, Linear, Residual, Sequential, Transpose
else:
    from importlib import import_module

    # What takes long to import, and not everybody needs.
    _LATER = {"AsyncBatcher": "batcher", "Model": "model", "TensorSpec": "_model_parts"}
    _PARTS = ("BatchNorm1d", "Conv1d", "Embedding", "LayerNorm", "Linear", "Last", "Residual", "Sequential")
    _LATER |= dict.fromkeys((*_PARTS, "Transpose"), "parts")

    def __getattr__(name: str) -> Any:
        """A class, when it is first asked for."""
        if name in _LATER:
            return _public(getattr(import_module(f".{_LATER[name]}", __name__), name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__version__ = "0.2.0"

__all__ = [
    "LSTM",
    "Activation",
    "AssumptionWarning",
    "AsyncBatcher",
    "BatchNorm1d",
    "Cell",
    "Conv1d",
    "ConvLSTM",
    "ConvLSTMWeights",
    "DirectionWeights",
    "Embedding",
    "FormatError",
    "LSTMWeights",
    "Last",
    "LayerNorm",
    "Linear",
    "Model",
    "Residual",
    "Sequential",
    "Stream",
    "StreamPool",
    "TensorSpec",
    "Transpose",
    "c_api",
    "cpu_info",
    "get_num_threads",
    "include_dir",
    "load_tensors",
    "set_num_threads",
]


def __dir__() -> list[str]:
    """The public names, those that are imported later as well."""
    return sorted([*__all__, "__doc__", "__version__"])


def _public(thing: Any) -> Any:
    """The same, which says that it is fusedlstm's: where its code lies is nobody's business."""
    thing.__module__ = __name__
    return thing


for _name in __all__:
    if _name in globals() and _name != "Stream":  # whose type cannot be written to
        _public(globals()[_name])
