"""Activations that exporters write in several nodes: Swish, Gelu, Mish, HardSwish, Sigmoid, Softsign and so on."""

from __future__ import annotations

import math

from ..draft import Draft, DraftNode


def rewrite(draft: Draft) -> None:
    """Say each in one node."""
    for one in draft:
        rule = _RULES.get(one.op)
        if rule is not None and one.alive:
            rule(draft, one)


def replace(draft: Draft, one: DraftNode, op: str, *inputs: str, **attributes: object) -> bool:
    """A node in the place of the last one of a pattern."""
    draft.add(op, inputs, [one.output], one.name, **attributes)
    draft.remove(one)
    return True


def _is(value: float | None, wanted: float) -> bool:
    return value is not None and math.isclose(value, wanted, rel_tol=1e-4, abs_tol=1e-12)


def _mul(draft: Draft, one: DraftNode) -> bool:
    found = any(_times(draft, one, x, y) for x, y in (one.inputs, one.inputs[::-1]))
    return found or _gelu(draft, one) or _hard_sigmoid(draft, one)


def _scaled(draft: Draft, one: DraftNode) -> tuple[str, float] | None:
    """What is multiplied or divided by a number, and the factor."""
    if one.op == "Div":
        number = draft.scalar(one.inputs[1])
        return (one.inputs[0], 1 / number) if number else None
    parts = draft.parts(one)
    return None if parts is None or parts[1].size != 1 else (parts[0], float(parts[1].reshape(()).item()))


def _hard_sigmoid(draft: Draft, one: DraftNode) -> bool:
    """min(max(x + b, 0), 1 / a) a, as Keras 3 has it with a sixth."""
    scaled = _scaled(draft, one)
    clip = None if scaled is None else draft.made_by(scaled[0], "Clip")
    if scaled is None or clip is None or scaled[1] <= 0:
        return False
    factor = scaled[1]
    low, high = (draft.scalar(name) if name else None for name in (*clip.inputs[1:], "", "")[:2])
    plus = draft.parts(draft.made_by(clip.inputs[0], "Add"))
    if low != 0 or high is None or not _is(high * factor, 1) or plus is None or plus[1].size != 1:
        return False
    same = draft.types.get(plus[0]) == draft.types.get(one.output) is not None
    beta = float(plus[1].reshape(()).item()) * factor
    return same and replace(draft, one, "HardSigmoid", plus[0], alpha=factor, beta=beta)


def _times(draft: Draft, one: DraftNode, x: str, y: str) -> bool:
    """Of x f(x)."""
    f = draft.made_by(y, "Sigmoid", "HardSigmoid", "Tanh")
    if f is None:
        return False
    if f.op == "Sigmoid":
        if f.inputs[0] == x:
            return replace(draft, one, "Swish", x)
        scaled = draft.made_by(f.inputs[0], "Mul")
        parts = draft.parts(scaled)
        if parts is not None and parts[0] == x and parts[1].size == 1:
            return replace(draft, one, "Swish", x, alpha=float(parts[1].reshape(()).item()))
    elif f.op == "HardSigmoid" and f.inputs[0] == x:
        if _is(f.attributes["alpha"], 1 / 6) and _is(f.attributes["beta"], 0.5):
            return replace(draft, one, "HardSwish", x)
    elif f.op == "Tanh":
        inner = draft.made_by(f.inputs[0], "Softplus")
        if inner is not None and inner.inputs[0] == x:
            return replace(draft, one, "Mish", x)
    return False


def _factors(draft: Draft, name: str, depth: int = 0) -> tuple[float, list[str]]:
    """A product as a number and tensors."""
    one = draft.made_by(name, "Mul", "Div") if depth < 4 else None
    if one is None or (depth and draft.uses(name) > 1):
        return 1.0, [name]
    number, tensors = 1.0, []
    for index, factor in enumerate(one.inputs):
        value = draft.scalar(factor)
        if one.op == "Div" and index == 1:
            if value is None or value == 0:
                return 1.0, [name]
            number /= value
        elif value is not None:
            number *= value
        else:
            more, inner = _factors(draft, factor, depth + 1)
            number *= more
            tensors += inner
    return number, tensors


