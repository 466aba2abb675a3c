"""Layers inside of others that are no models of Keras's: where their variables are, what the others may change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import NoReturn

from ...errors import FormatError
from ...weights import Assumption, LSTMWeights
from . import lstm
from .layers import Layer, Owner
from .stated import HOW, UNTOUCHED

_CHANGING = ("WeightNormalization", "SpectralNormalization")
"""Wrappers that compute with other weights than those that are stored."""


def places(
    wanted: Sequence[Layer], stored: Collection[str], name: Callable[[str], str | None]
) -> dict[Layer, str | None]:
    """Where each layer's variables are: where storage puts it, or inside of an owner the place that fits it alone.

    A configuration names the arguments of an owner's class, storage its attributes. They are mostly the same; else the
    layer's own name tells, if the file has it, or that there is one of each.

    Parameters
    ----------
    wanted : sequence of Layer
        The LSTMs of the configuration.
    stored : collection of str
        The places of LSTMs in the file.
    name : callable
        What the file calls the layer at a place.
    """
    found: dict[Layer, str | None] = {layer: layer.path for layer in wanted if not layer.owners}
    owners = {layer.owners[0].path for layer in wanted if layer.owners}
    taken = set(found.values())

    def take(layer_key: Callable[[Layer], str], path_key: Callable[[str], str | None]) -> None:
        layers, paths = defaultdict(list), defaultdict(list)
        for layer in wanted:
            if layer not in found:
                layers[layer.owners[0].path, layer_key(layer)].append(layer)
        for path in stored if layers else ():
            if path not in taken and (owner := _ancestor(path, owners)):
                paths[owner, path_key(path)].append(path)
        for key, alone in layers.items():
            if len(alone) == len(paths[key]) == 1:
                found[alone[0]] = paths[key][0]
                taken.add(paths[key][0])

    take(lambda layer: layer.path, lambda path: path)
    take(lambda layer: layer.path.removesuffix("/cell"), lambda path: path)
    take(lambda layer: layer.names[-1], name)
    take(lambda layer: "", lambda path: "")
    return found | {layer: None for layer in wanted if layer not in found}


def _ancestor(path: str, owners: Collection[str]) -> str | None:
    """The owner that a path lies in."""
    parts = path.split("/")
    return next((above for k in range(1, len(parts)) if (above := "/".join(parts[:k])) in owners), None)


def expect_place(layer: Layer, path: str | None) -> str:
    """A place, or why there is none."""
    if path is None:
        raise FormatError(
            f"layer {layer.prefix!r}: expected one LSTM for it inside of {layer.owners[0].path!r}, found none or "
            f"several that may be it; load the other by its path, and state what it computes with {HOW}"
        )
    return path


def within(layer: Layer, weights: LSTMWeights, untouched: Collection[Owner]) -> LSTMWeights:
    """The LSTM of a layer inside of others, of which some have variables of their own."""
    for owner in layer.owners:
        if owner.kind.endswith(_CHANGING):
            raise FormatError(
                f"layer {layer.prefix!r}: expected the weights that it runs with, found {owner.kind} around it"
            )
    assumed = [Assumption("config", UNTOUCHED.format(owner.kind), HOW) for owner in untouched]
    return replace(weights, assumed=[*weights.assumed, *assumed]) if assumed else weights


def enter_directions(found: lstm.Found, layer: Layer, reader: Callable[..., LSTMWeights]) -> None:
    """A Bidirectional of two sizes: refused as a whole, and each direction by a name of its own."""
    names = [f"{layer.prefix}/{name}" for name in ("forward_layer", "backward_layer")]
    found.add(layer.prefix, layer.path, partial(_refuse_two_sizes, layer, names))
    found.parts |= {name: partial(reader, way=d) for d, name in enumerate(names)}


def _refuse_two_sizes(layer: Layer, names: Sequence[str]) -> NoReturn:
    raise FormatError(
        f"layer {layer.prefix!r}: expected a Bidirectional of one size, found two; load its directions one by one, "
        f"prefix={names[0]!r} and prefix={names[1]!r}, and merge their outputs"
    )
