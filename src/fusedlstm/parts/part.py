"""What a part is: arrays by PyTorch's names, and the nodes that it adds to a graph."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from .. import formats
from ..errors import FormatError
from ..weights.checked import Checked
from ..weights.reparametrised import recipe
from .flow import Builder, Flow

Self = TypeVar("Self", bound="Part")

_BESIDE = {"num_batches_tracked"}  # counts of training, which running does not look at


class Part(ABC):
    """One layer of a `Sequential`."""

    name: str = ""

    @abstractmethod
    def build(self, builder: Builder, x: Flow) -> Flow:
        """Add the nodes; what comes out.

        Raises
        ------
        ValueError
            What comes in does not fit.
        """

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        return type(self).__name__

    @property
    def title(self) -> str:
        """What to call it in a message."""
        return self.kind + (f" {self.name!r}" if self.name else "")


@dataclass(frozen=True, eq=False)
class Weighted(Checked, Part):
    """A layer with weights."""

    ARRAYS: ClassVar[tuple[str, ...]] = ("weight", "bias")
    NEEDED: ClassVar[tuple[str, ...]] = ("weight",)

    name: str = field(default="", kw_only=True)

    @classmethod
    def load(cls: type[Self], file: formats.Given, prefix: str = "", **options: Any) -> Self:
        """Load the layer from any file that holds tensors by name, as safely as everything else.

        Parameters
        ----------
        file : path, bytes or binary file object
            Such as a PyTorch checkpoint, a safetensors or an npz file.
        prefix : str
            The layer's own name: ``"head"`` for ``head.weight`` and ``head.bias``.
        **options
            What PyTorch does not store: the keyword arguments of the class, such as ``stride=2``.

        Raises
        ------
        OSError, ImportError, FormatError
            As for `LSTM.load`; FormatError also where the tensors are not this layer's.
        """
        contents = formats.open(file)
        with formats.named(contents.file):
            found: Self = _of(cls, _under(contents.tensors, prefix), prefix, options)
            return found

    @classmethod
    def from_state_dict(cls: type[Self], tensors: Mapping[str, Any], prefix: str = "", **options: Any) -> Self:
        """Make the layer from a state dict in memory, of arrays or of tensors; otherwise as `load`.

        Raises
        ------
        TypeError
            `tensors` is no mapping.
        FormatError
            The tensors are not this layer's.
        """
        contents = formats.of_mapping(tensors)
        found: Self = _of(cls, _under(contents.tensors, prefix), prefix, options)
        return found


def _under(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Readers of the tensors that lie under a prefix, by the rest of their names."""
    start = prefix if not prefix or prefix.endswith((".", "/")) else f"{prefix}."
    found = {name[len(start) :]: read for name, read in tensors.items() if name.startswith(start)}
    if not found:
        shown = ", ".join(map(repr, list(tensors)[:8]))
        raise FormatError(f"expected tensors under {prefix!r}, found none{f', but {shown}' * bool(shown)}")
    return found


def _of(cls: Any, readers: dict[str, Any], prefix: str, options: Mapping[str, Any]) -> Any:
    """The layer of these tensors. None is left out without a word: whatever lies beside them may change the layer."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    used = set(_BESIDE)
    for name in cls.ARRAYS:
        pieces = re.compile(rf"{name}_(g|v|u|orig|mask|raw)|parametrizations\.{name}\.(.+)")
        own = {one: match[1] or match[2] for one in readers if (match := pieces.fullmatch(one))}
        if own:  # weight norm and the like
            read = {one: readers[one]() for one in own}
            shapes = {one: array.shape for one, array in read.items()}
            arrays[name] = recipe(name, {part: one for one, part in own.items()}, shapes, partial(_wide, read))[1]()
        elif name in readers:
            arrays[name] = readers[name]()
        used.update(own, [name])
    others = sorted(readers.keys() - used)
    missing = [name for name in cls.NEEDED if name not in arrays]
    where = prefix.rstrip("./")
    if missing or others:
        what = f"{', '.join(cls.ARRAYS)} of a {cls.__name__}"
        found = f"no {missing[0]!r}" if missing else f"{others[0]!r} beside them"
        raise FormatError(f"{where or '(root)'}: expected {what}, found {found}, but {', '.join(sorted(readers)[:8])}")
    try:
        return replace(cls(**arrays, **options), name=where)
    except (ValueError, TypeError) as error:
        if any(str(error).startswith(f"{name}:") for name in cls.ARRAYS):
            raise FormatError(f"{where and f'{where}.'}{error}") from error
        raise


def _wide(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> npt.NDArray[Any]:
    return arrays[name].astype(np.float32)