def _gelu(draft: Draft, one: DraftNode) -> bool:
    """0.5 x (1 + erf(x / sqrt 2)), or with tanh."""
    number, tensors = _factors(draft, one.output)
    if not _is(number, 0.5) or len(tensors) != 2:
        return False
    for x, other in (tensors, tensors[::-1]):
        plus = draft.parts(draft.made_by(other, "Add"))
        if plus is None or plus[1].size != 1 or not _is(float(plus[1].reshape(()).item()), 1):
            continue
        f = draft.made_by(plus[0], "Erf", "Tanh")
        if f is None:
            continue
        scale, inner = _factors(draft, f.inputs[0])
        if f.op == "Erf" and inner == [x] and _is(scale, 1 / math.sqrt(2)):
            return replace(draft, one, "Gelu", x)
        if f.op == "Tanh" and len(inner) == 1 and _is(scale, math.sqrt(2 / math.pi)) and _cubic(draft, inner[0], x):
            return replace(draft, one, "Gelu", x, approximate="tanh")
    return False


def _cubic(draft: Draft, name: str, x: str) -> bool:
    """x + 0.044715 x³."""
    plus = draft.made_by(name, "Add")
    if plus is None or x not in plus.inputs:
        return False
    other = plus.inputs[1 - plus.inputs.index(x)]
    number, tensors = _factors(draft, other)
    if tensors == [x] * 3:
        return _is(number, 0.044715)
    power = draft.made_by(tensors[0], "Pow") if len(tensors) == 1 else None
    return (
        _is(number, 0.044715) and power is not None and power.inputs[0] == x and _is(draft.scalar(power.inputs[1]), 3)
    )


def _div(draft: Draft, one: DraftNode) -> bool:
    return _reciprocal(draft, one) or _hard_sigmoid(draft, one) or _softsign(draft, one)


def _softsign(draft: Draft, one: DraftNode) -> bool:
    """x / (1 + |x|)."""
    x, kind = one.inputs[0], draft.types.get(one.output)
    plus = draft.parts(draft.made_by(one.inputs[1], "Add"))
    size = draft.made_by(plus[0], "Abs") if plus is not None and plus[1].size == 1 and plus[1].item() == 1 else None
    floats = kind is not None and kind.dtype.kind == "f" and kind == draft.types.get(x)
    return floats and size is not None and size.inputs[0] == x and replace(draft, one, "Softsign", x)


def _reciprocal(draft: Draft, one: DraftNode) -> bool:
    """1 / (1 + exp(-x))."""
    if one.op == "Div" and not _is(draft.scalar(one.inputs[0]), 1):
        return False
    plus = draft.parts(draft.made_by(one.inputs[-1], "Add"))
    if plus is None or plus[1].size != 1 or not _is(float(plus[1].reshape(()).item()), 1):
        return False
    e = draft.made_by(plus[0], "Exp")
    minus = draft.made_by(e.inputs[0], "Neg") if e is not None else None
    return minus is not None and replace(draft, one, "Sigmoid", minus.inputs[0])


def _clip(draft: Draft, one: DraftNode) -> bool:
    """Clip from 0 on, with no end."""
    limits = [draft.scalar(name) if name else None for name in (*one.inputs[1:], "", "")][:2]
    given = [bool(name) for name in (*one.inputs[1:], "", "")][:2]
    no_end = not given[1] or (limits[1] is not None and limits[1] >= 3.4e38)
    kind = draft.types.get(one.output)
    if given[0] and limits[0] == 0 and no_end and kind is not None and kind.dtype.kind == "f":
        return replace(draft, one, "Relu", one.inputs[0])
    if limits != [0, 1] or kind is None or kind.dtype.kind != "f":
        return False
    # min(max(a x + b, 0), 1), as Keras 2 has its hard sigmoid.
    plus = draft.parts(draft.made_by(one.inputs[0], "Add"))
    times = draft.parts(draft.made_by(plus[0], "Mul")) if plus is not None else None
    if plus is None or times is None or plus[1].size != 1 or times[1].size != 1 or draft.types.get(times[0]) != kind:
        return False
    alpha, beta = (float(part[1].reshape(()).item()) for part in (times, plus))
    return alpha > 0 and replace(draft, one, "HardSigmoid", times[0], alpha=alpha, beta=beta)


def _max(draft: Draft, one: DraftNode) -> bool:
    parts = draft.parts(one)
    kind = draft.types.get(one.output)
    if parts is None or kind is None or kind.dtype.kind != "f" or parts[1].any():
        return False
    return kind == draft.types.get(parts[0]) and replace(draft, one, "Relu", parts[0])


def _log(draft: Draft, one: DraftNode) -> bool:
    """log(1 + exp(x))."""
    plus = draft.parts(draft.made_by(one.inputs[0], "Add"))
    if plus is None or plus[1].size != 1 or plus[1].reshape(()).item() != 1:
        return False
    e = draft.made_by(plus[0], "Exp")
    return e is not None and replace(draft, one, "Softplus", e.inputs[0])


_RULES = {"Mul": _mul, "Div": _div, "Reciprocal": _reciprocal, "Clip": _clip, "Max": _max, "Log": _log}
