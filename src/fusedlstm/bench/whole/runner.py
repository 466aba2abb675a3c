"""Compare the outputs of one model in every engine, then time them in turn, calls or steps of a stream."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..._handed import handed_over
from ..peers.base import Beside, fastest, installed
from ..runner import quartiles, times_in_turn
from ..session import EngineCrashError, Session
from .convert import Converted, forms
from .engine import Array, Feed, Pairs, WholeEngine, difference
from .engines import PEERS, Ours

SAME = 1e-3
"""The largest difference from our outputs, of the largest number, that is rounding; more is another function."""

STARTING = 2.0
"""Seconds that a new process runs before its first model is timed: calls were up to four times slower then."""
_started: list[str] = []


@dataclass(frozen=True)
class Timed:
    """One engine's figures."""

    microseconds: float
    """Median time of a call."""
    quartiles: tuple[float, float]
    difference: float
    """Largest difference from our outputs, of the largest number in each; of ours: 0."""
    how: str = ""
    """How the model came to it, and other notes."""


@dataclass(frozen=True)
class ModelRow(Beside):
    """What was measured of one model with one number of threads."""

    name: str
    threads: int
    stream: bool
    """Steps of a stream, states handed over; else calls."""
    engines: dict[str, Timed]
    """By name; fusedlstm's first."""
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> Timed:
        """fusedlstm's."""
        return self.engines[Ours.name]

    @property
    def title(self) -> str:
        """Which row this is."""
        return self.name + (", stream" if self.stream else "")


@dataclass(frozen=True)
class Measured:
    """A model to measure."""

    name: str
    path: Path
    feed: Feed
    forms: Sequence[Converted]
    """The file, and what was made of it for other engines."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Conversions that could not be made, and why."""
    states: Mapping[str, str] | None = None
    """The output of each state input. Default: as `Model.stream` finds them; none where there is more than one way."""


def rows_of(
    models: Iterable[tuple[str, Path, Feed]],
    threads: Sequence[int],
    seconds: float,
    made: Path,
    progress: Callable[[int, int], None],
    peers: Sequence[type[WholeEngine]] = PEERS,
    states: Mapping[str, str] | None = None,
) -> list[ModelRow]:
    """Convert each model once, into a folder of its own in `made`, and measure it with each number of threads."""
    models, ready = list(models), []
    total, done = (1 + len(threads)) * len(models), 0
    for name, path, feed in models:
        progress(done, total)
        folder = made / f"forms{done}"  # one file may be there with several sizes
        folder.mkdir()
        wanted = {kind for peer in peers for kind in peer.reads}
        ready.append(Measured(name, path, feed, *forms(path, feed, folder, wanted), states))
        done += 1
    rows: list[ModelRow] = []
    for count in threads:
        with Session(count) as session:
            for model in ready:
                progress(done, total)
                rows += _measured(session, model, count, seconds, peers)
                done += 1
    progress(done, total)
    return rows


def _measured(
    session: Session, model: Measured, threads: int, seconds: float, peers: Sequence[type[WholeEngine]]
) -> list[ModelRow]:
    """Measure in another process, without the peers that end it."""
    try:
        return session.run(measure, model.name, model, threads, seconds, peers)
    except EngineCrashError:
        whole = [kind for kind in peers if not _crashes(session, model, threads, kind)]
    try:
        rows = session.run(measure, model.name, model, threads, seconds, whole)
    except EngineCrashError:  # one beside the other
        whole = []
        rows = session.run(measure, model.name, model, threads, seconds, whole)
    crashed = {kind.name: "it crashed, and the process with it" for kind in peers if kind not in whole}
    return [replace(row, left_out={**row.left_out, **crashed}) for row in rows]


def _crashes(session: Session, model: Measured, threads: int, kind: type[WholeEngine]) -> bool:
    try:
        session.run(measure, model.name, model, threads, 0.0, [kind])
    except EngineCrashError:
        return True
    return False


def as_json(about: dict[str, Any], rows: Sequence[ModelRow]) -> str:
    """Everything, for a file."""
    return json.dumps({**about, "models": [asdict(row) for row in rows]}, indent=1) + "\n"


