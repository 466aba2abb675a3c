"""GRU cells that were taken apart: found by h' = z h + (1 - z) n, and said in GRU nodes of one step or many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import FormatError
from ...weights import Activation
from ..dims import Dim
from ..draft import Draft, DraftNode
from ..evaluate import compute, evaluate
from ..graph import Graph, Value, node
from ..operators import Array
from .cells import gate
from .dense import activation_of
from .linear import Form, Linear
from .recurrent import is_zero
from .unrolled import Apart, as_before, as_step, sequence

_FUNCTIONS = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "hard_sigmoid": "HardSigmoid",
    "softsign": "Softsign",
    "elu": "Elu",
}


def named(functions: Sequence[Activation]) -> dict[str, Any] | None:
    """The attributes by which ONNX's recurrent operators say activations; None: they cannot say them."""
    if any(one.name not in _FUNCTIONS for one in functions):
        return None
    return {
        "activations": [_FUNCTIONS[one.name] for one in functions],
        "activation_alpha": [one.alpha for one in functions if one.name in ("hard_sigmoid", "elu")] or None,
        "activation_beta": [one.beta for one in functions if one.name == "hard_sigmoid"] or None,
    }


@dataclass
class Found:
    """One step.

    Parameters
    ----------
    x : list of str
        What it takes, side by side.
    h, new_h : str
        The state before and after.
    arrays : tuple of arrays
        W, R and B as ONNX has them.
    functions : tuple of Activation
        Of the gates and of what is new.
    after : bool
        Whether the reset gate acts behind the recurrent product.
    """

    x: list[str]
    h: str
    new_h: str
    arrays: tuple[Array, Array, Array]
    functions: tuple[Activation, Activation]
    after: bool

    def attributes(self, reverse: bool = False) -> dict[str, Any]:
        """Of the GRU node."""
        return {
            "hidden_size": self.arrays[1].shape[-1],
            "linear_before_reset": int(self.after),
            "direction": "reverse" if reverse else "forward",
            **(named(self.functions) or {}),
        }


def rewrite(draft: Draft) -> None:
    """Chains of steps, then single ones."""
    linear = Linear(draft)
    found = [cell for one in draft.of("Add", "Sum") if (cell := _cell(draft, linear, one)) is not None]
    following = {cell.h: cell for cell in found}
    started: set[str] = set()
    for cell in found:
        if cell.new_h in started:
            continue
        chain, apart = [cell], Apart(draft)
        while (after := following.get(chain[-1].new_h)) is not None and _alike(after, chain[-1]):
            apart.without(chain[-1].new_h)
            if not apart.holds(after.x):
                break
            chain.append(after)
        started.update(one.new_h for one in chain)
        if _checked(draft, chain[0]) and (len(chain) == 1 or _checked(draft, chain[-1])):
            _replace(draft, chain)


def _alike(one: Found, other: Found) -> bool:
    same = all(np.array_equal(a, b) for a, b in zip(one.arrays, other.arrays))
    return same and (one.functions, one.after, len(one.x)) == (other.functions, other.after, len(other.x))


def _products(draft: Draft, one: DraftNode) -> Iterator[tuple[str, str, str, str]]:
    """z, h, 1 - z and n of a sum of two products, in every order; of n + z (h - n), which is the same."""
    for n, other in (one.inputs, one.inputs[::-1]) if len(one.inputs) == 2 else ():
        product = draft.made_by(other, "Mul")
        for z, difference in (product.inputs, product.inputs[::-1]) if product is not None else ():
            minus = draft.made_by(difference, "Sub")
            if minus is not None and minus.inputs[1] == n:
                yield z, minus.inputs[0], "", n
    both = [maker for name in one.inputs if (maker := draft.made_by(name, "Mul")) is not None]
    if len(both) != 2 or len(one.inputs) != 2 or both[0] is both[1]:
        return
    for keep, write in (both, both[::-1]):
        for z, h in (keep.inputs, keep.inputs[::-1]):
            for rest, n in (write.inputs, write.inputs[::-1]):
                minus = draft.made_by(rest, "Sub")
                if minus is not None and minus.inputs[1] == z and draft.scalar(minus.inputs[0]) == 1:
                    yield z, h, rest, n


def _cell(draft: Draft, linear: Linear, one: DraftNode) -> Found | None:
    for z, h, _, n in _products(draft, one):
        update, new = gate(draft, linear, z), draft.made_by(n)
        function = activation_of(new)
        form = linear.form(new.inputs[0]) if new is not None and function is not None else None
        if update is None or form is None or function is None or linear.width(h) != len(form.bias):
            continue
        for after in (True, False):
            found = _assemble(draft, linear, update, form, h, after)
            if found is not None and named((update[0], function)) is not None:
                return Found(found[0], h, one.output, found[1], (update[0], function), after)
    return None


