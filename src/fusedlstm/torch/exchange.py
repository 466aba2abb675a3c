"""Tensors to the engine and back, without copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .. import _core

HALVES = (torch.bfloat16, torch.float16)

try:
    TYPE: Any = _core.TensorType(torch.Tensor)
except ValueError:  # before PyTorch 2.10: through NumPy, which takes a microsecond a tensor
    TYPE = None


class RefusedError(Exception):
    """Why the original runs."""


def plain(name: str, tensor: Any, dtype: Any) -> Any:
    """A tensor as the engine takes it: float32, features beside each other, nothing but numbers in memory.

    Raises
    ------
    RefusedError
        Another precision than `dtype`, another device, or a tensor that is more than its numbers.
    """
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise RefusedError(f"{name} of type {type(tensor).__name__}")
    if tensor.dtype is not dtype:
        raise RefusedError(f"{name} of {tensor.dtype}, weights of {dtype}")
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
        raise RefusedError(f"{name} on {tensor.device}, {tensor.layout}")
    return tensor.detach().resolve_neg().float().contiguous()


def array(tensor: Any) -> Any:
    """The memory of a plain tensor as an array, which must not outlive the call."""
    found = None if TYPE is None else TYPE.array(tensor)
    return tensor.numpy() if found is None else found


def back(tensors: Sequence[Any], dtype: Any) -> tuple[Any, ...]:
    """What was computed, in the precision of the module."""
    return tuple(tensors) if dtype is torch.float32 else tuple(one.to(dtype) for one in tensors)
