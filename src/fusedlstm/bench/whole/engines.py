"""The engines that run whole models: each behind one small adapter, its package imported when it is made."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .engine import Array, Feed, Pairs, WholeEngine, matched


class Ours(WholeEngine):
    """fusedlstm: `Model` and, along time, `Model.stream`."""

    name = "fusedlstm"
    needs = ("fusedlstm",)
    install = "fusedlstm"
    reads = ("onnx", "keras", "tflite", "pt2", "native")
    chooses_threads = False

    def __init__(self, path: Path, feed: Feed, threads: int) -> None:
        from ... import set_num_threads
        from ...model import Model

        set_num_threads(threads)
        self.model, self._feed = Model.load(path), feed
        self.call = partial(self.model, *feed.values())

    def outputs(self) -> list[Array]:
        """Call once."""
        return list(self.model.run(self._feed).values())

    def stream(self, pairs: Pairs) -> None:
        """Let a stream own the states, and step on its buffers."""
        from ..._handed import handed_over

        names, made, specs = list(self._feed), self.model.made, self.model.inputs
        states = {names[to]: made[at] for to, at in pairs.items()}
        fixed = {name: self._feed[name] for name in handed_over(self.model, states).fixed}
        rest = [name for name in names if name not in states and name not in fixed]
        # A free size of a state is its rows; without one they are those of the inputs.
        free = [
            self._feed[name].shape[k] for name in states for k, size in enumerate(specs[name].shape) if size is None
        ]
        free += [self._feed[name].shape[0] for name in rest if specs[name].shape[:1] == (None,)]
        stream = self.model.stream(free[0] if free else 1, fixed=fixed, states=states)
        stream.step(*(self._feed[name] for name in rest))  # into its buffers
        stream.state = {name: self._feed[name] for name in states}
        self.call = stream.step


class InNumPy(WholeEngine):
    """An engine that is bound to NumPy's memory: states are copied from outputs to inputs after each call."""

    _in: list[Array]
    _out: list[Array]

    def outputs(self) -> list[Array]:
        """Call once."""
        self.call()
        return [np.array(one) for one in self._out]

    def stream(self, pairs: Pairs) -> None:
        """Copy states from now on."""
        run, states = self.call, [(self._in[to], self._out[at]) for to, at in pairs.items()]

        def step() -> None:
            run()
            for to, made in states:
                np.copyto(to, made)

        self.call = step


class OnnxRuntime(InNumPy):
    """Every input and output bound to NumPy's memory."""

    name = "onnxruntime"
    needs = ("onnxruntime",)
    install = "onnxruntime"
    reads = ("onnx",)

    def __init__(self, path: Path, feed: Feed, threads: int) -> None:
        onnxruntime = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        inputs = session.get_inputs()
        self._in = matched(feed, [one.name for one in inputs], [one.shape for one in inputs])
        arrays = {one.name: array for one, array in zip(inputs, self._in, strict=True)}
        self._out = [np.ascontiguousarray(one) for one in session.run(None, arrays)]
        binding, share = session.io_binding(), onnxruntime.OrtValue.ortvalue_from_numpy
        self._in = [np.array(one) for one in self._in]  # states are handed over in them
        for one, array in zip(inputs, self._in, strict=True):
            binding.bind_ortvalue_input(one.name, share(array))
        for one, array in zip(session.get_outputs(), self._out, strict=True):
            binding.bind_ortvalue_output(one.name, share(array))
        self.call = partial(session.run_with_iobinding, binding)


class OpenVINO(InNumPy):
    """One infer request in float32, inputs and outputs in NumPy's memory; shapes are those of the call."""

    name = "openvino"
    needs = ("openvino",)
    install = "openvino"
    reads = ("onnx", "tflite")

    def __init__(self, path: Path, feed: Feed, threads: int) -> None:
        openvino = import_module("openvino")
        core = openvino.Core()
        model = core.read_model(path)
        names = [next(iter(one.get_names()), "") for one in model.inputs]
        shapes = [[d.get_length() if d.is_static else -1 for d in one.get_partial_shape()] for one in model.inputs]
        self._in = [np.array(one) for one in matched(feed, names, shapes)]
        model.reshape({k: openvino.PartialShape(list(one.shape)) for k, one in enumerate(self._in)})
        options = {
            "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
        }  # fmt: skip
        request = core.compile_model(model, "CPU", options).create_infer_request()
        for k, array in enumerate(self._in):
            request.set_input_tensor(k, openvino.Tensor(array, shared_memory=True))
        request.infer()
        self._out = [request.get_output_tensor(k).data for k in range(len(model.outputs))]
        self.call = request.infer


class LiteRT(WholeEngine):
    """The interpreter with XNNPACK; it does not let go of its memory, so arrays are copied in and out."""

    name = "litert"
    needs = ("ai_edge_litert",)
    install = "ai-edge-litert"
    reads = ("tflite",)

    def __init__(self, path: Path, feed: Feed, threads: int) -> None:
        interpreter = import_module("ai_edge_litert.interpreter").Interpreter(str(path), num_threads=threads)
        inputs = interpreter.get_input_details()
        self._in = matched(feed, [one["name"] for one in inputs], [one["shape_signature"].tolist() for one in inputs])
        for one, array in zip(inputs, self._in, strict=True):
            if tuple(one["shape"]) != array.shape:
                interpreter.resize_tensor_input(one["index"], array.shape)
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        self._into = [one["index"] for one in inputs]
        self._from = [one["index"] for one in interpreter.get_output_details()]
        self._in = [
            np.ascontiguousarray(array, one["dtype"]) for one, array in zip(inputs, self._in, strict=True)
        ]  # the file's own types
        self.call = self._call

    def _call(self) -> list[Array]:
        for index, array in zip(self._into, self._in, strict=True):
            self._interpreter.set_tensor(index, array)
        self._interpreter.invoke()
        found = [self._interpreter.get_tensor(index) for index in self._from]
        for to, at in self.pairs.items():
            self._in[to] = found[at]
        return found

    def outputs(self) -> list[Array]:
        """Call once, from zeros."""
        self._interpreter.reset_all_variables()
        return self._call()