def measure(
    model: Measured, threads: int, seconds: float, peers: Sequence[type[WholeEngine]] = PEERS
) -> list[ModelRow]:
    """Measure one file: a row for calls, and one for a stream's steps where the file has states.

    Raises
    ------
    ValueError, ImportError
        We cannot run the file ourselves.
    """
    ours = Ours(model.path, model.feed, threads)
    wanted, pairs = ours.outputs(), states(ours, model.states)
    rows = [_row(model, ours, wanted, threads, seconds, peers, None)]
    if pairs:
        ours = Ours(model.path, model.feed, threads)
        try:
            ours.stream(pairs)
        except ValueError as error:  # what was measured is no less true
            told = {**rows[0].left_out, "a step of a stream": _reason(error)}
            return [replace(rows[0], left_out=told)]
        rows.append(_row(model, ours, wanted, threads, seconds, peers, pairs))
    return rows


def states(ours: Ours, said: Mapping[str, str] | None = None) -> Pairs:
    """Which outputs are the states that the next call takes, by their places; none where the model has no such."""
    inputs, made = list(ours.model.inputs), list(ours.model.made)
    paired = handed_over(ours.model, said).states
    return {inputs.index(to): made.index(at) for to, at in paired.items()}


def _row(
    model: Measured,
    ours: Ours,
    wanted: Sequence[Array],
    threads: int,
    seconds: float,
    peers: Sequence[type[WholeEngine]],
    pairs: Pairs | None,
) -> ModelRow:
    engines: list[WholeEngine] = [ours]
    apart, left_out = {Ours.name: 0.0}, dict(model.failed)
    for kind in peers:
        ways, error = _ways(kind, model, wanted, threads, pairs, left_out)
        if ways:
            best = _fastest(ways)
            engines.append(ways[best])
            apart[kind.name] = error[best]
    if seconds and not _started:
        _started.append(model.name)
        times_in_turn(engines, threads, STARTING)
    times, _ = times_in_turn(engines, threads, seconds)
    figures = {}
    for engine, record in zip(engines, times, strict=True):
        low, median, high = quartiles(record)
        how = ", ".join(filter(None, (engine.setting, engine.note)))
        figures[engine.name] = Timed(median, (low, high), apart[engine.name], how)
    return ModelRow(model.name, threads, pairs is not None, figures, left_out)


_PLACE = re.compile(r"(Exception from|Check '.*' failed at|FrontEnd API failed with) \S+:\s*")


def _reason(problem: Exception) -> str:
    """The first line that says something: OpenVINO's begin with places in its sources, others end with a colon."""
    lines = [_PLACE.sub("", line.strip()) for line in str(problem).splitlines()]
    told = [line for line in lines if line] or [type(problem).__name__]
    whole = next((k for k, line in enumerate(told) if not line.endswith(":")), 0)
    return " ".join(told[: whole + 1])[:200]


def _fastest(ways: Sequence[WholeEngine]) -> int:
    return fastest({k: one.call for k, one in enumerate(ways)}, lambda k: ways[k].session())


def _ways(
    kind: type[WholeEngine],
    model: Measured,
    wanted: Sequence[Array],
    threads: int,
    pairs: Pairs | None,
    left_out: dict[str, str],
) -> tuple[list[WholeEngine], list[float]]:
    """An engine on every form of the model that it reads, with one thread and with all; their differences from us."""
    ways: list[WholeEngine] = []
    errors: list[float] = []
    forms_of_it = [form for form in model.forms if form.kind in kind.reads]
    if not forms_of_it:
        left_out[kind.name] = f"reads {' and '.join(kind.reads)}, and nothing here made that of the file"
    elif not installed(kind):
        left_out[kind.name] = f"not installed: pip install {kind.install}"
        return ways, errors
    for form in forms_of_it:
        for count in dict.fromkeys((threads, 1) if kind.chooses_threads else (threads,)):
            try:
                engine = kind(form.path, model.feed, count)
                found = engine.outputs()
                if len(found) < len(wanted):
                    raise ValueError(f"expected {len(wanted)} outputs, found {len(found)}")
                apart, which = difference(wanted, found)
                if apart > SAME:
                    raise ValueError(f"other outputs than ours: off by {apart:.1e}")
                if pairs is not None:
                    engine.stream({to: which[at] for to, at in pairs.items()})
            except Exception as problem:  # a peer's, of any kind: it must not end the run
                left_out[" on ".join(filter(None, (kind.name, form.how)))] = _reason(problem)
                break
            engine.setting = engine.setting or form.how
            engine.note = f"{count} thread" if count != threads else ""
            ways.append(engine)
            errors.append(apart)
    return ways, errors
