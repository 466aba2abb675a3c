"""What a file holds, and how one thing is chosen from it by its name."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..weights import ConvLSTMWeights, LSTMWeights
from ..weights.named import Named

if TYPE_CHECKING:
    from ..graph import Graph

T = TypeVar("T")
Reader = Callable[[], T]
Readers = Mapping[str, Reader[T]]

KINDS: dict[type, tuple[str, str]] = {LSTMWeights: ("LSTM", "an LSTM"), ConvLSTMWeights: ("ConvLSTM", "a ConvLSTM")}
"""By what is read, the class that loads it and how to speak of one."""

ROOT = "(root)"
"""How the name of what lies at the root is shown; it may be given as well."""
MAX_PARAMETERS, FREE_PARAMETERS = 16, 1 << 20
"""Of all LSTMs together, for each byte of their file and besides: names may share bytes, as tied modules do."""


@dataclass(frozen=True)
class Contents:
    """What a file holds, each thing by the source framework's own name for it (``""`` at the root), with its reader.

    What is listed is built when its reader is called, so one LSTM that is refused does not stand in the way of another.
    The same reader under several names is one LSTM: the first is listed, each loads it.

    Parameters
    ----------
    format : str
        What to call this kind of file in messages.
    found : mapping of type to readers
        By what they read, such as LSTMWeights.
    tensors : readers
        Every tensor of the file by its name, as an array.
    named : Named, optional
        The same where each tensor's name says what it is; where `found` is empty, the door asks who knows such names.
    hint : str
        What is there when there is nothing to load.
    graph : callable, optional
        The whole model: ``graph(outputs, external_data)``, cut at some tensors, with or without files beside this one.
    file : str
        The file's name, before every message; the door adds it.
    size : int
        Of the file in bytes, which bounds what may be read from it; the door adds that, too.
    configured : bool
        Whether what the caller stated of the model was heard.
    parts : mapping of type to readers
        What has a name of its own beside what it is a part of, and is not listed.
    instead : str
        How to get the whole model where it is in the file, but not read from it.
    pieces : mapping of type to readers
        What the whole model has in pieces, beside `found`: looked at where `found` does not have what is asked for.
    """

    format: str
    found: Mapping[type, Readers[Any]]
    tensors: Readers[npt.NDArray[np.generic]] = field(default_factory=dict)
    named: Named | None = None
    hint: str = ""
    graph: Callable[[Sequence[str] | None, bool], Graph] | None = None
    file: str = ""
    size: int = 0
    configured: bool = False
    parts: Mapping[type, Readers[Any]] = field(default_factory=dict)
    instead: str = ""
    pieces: Mapping[type, Readers[Any]] = field(default_factory=dict)

    def whole(self, outputs: Sequence[str] | None = None, external_data: bool = False) -> Graph:
        """The whole model, cut at `outputs` where they are given.

        Raises
        ------
        FormatError
            The file holds weights alone, or a model that is damaged.
        """
        with named(self.file):
            if self.graph is None:
                found = self.format.removesuffix(" file")
                raise FormatError(
                    f"expected a whole model, found a {found} file; its weights alone are read (LSTM.load), "
                    f"and layers by their names (Sequential){f'; {self.instead}' * bool(self.instead)}"
                )
            return self.graph(outputs, external_data)

    def listed(self, kind: type[T]) -> dict[str, Reader[T]]:
        """Everything of a kind once, by its first name; empty where there is none."""
        once = self._once(kind)
        every = {**once, **self.pieces.get(kind, {}), **once}
        return {name: partial(self._read, reader) for name, reader in every.items()}

    def expect(self, kind: type[T]) -> dict[str, Reader[T]]:
        """The same, where there has to be one.

        Raises
        ------
        FormatError
            There is none; the message says what there is.
        """
        if not (found := self.listed(kind)):
            with named(self.file):
                others = {other: ", ".join(map(repr, self.listed(other))) for other in KINDS.keys() - {kind}}
                hint = "".join(
                    f"; found {KINDS[other][0]} {names} (use {KINDS[other][0]}.load)"
                    for other, names in others.items()
                    if names
                )
                hint = hint or f"; {self.hint}" * bool(self.hint)
                raise FormatError(f"expected {KINDS[kind][1]}, found none in this {self.format}{hint}")
        return found

    def load(self, kind: type[T], prefix: str | None = None) -> T:
        """What is called `prefix`, or the only one of its kind; those that are numbered under `prefix`, as one stack.

        Raises
        ------
        FormatError
            There is none, several and `prefix` is not one of them, or what is there is refused.
        """
        if not self.found.get(kind):
            self.expect(kind)
        with named(self.file):
            reader = self._chosen(kind, prefix)
        found: T = self._read(reader)
        return found

    def load_all(self, kind: type[T]) -> dict[str, T]:
        """Everything of a kind that can be read, by its first name; a warning says what cannot.

        Raises
        ------
        FormatError
            There is none, or none that can be read.
        """
        what, left = KINDS[kind][0], FREE_PARAMETERS + MAX_PARAMETERS * self.size
        limit, loaded, refused = left, {}, {}
        for name, read in self.expect(kind).items():
            try:
                one: Any = read()
            except FormatError as told:
                refused[name] = FormatError(f"{told} ({what} {name!r})")
                continue
            loaded[name] = one
            left -= one.num_parameters
            if left < 0:
                raise FormatError(
                    f"{self.file}: expected at most {limit} parameters in all {what}s of a file of this size, "
                    f"found more by {name!r}, which share their bytes; load one by its prefix"
                )
        for error in refused.values():
            if not loaded:
                raise error
            warnings.warn(f"left out: {error}", stacklevel=3)
        return loaded

    def arrays(self, prefix: str | None = None) -> dict[str, npt.NDArray[np.generic]]:
        """Every tensor that can be read, or those under a prefix; a warning says what cannot.

        Raises
        ------
        FormatError
            There is none, none that can be read, or they share their bytes far too often.
        """
        wanted = [name for name in self.tensors if prefix is None or _is_under(name, prefix)]
        if not wanted:
            with named(self.file):
                of = "" if prefix is None else f" under {prefix!r}"
                shown = ", ".join(map(repr, list(self.tensors)[:8]))
                raise FormatError(
                    f"expected tensors{of}, found none in this {self.format}{f', but {shown}' * bool(shown)}"
                )
        left, loaded, refused = 4 * (FREE_PARAMETERS + MAX_PARAMETERS * self.size), {}, []
        for name in wanted:
            try:
                loaded[name] = self._read(self.tensors[name])
            except FormatError as told:
                refused.append(FormatError(str(told)))  # without its frames: there may be thousands
                continue
            left -= loaded[name].nbytes
            if left < 0:
                with named(self.file):
                    raise FormatError(f"expected tensors that a file of this size justifies, found more by {name!r}")
        for error in refused:
            if not loaded:
                raise error
            warnings.warn(f"left out: {error}", stacklevel=3)
        return loaded

    def _once(self, kind: type[T]) -> dict[str, Reader[T]]:
        names: dict[Reader[T], str] = {}
        for name, reader in self.found.get(kind, {}).items():
            names.setdefault(reader, name)
        return {name: reader for reader, name in names.items()}

    def _chosen(self, kind: type[T], prefix: str | None) -> Reader[Any]:
        found, pieces = self.found.get(kind, {}), self.pieces.get(kind, {})
        what, an = KINDS[kind]
        prefix = "" if prefix == ROOT and ROOT not in found else prefix
        if prefix is None:
            once = self._once(kind) or pieces
            if len(once) > 1:
                listed = self.listed(kind)
                raise FormatError(f"expected one {what}, found {len(listed)}{self._choice(listed)}")
            return next(iter(once.values()))
        for named_here in (found, self.parts.get(kind, {}), pieces):
            if prefix in named_here:
                return named_here[prefix]
        if kind is LSTMWeights and (stack := _stack(found, prefix)):
            return stack
        for other, (loader, an_other) in KINDS.items():
            if prefix in self.found.get(other, {}):
                raise FormatError(f"expected {an} called {prefix!r}, found {an_other} (use {loader}.load)")
        raise FormatError(f"expected {an} called {prefix!r}, found {', '.join(map(repr, self.listed(kind)))}")

    def _choice(self, listed: Readers[Any]) -> str:
        """How to choose one: those that are refused are no choice."""
        names, readable = ", ".join(map(repr, listed)), []
        for name, reader in listed.items():
            try:
                reader()
            except (FormatError, ImportError):
                continue
            readable.append(name)
            if len(readable) > 1:
                return f"; choose one with prefix=: {names}"
        if not readable:
            return f", of which none can be read: {names}; `fusedlstm info` says why"
        return f", of which only {readable[0]!r} can be read: choose it with prefix={readable[0]!r} (among {names})"

    def _read(self, reader: Reader[T]) -> T:
        """Build one thing. What the weights themselves say of arrays that do not fit is said of the file."""
        with named(self.file):
            try:
                return reader()
            except FormatError:
                raise
            except ValueError as error:
                raise FormatError(str(error)) from error


def _is_under(name: str, prefix: str) -> bool:
    """Whether a tensor lies under a prefix: in whole parts, unless the prefix ends with a dot or slash itself."""
    whole = not prefix or prefix.endswith((".", "/"))
    return name == prefix or name.startswith(prefix if whole else (f"{prefix}.", f"{prefix}/"))


@contextmanager
def named(file: str) -> Iterator[None]:
    """Put the file's name before what is said of it: the one place that does."""
    try:
        yield
    except FormatError as error:
        if not file:
            raise
        raise FormatError(f"{file}: {error}") from error


