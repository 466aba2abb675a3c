"""The engines, each behind one small adapter. Their packages are imported when an engine is made."""

from .base import Engine, installed
from .jax import Jax
from .keras import Keras
from .litert import LiteRT
from .low import (
    Bfloat16,
    BfloatByBfloat,
    Float16,
    Int8,
    Int8By8,
    Int8By16And8,
    OnnxRuntimeInt8,
    OpenVINOBfloat16,
    TorchBfloat16,
    TorchInt8,
)
from .onnxruntime import OnnxRuntime
from .openvino import OpenVINO
from .ours import FreshSample, FusedLSTM
from .torch import Torch
from .tract import Tract

PEERS: tuple[type[Engine], ...] = (Torch, OnnxRuntime, OpenVINO, LiteRT, Jax, Tract, Keras)

LOW_PRECISION: tuple[type[Engine], ...] = (
    *(Float16, Bfloat16, BfloatByBfloat, Int8, Int8By16And8, Int8By8),
    *(OnnxRuntimeInt8, TorchInt8, TorchBfloat16, OpenVINOBfloat16),
)
"""Ours first."""

__all__ = ["LOW_PRECISION", "PEERS", "Engine", "FreshSample", "FusedLSTM", "installed"]