class Tract(WholeEngine):
    """The ONNX model, optimised for its shapes. Arrays are copied in and out; one thread."""

    name = "tract"
    needs = ("tract",)
    install = "tract"
    reads = ("onnx",)
    chooses_threads = False

    def __init__(self, path: Path, feed: Feed, threads: int) -> None:
        tract = import_module("tract")
        model = tract.onnx().load(path)
        names = [model.input_name(k) for k in range(model.input_count())]
        self._in: list[Any] = matched(feed, names, [one.shape for one in feed.values()])
        for k, array in enumerate(self._in):
            model.set_input_fact(k, f"{','.join(map(str, array.shape))}{',' * bool(array.ndim)}{_tract_type(array)}")
        self._run = model.into_model().into_runnable().run
        self.call = self._call

    def _call(self) -> list[Array]:
        made = self._run(self._in)
        found = [one.to_numpy() for one in made]
        for to, at in self.pairs.items():
            self._in[to] = found[at]
        return found

    def outputs(self) -> list[Array]:
        """Call once."""
        return self._call()


def _tract_type(array: Array) -> str:
    kind = array.dtype.kind
    return "bool" if kind == "b" else f"{kind}{8 * array.dtype.itemsize}"


class Torch(WholeEngine):
    """The exported program as a module, in inference mode; tensors share NumPy's memory."""

    name = "torch"
    needs = ("torch",)
    install = "torch"
    reads = ("pt2",)

    def __init__(self, path: Path, feed: Feed, threads: int) -> None:
        torch = import_module("torch")
        torch.set_num_threads(threads)
        program = torch.export.load(path)
        self._torch, self._module, self._spec = torch, program.module(), program.call_spec.in_spec
        self._begin = [torch.from_numpy(np.array(one)) for one in feed.values()]
        self._tensors = list(self._begin)
        # Buffers that a call writes are states inside; we have an input for each, called like it.
        signature, names = program.graph_signature, list(feed)
        inside = {one: f"{one}.in" for one, _ in self._module.named_buffers() if f"{one}.in" in feed}
        self._buffers = {names.index(name): self._module.get_buffer(one) for one, name in inside.items()}
        outside = iter(place for place in range(len(names)) if place not in self._buffers)
        self._leaves = [
            (one.arg.value,) if hasattr(one.arg, "value") else next(outside)
            for one in signature.input_specs
            if one.kind.name == "USER_INPUT"
        ]
        left = ", ".join(names[place] for place in outside)
        if left:
            raise ValueError(f"expected an input for {left}, found none")
        self._arguments()
        self.call = self._call

    def _arguments(self) -> None:
        """In the program's own convention: tuples, dicts and arguments by name."""
        leaves = [self._tensors[one] if isinstance(one, int) else one[0] for one in self._leaves]
        self._args, self._named = self._torch.utils._pytree.tree_unflatten(leaves, self._spec)

    def _call(self) -> list[Any]:
        found = self._module(*self._args, **self._named)
        flat: list[Any] = self._torch.utils._pytree.tree_leaves(found)
        for to, at in self.pairs.items():
            self._tensors[to] = flat[at]
        if self.pairs:
            self._arguments()
        return flat

    def outputs(self) -> list[Array]:
        """Call once, from the states of the feed; states inside come last."""
        with self.session():
            for place, buffer in self._buffers.items():
                buffer.copy_(self._begin[place])
            return [one.numpy().copy() for one in (*self._call(), *self._buffers.values())]

    def stream(self, pairs: Pairs) -> None:
        """Buffers hand themselves over."""
        self.pairs = {to: at for to, at in pairs.items() if to not in self._buffers}

    def session(self) -> AbstractContextManager[Any]:
        """Inference mode."""
        mode: AbstractContextManager[Any] = self._torch.inference_mode()
        return mode


class Keras(WholeEngine):
    """The framework itself: jitted on JAX where that is its backend, else `predict_on_batch`."""

    name = "keras"
    needs = ("keras",)
    install = "keras jax"
    reads = ("keras",)
    chooses_threads = False

    def __init__(self, path: Path, feed: Feed, threads: int) -> None:
        keras = import_module("keras")
        model = keras.saving.load_model(path, compile=False)
        arrays = matched(feed, [one.name for one in model.inputs], [one.shape for one in model.inputs])
        given: Any = arrays if len(arrays) > 1 else arrays[0]
        self.call = partial(model.predict_on_batch, given)
        if keras.backend.backend() == "jax":
            jax = import_module("jax")
            jax.config.update("jax_cpu_enable_async_dispatch", False)
            model(given)  # builds it
            variables = [[v.value for v in some] for some in (model.trainable_variables, model.non_trainable_variables)]
            run = jax.jit(lambda x: model.stateless_call(*variables, x)[0])
            self.call, self.setting = lambda: jax.block_until_ready(run(given)), "jitted on JAX"
        self._flat = keras.tree.flatten

    def outputs(self) -> list[Array]:
        """Call once."""
        return [np.asarray(one) for one in self._flat(self.call())]

    def stream(self, pairs: Pairs) -> None:
        """Not by hand: models that keep their states have no inputs for them."""
        raise NotImplementedError("has no states to hand over")


PEERS: tuple[type[WholeEngine], ...] = (OnnxRuntime, OpenVINO, LiteRT, Tract, Torch, Keras)