def _assemble(
    draft: Draft, linear: Linear, update: tuple[Activation, Form], form: Form, h: str, after: bool
) -> tuple[list[str], tuple[Array, Array, Array]] | None:
    """The inputs and the weights, if what is new is a form of them and of the reset state."""
    hidden = len(form.bias)
    sources = form.diagonals if after else form.matrices
    if after and len(form.diagonals) != 1:
        return None
    for name in sources:
        product = draft.made_by(name, "Mul")
        for r, other in (product.inputs, product.inputs[::-1]) if product is not None else ():
            reset = gate(draft, linear, r)
            if reset is None or reset[0] != update[0]:
                continue
            if after:
                inner = linear.form(other)
                inner = None if inner is None or not (form.diagonals[name] == 1).all() else inner
            else:
                inner = Form(np.zeros(hidden), {h: form.matrices[name]}) if other == h else None
            own = Form(form.bias, {key: value for key, value in form.matrices.items() if key != name})
            if inner is not None and set(inner.matrices) == {h} and not inner.diagonals:
                return _arrays([update[1], reset[1], own], inner, h, hidden)
    return None


def _arrays(forms: list[Form], inner: Form, h: str, hidden: int) -> tuple[list[str], tuple[Array, Array, Array]] | None:
    """W, R and B from the forms of z, r and n, and that of the recurrent part of n."""
    sizes = {name: len(matrix) for form in forms for name, matrix in form.matrices.items()}
    x = [name for name in sizes if name != h]
    if not x or any(form.diagonals or len(form.bias) != hidden for form in forms) or h in forms[2].matrices:
        return None
    if any(len(form.matrices.get(name, ())) not in (0, sizes[name]) for form in forms for name in sizes):
        return None

    def of(form: Form, name: str, size: int) -> Array:
        return form.matrices.get(name, np.zeros((size, hidden))).T

    w = np.concatenate([np.concatenate([of(form, name, sizes[name]) for name in x], 1) for form in forms])
    r = np.concatenate([*(of(form, h, hidden) for form in forms[:2]), of(inner, h, hidden)])
    b = np.concatenate([form.bias for form in forms] + [np.zeros(2 * hidden), inner.bias])
    return x, tuple(one[None].astype(np.float32) for one in (w, r, b))  # type: ignore[return-value]


def _checked(draft: Draft, cell: Found) -> bool:
    """Whether the nodes compute what the weights say, on random numbers."""
    wanted = [*cell.x, cell.h]
    own = draft.constants.keys() - set(wanted)
    nodes = draft.ordered([cell.new_h], set(wanted))
    made = {name for one in nodes for name in one.outputs}
    inputs = dict.fromkeys(name for one in nodes for name in one.inputs if name and name not in made | own)
    if not set(inputs) <= set(wanted) or len(nodes) > 200:
        return False
    rng, sizes, values = np.random.default_rng(0), dict[Dim, int](), {}
    for name in dict.fromkeys(wanted):
        value, shape = draft.constant(name), draft.shape(name)
        if shape is None or len(shape) < 2:
            return False
        concrete = tuple(sizes.setdefault(size, 2) if isinstance(size, Dim) else size for size in shape)
        if int(np.prod(concrete[:-1])) > 64:
            return False
        values[name] = rng.uniform(-1, 1, concrete).astype(np.float32) if value is None else value
    used = {name for one in nodes for name in one.inputs if name in own}
    constants = {name: draft.constants[name] for name in used}
    try:
        graph = Graph([Value(name) for name in inputs], [Value(cell.new_h)], [one.freeze() for one in nodes], constants)
        expected = evaluate(graph, values)[cell.new_h]
        x = np.concatenate([values[name].reshape(1, -1, values[name].shape[-1]) for name in cell.x], -1)
        h = np.broadcast_to(
            values[cell.h].reshape(1, -1, values[cell.h].shape[-1]), (1, x.shape[1], expected.shape[-1])
        )
        step = node("GRU", ["x", "w", "r", "b", "", "h"], ["", "h_n"], **cell.attributes())
        found = compute(step, [x, *cell.arrays, None, h])[1]
    except (FormatError, ValueError):
        return False
    return found.size == expected.size and np.allclose(found.reshape(-1), expected.reshape(-1), rtol=1e-4, atol=1e-5)


def _replace(draft: Draft, chain: list[Found]) -> None:
    first, last, count = chain[0], chain[-1], len(chain)
    for like in (cell.new_h for cell in chain):
        shape = draft.shape(like)
        if shape is None or sum(type(size) is not int for size in shape) > 1:
            return
    state = "" if is_zero(draft, first.h) else first.h
    if state and draft.shape(state) != draft.shape(first.new_h):
        return
    x, how = sequence(draft, chain)
    if how.get("x_batch_first"):
        x = draft.between("Transpose", [x], x, perm=(1, 0, 2))
    reverse, base = bool(how.get("reverse")), last.new_h
    given = [x, *(draft.add_constant(one, base) for one in last.arrays), "", as_step(draft, state) if state else ""]
    y, h = draft.fresh(f"{base}.y") if count > 1 else "", draft.fresh(f"{base}.h")
    old = [draft.maker[cell.new_h] for cell in chain]
    draft.add("GRU", given, [y, "" if count > 1 else h], old[-1].name, **last.attributes(reverse))
    if count == 1:
        as_before(draft, h, last.new_h)
    else:
        whole = draft.between("Squeeze", [y, draft.add_constant(np.array([1], np.int64), y)], y)
        for t, cell in enumerate(chain):
            place = draft.add_constant(np.array([count - 1 - t if reverse else t], np.int64), cell.new_h)
            as_before(draft, draft.between("Gather", [whole, place], cell.new_h, axis=0), cell.new_h)
    draft.remove(*old)
