"""Layers that run another one: TimeDistributed."""

from __future__ import annotations

from ....errors import FormatError
from ..layers import checked, config_of, is_class, name_of
from .call import Call, Held, Tensor
from .registry import LAYERS, Made, layer

_EACH_ROW = frozenset(("Dense", "Embedding", "Dropout", "Activation", "ReLU", "LeakyReLU", "ELU", "Rescaling"))
"""Layers for which a step is one more row: they run on the sequence as it is."""
_HEED_MASKS = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "GlobalAveragePooling1D", "Sequential", "Functional")


@layer("TimeDistributed", carries=True)
def _time_distributed(call: Call) -> Made:
    inner = checked(call.config.get("layer"))
    held = call.once(lambda: Held(call.held.weights.part("layer")), "layer")
    kind, x = inner["class_name"], call.x.name
    if call.mask and any(is_class(inner, one) for one in _HEED_MASKS):
        raise FormatError(f"expected an input without a mask, found one, which {kind} would heed in each step")
    if not call.keras3 and (kind == "Masking" or config_of(inner).get("mask_zero")):
        raise FormatError(f"layer: expected one that makes no mask, found {kind}")
    if kind in _EACH_ROW and kind in LAYERS and inner.get("module") in (None, "keras.layers"):
        made = LAYERS[kind](call.with_(kind=kind, config=config_of(inner), held=held, inputs=[Tensor(x)]))
        return made[0].name
    rows = _merged(call, x)
    found = call.reader.call(inner, held, f"{call.name}/{name_of(inner)}", [Tensor(rows)], {})
    if len(found) != 1:
        raise FormatError(f"layer: expected one output, found {len(found)}")
    if found[0].name in call.reader.refused:
        return found[0].name
    return _split(call, found[0].name, x)


def _merged(call: Call, x: str) -> str:
    """(batch * time, ...) of (batch, time, ...)."""
    shape = call.shape(x)
    if len(shape) < 3:
        raise FormatError(f"expected three dimensions or more, found shape {shape}")
    rest = shape[2:]
    free = [axis for axis, size in enumerate(rest) if type(size) is not int]
    if not free:
        return call.reshape(x, -1, *rest)
    sizes = [call.ints(-1), *(call.size(x, axis) for axis in range(2, len(shape)))]
    return call.typed(call.op("Reshape", x, call.op("Concat", *sizes, axis=0)), (shape[0] * shape[1], *rest), x)


def _split(call: Call, y: str, x: str) -> str:
    """(batch, time, ...) of (batch * time, ...), as x has it."""
    batch, time = call.shape(x)[:2]
    rest = call.shape(y)[1:]
    if type(time) is int and all(type(size) is int for size in rest):
        return call.reshape(y, -1, time, *rest)
    if type(batch) is int and all(type(size) is int for size in rest):
        return call.reshape(y, batch, -1, *rest)
    sizes = [call.size(x, 0), call.size(x, 1), *(call.size(y, axis) for axis in range(1, 1 + len(rest)))]
    return call.typed(call.op("Reshape", y, call.op("Concat", *sizes, axis=0)), (batch, time, *rest), y)
