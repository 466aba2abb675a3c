"""What the tensors of a program are at each point of it: operators that write in place change them, and their views."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....errors import FormatError
from ....graph.dims import Size
from .call import Call
from .operation import Operation
from .program import Program
from .registry import OPERATORS
from .schema import Ref

if TYPE_CHECKING:
    from .reader import Reader

_IN_PLACE = re.compile(r"([a-z_][a-z0-9_]*[a-z0-9])_(\.\w+)")
_RESHAPED = {"view.default", "unsqueeze.default", "squeeze.dim", "squeeze.default", "squeeze.dims", "view_as.default"}
_RESHAPED |= {"reshape.default", "reshape_as.default", "flatten.using_ints", "unflatten.int"}
_SAME = {"alias.default", "detach.default", "contiguous.default", "to.dtype", "to.device", "to.dtype_layout"}
_SAME |= {"lift_fresh.default", "dropout.default", "feature_dropout.default", "alpha_dropout.default"}
_TURNED = {"transpose.int", "permute.default", "t.default", "swapaxes.default"}
_PARTS = {"select.int", "slice.Tensor", "narrow.default"}
_OTHERS = {"expand.default", "expand_as.default", "split.Tensor", "split_with_sizes.default", "split.sizes"}
_OTHERS |= {"chunk.default", "unbind.int", "movedim.int", "unfold.default", "diagonal.default", "numpy_T.default"}
VIEWS = _RESHAPED | _SAME | _TURNED | _PARTS | _OTHERS
"""Operators whose output may lie in the memory of their input."""
_UNSURE_OF = {"reshape.default", "reshape_as.default", "flatten.using_ints"}
_UNSURE = (
    "expected a tensor of its own or a view, found one that may be either when it is written to; save "
    "torch.export.export(...).run_decompositions({}), which writes nowhere"
)
_MOST_DEPTH = 64


@dataclass
class Place:
    """One tensor of the program.

    Parameters
    ----------
    tensor : str
        What it is called in the graph; "" before it is read from the file.
    stored : str
        The name of the file's tensor that it is.
    source : str
        What it is a view of.
    view : Call, optional
        The node that made the view.
    number : int
        Which of that node's outputs it is.
    version : int
        How often what it lies in was written to when `tensor` was made; of a root, until now.
    depth : int
        How many views it is away from its root.
    maybe : bool
        Whether it may be a copy instead: PyTorch decides by how the tensor lies.
    """

    tensor: str
    stored: str = ""
    source: str = ""
    view: Call | None = None
    number: int = 0
    version: int = 0
    depth: int = 0
    maybe: bool = False


class Places:
    """The tensors of a program by name."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._places: dict[str, Place] = {}

    def enter(self, name: str, tensor: str, stored: str = "") -> None:
        """A tensor that was made; of one that the file holds, where: it is read when it is wanted."""
        if name in self._places:
            raise FormatError(f"tensor {name!r}: expected one definition, found two")
        self._places[name] = Place(tensor, stored)

    def tensor(self, name: str) -> str:
        """What it is called in the graph now."""
        place = self._find(name)
        if not place.tensor:
            place.tensor = self._reader.builder.constant(self._reader.stored(place.stored), name)
        if place.source and self._root(place).tensor in self._reader.refused:
            return self._root(place).tensor
        if place.source:
            version = self._root(place).version
            if version != place.version and place.view is not None:
                if place.maybe:
                    raise FormatError(f"{name!r}: {_UNSURE}")
                made = OPERATORS[place.view.kind](place.view)
                place.tensor = made if isinstance(made, str) else made[place.number]
                place.version = version
        return place.tensor

    def functional(self, kind: str) -> str:
        """The operator that computes what one writes in place."""
        match = _IN_PLACE.fullmatch(kind)
        return f"{match[1]}{match[2]}" if match else kind

    def assigned(self, call: Call, made: str) -> str:
        """What an operator in place writes, in the type and shape of what it writes to."""
        target = call.value("self")
        if not isinstance(target, Ref):
            raise FormatError(f"self: expected a tensor, found {str(target)[:80]!r}")
        before = self.tensor(target.name)
        made = call.cast(made, call.kind_of(before))
        if call.rank(made) != call.rank(before) or call.shape(made) != call.shape(before):
            made = call.op("Expand", made, call.op("Shape", before))
        self._write(target.name, made, call)
        return self.tensor(target.name)

    def spoil(self, node: Operation, arguments: Mapping[str, Any], refused: str) -> None:
        """What a node would have written to is not known any more."""
        target = arguments.get("self")
        if self.functional(node.kind) != node.kind and isinstance(target, Ref) and target.name in self._places:
            root = self._root(self._places[target.name])
            root.tensor, root.version = refused, root.version + 1

    def follow(self, node: Operation, arguments: Mapping[str, Any]) -> None:
        """Remember of what a node has made whose view it is."""
        source = arguments.get("self", arguments.get("input"))
        in_place = self.functional(node.kind) != node.kind
        if not isinstance(source, Ref) or not (
            in_place or (node.kind in VIEWS and self._shares(node, source, arguments))
        ):
            return
        origin = self._places.get(source.name)
        if origin is None:
            return
        if origin.depth >= _MOST_DEPTH:
            raise FormatError(f"expected at most {_MOST_DEPTH} views of each other, found more")
        kind = "alias.default" if in_place else node.kind
        given = {"self": source} if in_place else dict(arguments)
        for number, name in enumerate(node.outputs):
            place = self._places.get(name)
            if place is None or place.tensor in self._reader.refused:
                continue
            place.version = self._root(origin).version
            if in_place and origin.source:  # the same view under another name
                place.source, place.number, place.depth = origin.source, origin.number, origin.depth
                place.view, place.maybe = origin.view, origin.maybe
                continue
            place.source, place.number, place.depth = source.name, number, origin.depth + 1
            place.view = Call(self._reader, kind, given, node.outputs, node.module)
            place.maybe = node.kind in _UNSURE_OF and not self._reader.program.is_dense(source.name)

    def changed(self, program: Program) -> set[str]:
        """The names of the file's tensors that a program writes to in place."""
        roots = {one.name: one.name for one in program.inputs}
        written = set()
        for node in program.nodes:
            in_place = self.functional(node.kind) != node.kind
            if not in_place and node.kind not in VIEWS:
                continue
            try:
                source = node.arguments().get("self")
            except FormatError:
                continue
            if isinstance(source, Ref) and source.name in roots:
                roots.update((name, roots[source.name]) for name in node.outputs)
                if in_place:
                    written.add(roots[source.name])
        return {one.target for one in program.inputs if one.name in written and one.kind != "user_input"}

    def _find(self, name: str) -> Place:
        place = self._places.get(name)
        if place is None:
            raise FormatError(f"{name[:80]!r}: expected to be computed before it is used, found it nowhere")
        return place

    def _root(self, place: Place) -> Place:
        while place.source:
            place = self._places[place.source]
        return place

    def _write(self, name: str, value: str, call: Call) -> None:
        """Change a tensor, and what it is a view of."""
        place = self._find(name)
        if not place.source:
            place.tensor, place.version = value, place.version + 1
            return
        if place.maybe:
            raise FormatError(f"{name!r}: {_UNSURE}")
        assert place.view is not None
        self._write(place.source, _merged(place.view, self.tensor(place.source), value, call), call)

    def _shares(self, node: Operation, source: Ref, arguments: Mapping[str, Any]) -> bool:
        """Whether an operator that copies only where it must has given a view."""
        reader = self._reader
        if node.kind.startswith("to."):
            same = reader.meta(node.outputs[0]).dtype == reader.meta(source.name).dtype
            return same and arguments.get("copy") is not True
        return node.kind != "contiguous.default" or reader.program.is_dense(source.name)


