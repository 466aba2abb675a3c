"""What a module's weights are packed into, and whether they still are those weights."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import torch

Seen = list[tuple[int, int]]
Tensors = Mapping[str, Any]


class RefusedError(Exception):
    """Why the original runs."""


class Fused:
    """The packed form of a module's weights, made when it is first needed and again when they have changed.

    Changes are noticed by PyTorch's version counters and by where the weights lie. Who writes through ``.data`` counts
    nothing; most of that is noticed by one number of each tensor, and all of it when the module changes its mode.

    Attributes
    ----------
    dtype, products : str or None
        The precision that was asked for.
    threads : int or None
        Threads of a call; None: as many as PyTorch uses.
    why : str
        Why the last call ran the original; empty where it did not.
    """

    __slots__ = ("_ready", "dtype", "products", "threads", "why")

    def __init__(self, dtype: Any = None, products: str | None = None, threads: int | None = None) -> None:
        self.dtype, self.products, self.threads = dtype, products, threads
        self.why = ""
        self.forget()

    def __reduce__(self) -> Any:
        """Of copies and pickles, the options: they pack weights of their own."""
        return Fused, (self.dtype, self.products, self.threads)

    def forget(self) -> None:
        """Pack again at the next call."""
        self._ready: tuple[Seen, Any, list[Any], list[int], Any] = ([(-1, 0)], None, [], [], None)

    def of(self, parameters: Tensors, pack: Callable[[Tensors, Fused], Any]) -> Any:
        """The packed form of these tensors.

        Raises
        ------
        RefusedError
            They cannot be packed.
        """
        seen, packed, probes, numbers, _ = self._ready
        try:
            now = [(one._version, one.data_ptr()) for one in parameters.values() if one is not None]
        except RuntimeError:
            raise RefusedError("weights whose changes PyTorch does not count") from None
        if now == seen and [one.value for one in probes] == numbers:
            return packed
        tensors = {name: one.detach() for name, one in parameters.items() if one is not None}
        for name, one in tensors.items():
            _expect_plain(name, one)
        packed = pack(tensors, self)
        probes = [_probe(one) for one in tensors.values() if one.numel()]
        # The tensors are kept, so that none of other values can lie where they lay, with the same count of changes.
        self._ready = (now, packed, probes, [one.value for one in probes], tensors)
        return packed


def _expect_plain(name: str, tensor: Any) -> None:
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
        raise RefusedError(f"{name} on {tensor.device}, {tensor.layout}")
    if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise RefusedError(f"weights of {tensor.dtype}")


def _probe(tensor: Any) -> Any:
    """A number from the middle of a tensor, where it lies."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    size = tensor.element_size()
    kind = {2: ctypes.c_int16, 4: ctypes.c_int32}[size]
    return kind.from_address(tensor.data_ptr() + size * (last // 2))
