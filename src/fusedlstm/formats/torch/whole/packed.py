"""Packed sequences of live modules: while torch.export traces them, they are padded ones with their lengths.

How many rows PyTorch packs depends on numbers, and so does every size that follows, which torch.export cannot trace.
Here a packed sequence keeps the tensor that was packed; a recurrent layer is an operator of ours, lengths beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

_STATES = {"lstm": 2, "gru": 1, "rnn_tanh": 1, "rnn_relu": 1}
_OPTIONS = "bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first"


@cache
def _operators(torch: Any) -> Any:
    """PyTorch's registry with our operators in it."""
    library = torch.library.Library("fusedlstm", "FRAGMENT")
    for name, states in _STATES.items():
        made = ", ".join(["Tensor"] * (states + 1))
        library.define(f"{name}(Tensor input, Tensor lengths, Tensor[] hx, Tensor[] params, {_OPTIONS}) -> ({made})")
        library.impl(name, _shapes, "Meta")
    return library


def _shapes(x: Any, lengths: Any, states: Any, params: Any, *options: Any) -> Any:
    y = x.new_empty((*x.shape[:-1], states[0].shape[-1] * (2 if options[4] else 1)))
    return (y, *(one.new_empty(one.shape) for one in states))


class _Rows:
    """What PyTorch calls the data of a packed sequence: all valid steps, which here are still where they were.

    Parameters
    ----------
    torch : module
        PyTorch.
    x, lengths : Tensor
        What was packed.
    batch_first : bool
        How its axes lie.
    zeros : bool
        Whether it has zeros behind each row's last valid step.
    """

    is_cuda = False

    def __init__(self, torch: Any, x: Any, lengths: Any, batch_first: bool, zeros: bool = False) -> None:
        self.torch, self.x, self.lengths, self.batch_first, self.zeros = torch, x, lengths, batch_first, zeros
        self.dtype, self.device = x.dtype, x.device

    @property
    def steps(self) -> Any:
        """The steps of the tensor."""
        return self.x.shape[1 if self.batch_first else 0]

    @property
    def batch(self) -> Any:
        """Its rows."""
        return self.x.shape[0 if self.batch_first else 1]

    def size(self, axis: int) -> Any:
        """The number of features, which is all that is known."""
        if axis not in (-1, self.x.dim() - 2):
            raise self.refusal("its size")
        return self.x.shape[-1]

    def dim(self) -> int:
        """One less: rows and steps are one axis."""
        return int(self.x.dim()) - 1

    def refusal(self, what: str) -> Exception:
        """What to do instead."""
        told = f"a packed sequence: {what} is not supported; pad it before (pad_packed_sequence)"
        return NotImplementedError(f"{told}, or hand on to a recurrent layer")

    def __getattr__(self, name: str) -> Any:
        raise self.refusal(f"its data's {name}")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Functions that see the features of one step give the same for steps that lie elsewhere."""
        one = next(value for value in (*args, *(kwargs or {}).values()) if isinstance(value, cls))
        torch = one.torch
        known = {torch.nn.functional.linear, torch.nn.functional.embedding, torch.nn.functional.layer_norm}
        known |= {
            getattr(torch.nn.functional, name) for name in ("dropout", "relu", "gelu", "leaky_relu", "elu", "silu")
        }
        known |= {torch.relu, torch.tanh, torch.sigmoid, torch.nn.functional.tanh, torch.nn.functional.sigmoid}
        if function not in known or args[:1] != (one,):
            raise one.refusal(getattr(function, "__name__", str(function)))
        return cls(torch, function(one.x, *args[1:], **(kwargs or {})), one.lengths, one.batch_first)


class _Longest:
    """The number of steps of the longest row, asked for only where it is needed: a plan depends on it."""

    def __init__(self, rows: _Rows) -> None:
        self.rows = rows

    def __gt__(self, other: Any) -> bool:
        return False  # total_length < longest: cannot be known yet

    def number(self) -> Any:
        """As a size of the program."""
        check, found = self.rows.torch._check, self.rows.lengths.max().item()
        check(found >= 1)
        check(found <= self.rows.steps)
        return found


class _Sizes:
    """What PyTorch calls the batch sizes: how many rows there are in each step."""

    def __init__(self, rows: _Rows) -> None:
        self.rows, self.device = rows, rows.torch.device("cpu")

    def __getitem__(self, step: int) -> Any:
        if type(step) is not int or step != 0:
            raise self.rows.refusal("a batch size other than the first")
        return self.rows.batch

    def size(self, axis: int) -> _Longest:
        """The number of steps."""
        return _Longest(self.rows)

    def __getattr__(self, name: str) -> Any:
        raise self.rows.refusal(f"its batch sizes' {name}")


def _pack(torch: Any, x: Any, lengths: Any, batch_first: bool) -> tuple[_Rows, _Sizes]:
    rows = _Rows(torch, x, lengths.to(torch.int64), batch_first)
    return rows, _Sizes(rows)


def _pad(rows: Any, sizes: Any, batch_first: bool, value: float, total: Any) -> Any:
    torch, y = rows.torch, rows.x if rows.batch_first == batch_first else rows.x.transpose(0, 1)
    axis = 1 if batch_first else 0
    if value or not rows.zeros:
        step = torch.arange(rows.steps)
        valid = step[None] < rows.lengths[:, None] if batch_first else step[:, None] < rows.lengths
        y = torch.where(valid.reshape(*valid.shape, *(1,) * (y.dim() - 2)), y, value)
    if isinstance(total, _Longest):
        return y.narrow(axis, 0, total.number()), rows.lengths
    if not torch.fx.experimental.symbolic_shapes.statically_known_true(total >= rows.steps):
        raise rows.refusal("a total_length that may be less than the steps of what was packed")
    more = [0, 0] * (y.dim() - 1 - axis) + [0, total - rows.steps]
    return torch.nn.functional.pad(y, more, value=value), rows.lengths


def _run(torch: Any, name: str, usual: Callable[..., Any], *args: Any) -> Any:
    if not isinstance(args[0], _Rows):
        return usual(*args)
    rows, _, states, *options = args
    several = list(states) if isinstance(states, (list, tuple)) else [states]
    operator = getattr(torch.ops.fusedlstm, name)
    y, *finals = operator(rows.x, rows.lengths, several, *options, rows.batch_first)
    return (_Rows(torch, y, rows.lengths, rows.batch_first, zeros=True), *finals)


@contextmanager
def packed_sequences(torch: Any) -> Iterator[None]:
    """Let torch.export trace them."""
    functions, layer = torch._VF, torch.nn.RNNBase
    _operators(torch)
    own: dict[str, Any] = {name: partial(_run, torch, name, getattr(functions, name)) for name in _STATES}
    own |= {"_pack_padded_sequence": partial(_pack, torch), "_pad_packed_sequence": _pad}
    check = layer.check_forward_args

    def checked(self: Any, x: Any, hidden: Any, sizes: Any) -> None:
        if not isinstance(sizes, _Sizes):  # whose number of rows would become the example's
            check(self, x, hidden, sizes)

    try:
        layer.check_forward_args = checked
        for name, function in own.items():
            setattr(functions, name, function)
        yield
    finally:
        layer.check_forward_args = check
        for name in own:
            delattr(functions, name)
