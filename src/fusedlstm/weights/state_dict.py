"""PyTorch's parameter names, shared by every format that stores a state dict.

``weight_ih_l{k}[_reverse]`` (4H, input), ``weight_hh_l{k}`` (4H, P), ``bias_ih_l{k}``, ``bias_hh_l{k}`` (4H,),
``weight_hr_l{k}`` (P, H), gates i, f, g, o; LSTMCell: the same names without ``_l{k}``
(https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html). Our native form stores their sum, ``bias_l{k}``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from . import quantizable, reparametrised
from .assumption import BATCH_FIRST
from .cell import DirectionWeights
from .checked import FloatArray
from .foreign import foreign
from .lstm import LSTMWeights
from .named import Named, Shape

Tensors = Callable[[str], FloatArray]

Reader = Callable[[], LSTMWeights]

_LAYER = r"_l[0-9]{1,9}(?:_reverse)?"
_NAME = re.compile(
    rf"(?:(?P<path>.+)\.)?(?:(?:weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?P<suffix>(?:{_LAYER})?)"
    rf"|bias(?P<sum>{_LAYER}))"
)
_PADDLE = re.compile(r"(?P<path>(?:.+\.)?)(?P<k>[0-9]{1,9})\.cell(?:_(?P<way>fw|bw))?\.(?P<role>(?:weight|bias)_[ih]h)")


def is_own(name: str) -> bool:
    """Whether a name is one of an LSTM's."""
    return _NAME.fullmatch(name) is not None


def lstms(named: Named, *, batch_first: bool | None = None) -> dict[str, Reader]:
    """Every LSTM among the tensors of a state dict, by module path.

    Parameters
    ----------
    named : Named
        The tensors. An array that is not floating-point is refused when it is read, and what is no array at once.
    batch_first : bool
        What to record. A state dict does not say: by default it is assumed.
    """

    def plain(name: str) -> FloatArray:
        return to_float32(name, named.read(name))

    shapes = dict(named.shapes)
    readers: dict[str, Callable[[], FloatArray]] = {}
    refused: dict[str, str] = {}
    understood: set[str] = set()
    for kind in (reparametrised, quantizable):
        recipes, refusals, parts = kind.plain_names(named.shapes, plain)
        shapes |= {name: shape for name, (shape, _) in recipes.items()}
        readers |= {name: reader for name, (_, reader) in recipes.items()}
        refused |= {dot.removesuffix("."): message for dot, message in refusals.items()}
        understood |= parts
    copies = _copies(shapes)

    def tensor(name: str) -> FloatArray:
        array = readers[name]() if name in readers else plain(name)
        if name in copies and not np.array_equal(plain(copies[name]), array):
            raise FormatError(f"{copies[name]}: expected a copy of {name}, found other numbers")
        return array

    groups: dict[str, set[str]] = {}
    no_arrays: dict[str, str] = {}
    copied = set(copies.values())
    for name in (*shapes, *named.others):
        if name not in copied and (match := _NAME.fullmatch(name)):
            path = match["path"] or ""
            groups.setdefault(path, set()).add(match["suffix"] or match["sum"] or "")
            if name in named.others:
                no_arrays.setdefault(path, name)
    found = {
        path: _reader(shapes, tensor, _dotted(path), suffixes, batch_first, named.max_parameters)
        for path, suffixes in groups.items()
        if _is_lstm(shapes, _dotted(path), suffixes)
    }
    for path, name in no_arrays.items():
        if path in found or not any(f"{_dotted(path)}weight_hh{suffix}" in shapes for suffix in groups[path]):
            refused[path] = f"{name}: expected a tensor or numbers, found {named.others[name]}"
    understood |= copied
    names = ((name, _owner(name, found)) for name in (*shapes, *named.others) if name not in understood)
    refused = _ea_lstms(shapes, groups) | foreign(names, found, named.ignore) | refused
    return found | {path: refusal(message) for path, message in refused.items()}


def by_prefix(
    found: Sequence[tuple[str, Mapping[str, Reader]]], aliases: Mapping[str, Reader] | None = None
) -> dict[str, Reader]:
    """Name LSTMs by module path, with the path of their state dict before it where two collide; each also by both.

    Parameters
    ----------
    found : sequence of (str, mapping of str to reader)
        For each state dict, its place in the file and its LSTMs by module path.
    aliases : mapping of str to reader, optional
        Further names, of places where the same state dict is found again.
    """
    count = Counter(short(path) for _, inner in found for path in inner)
    named: dict[str, Reader] = {}
    for outer, inner in found:
        for path, reader in inner.items():
            name = short(path) if count[short(path)] == 1 else ".".join(filter(None, (outer, path)))
            if name in named:
                raise FormatError(f"expected one LSTM called {name!r}, found two")
            named[name] = reader
    whole = [
        (".".join(filter(None, (outer, path))), reader) for outer, inner in found for path, reader in inner.items()
    ]
    twice = Counter(name for name, _ in whole)
    more = {name: reader for name, reader in whole if twice[name] == 1} | dict(aliases or {})
    return named | {name: reader for name, reader in more.items() if name not in named}


