"""Arrays to the engine and back from each of Keras's backends; gradients are those of the original."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Compute = Callable[..., list[Any]]
"""Arrays to arrays: what runs here."""
Original = Callable[[Sequence[Any]], list[Any]]
"""Tensors to tensors: what Keras computes from the same."""


def torch_call(compute: Compute, original: Original, tensors: Sequence[Any]) -> list[Any] | None:
    """On PyTorch; None where the original has to run."""
    import torch

    def plain(one: Any) -> Any:
        return one.detach().cpu().numpy()

    if torch.compiler.is_compiling() or any(one.device.type != "cpu" for one in tensors):
        return None

    class Ours(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, *given: Any) -> Any:
            ctx.save_for_backward(*given)
            return tuple(map(torch.from_numpy, compute(*map(plain, given))))

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            with torch.enable_grad():
                again = [one.detach().requires_grad_(one.is_floating_point()) for one in ctx.saved_tensors]
                made = original(again)
                wanted = [one for one in again if one.requires_grad]
                found = iter(torch.autograd.grad(made, wanted, gradients, allow_unused=True))
            return tuple(next(found) if one.requires_grad else None for one in again)

    try:
        if torch.is_grad_enabled() and any(one.requires_grad for one in tensors):
            return list(Ours.apply(*tensors))
        return list(map(torch.from_numpy, compute(*map(plain, tensors))))
    except RuntimeError:  # tensors without numbers, such as those of vmap
        return None


def tensorflow_call(
    compute: Compute, original: Original | None, tensors: Sequence[Any], shapes: Sequence[Any] | None = None
) -> list[Any]:
    """On TensorFlow: by numpy_function inside of programs; without an original, no gradients."""
    import tensorflow as tf

    if tf.executing_eagerly() and not _recording():
        return [tf.convert_to_tensor(one) for one in compute(*(one.numpy() for one in tensors))]
    if shapes is None:
        assert original is not None
        shapes = _shapes_on_tensorflow(tf, original, tensors)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def ours(*given: Any) -> Any:
        made = tf.numpy_function(compute, given, [tf.float32] * len(shapes), stateful=False)
        for one, shape in zip(made, shapes):
            one.set_shape(shape)

        def gradient(*gradients: Any) -> Any:
            if original is None:
                raise NotImplementedError(
                    "expected no gradients of what was accelerated; restore(model) brings them back"
                )
            with tf.GradientTape() as tape:
                tape.watch([one for one in given if one.dtype.is_floating])
                again = original(given)
            return tape.gradient(again, list(given), list(gradients))

        return made, gradient

    return list(ours(*tensors))


def _recording() -> bool:
    from tensorflow.python.eager import record

    return bool(record.could_possibly_record())


def _shapes_on_tensorflow(tf: Any, original: Original, tensors: Sequence[Any]) -> list[Any]:
    with tf.Graph().as_default():
        made = original([tf.compat.v1.placeholder(one.dtype, one.shape) for one in tensors])
        return [one.shape for one in made]


def jax_call(compute: Compute, original: Original, tensors: Sequence[Any]) -> list[Any] | None:
    """On JAX: by pure_callback where it traces."""
    import jax

    if not any(isinstance(one, jax.core.Tracer) for one in tensors):
        return list(map(jax.numpy.asarray, compute(*map(np.asarray, tensors))))

    def call(*given: Any) -> Any:
        shapes = jax.eval_shape(lambda *again: original(again), *given)
        return jax.pure_callback(
            lambda *arrays: tuple(compute(*map(np.asarray, arrays))), tuple(shapes), *given, vmap_method="sequential"
        )

    ours = jax.custom_vjp(call)

    def forward(*given: Any) -> Any:
        return call(*given), given

    def backward(given: Any, gradients: Any) -> Any:
        return jax.vjp(lambda *again: tuple(original(again)), *given)[1](gradients)

    ours.defvjp(forward, backward)
    return list(ours(*tensors))


CALLS = {"torch": torch_call, "tensorflow": tensorflow_call, "jax": jax_call}
