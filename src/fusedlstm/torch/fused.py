"""The packed form of a module's weights, and whether it still is that of those weights."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

import torch

from .exchange import HALVES, RefusedError
from .packs import Tensors

Seen = list[int]
_VERSION, _PLACE, _LAID = attrgetter("_version"), torch.Tensor.data_ptr, torch.Tensor.stride
_DTYPES = {torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float32: None}


class Fused:
    """Weights, packed when they are first needed and again when they have changed.

    Changes are noticed by PyTorch's version counters and by where the weights lie. Who writes through ``.data`` counts
    nothing; most of that is noticed by one number of each matrix, and all of it when the module changes its mode.

    Parameters
    ----------
    dtype, products : str, optional
        The precision that is wanted. Default: that of the weights.
    threads : int, optional
        The most threads of a call. Default: as many as PyTorch uses.

    Attributes
    ----------
    why : str
        Why the last call ran the original; empty where it did not.
    held : torch.dtype
        What the module holds its weights in.
    """

    __slots__ = ("_ready", "dtype", "held", "products", "threads", "why")

    def __init__(self, dtype: Any = None, products: str | None = None, threads: int | None = None) -> None:
        self.dtype, self.products, self.threads = dtype, products, threads
        self.why, self.held = "", torch.float32
        self.forget()

    def __reduce__(self) -> Any:
        """Of copies and pickles, the options: they pack weights of their own."""
        return Fused, (self.dtype, self.products, self.threads)

    def forget(self) -> None:
        """Pack again at the next call."""
        self._ready: tuple[Seen, Any, list[Any], list[int], Any, Any] = ([-1], None, [], [], None, None)

    def of(self, parameters: Tensors, pack: Callable[[Tensors, Any, Any], Any]) -> Any:
        """The packed form of these tensors.

        Raises
        ------
        RefusedError
            They cannot be packed.
        """
        seen, packed, probes, numbers, laid, _ = self._ready
        tensors: Iterable[Any] = parameters.values()
        try:
            now = [*map(_VERSION, tensors), *map(_PLACE, tensors)]
        except (AttributeError, TypeError):  # None, where a cell has no biases
            tensors = [one for one in tensors if one is not None]
            now = [*map(_VERSION, tensors), *map(_PLACE, tensors)]
        except RuntimeError:
            raise RefusedError("weights whose changes PyTorch does not count, made in inference mode") from None
        threads = self.threads or torch.get_num_threads()
        same = now == seen and [one.value for one in probes] == numbers
        if same and (laid is None or [*map(_LAID, tensors)] == laid):
            if packed.threads != threads:
                packed.use(threads)
            return packed
        held = {name: one.detach() for name, one in parameters.items() if one is not None}
        self.held = _dtype_of(held)
        dtype = self.dtype or _DTYPES[self.held]
        copies = {name: one.clone() for name, one in held.items()}  # NumPy keeps what it has seen from being resized
        packed = pack(copies, dtype, self.products if self.dtype else None)
        packed.use(threads)
        probes = [_probe(one) for one in held.values() if one.dim() > 1 and one.numel()]
        # Square ones may have been transposed where they lie.
        square = any(one.dim() == 2 and one.shape[0] == one.shape[1] for one in held.values())
        laid = [*map(_LAID, tensors)] if square else None
        # The tensors are kept, so that none of other values can lie where they lay, with the same count of changes.
        self._ready = (now, packed, probes, [one.value for one in probes], laid, held)
        return packed


def _dtype_of(tensors: Tensors) -> Any:
    dtypes = {one.dtype for one in tensors.values()}
    for name, one in tensors.items():
        if one.device.type != "cpu" or one.layout is not torch.strided:
            raise RefusedError(f"{name} on {one.device}, {one.layout}")
    if len(dtypes) != 1 or not dtypes <= {torch.float32, *HALVES}:
        raise RefusedError(f"weights of {', '.join(sorted(map(str, dtypes)))}")
    return dtypes.pop()


def _probe(tensor: Any) -> Any:
    """A number from the middle of a tensor, where it lies."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    size = tensor.element_size()
    kind = ctypes.c_int32 if size == 4 else ctypes.c_int16
    return kind.from_address(tensor.data_ptr() + size * (last // 2))
