"""Cells that were found become LSTM nodes: one step, or many that follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ...errors import FormatError
from ...weights import LSTMWeights
from ..dims import Dim
from ..draft import Draft, DraftNode
from ..evaluate import compute, evaluate
from ..graph import Graph, Value, node
from .cells import Found, find
from .identities import picked
from .recurrent import is_zero


class _Step(Protocol):
    x: list[str]


def rewrite(draft: Draft) -> None:
    """Chains of cells, then single ones."""
    cells = find(draft)
    if not cells:
        return
    for chain in _chains(draft, cells):
        if _checked(draft, chain[0]) and (len(chain) == 1 or _checked(draft, chain[-1])):
            _replace(draft, chain)


def _same_weights(one: LSTMWeights, other: LSTMWeights, first: bool) -> bool:
    """Whether two steps are of one layer; the first may lack the hidden state, where it is zero."""
    a, b = one.layers[0][0], other.layers[0][0]
    arrays = dict(a.arrays), dict(b.arrays)
    if first:
        for own in arrays:
            own.pop("weight_hh")
    return (
        a.cell == b.cell
        and arrays[0].keys() == arrays[1].keys()
        and all(np.array_equal(value, arrays[1][name]) for name, value in arrays[0].items())
    )


def _chains(draft: Draft, cells: list[Found]) -> list[list[Found]]:
    """Runs of steps in which each takes the states of the one before."""
    following = {(cell.h, cell.c): cell for cell in cells}
    started: set[int] = set()
    chains = []
    for cell in cells:
        if id(cell) in started:
            continue
        chain = [cell]
        apart = Apart(draft)
        while True:
            last = chain[-1]
            apart.without(last.new_h, last.new_c)
            after = following.get((last.new_h, last.new_c))
            # The cell state between two steps must be needed by them alone.
            own = {id(joint) for joint in last.joints} | ({id(joint) for joint in after.joints} if after else set())
            if (
                after is None
                or id(after) in started
                or not _same_weights(after.weights, last.weights, len(chain) == 1 and not last.h)
                or last.new_c in draft.outputs
                or any(id(user) not in own for user in draft.users[last.new_c])
                or len(after.x) != len(last.x)
                or not apart.holds(after.x)
            ):
                break
            chain.append(after)
        started.update(map(id, chain))
        chains.append(chain)
    return chains


class Apart:
    """Whether what steps take does not come from the steps before: a decoder that is fed what it said is no layer."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._states: set[str] = set()
        self._seen: set[DraftNode] = set()  # what comes before one step cannot come after it

    def without(self, *states: str) -> None:
        """What one step makes."""
        self._states.update(states)

    def holds(self, names: Sequence[str]) -> bool:
        """Whether tensors come from elsewhere."""
        waiting, seen = list(names), set[DraftNode]()
        while waiting:
            name = waiting.pop()
            if name in self._states:
                return False
            one = self._draft.maker.get(name)
            if one is not None and one not in seen and one not in self._seen:
                seen.add(one)
                waiting += [*one.inputs, *one.captured]
        self._seen |= seen
        return True


def _checked(draft: Draft, cell: Found) -> bool:
    """Whether the nodes compute what the weights say, on random numbers."""
    wanted = [*cell.x, *filter(None, [cell.h]), cell.c]
    own = draft.constants.keys() - set(wanted)
    nodes = draft.ordered([cell.new_h, cell.new_c], set(wanted))
    made = {name for one in nodes for name in one.outputs}
    inputs = dict.fromkeys(name for one in nodes for name in one.inputs if name and name not in made | own)
    if not set(inputs) <= set(wanted) or len(nodes) > 200:
        return False
    rng = np.random.default_rng(0)
    sizes: dict[Dim, int] = {}
    values = {}
    for name in dict.fromkeys(wanted):
        value = draft.constant(name)
        shape = draft.shape(name)
        if shape is None or len(shape) < 2:
            return False
        concrete = tuple(sizes.setdefault(size, 2) if isinstance(size, Dim) else size for size in shape)
        if int(np.prod(concrete[:-1])) > 64:
            return False
        values[name] = rng.uniform(-1, 1, concrete).astype(np.float32) if value is None else value
    used = {name for one in nodes for name in one.inputs if name in own}
    try:
        graph = Graph(
            [Value(name) for name in inputs],
            [Value(cell.new_h), Value(cell.new_c)],
            [one.freeze() for one in nodes],
            {name: draft.constants[name] for name in used},
        )
        expected = evaluate(graph, values)
        step = node("fusedlstm.LSTM", ["x", "h", "c"], ["", "h_n", "c_n"], weights=cell.weights)
        x = np.concatenate([_flat(values[name]) for name in cell.x], -1)
        c = np.broadcast_to(_flat(values[cell.c]), (1, x.shape[1], cell.weights.hidden_size))
        h = _flat(values[cell.h]) if cell.h else np.zeros_like(c)
        _, new_h, new_c = compute(step, [x, np.broadcast_to(h, c.shape), c])
    except (FormatError, ValueError):
        return False
    return all(
        found.size == other.size and np.allclose(found.reshape(-1), other.reshape(-1), rtol=1e-4, atol=1e-5)
        for found, other in ((new_h, expected[cell.new_h]), (new_c, expected[cell.new_c]))
    )


def _flat(value: np.ndarray) -> np.ndarray:
    """As one step (1, batch, features)."""
    return value.reshape(1, -1, value.shape[-1])


def as_step(draft: Draft, name: str) -> str:
    """A tensor (..., features) as one step (1, batch, features)."""
    shape = draft.types[name].shape
    if len(shape) == 3 and shape[0] == 1:
        return name
    if len(shape) == 2:
        return draft.between("Unsqueeze", [name, draft.add_constant(np.array([0], np.int64), name)], name)
    wanted = np.array([1, -1, shape[-1]], np.int64)
    return draft.between("Reshape", [name, draft.add_constant(wanted, name)], name)