def _merged(view: Call, whole: str, part: str, call: Call) -> str:
    """The tensor that was looked at, with the part that a view shows replaced."""
    kind = view.kind
    if kind in _SAME:
        return part
    if kind in _RESHAPED:
        return call.op("Reshape", part, call.op("Shape", whole), allowzero=1)
    rank = call.rank(whole)
    if kind in _TURNED:
        perm = _perm(view, rank)
        return call.transpose(part, *(perm.index(axis) for axis in range(rank)))
    if kind in _PARTS:
        return _replaced(view, whole, part, call)
    raise FormatError(
        f"expected to write to a whole tensor or a plain part of it, found a view of {kind}; save "
        "torch.export.export(...).run_decompositions({}), which writes nowhere"
    )


def _perm(view: Call, rank: int) -> list[int]:
    perm = list(range(rank))
    if view.kind == "permute.default":
        return [view.axis(one, rank) for one in view.ints("dims")]
    first, second = ("dim0", "dim1") if view.kind == "transpose.int" else ("axis0", "axis1")
    a, b = (view.axis(view.whole(one, default), rank) for one, default in ((first, 0), (second, rank - 1)))
    perm[a], perm[b] = perm[b], perm[a]
    return perm


def _replaced(view: Call, whole: str, part: str, call: Call) -> str:
    """A tensor with some places along one axis replaced."""
    axis = view.axis(view.whole("dim", 0), call.rank(whole))
    size: Size = call.shape(whole)[axis]
    if view.kind == "select.int":
        start: int = view.whole("index")
        part, stop = call.unsqueeze(part, axis), start + 1
        stop = 1 << 62 if start == -1 else stop
    elif view.kind == "narrow.default":
        start = view.whole("start")
        stop = start + view.whole("length")
    else:
        start = view.whole("start") if view.has("start") else 0
        stop = view.whole("end") if view.has("end") else 1 << 62
        if view.whole("step", 1) != 1:
            raise FormatError("expected to write to places beside each other, found steps between them")
    parts = [part]
    if start != 0 and not (type(size) is int and start <= -size):
        parts.insert(0, call.slice(whole, axis, 0, start))
    if stop < 1 << 62 and not (type(size) is int and stop >= size):
        parts.append(call.slice(whole, axis, stop, 1 << 62))
    return part if len(parts) == 1 else call.op("Concat", *parts, axis=axis)
