"""Weights that PyTorch keeps as parts: weight norm, pruning and weight drop, put together as the module does it.

- weight norm (Salimans & Kingma 2016): w = g v / |v|, in ``weight_hh_l0_g`` and ``_v``, or since PyTorch 2.0 in
  ``parametrizations.weight_hh_l0.original0`` and ``original1``
- pruning (torch.nn.utils.prune): ``weight_hh_l0_orig`` times ``weight_hh_l0_mask``
- weight drop (AWD-LSTM, Merity et al. 2017): ``weight_hh_l0_raw``, which is the weight when nothing is dropped

A plain ``weight_hh_l0`` beside them is a copy from the last forward pass, and is not used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np

from ..errors import FormatError
from .checked import FloatArray
from .named import Shape

Tensors = Callable[[str], FloatArray]

_ROLE = r"(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))(?:_l[0-9]{1,9}(?:_reverse)?)?"
_PLAIN = re.compile(rf"(?P<path>(?:.+\.)?){_ROLE}")
_NEW = re.compile(rf"(?P<path>(?:.+\.)?)parametrizations\.(?P<role>{_ROLE})\.(?P<part>.+)")
_OLD = re.compile(rf"(?P<path>(?:.+\.)?)(?P<role>{_ROLE})_(?P<part>raw|orig|mask|g|u|v)")


Recipe = tuple[Shape, Callable[[], FloatArray]]


def plain_names(shapes: Mapping[str, Shape], tensor: Tensors) -> tuple[dict[str, Recipe], dict[str, str], set[str]]:
    """The weights that are kept as parts, by their plain names.

    Parameters
    ----------
    shapes : mapping of str to shape
        Every tensor by its full name.
    tensor : callable
        Reads one as float32.

    Returns
    -------
    recipes
        Shape and reader of each by its plain name.
    refused
        Modules (by path, with its dot) that are reparametrised in another way, and what to say of them.
    understood
        The names of all parts.
    """
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for name in shapes:
        if match := _NEW.fullmatch(name) or _OLD.fullmatch(name):
            groups.setdefault((match["path"], match["role"]), {})[match["part"]] = name
    plain = {match["path"] for name in shapes if (match := _PLAIN.fullmatch(name))} if groups else set()
    recipes: dict[str, Recipe] = {}
    refused: dict[str, str] = {}
    for (path, role), names in groups.items():
        # fastai's weight drop keeps its parts beside the module that it wraps.
        home = f"{path}module." if "raw" in names and f"{path}module." in plain else path
        try:
            recipes[home + role] = recipe(role, names, shapes, tensor)
        except FormatError as error:
            refused[home] = str(error)
    return recipes, refused, {name for names in groups.values() for name in names.values()}


def recipe(role: str, names: dict[str, str], shapes: Mapping[str, Shape], tensor: Tensors) -> Recipe:
    """The shape of a weight, and how to compute it from its parts, whose full names are given by what they are."""
    parts, first = set(names), next(iter(names.values()))
    if parts == {"raw"}:
        return shapes[first], lambda: tensor(first)
    if parts == {"orig", "mask"}:
        original, mask = names["orig"], names["mask"]
        if shapes[mask] != shapes[original]:
            raise FormatError(f"{mask}: expected shape {shapes[original]} as {original}, found {shapes[mask]}")
        return shapes[original], lambda: tensor(original) * tensor(mask)
    if parts in ({"g", "v"}, {"original0", "original1"}):
        length, direction = (names[part] for part in sorted(parts))
        _check_norm(length, shapes[length], shapes[direction])
        return shapes[direction], lambda: _weight_norm(tensor(length), tensor(direction))
    what = "spectral norm" if parts & {"u", "0._u"} else f"{role} in the parts {', '.join(sorted(parts))}"
    raise FormatError(
        f"{first}: expected a plain, weight-normed, pruned or weight-dropped tensor, found {what}; remove the "
        "parametrization before saving (torch.nn.utils.parametrize.remove_parametrizations)"
    )


def _check_norm(name: str, length: Shape, direction: Shape) -> None:
    """Lengths are one for each slice along one dimension, or a single one (dim=None)."""
    ones = (1,) * len(direction)
    slices = [(*ones[:dim], direction[dim], *ones[dim + 1 :]) for dim in range(len(direction))]
    if length != () and length not in slices:
        raise FormatError(f"{name}: expected the lengths of a weight norm over shape {direction}, found shape {length}")


def _weight_norm(length: FloatArray, direction: FloatArray) -> FloatArray:
    v = direction.astype(float)
    over = tuple(dim for dim in range(v.ndim) if length.ndim == 0 or length.shape[dim] == 1)
    with np.errstate(invalid="ignore", divide="ignore"):  # a direction of length 0 gives NaN, as in PyTorch
        weight: FloatArray = (v * (length / np.sqrt(np.square(v).sum(axis=over, keepdims=True)))).astype(np.float32)
    return weight