def _stack(found: Readers[LSTMWeights], prefix: str) -> Reader[LSTMWeights] | None:
    """``cells.0``, ``cells.1``, …: a list of cells is a stack if its own name is asked for, and no number is missing.

    TensorFlow 1's MultiRNNCell calls them ``cell_0/lstm_cell`` and so on.
    """
    name = re.compile(
        rf"{re.escape(prefix)}{'[./]' if prefix else ''}(?:cell_)?(0|[1-9][0-9]{{0,4}})(?:/\w*lstm_cell)?"
    )
    numbered = [(int(match[1]), reader) for full, reader in found.items() if (match := name.fullmatch(full))]
    members = dict(numbered)
    if not members or sorted(members) != list(range(len(numbered))):
        return None

    def read() -> LSTMWeights:
        parts = [members[k]() for k in range(len(members))]
        for k, part in enumerate(parts):
            plain = LSTMWeights(part.layers, part.batch_first, assumed=part.assumed)
            other = any(getattr(part, option.name) != getattr(plain, option.name) for option in fields(part))
            if other or part.num_layers > 1 or part.bidirectional:
                raise FormatError(f"{prefix}: expected a list of cells to stack, found something else as number {k}")
        return replace(parts[0], layers=[layer for part in parts for layer in part.layers])

    return read
