"""Keras 3: a layer's `inner_loop`."""

from __future__ import annotations

from typing import Any

from .backends import CALLS
from .loop import Loop


def swap(layer: Any, loop: Loop) -> None:
    """Let a layer's loop run here."""
    import keras

    original = type(layer).inner_loop.__get__(layer)
    backend = keras.backend.backend()
    call = CALLS.get(backend)

    def inner_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        if keras.tree.is_nested(mask):
            mask = mask[0]
        states = keras.tree.flatten(initial_state)
        loop.why = loop.changed or _why(keras, call, sequences, states, mask, training)
        if loop.why:
            return original(sequences, initial_state, mask, training=training)
        masks = [] if mask is None else [mask]
        variables = loop.variables
        tensors = [sequences, *masks, *states, *(one.value for one in variables)]
        first, last = 1 + len(masks), 1 + len(masks) + len(states)

        def compute(*arrays: Any) -> Any:
            return loop.run(arrays[0], arrays[1] if masks else None, arrays[first:last], arrays[last:])

        def again(given: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, given[last:]))):
                packed = keras.tree.pack_sequence_as(initial_state, list(given[first:last]))
                y, outputs, final = original(given[0], packed, given[1] if masks else None, training=False)
            return [y, *([outputs] if layer.return_sequences else []), *keras.tree.flatten(final)]

        assert call is not None
        found = call(compute, again, tensors)
        if found is None:
            loop.why = "tensors that are no numbers yet, or on another device"
            return original(sequences, initial_state, mask, training=training)
        y, *rest = found
        outputs = rest.pop(0) if layer.return_sequences else y
        return y, outputs, keras.tree.pack_sequence_as(initial_state, rest)

    object.__setattr__(layer, "inner_loop", inner_loop)
    if backend == "tensorflow":
        object.__setattr__(layer, "supports_jit", False)


def unswap(layer: Any) -> None:
    """Undo it."""
    for name in ("inner_loop", "supports_jit"):
        if name in vars(layer) and (name == "inner_loop" or layer.supports_jit is False):
            object.__delattr__(layer, name)


def expect_callable(model: Any) -> None:
    """Refuse what XLA compiles on TensorFlow."""
    import keras

    if keras.backend.backend() == "tensorflow" and getattr(model, "compiled", False) and model.jit_compile is True:
        raise ValueError(
            "model: expected one that XLA does not compile, which cannot call out of a program; set "
            "model.jit_compile = False"
        )


def _why(keras: Any, call: Any, sequences: Any, states: Any, mask: Any, training: Any) -> str:
    """Why the original has to run; empty where it need not."""
    if call is None:
        return f"the backend {keras.backend.backend()} is not supported"
    if training:
        return "in training"
    if any(keras.backend.standardize_dtype(one.dtype) != "float32" for one in (sequences, *states)):
        return "in another precision than float32"
    if mask is not None and (len(mask.shape) != 2 or len(sequences.shape) != 3):
        return "a mask for each feature, or of frames"
    return ""
