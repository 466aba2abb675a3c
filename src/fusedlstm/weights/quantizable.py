"""LSTMs of torch.ao.nn.quantizable before they are converted: floats, each gate matrix a Linear of its own.

``layers.{k}.layer_fw.cell.igates.weight`` (4H, input) is weight_ih_l{k}, ``hgates`` weight_hh_l{k}, ``layer_bw`` the
backward direction; a cell alone has ``igates`` and ``hgates``. With split gates there is a Linear for each of input,
forget, cell, output. The observers beside them watch and change nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np

from ..errors import FormatError
from .checked import FloatArray
from .named import Shape

Tensors = Callable[[str], FloatArray]
Recipe = tuple[Shape, Callable[[], FloatArray]]

_GATES = ("input", "forget", "cell", "output")
_PART = re.compile(
    r"(?P<path>(?:.+\.)?)(?P<which>[ih])gates\.(?:(?P<gate>input|forget|cell|output)\.)?(?P<part>weight|bias)"
)
_PLACE = re.compile(r"(?P<path>(?:.+\.)?)layers\.(?P<k>[0-9]{1,9})\.layer_(?P<way>fw|bw)\.cell\.")
_OBSERVER = re.compile(
    r"(?P<path>.+)\.(?:activation_post_process|weight_fake_quant)\.(?:eps|min_val|max_val|histogram)"
)


def plain_names(shapes: Mapping[str, Shape], tensor: Tensors) -> tuple[dict[str, Recipe], dict[str, str], set[str]]:
    """The tensors of such LSTMs by the names of nn.LSTM.

    Returns
    -------
    recipes
        Shape and reader of each by its plain name.
    refused
        What to say of a module, by its path with its dot.
    understood
        The names that are used, and those of observers.
    """
    groups: dict[str, dict[tuple[str, str], dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for name in shapes:
        if match := _PART.fullmatch(name):
            groups[match["path"]][match["which"], match["part"]][match["gate"] or ""] = name
    recipes: dict[str, Recipe] = {}
    refused: dict[str, str] = {}
    understood: set[str] = set()
    for cell, parts in groups.items():
        if ("i", "weight") not in parts or ("h", "weight") not in parts:
            continue
        place = _PLACE.fullmatch(cell)
        home, suffix = (place["path"], f"_l{place['k']}{'_reverse' * (place['way'] == 'bw')}") if place else (cell, "")
        try:
            for (which, part), names in parts.items():
                recipes[f"{home}{part}_{which}h{suffix}"] = _recipe(names, shapes, tensor)
                understood.update(names.values())
        except FormatError as error:
            refused[home] = str(error)
    if groups:
        understood |= {name for name in shapes if _OBSERVER.fullmatch(name)}
    return recipes, refused, understood


def _recipe(names: Mapping[str, str], shapes: Mapping[str, Shape], tensor: Tensors) -> Recipe:
    """One matrix or bias, whole or put together from four gates."""
    if set(names) == {""}:
        return shapes[names[""]], lambda: tensor(names[""])
    first = min(names.values())
    if set(names) != set(_GATES) or len({shapes[name] for name in names.values()}) != 1:
        raise FormatError(f"{first}: expected one such tensor for each of {', '.join(_GATES)}, found others")
    rows, *rest = shapes[first] or (0,)
    return (4 * rows, *rest), lambda: np.concatenate([tensor(names[gate]) for gate in _GATES])
