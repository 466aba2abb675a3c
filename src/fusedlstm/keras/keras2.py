"""Keras 2, as tf_keras has it: a layer's `call`."""

from __future__ import annotations

from typing import Any

from .backends import tensorflow_call
from .loop import Loop


def swap(layer: Any, loop: Loop) -> None:
    """Let a layer's loop run here."""
    import tensorflow as tf

    original = type(layer).call.__get__(layer)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def call(inputs: Any, mask: Any = None, training: Any = None, initial_state: Any = None, **more: Any) -> Any:
        given = {"mask": mask, "training": training, "initial_state": initial_state, **more}
        loop.why = loop.changed or _why(tf, layer, inputs, given)
        if loop.why:
            return original(inputs, **given)
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        x, state, _ = layer._process_inputs(inputs, initial_state, None)
        states = tf.nest.flatten(state)
        masks = [] if mask is None else [mask]
        tensors = [x, *masks, *states, *map(tf.convert_to_tensor, loop.variables)]
        first, last = 1 + len(masks), 1 + len(masks) + len(states)

        def compute(*arrays: Any) -> Any:
            return loop.run(arrays[0], arrays[1] if masks else None, arrays[first:last], arrays[last:])

        y, *rest = tensorflow_call(compute, None, tensors, _shapes(layer, x, states))
        outputs = rest.pop(0) if layer.return_sequences else y
        if layer.stateful:
            pairs = zip(tf.nest.flatten(layer.states), rest)
            layer.add_update([tf.compat.v1.assign(own, tf.cast(new, own.dtype)) for own, new in pairs])
        return [outputs, *tf.nest.pack_sequence_as(state, rest)] if layer.return_state else outputs

    object.__setattr__(layer, "call", call)


def unswap(layer: Any) -> None:
    """Undo it."""
    object.__delattr__(layer, "call")


def expect_callable(model: Any) -> None:
    """Refuse what XLA compiles."""
    if getattr(model, "_jit_compile", False):
        raise ValueError(
            "model: expected one that XLA does not compile, which cannot call out of a program; compile it with "
            "jit_compile=False"
        )


def _shapes(layer: Any, x: Any, states: Any) -> list[Any]:
    """Of the last output, all outputs where they are wanted, and the states."""
    batch, steps = x.shape[:2]
    frame = states[-2].shape[1:]
    outputs = [[batch, steps, *frame]] if layer.return_sequences else []
    return [[batch, *frame], *outputs, *([batch, *one.shape[1:]] for one in states)]


def _why(tf: Any, layer: Any, inputs: Any, given: dict[str, Any]) -> str:
    """Why the original has to run; empty where it need not."""
    x, mask = tf.nest.flatten(inputs)[0], given["mask"]
    if given["training"] is not None and not (isinstance(given["training"], (bool, int)) and not given["training"]):
        return "in training"
    if given.get("constants") is not None or layer.time_major or isinstance(x, tf.RaggedTensor):
        return "constants, ragged tensors, or time before the batch"
    if x.dtype != tf.float32:
        return "in another precision than float32"
    if mask is not None and (len(tf.nest.flatten(mask)[0].shape) != 2 or len(x.shape) != 3):
        return "a mask for each feature, or of frames"
    from tensorflow.python.eager import record

    return "with gradients" if record.could_possibly_record() else ""
