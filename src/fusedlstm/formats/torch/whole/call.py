"""One node of a program: its arguments as tensors of the graph, and the nodes that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....errors import FormatError
from ....graph.dims import Size
from ....graph.operators import Array, Shape
from .schema import Kind, Meta, Other, Ref

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

BOOL, INT32, INT64 = np.dtype(np.bool_), np.dtype(np.int32), np.dtype(np.int64)
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
REQUIRED: Any = object()


@dataclass(frozen=True)
class Call:
    """One node.

    Parameters
    ----------
    reader : Reader
        Who reads the program.
    kind : str
        The operator's name without ``torch.ops.aten``.
    arguments : dict
        By the names of the operator's schema; those that have their default are missing.
    outputs : sequence of str
        What the file calls what it makes.
    module : str
        The path of the module that it belongs to.
    """

    reader: Reader
    kind: str
    arguments: dict[str, Any]
    outputs: Sequence[str]
    module: str = ""

    @property
    def builder(self) -> Writer:
        """Where nodes are written."""
        return self.reader.builder

    @property
    def base(self) -> str:
        """What to call tensors that it makes."""
        return next(iter(self.outputs), "") or self.kind

    @property
    def title(self) -> str:
        """What to call nodes that it writes: the module that they belong to, and which of its computations."""
        return self.base if self.module in ("", self.base) else f"{self.module}/{self.base}"

    # Arguments.

    def has(self, name: str) -> bool:
        """Whether an argument is given."""
        return self.arguments.get(name) is not None

    def value(self, name: str, default: Any = REQUIRED) -> Any:
        """An argument as it is."""
        found = self.arguments.get(name, default)
        if found is REQUIRED:
            raise FormatError(f"{name}: expected an argument, found none")
        if isinstance(found, Other):
            return None
        return found

    def tensor(self, name: str) -> str:
        """An argument as a tensor of the graph; a number as a constant."""
        return self.graph(name, self.value(name))

    def graph(self, name: str, value: Any) -> str:
        """A value as a tensor of the graph."""
        if isinstance(value, Ref):
            return self.reader.tensor(value.name)
        if isinstance(value, bool | int | float):
            return self.constant(np.array(value))
        raise FormatError(f"{name}: expected a tensor, found {str(value)[:80]!r}")

    def optional(self, name: str) -> str:
        """A tensor, or "" where there is none."""
        return self.tensor(name) if self.has(name) else ""

    def tensors(self, name: str) -> list[str]:
        """A list of tensors."""
        found = self.value(name)
        if not isinstance(found, list) or not all(isinstance(one, Ref) for one in found):
            raise FormatError(f"{name}: expected tensors, found {str(found)[:80]!r}")
        return [self.reader.tensor(one.name) for one in found]

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        found = self.value(name, default)
        if not isinstance(found, bool):
            raise FormatError(f"{name}: expected true or false, found {str(found)[:80]!r}")
        return found

    def whole(self, name: str, default: Any = REQUIRED) -> int:
        """A whole number that has to be known."""
        return self._whole(name, self.value(name, default))

    def _whole(self, name: str, found: Any) -> int:
        if isinstance(found, Ref):
            known = self.known(self.reader.tensor(found.name))
            found = int(known) if known is not None and known.size == 1 and known.dtype.kind in "iu" else found
        if type(found) is not int:
            said = "one that is computed" if isinstance(found, Ref) else f"{str(found)[:80]!r}"
            raise FormatError(f"{name}: expected a whole number, found {said}")
        return found

    def number(self, name: str, default: Any = REQUIRED) -> float:
        """A number that has to be known."""
        found = self.value(name, default)
        if type(found) not in (int, float):
            raise FormatError(f"{name}: expected a number, found {str(found)[:80]!r}")
        return float(found)

    def ints(self, name: str, count: int | None = None, default: Any = REQUIRED) -> tuple[int, ...]:
        """Whole numbers that have to be known; one stands for `count` of them."""
        found = self.value(name, default)
        several = found if isinstance(found, list | tuple) else [found]
        several = list(several) * count if count is not None and len(several) == 1 else several
        if count is not None and len(several) != count:
            raise FormatError(f"{name}: expected {count} whole numbers, found {str(found)[:80]!r}")
        return tuple(self._whole(name, one) for one in several)

    def text(self, name: str, *choices: str) -> str:
        """One of a few words, the first by default."""
        found = self.value(name, choices[0])
        if found not in choices:
            raise FormatError(f"{name}: expected {' or '.join(choices)}, found {str(found)[:80]!r}")
        return str(found)

    def items(self, name: str) -> list[Any]:
        """A list, or one alone, of numbers that may be computed."""
        found = self.value(name)
        found = found if isinstance(found, list) else [found]
        if not all(isinstance(one, Ref) or type(one) is int for one in found):
            raise FormatError(f"{name}: expected whole numbers, found {str(found)[:80]!r}")
        return list(found)

    def sizes(self, name: str) -> str:
        """Whole numbers, which may be computed, as a tensor of one dimension."""
        return self.list_of(name, self.value(name))

    def list_of(self, name: str, value: Any) -> str:
        """The same of a value."""
        several = value if isinstance(value, list | tuple) else [value]
        if all(type(one) is int for one in several):
            return self.int_list(*several)
        parts = []
        for one in several:
            if type(one) is int:
                parts.append(self.int_list(one))
            else:
                parts.append(self.op("Unsqueeze", self.cast(self.graph(name, one), INT64), self.int_list(0)))
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=0)

    def dtype(self, name: str = "dtype", default: Any = None) -> Any:
        """A dtype."""
        found = self.value(name, None)
        if found is not None and not isinstance(found, Kind):
            raise FormatError(f"{name}: expected a dtype, found {str(found)[:80]!r}")
        return default if found is None else found.dtype

    def only(self, name: str, *usual: Any) -> None:
        """Refuse what an argument says, if it is not the usual."""
        found = self.value(name, usual[0])
        if not any(found == one and type(found) is type(one) for one in usual):
            raise FormatError(f"{name}: expected {usual[0]!r}, found {str(found)[:80]!r}, which is not supported")

    # What is known of tensors.

    def shape(self, name: str) -> Shape:
        """The shape of a tensor."""
        kind = self.builder.types.get(name)
        if kind is None:
            raise FormatError(f"expected a known number of dimensions, found none of {name!r}")
        return kind.shape

    def rank(self, name: str) -> int:
        """How many dimensions a tensor has."""
        return len(self.shape(name))

    def kind_of(self, name: str) -> np.dtype[Any]:
        """The dtype of a tensor."""
        kind = self.builder.types.get(name)
        if kind is None:
            raise FormatError(f"expected a known type, found none of {name!r}")
        return kind.dtype

    def known(self, name: str) -> Array | None:
        """The value of a tensor, if it is small and constants settle it."""
        return self.builder.value(name)

    def array(self, name: str, tensor: str) -> Array:
        """The value of a tensor that constants have to settle."""
        found = self.builder.settled(tensor)
        if found is None:
            raise FormatError(f"{name}: expected numbers of the file, found ones that are computed")
        return found

    def made(self, k: int = 0) -> Meta:
        """The type of an output as the file has it."""
        if k >= len(self.outputs):
            raise FormatError(f"expected {k + 1} outputs, found {len(self.outputs)}")
        return self.reader.meta(self.outputs[k])

    def axis(self, value: int, rank: int) -> int:
        """An axis from 0; scalars have one to speak of."""
        most = max(rank, 1)
        if not -most <= value < most:
            raise FormatError(f"dim: expected one of {rank} dimensions, found {value}")
        return value % most

    def axes(self, name: str, rank: int, default: Any = None) -> tuple[int, ...]:
        """Axes from 0, each once; all of them where none is given."""
        found = self.value(name, default)
        if found is None or found == []:
            return tuple(range(rank))
        axes = tuple(self.axis(one, rank) for one in self.ints(name))
        if len(set(axes)) != len(axes):
            raise FormatError(f"{name}: expected each dimension once, found {list(axes)}")
        return axes if rank else ()

    # Nodes.

    def constant(self, value: npt.ArrayLike) -> str:
        """A constant."""
        return self.builder.constant(value, f"{self.base}/constant")

    def int_list(self, *values: int) -> str:
        """A constant list of whole numbers."""
        return self.constant(np.array(values, np.int64))

    def like(self, x: str, value: float) -> str:
        """A number of the type of a tensor."""
        with np.errstate(all="ignore"):
            return self.constant(np.array(value).astype(self.kind_of(x)))

    def ops(self, op: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """A node with several outputs."""
        return list(self.builder.add(op, inputs, self.base, outputs, self.module, **attributes))

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        return self.builder.add(op, inputs, self.base, 1, self.title, **attributes)[0]

    def cast(self, x: str, to: np.dtype[Any]) -> str:
        """A tensor in another type."""
        kind = self.builder.types.get(x)
        return x if kind is not None and kind.dtype == to else self.op("Cast", x, to=to)

    def reshape(self, x: str, *sizes: Size) -> str:
        """Another shape of known sizes: -1 takes what is left."""
        return self.op("Reshape", x, self.int_list(*sizes), allowzero=int(0 in sizes and -1 not in sizes))

    def reshape_to(self, x: str, sizes: str) -> str:
        """The shape that a tensor of sizes says."""
        known = self.known(sizes)
        zeros = known is not None and 0 in known and -1 not in known
        return self.op("Reshape", x, sizes, allowzero=int(known is None or zeros))

    def transpose(self, x: str, *perm: int) -> str:
        """Axes in another order."""
        return x if list(perm) == list(range(len(perm))) else self.op("Transpose", x, perm=perm)

    def slice(self, x: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """Some places along one axis."""
        return self.op("Slice", x, self.int_list(start), self.int_list(stop), self.int_list(axis), self.int_list(step))

    def squeeze(self, x: str, *axes: int) -> str:
        """Without some axes of one."""
        return self.op("Squeeze", x, self.int_list(*axes)) if axes else x

    def unsqueeze(self, x: str, *axes: int) -> str:
        """With new axes of one."""
        return self.op("Unsqueeze", x, self.int_list(*axes)) if axes else x

    def size(self, x: str, axis: int) -> str:
        """One size of a tensor, as a number."""
        return self.squeeze(self.op("Shape", x, start=axis, end=axis + 1), 0)
