"""class Model: load a whole trained model and call it."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, formats
from ._arguments import thread_count
from ._in_precision import InPrecision
from ._live import stream_of
from ._memory import ModelFromMemory
from ._model_parts import Array, Inputs, NodeTime, Planned, TensorSpec, cast, held, spec_of
from .errors import FormatError
from .graph import Graph, deciding_inputs, settled, simplify, single, specialise
from .graph.packed import Packed
from .graph.plan import plan
from .model_stream import ModelStream
from .time_stream import TimeStream

PLANS = 64
"""Plans that a model keeps, the least recently used going first; a plan is for one set of shapes."""


class Model(ModelFromMemory, InPrecision):
    """A whole model, packed and ready to run. Immutable; any number of threads may call it at once.

    Use `load`. What a call computes is planned when its shapes are first seen, and kept.

    Parameters
    ----------
    graph : Graph
        What to run.
    threads : int, optional
        The most threads a call uses.

    Attributes
    ----------
    inputs, outputs : dict
        By their names in the file: the shape, None where a size is free, and the dtype.
    made : tuple of str
        The name of each output of a call; a file may hand out one tensor twice.
    graph, simplified : Graph
        The model as the file has it, and what is left of it to run.

    Examples
    --------
    >>> import fusedlstm as fl
    >>> model = fl.Model.load("silero_vad.onnx")            # doctest: +SKIP
    >>> probability, state = model(x, state, 16000)         # doctest: +SKIP
    """

    def __init__(self, graph: Graph, threads: int | None = None) -> None:
        if not isinstance(graph, Graph):
            raise TypeError(f"graph: expected a graph, found {type(graph).__name__}; use Model.load(file)")
        if graph.refusals:
            raise FormatError(_refusal(graph.refusals))
        self._threads = thread_count("threads", threads)
        self.graph, self.simplified = settled(graph, simplify(single(graph)))
        specs = {one.name: spec_of(one, self.simplified) for one in graph.inputs}
        self.inputs = Inputs(specs, deciding_inputs(self.simplified))
        self.outputs = {one.name: spec_of(one, self.simplified) for one in self.simplified.outputs}
        self.made = tuple(one.name for one in self.simplified.outputs)
        self._looks = bool(self.inputs.narrow)  # at the values of each call
        self._packed = Packed(self.graph.precision, self._threads)
        # Without a lock, which a fork may leave locked: what is done to it is one operation each time.
        self._plans: OrderedDict[Any, Planned] = OrderedDict()
        self._last: Planned | None = None  # most calls are like the one before

    @property
    def threads(self) -> int | None:
        """The most threads a call uses. None: as many as `set_num_threads` says."""
        return self._threads

    @classmethod
    def load(
        cls,
        file: formats.Given,
        *,
        outputs: Sequence[str] | None = None,
        external_data: bool = False,
        threads: int | None = None,
    ) -> Model:
        """Load a whole model from the file that a framework wrote; no framework is needed.

        Parameters
        ----------
        file : path, bytes or binary file object
            An ONNX or TensorFlow Lite file, one of Keras or PyTorch (.keras, .h5, .pt2), or the native form (`save`).
        outputs : sequence of str, optional
            Tensors to cut the model at, by their names in the file (Keras: of layers): what lies behind them does not
            matter. Default: the file's own outputs.
        external_data : bool
            Whether tensors may lie in other files beside this one.
        threads : int, optional
            The most threads a call uses. Default: as many as `set_num_threads` says.

        Raises
        ------
        OSError
            The file is missing, a directory or unreadable.
        ImportError
            The format needs an extra (such as ``fusedlstm[onnx]``); the message names it.
        FormatError
            The file is damaged or hostile, or holds an operator that is not supported; the message names the node, and
            what can be done.
        """
        contents = formats.open(file)
        graph = contents.whole(outputs, external_data)
        with formats.named(contents.file):
            return Model(graph, threads)

    def __call__(self, /, *args: npt.ArrayLike, **kwargs: npt.ArrayLike) -> Any:
        """Run the model.

        Parameters
        ----------
        *args, **kwargs : array_like
            The inputs, in the order of `inputs` or by name.

        Returns
        -------
        ndarray, or a tuple of them
            The outputs, in the order of `outputs`.

        Raises
        ------
        TypeError, ValueError
            Inputs that are missing or do not fit; the message says what was expected.
        KeyboardInterrupt
            Ctrl-C, which ends calls in the middle.
        """
        last = self._last
        found = last.of(args) if last is not None and not kwargs and not self._looks else None
        if found is None:
            found = self._run(args, kwargs)
        return found[0] if len(found) == 1 else found

    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        """Run the model on inputs by name; outputs by name, as in the file.

        Raises
        ------
        TypeError, ValueError
            Inputs that are missing, unknown or do not fit.
        """
        last = self._last
        found = last.of(inputs) if last is not None and type(inputs) is dict and not self._looks else None
        return dict(zip(self.made, self._run((), inputs) if found is None else found))

    def stream(
        self,
        batch_size: int = 1,
        *,
        fixed: Mapping[str, npt.ArrayLike] | None = None,
        states: Mapping[str, str] | None = None,
        context: Mapping[str, int] | None = None,
        time: int | Mapping[str, int] | None = None,
        every_step: bool = False,
    ) -> ModelStream | TimeStream:
        """Open a live stream, which owns what is kept from step to step.

        That is what a file has as states among its inputs and outputs; or, where it has none, what its layers keep
        along time: forward LSTMs, GRUs and RNNs their states, convolutions and poolings the steps that they see again.

        Parameters
        ----------
        batch_size : int
            Rows that step together: the first axis of inputs where it is free, and every free size of a state.
        fixed : dict, optional
            Inputs that stay the same, such as a sampling rate.
        states : dict, optional
            The output that belongs to each state input. Default: found by names and shapes, where there is one way.
        context : dict, optional
            Inputs of which the end of one step comes again in front of the next, with how many elements of the last
            axis: Silero wants the last 64 samples, ``context={"input": 64}``. Zeros at first.
        time : int or dict, optional
            Along time: which axis of the inputs it is. Default: the one that is free beside the batch.
        every_step : bool
            Along time: whether what a model gives for the last step alone (return_sequences=False), or makes of all
            steps (global pooling, a mean or maximum over time), is wanted at each: what would come if it were the last.

        Raises
        ------
        ValueError
            More than one way to pair states, and the message shows the candidates; or a layer that cannot go along time
            step by step, such as a bidirectional one, and the message names it and says why.
        """
        return stream_of(self, batch_size, fixed, states, context, time, every_step)

    def profile(self, /, *args: npt.ArrayLike, runs: int = 100, **kwargs: npt.ArrayLike) -> list[NodeTime]:
        """Where the time of a call goes, by the nodes as the file names them, the longest first.

        Parameters
        ----------
        *args, **kwargs : array_like
            As for a call.
        runs : int
            Calls that are made; the medians of their times are returned.
        """
        arrays = self.inputs.arrays(args, kwargs)
        planned = self.planned(arrays)
        inputs = [arrays[k] for k in planned.inputs]
        spent = np.median([planned.program.profile(*inputs)[1] for _ in range(max(runs, 1))], axis=0) / 1e3
        total: dict[str, float] = {}
        operators = {}
        for node, time in zip(planned.nodes, spent):
            name = node.name or node.outputs[0]
            operators[name] = node.op
            total[name] = total.get(name, 0.0) + float(time)
        everything = sum(total.values()) or 1.0
        found = [NodeTime(name, operators[name], time, time / everything) for name, time in total.items()]
        return sorted(found, key=lambda one: -one.microseconds)

    def _run(self, args: Sequence[npt.ArrayLike], named: Mapping[str, npt.ArrayLike]) -> tuple[Array, ...]:
        arrays = self.inputs.arrays(args, named)
        planned, before = self.planned(arrays), self._last
        if before is not None and before is not planned:
            before.program.forget()
        self._last = planned
        found = planned.program.run(*[arrays[k] for k in planned.inputs])
        return cast(found, planned.casts)

    def planned(self, arrays: Sequence[Array]) -> Planned:
        """The plan for these shapes, and for the values of inputs that decide what is computed."""
        if self.inputs.deciding:
            key: Any = tuple(
                (array.shape, array.tobytes()) if name in self.inputs.deciding else array.shape
                for name, array in zip(self.inputs, arrays)
            )
        else:
            key = tuple([array.shape for array in arrays])
        plans = self._plans
        found = plans.get(key)
        if found is None:
            found = self._plan(arrays)
            plans[key] = found
            while len(plans) > PLANS:
                with suppress(KeyError):
                    plans.popitem(last=False)
        elif len(plans) > PLANS // 2:
            with suppress(KeyError):
                plans.move_to_end(key)
        return found

    def _plan(self, arrays: Sequence[Array]) -> Planned:
        shapes = {name: array.shape for name, array in zip(self.inputs, arrays)}
        for (name, spec), array in zip(self.inputs.items(), arrays):
            wanted = spec.shape
            if len(wanted) != array.ndim or any(size not in (None, own) for size, own in zip(wanted, array.shape)):
                raise ValueError(f"input {name!r}: expected {self.inputs.describe(name)}, found shape {array.shape}")
        values = {
            name: array.astype(spec.dtype)
            for (name, spec), array in zip(self.inputs.items(), arrays)
            if name in self.inputs.deciding
        }
        try:
            graph = specialise(self.simplified, shapes, values)
            program, nodes = plan(graph, self._packed)
        except FormatError as error:
            raise ValueError(str(error)) from error
        order = {name: k for k, name in enumerate(self.inputs)}
        places = {one.name: k for k, one in enumerate(graph.inputs)}
        call = _core.Call(program, tuple(order), tuple(places.get(name, array) for name, array in zip(order, arrays)))
        casts = tuple(
            (k, kind)
            for k, kind in enumerate(graph.types[one.name].dtype for one in graph.outputs)
            if kind != held(kind)
        )
        return Planned(program, nodes, tuple(order[one.name] for one in graph.inputs), call, casts)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the native form, a safetensors file that `load` reads back bit for bit, with no library but this one.

        Raises
        ------
        OSError
            The file cannot be written, or what is there is no regular file.
        ValueError
            The name has the suffix of another format.
        """
        from .formats.native.safetensors import save

        save(self.graph, path)

    def __reduce__(self) -> Any:
        """Pickle the native form, which is checked and planned again."""
        from .formats.native.safetensors import serialised

        return partial(Model.load, threads=self.threads), (serialised(self.graph),)

    def __repr__(self) -> str:
        def shown(specs: Mapping[str, TensorSpec]) -> str:
            return ", ".join(
                f"{name}: {spec.dtype.name}[{', '.join('?' if size is None else str(size) for size in spec.shape)}]"
                for name, spec in specs.items()
            )

        threads = "" if self.threads is None else f", threads={self.threads}"
        dtype = "" if self.dtype == "float32" else f", dtype={self.graph.precision}"
        return f"{type(self).__name__}({shown(self.inputs)} -> {shown(self.outputs)}{threads}{dtype})"


def _refusal(refusals: Sequence[str]) -> str:
    more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
    return (
        f"{refusals[0]}{more}; if what lies before it is enough, cut the model there: outputs=[names of the tensors "
        "that you want]"
    )
