"""Sizes that a file leaves open, as expressions: shape rules compute with them as with numbers.

A `Dim` is a polynomial with whole coefficients over symbols, and over quotients that do not come out even. Rules ask
``size < 0`` and the like to refuse what is wrong; a `Dim` answers no to each such question.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

_MOST_TERMS, _MOST_DEPTH = 8, 4
_MOST_TEXT = 500
_numbers = itertools.count()


@lru_cache(1 << 16)
def _number(reasons: tuple[Hashable, ...]) -> int:
    """A number for each list of reasons, so that what follows from an unknown size does not grow with its history."""
    return next(_numbers)


Size = Any
"""An int, or a `Dim`."""


class Dim:
    """A size that is not known yet; equal where it must be equal whatever the sizes of the inputs are.

    Examples
    --------
    >>> batch = Dim.symbol("batch")
    >>> print(batch * 4 + 2, (batch * 4) // 2)
    4*batch + 2 2*batch
    """

    __slots__ = ("_terms",)

    def __init__(self, terms: dict[tuple[Any, ...], int]) -> None:
        self._terms = frozenset(terms.items())

    @classmethod
    def symbol(cls, name: str) -> Dim:
        """A size with a name."""
        return cls({(name,): 1})

    @classmethod
    def unknown(cls, *reasons: Any) -> Dim:
        """The size that follows from `reasons` in a way that is not tracked."""
        return cls({(("?", _number(reasons)),): 1})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self._terms == other._terms

    def __hash__(self) -> int:
        return hash(self._terms)

    def __add__(self, other: Size) -> Size:
        terms = dict(self._terms)
        for key, count in _terms_of(other):
            terms[key] = terms.get(key, 0) + count
        return _tidy(terms, "+", self, other)

    def __mul__(self, other: Size) -> Size:
        terms: dict[tuple[Any, ...], int] = {}
        for mine, count in self._terms:
            for theirs, times in _terms_of(other):
                key = tuple(sorted(mine + theirs, key=repr))
                terms[key] = terms.get(key, 0) + count * times
        return _tidy(terms, "*", self, other)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + other * -1

    def __rsub__(self, other: Size) -> Size:
        return self * -1 + other

    def __floordiv__(self, other: Size) -> Size:
        return _divide(self, other)

    def __rfloordiv__(self, other: Size) -> Size:
        return _divide(other, self)

    def __mod__(self, other: Size) -> Size:
        return self - _divide(self, other) * other

    def __lt__(self, other: Size) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__

    def __repr__(self) -> str:
        ordered = sorted(self._terms, key=_order, reverse=True)
        parts = []
        for key, count in ordered:
            factors = [_text(one) for one in key]
            if count != 1 or not factors:
                factors.insert(0, str(count))
            parts.append("*".join(factors))
        return " + ".join(parts).replace("+ -", "- ")


def _terms_of(size: Size) -> frozenset[tuple[tuple[Any, ...], int]]:
    return size._terms if isinstance(size, Dim) else frozenset({((), int(size))} if size else ())


def _tidy(terms: dict[tuple[Any, ...], int], *reasons: Any) -> Size:
    terms = {key: count for key, count in terms.items() if count}
    if not terms or list(terms) == [()]:
        return terms.get((), 0)
    if len(terms) > _MOST_TERMS or max(map(len, terms)) > _MOST_TERMS:
        return Dim.unknown(*reasons)
    return Dim(terms)


def _divide(above: Size, below: Size) -> Size:
    """Exactly where it comes out even, by long division of polynomials; else a quotient with a name."""
    left: dict[tuple[Any, ...], int] = dict(_terms_of(above))
    found: dict[tuple[Any, ...], int] = {}
    divisor = sorted(_terms_of(below), key=_order)
    if not divisor:
        raise ZeroDivisionError("expected a size that is not 0, found 0")
    lead, times = divisor[-1]
    while left and len(found) <= _MOST_TERMS:
        key, count = max(left.items(), key=_order)
        rest = list(key)
        for factor in lead:
            if factor not in rest:
                break
            rest.remove(factor)
        else:
            if count % times == 0:
                part = Dim({tuple(rest): count // times})
                found[tuple(rest)] = count // times
                left = dict(_terms_of(Dim(left) - part * below))
                continue
        break
    if not left:
        return _tidy(found)
    common = math.gcd(*(count for size in (above, below) for _, count in _terms_of(size)))
    above, below = (_tidy({key: count // common for key, count in _terms_of(size)}) for size in (above, below))
    quotient = ("//", above, below)
    if max(_depth(above), _depth(below)) < _MOST_DEPTH and len(repr(quotient)) < 200:
        return Dim({(quotient,): 1})
    return Dim.unknown(*quotient)


def _depth(size: Size) -> int:
    """How many quotients lie inside each other."""
    atoms = [one for key, _ in _terms_of(size) for one in key if isinstance(one, tuple) and one[0] == "//"]
    return max((1 + max(map(_depth, one[1:])) for one in atoms), default=0)


def _order(term: tuple[tuple[Any, ...], int]) -> tuple[int, str]:
    return len(term[0]), repr(term[0])


def _text(atom: Any) -> str:
    if isinstance(atom, str):
        return atom
    return "?" if atom[0] == "?" else f"(({atom[1]})//{atom[2]})"


def value_of(size: Size, sizes: Mapping[str, int]) -> int | None:
    """A size where those that it is made of are known; None where one is not."""
    if not isinstance(size, Dim):
        return int(size)
    total = 0
    for key, count in size._terms:
        for atom in key:
            factor = sizes.get(atom) if isinstance(atom, str) else None
            if isinstance(atom, tuple) and atom[0] == "//":
                above, below = (value_of(one, sizes) for one in atom[1:])
                factor = above // below if above is not None and below else None
            if factor is None:
                return None
            count *= factor
        total += count
    return total


def solved(size: Dim, found: int, sizes: Mapping[str, int]) -> tuple[str, int | None] | None:
    """The name of the one unknown that a size grows with, and what it is; None where that is no whole number."""
    unknown = {atom for key, _ in size._terms for atom in key if not isinstance(atom, str) or atom not in sizes}
    if len(unknown) != 1:
        return None
    (name,) = unknown
    if not isinstance(name, str) or any(key.count(name) > 1 for key, _ in size._terms):
        return None
    first, second = (value_of(size, {**sizes, name: one}) for one in (0, 1))
    assert first is not None and second is not None
    if second == first:
        return None
    one, left = divmod(found - first, second - first)
    return name, (None if left or one < 0 else one)


def parsed(text: str) -> Size:
    """A size from what `repr` makes of one, or from Python's operators in general.

    Raises
    ------
    ValueError
        Anything else.
    """
    if len(text) > _MOST_TEXT:
        raise ValueError(f"expected a short expression of sizes, found {len(text)} characters")
    try:
        return _parsed(ast.parse(text, mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError, ZeroDivisionError) as error:
        raise ValueError(f"expected an expression of sizes, found {text[:80]!r}") from error


def _parsed(tree: ast.AST) -> Size:
    match tree:
        case ast.Name(name):
            return Dim.symbol(name)
        case ast.Constant(int() as number) if type(number) is int and abs(number) < 1 << 63:
            return number
        case ast.UnaryOp(ast.USub(), one):
            return _parsed(one) * -1
        case ast.BinOp(left, operator, right):
            first, second = _parsed(left), _parsed(right)
            match operator:
                case ast.Add():
                    return first + second
                case ast.Sub():
                    return first - second
                case ast.Mult():
                    return first * second
                case ast.FloorDiv():
                    return first // second
    raise ValueError("expected an expression of sizes, found another")


def known(shape: tuple[Size, ...]) -> bool:
    """Whether every size of a shape is a number."""
    return all(type(size) is int for size in shape)
