"""class StreamService: live streams over the actors of a cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from types import TracebackType
from typing import Any

import numpy.typing as npt
import ray
from ray.exceptions import GetTimeoutError, RayError

from ..lstm import LSTM
from ..model import Model
from ..pool import StreamPool
from .calls import Call, now, own, together
from .given import id_list, numbers_for, numbers_of, plain, rows_of, whole
from .moves import spread
from .sources import Source, loaded
from .table import Place, Table
from .worker import Worker


class StreamService:
    """Live streams over actors, each with a StreamPool; a stream has the bits that it would have in one pool.

    Any thread may call any method; calls of one stream run one after the other. The service belongs to the process that
    made it, and its actors end with it.

    Every `checkpoint_every` steps the state of a stream comes back with the answer. An actor that dies is replaced when
    it is next called, and its streams go on from there: `Unfinished` tells the caller how many steps to give again.

    Parameters
    ----------
    path : str, path, bytes, LSTM or Model
        What `LSTM.load` reads here, or what was loaded; actors get it from this process.
    actors : int, optional
        How many. Default: the CPUs of the cluster that are free.
    dtype, prefix : optional
        As for `Predictor`.
    checkpoint_every : int
        Answered steps that can be lost with an actor, at most. 1: none.
    max_streams : int
        Streams that may be open at once.
    max_waiting : int
        Steps that may be on their way to one actor; calls wait for room.
    spares : int
        Actors beside these that wait, with the model loaded, to take the place of one that dies: that takes as long as
        a process needs to start, otherwise.
    actor_options : dict, optional
        Of Ray, over ``{"num_cpus": 1, "scheduling_strategy": "SPREAD"}``.
    start_within : float
        Seconds that actors have to start.
    **options
        Of a model, as for `Model.stream`.

    Examples
    --------
    >>> with fusedlstm.ray.StreamService("model.safetensors", actors=8) as service:     # doctest: +SKIP
    ...     id = service.open()
    ...     y = service.step([id], x)
    """

    def __init__(
        self,
        path: Source,
        actors: int | None = None,
        *,
        dtype: npt.DTypeLike | None = None,
        prefix: str | None = None,
        checkpoint_every: int = 100,
        max_streams: int = 1 << 24,
        max_waiting: int = 1 << 16,
        spares: int = 0,
        actor_options: Mapping[str, Any] | None = None,
        start_within: float = 120.0,
        **options: Any,
    ) -> None:
        self.model: LSTM | Model = loaded(path, prefix, dtype)
        self._like = StreamPool(self.model, 1, **options)  # refuses what has no streams, and looks at arguments
        every = whole("checkpoint_every", checkpoint_every)
        if not ray.is_initialized():
            ray.init()
        model = ray.put(self.model)
        kind = ray.remote(Worker).options(
            **{"num_cpus": 1, "scheduling_strategy": "SPREAD", **(actor_options or {}), "max_restarts": 0}
        )
        self._start_within, self._scaling = start_within, Lock()
        self._spares = deque(kind.remote(model, every, options) for _ in range(whole("spares", spares, 0)))

        def hire() -> Any:
            """The spare that waits longest, or the new one itself where none does."""
            self._spares.append(kind.remote(model, every, options))
            return self._spares.popleft()

        self._table = Table(
            hire,
            whole("max_streams", max_streams),
            whole("max_waiting", max_waiting),
        )
        self.scale(max(1, int(ray.available_resources().get("CPU", 1))) if actors is None else actors)

    def open(self, state: Any = None) -> int:
        """Let a stream join, where there are fewest.

        Parameters
        ----------
        state : optional
            Where it goes on from, as `StreamPool.open` takes it.

        Raises
        ------
        RuntimeError
            `max_streams` are open, or the service was shut down.
        TypeError, ValueError
            The state does not fit.
        """
        if state is not None:
            like = self._like.open(state)
            state = self._like.state(like)
            self._like.close(like)
        with self._table.changed:
            return self._table.join(0, state)

    def close(self, id: int) -> None:
        """Let a stream leave, when the call that it is in has ended."""
        with self._table.changed:
            (live,) = self._table.take(id_list([id]))
            self._table.leave(live)

    def step(self, ids: Iterable[int], /, *x: npt.ArrayLike, at: Sequence[int] | None = None, **named: Any) -> Any:
        """Run one time step of some streams, as `StreamPool.step` does; each actor its own at the same time.

        Parameters
        ----------
        ids : sequence of int
            Which ones, each once.
        *x, **named : array_like, shape (n, ...)
            A row for each.
        at : sequence of int, optional
            The number of each one's step, from 0. The last step again is answered again, and does not run twice.

        Raises
        ------
        Unfinished
            Some have not stepped: an actor died, or refused what others took. What each is to do is in it.
        TypeError, ValueError
            As for `StreamPool.step`; no state has changed.
        """
        wanted = id_list(ids)
        numbers = None if at is None else numbers_of(at, len(wanted))
        arrays = [rows_of("x", array, len(wanted)) for array in x]
        others = {name: rows_of(name, array, len(wanted)) for name, array in named.items()}

        def send(actor: Any, ids: Sequence[int], which: Sequence[int]) -> Any:
            if len(which) == len(wanted):
                return actor.step.remote(ids, arrays, others)
            rows = [*which]
            some = {name: array[rows] for name, array in others.items()}
            return actor.step.remote(ids, [array[rows] for array in arrays], some)

        made = Call(self._table, wanted, [1] * len(wanted), numbers, together).run(send)
        return made if wanted else self._like.step([], *x, **named)

    def process(self, chunks: Mapping[int, Any], at: Mapping[int, int] | None = None) -> dict[int, Any]:
        """Run any number of time steps of some streams, as `StreamPool.process` does.

        Parameters
        ----------
        chunks : mapping of id to array_like
            Each as long as it likes.
        at : mapping of id to int, optional
            The number of each one's first step. The last call's chunk again is answered again, and does not run twice.

        Raises
        ------
        Unfinished, TypeError, ValueError
            As for `step`.
        """
        wanted, given = id_list(chunks), [*chunks.values()]
        steps = [self._like.steps_of(id, chunk) for id, chunk in zip(wanted, given)]
        given = [plain(chunk) for chunk in given]
        numbers = None if at is None else numbers_for(at, wanted)

        def send(actor: Any, ids: Sequence[int], which: Sequence[int]) -> Any:
            return actor.process.remote(ids, [given[k] for k in which], [steps[k] for k in which])

        return dict(zip(wanted, Call(self._table, wanted, steps, numbers, own).run(send)))

    def fork(self, id: int) -> int:
        """Open a stream beside another, on the same actor, that goes on from the same state and number of steps.

        Raises
        ------
        Unfinished
            The stream's actor died; there are steps to repeat first.
        """
        count, state = now(self._table, id)
        with self._table.changed:
            return self._table.join(count, state, self._table.find(id).place)

    def state(self, id: int) -> Any:
        """A stream's state, as `StreamPool.state` gives it; it is a checkpoint as well. Raises as `fork` does."""
        return own(now(self._table, id)[1])

    def count(self, id: int) -> int:
        """Steps of a stream that were answered and are in its state: the number of its next one."""
        with self._table.changed:
            self._table.expect_open()
            (id,) = id_list([id])
            return self._table.find(id).count

    def reset(self, ids: Iterable[int]) -> None:
        """Back to the initial state, and to step 0."""
        with self._table.changed:
            for live in self._table.take(id_list(ids)):
                live.count = live.saved = live.lost = 0
                live.state = live.kept = None
                live.place.fresh.append(live.checkpoint)

    def scale(self, actors: int) -> None:
        """Have so many actors, and as many streams on each; streams that move wait for some milliseconds.

        Raises
        ------
        RuntimeError
            Actors do not start, or die one after the other. All streams go on, wherever they are.
        """
        actors = whole("actors", actors)
        with self._scaling:
            with self._table.changed:
                self._table.expect_open()
                before = self._table.places
                new = [Place(self._table.hire()) for _ in range(actors - len(before))]
            try:
                ray.get([place.actor.ready.remote() for place in new], timeout=self._start_within)
            except (RayError, GetTimeoutError) as error:
                for place in new:
                    ray.kill(place.actor)
                self._table.expect_open()
                raise RuntimeError(
                    f"actors: expected {len(new)} to start within {self._start_within:g} s; found that not all did "
                    f"({type(error).__name__}: {error}); the cluster has {ray.cluster_resources().get('CPU', 0):g} CPUs"
                ) from error
            with self._table.changed:
                if self._table.closed:  # meanwhile
                    for place in new:
                        ray.kill(place.actor)
                self._table.expect_open()
                self._table.places = [*before[:actors], *new]
            leaving = before[actors:]
            try:
                spread(self._table, leaving)
            except BaseException:
                with self._table.changed:
                    self._table.places += leaving
                raise
            for place in leaving:
                ray.kill(place.actor)

    def shutdown(self) -> None:
        """End the actors; streams are no more."""
        with self._table.changed:
            self._table.closed = True
            self._table.changed.notify_all()
            if ray.is_initialized():  # or they are gone already
                for actor in (*(place.actor for place in self._table.places), *self._spares):
                    ray.kill(actor)

    def one(self, x: Any) -> tuple[npt.NDArray[Any], ...]:
        """As `StreamPool.one`; what `AsyncBatcher` asks."""
        return self._like.one(x)

    @property
    def actors(self) -> int:
        """How many there are."""
        return len(self._table.places)

    def __len__(self) -> int:
        """Streams that are open."""
        return len(self._table.lives)

    def __contains__(self, id: object) -> bool:
        """Whether a stream is open."""
        return id in self._table.lives

    def __repr__(self) -> str:
        return f"StreamService({self.model!r}, {self.actors} actors, {len(self)} open)"

    def __reduce__(self) -> Any:
        raise TypeError("service: cannot be copied or pickled; it belongs to one process, and each can make its own")

    def __enter__(self) -> StreamService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
