"""The engines, each behind one small adapter. Their packages are imported when an engine is made."""

from .base import Engine, installed
from .jax import Jax
from .keras import Keras
from .litert import LiteRT
from .onnxruntime import OnnxRuntime
from .openvino import OpenVINO
from .ours import FusedLSTM
from .torch import Torch
from .tract import Tract

PEERS: tuple[type[Engine], ...] = (Torch, OnnxRuntime, OpenVINO, LiteRT, Jax, Tract, Keras)

__all__ = ["PEERS", "Engine", "FusedLSTM", "installed"]