def as_before(draft: Draft, name: str, like: str) -> None:
    """One step (1, batch, features) under the name and in the shape of `like`."""
    shape = draft.types[like].shape
    if len(shape) == 2:
        axes = draft.add_constant(np.array([0], np.int64), like)
        draft.add("Squeeze", [name, axes], [like])
    elif len(shape) == 3 and shape[0] == 1:
        draft.add("Identity", [name], [like])
    else:
        sizes = [size if type(size) is int else -1 for size in shape]
        draft.add("Reshape", [name, draft.add_constant(np.array(sizes, np.int64), like)], [like])


def _replace(draft: Draft, chain: list[Found]) -> None:
    first, last, count = chain[0], chain[-1], len(chain)
    weights = chain[-1].weights
    for like in (cell.new_h for cell in chain):
        shape = draft.shape(like)
        if shape is None or sum(type(size) is not int for size in shape) > 1:
            return
    states = []
    for name in (first.h, first.c):
        states.append("" if not name or is_zero(draft, name) else name)
    if any(states):
        shapes = {draft.types[name].shape for name in (first.new_h, *(filter(None, states)))}
        if len(shapes) > 1:
            return
    elif count == 1 and not first.h and not is_zero(draft, first.c):
        return
    zero = "" if all(states) or not any(states) else _zeros(draft, next(filter(None, states)))
    states = [as_step(draft, name) if name else zero and as_step(draft, zero) for name in states]
    x, how = sequence(draft, chain)
    if how.pop("reverse", 0):
        weights = LSTMWeights(weights.layers, reverse=True)
    base = last.new_h
    h, y = (draft.fresh(f"{base}.h"), "") if count == 1 else ("", draft.fresh(f"{base}.y"))
    c = draft.fresh(f"{base}.c")
    old = [draft.maker[name] for cell in chain for name in (cell.new_h, cell.new_c)]
    draft.add("fusedlstm.LSTM", [x, *states], [y, h, c], old[-2].name or base, weights=weights, **how)
    for t, cell in enumerate(chain if count > 1 else ()):
        step = draft.add_constant(np.array(count - 1 - t if weights.reverse else t, np.int64), cell.new_h)
        if len(draft.types[cell.new_h].shape) == 2:
            draft.add("Gather", [y, step], [cell.new_h], axis=0)
        else:
            as_before(draft, draft.between("Gather", [y, _row(draft, step)], cell.new_h, axis=0), cell.new_h)
    if count == 1:
        as_before(draft, h, last.new_h)
    as_before(draft, c, last.new_c)
    draft.remove(*old)


def _row(draft: Draft, step: str) -> str:
    return draft.add_constant(draft.constants[step].reshape(1), step)


def _zeros(draft: Draft, like: str) -> str:
    zero = draft.add_constant(np.zeros((), draft.types[like].dtype), like)
    return draft.between("Mul", [like, zero], like)


def sequence(draft: Draft, chain: Sequence[_Step]) -> tuple[str, dict[str, int]]:
    """The inputs of a chain as one sequence, and its layout."""
    if len(chain) == 1:
        parts = [as_step(draft, name) for name in chain[0].x]
        return (parts[0] if len(parts) == 1 else draft.between("Concat", parts, parts[0], axis=2)), {}
    columns = []
    for k in range(len(chain[0].x)):
        names = [cell.x[k] for cell in chain]
        whole = _whole(draft, names)
        if whole is not None and len(chain[0].x) == 1:
            return whole
        columns.append(draft.between("Concat", [as_step(draft, name) for name in names], names[-1], axis=0))
    return (columns[0] if len(columns) == 1 else draft.between("Concat", columns, columns[0], axis=2)), {}


def place(draft: Draft, name: str) -> tuple[str, int, int] | None:
    """Of a tensor that is one place along an axis of another one: that, the axis and the place."""
    one = draft.made_by(name, "Gather", "Squeeze", "Reshape")
    if one is None:
        return None
    if one.op == "Gather":
        found = picked(draft, one)
        return (one.inputs[0], found[0], found[1]) if found is not None and found[2] else None
    inner = draft.made_by(one.inputs[0], "Slice", "Split", "Gather")
    shape = draft.shape(one.inputs[0])
    if inner is None or shape is None or len(draft.types[name].shape) != len(shape) - 1:
        return None
    if inner.op == "Split":
        axis = inner.attributes["axis"] % len(shape)
        if shape[axis] != 1 or any(draft.shape(output) != shape for output in inner.outputs if output in draft.types):
            return None
        found = (axis, inner.outputs.index(one.inputs[0]), 0)
    else:
        found = picked(draft, inner)
    if found is None or shape[: found[0]] + shape[found[0] + 1 :] != draft.types[name].shape:
        return None
    return inner.inputs[0], found[0], found[1]


def _whole(draft: Draft, names: list[str]) -> tuple[str, dict[str, int]] | None:
    """The tensor whose steps these are, if they are all of them in their order, or backwards."""
    places = [place(draft, name) for name in names]
    if any(one is None for one in places):
        return None
    sources = {(one[0], one[1]) for one in places if one is not None}
    if len(sources) != 1:
        return None
    source, axis = next(iter(sources))
    shape = draft.shape(source)
    if shape is None or len(shape) != 3 or axis > 1 or shape[axis] != len(names):
        return None
    steps = [one[2] % len(names) for one in places if one is not None]
    if steps not in (list(range(len(names))), list(range(len(names)))[::-1]):
        return None
    return source, {"x_batch_first": axis, "reverse": int(steps[0] != 0)}