def short(path: str) -> str:
    """A module path without DataParallel's, which keeps the model in an attribute called `module`."""
    return "" if path == "module" else path.removeprefix("module.")


def refusal(message: str) -> Reader:
    """The reader of an LSTM that is refused."""

    def refuse() -> LSTMWeights:
        raise FormatError(message)

    return refuse


def laid_out(reader: Reader, batch_first: bool) -> Reader:
    """The reader of an LSTM whose file says which axis comes first."""
    return lambda: replace(reader(), batch_first=batch_first, assumed=())


def to_float32(name: str, array: npt.NDArray[np.generic]) -> FloatArray:
    """A floating-point tensor as float32."""
    if array.dtype.kind != "f":
        raise FormatError(f"{name}: expected a floating-point tensor, found dtype {array.dtype}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def bfloat16(bits: npt.NDArray[Any]) -> FloatArray:
    """bfloat16 from its bits: the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _dotted(path: str) -> str:
    return f"{path}." if path else ""


def _owner(name: str, found: Mapping[str, Reader]) -> str | None:
    """The path of the LSTM whose own name this is."""
    match = _NAME.fullmatch(name)
    return path if match and (path := match["path"] or "") in found else None


def _copies(shapes: Mapping[str, Shape]) -> dict[str, str]:
    """Paddle's second name of a tensor by its first: ``0.cell_bw.weight_ih`` for ``weight_ih_l0_reverse``."""
    found: dict[str, str] = {}
    for name in shapes:
        if match := _PADDLE.fullmatch(name):
            first = f"{match['path']}{match['role']}_l{match['k']}{'_reverse' * (match['way'] == 'bw')}"
            if shapes.get(first) == shapes[name]:
                found[first] = name
    return found


def _ea_lstms(shapes: Mapping[str, Shape], groups: Collection[str]) -> dict[str, str]:
    """What to say of EA-LSTMs, whose three gates look like a GRU's."""
    refused: dict[str, str] = {}
    for name in shapes:
        outer, _, last = name.rpartition(".")
        outer, _, module = outer.rpartition(".")
        if last == "weight" and module == "input_gate" and (gates := f"{_dotted(outer)}dynamic_gates") in groups:
            refused[gates] = f"{gates}.weight_ih: expected four gates, found an EA-LSTM's three beside {name}"
    return refused


def _is_lstm(shapes: Mapping[str, Shape], dot: str, suffixes: set[str]) -> bool:
    """Whether these names mean an LSTM, be it a damaged one; nn.GRU (3H rows) and nn.RNN (H rows) use them too."""
    for suffix in sorted(suffixes):
        ih, hh = (shapes.get(f"{dot}weight_{which}{suffix}") for which in ("ih", "hh"))
        if ih is None and hh is None:
            continue
        if ih is None or hh is None or len(ih) != 2 or len(hh) != 2 or f"{dot}weight_hr{suffix}" in shapes:
            return True
        return ih[0] != hh[0] or hh[0] not in (hh[1], 3 * hh[1])
    return False


def _reader(
    shapes: Mapping[str, Shape],
    tensor: Tensors,
    dot: str,
    suffixes: set[str],
    batch_first: bool | None,
    max_parameters: int | None,
) -> Reader:
    def read() -> LSTMWeights:
        table = _checked(shapes, dot, suffixes)
        parameters = sum(prod(shapes[name]) for layer in table for names in layer for name in names.values())
        if max_parameters is not None and parameters > max_parameters:
            raise FormatError(
                f"{dot}weight_ih{min(suffixes)}: expected at most {max_parameters} parameters in this LSTM from a file "
                f"of this size, found {parameters} that share their bytes; clone the tensors before saving"
            )
        layers = [[_direction(names, tensor) for names in layer] for layer in table]
        return LSTMWeights(layers, assumed=[BATCH_FIRST]) if batch_first is None else LSTMWeights(layers, batch_first)

    return read


def _checked(shapes: Mapping[str, Shape], dot: str, suffixes: set[str]) -> list[list[dict[str, str]]]:
    """The names of an LSTM's tensors by layer, direction and role, after all shapes are found to fit."""

    def shape(name: str) -> Shape:
        if name not in shapes:
            raise FormatError(f"{name}: expected a tensor, found none of that name")
        return shapes[name]

    def expect(name: str, expected: Shape, why: str) -> None:
        if shape(name) != expected:
            raise FormatError(f"{name}: expected shape {expected} {why}, found {shapes[name]}")

    if "" in suffixes and len(suffixes) > 1:
        raise FormatError(f"{dot}weight_ih: expected the names of nn.LSTM or of nn.LSTMCell, found both")
    numbers = {int(suffix[2:].removesuffix("_reverse")) for suffix in suffixes if suffix}
    layers = 1 + max(numbers, default=0)
    if layers > len(suffixes):  # one layer may have a number that is not worth counting up to
        shape(f"{dot}weight_ih_l{next(k for k in range(layers) if k not in numbers)}")
    directions = ("", "_reverse") if any(suffix.endswith("_reverse") for suffix in suffixes) else ("",)
    for suffix in suffixes:
        for name in (f"{dot}weight_ih{suffix}", f"{dot}weight_hh{suffix}"):
            if shapes.get(name) == (0,):
                raise FormatError(
                    f"{name}: expected numbers, found an empty tensor, as DeepSpeed's ZeRO-3 leaves it (put the parts "
                    "together with its zero_to_fp32.py) or a model that was never filled"
                )
    # Everything is measured by the first layer's recurrent weights, and the first layer's input by itself.
    first = "" if "" in suffixes else "_l0"
    hh, has_hr = shape(f"{dot}weight_hh{first}"), f"{dot}weight_hr{first}" in shapes
    if len(hh) != 2 or hh[0] % 4 or not hh[0] or not (has_hr or hh[0] == 4 * hh[1]):
        raise FormatError(f"{dot}weight_hh{first}: expected shape (4 * hidden, hidden or projection), found {hh}")
    (rows, output), hidden = hh, hh[0] // 4
    ih = shape(f"{dot}weight_ih{first}")
    if len(ih) != 2 or ih[0] != rows or not ih[1]:
        raise FormatError(f"{dot}weight_ih{first}: expected shape ({rows}, input) beside weight_hh {hh}, found {ih}")
    biases = _biases(shapes, dot, first)
    table: list[list[dict[str, str]]] = []
    width = ih[1]
    for k in range(layers):
        table.append([])
        for direction in directions:
            suffix = f"_l{k}{direction}" if first else ""
            names = {role: f"{dot}{role}{suffix}" for role in ("weight_ih", "weight_hh", *biases)}
            expect(names["weight_ih"], (rows, width), f"(4 * {hidden} and the input of layer {k})")
            expect(names["weight_hh"], (rows, output), f"as weight_hh{first}")
            for bias in biases:
                expect(names[bias], (rows,), f"(4 * {hidden})")
            if has_hr:
                names["weight_hr"] = f"{dot}weight_hr{suffix}"
                expect(names["weight_hr"], (output, hidden), f"beside weight_hh{first} {hh}")
            table[-1].append(names)
            _no_others(shapes, dot, suffix, names)
        width = output * len(directions)
    return table


def _biases(shapes: Mapping[str, Shape], dot: str, suffix: str) -> tuple[str, ...]:
    """Which biases an LSTM has: both of PyTorch's, their sum, or none."""
    if f"{dot}bias{suffix}" in shapes and suffix:
        return ("bias",)
    pair = ("bias_ih", "bias_hh")
    return pair if any(f"{dot}{bias}{suffix}" in shapes for bias in pair) else ()


def _no_others(shapes: Mapping[str, Shape], dot: str, suffix: str, names: Mapping[str, str]) -> None:
    """Refuse an LSTM tensor that the first layer lacks: leaving it out would change the numbers."""
    for role in ("bias_ih", "bias_hh", "weight_hr", "bias")[: 4 if suffix else 3]:
        name = f"{dot}{role}{suffix}"
        if role not in names and name in shapes:
            raise FormatError(f"{name}: expected no such tensor beside {', '.join(names)}, found shape {shapes[name]}")


def _direction(names: Mapping[str, str], tensor: Tensors) -> DirectionWeights:
    arrays: dict[str, Any] = {role: tensor(name) for role, name in names.items()}
    if "bias_ih" in arrays:
        # In float32, as PyTorch's kernels see them.
        arrays["bias"] = arrays.pop("bias_ih") + arrays.pop("bias_hh")
    return DirectionWeights(**arrays)
