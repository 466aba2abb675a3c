"""A whole Keras model as a `Graph`: its configuration read as data, layer by layer. Nothing of Keras is imported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ....errors import FormatError
from ....graph.builder import Builder, TooManyError
from ....graph.graph import MAX_NODES, Graph, Value
from ..layers import MAX_DEPTH, checked, children, class_name, config_of, is_class, name_of
from . import (
    activations,
    attention,
    conv_recurrent,
    convolution,
    core,
    merging,
    moves,
    normalisation,
    op_layers,
    operators,
    pooling,
    recurrent,
    shapes,
    wrappers,
)
from .arguments import Arguments, applied, named
from .call import INT64, Call, Held, Tensor
from .functional import Functional, is_model
from .inputs import input_of, sequential_input
from .nodes import ends
from .refused import expect_inference, reason
from .registry import LAYERS, OPERATORS, Entry
from .weights import Weights

__all__ = ["FAMILIES", "Reader", "read_graph"]

FAMILIES = [activations, attention, conv_recurrent, convolution, core, merging, moves, normalisation]
FAMILIES += [op_layers, operators, pooling, recurrent, shapes, wrappers]
"""Where layers and operators are entered."""
_LENT = "mask: expected an input that the masked model alone takes, found another layer that does"


def read_graph(item: Any, version: str | None, weights: Weights, outputs: Sequence[str] | None = None) -> Graph:
    """The model of a configuration.

    Parameters
    ----------
    item : object
        The configuration.
    version : str or None
        Keras's.
    weights : Weights
        Where its variables are.
    outputs : sequence of str, optional
        Tensors to cut the model at, by the names of the layers that make them.

    Raises
    ------
    FormatError
        A configuration that is damaged, or no model of Keras's. Layers that cannot be run are marked in the graph
        (`Graph.refusals`).
    """
    reader = Reader(version)
    item = checked(item)
    if not is_model(item):
        raise FormatError(
            f"expected a Sequential or Functional model, found {class_name(item)!r}, whose code is not in the file; "
            "build it from functional parts and save that"
        )
    inputs = [reader.input(value) for value in _inputs(item)]
    found = reader.model(item, weights, "", [Tensor(name) for name in inputs])
    if outputs is None:
        return reader.finish(reader.named(found, _output_names(item)), name_of(item))
    missing = [name for name in outputs if name not in reader.made]
    if missing:
        known = ", ".join(list(reader.made)[:40])
        raise FormatError(f"outputs: expected names of layers ({known}), found {str(missing[0])[:80]!r}")
    return reader.finish({name: reader.made[name].name for name in outputs}, name_of(item))


def _inputs(item: dict[str, Any]) -> list[Value]:
    if is_class(item, "Sequential"):
        return [sequential_input(item)]
    items = {name_of(one): one for one in children(item)}
    found = ends(config_of(item).get("input_layers"), items, "input_layers")
    return [input_of(items[ref.layer]) for ref in found if ref.layer in items]


def _output_names(item: dict[str, Any]) -> list[str]:
    """The layers that a model's outputs come from."""
    items = {name_of(one): one for one in children(item)}
    if is_class(item, "Sequential"):
        return [list(items)[-1]]
    return [ref.layer for ref in ends(config_of(item).get("output_layers"), items, "output_layers")]


class Reader:
    """One reading of one model.

    Attributes
    ----------
    graph : Builder
        What is written.
    made : dict
        The outputs of layers: ``dense``, ``lstm:1`` for the second of what it gives.
    refused : set
        Tensors that cannot be computed.
    states : dict
        By the name of each state input the output that it becomes.
    """

    def __init__(self, version: str | None) -> None:
        self.graph = Builder()
        self.made: dict[str, Tensor] = {}
        self.states: dict[str, str] = {}
        self.refused: set[str] = set()
        self.version = version
        self._outputs: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self._lent: set[str] = set()
        self._calls = 0
        self._depth = 0

    def input(self, value: Value) -> str:
        """An input of the model."""
        return self.graph.input(value)

    def model(
        self, item: dict[str, Any], weights: Weights, prefix: str, inputs: Sequence[Tensor], memory: Any = None
    ) -> list[Tensor]:
        """The outputs of a model, or one nested in another; `memory` is what its calls share."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooManyError(f"expected at most {MAX_DEPTH} nested models, found more")
        items = [checked(one) for one in children(item)]
        memory = {} if memory is None else memory
        if "held" not in memory:
            parts = weights.layers([one["class_name"] for one in items], [name_of(one) for one in items])
            memory["held"] = [Held(part) for part in parts]
        try:
            if is_class(item, "Sequential"):
                return self._sequential(items, memory["held"], prefix, inputs)
            if "functional" not in memory:
                memory["functional"] = Functional(item, items, memory["held"])
            found: list[Tensor] = memory["functional"].run(self, prefix, inputs)
            return found
        finally:
            self._depth -= 1

    def _sequential(
        self, items: Sequence[dict[str, Any]], held: Sequence[Held], prefix: str, inputs: Sequence[Tensor]
    ) -> list[Tensor]:
        found = list(inputs)
        for one, own in zip(items, held):
            if not is_class(one, "InputLayer"):
                argument = found[0] if len(found) == 1 else found
                found = self.call(one, own, f"{prefix}{name_of(one)}", [argument], {})
        return found

    def call(
        self, item: dict[str, Any], held: Held, name: str, args: Sequence[Any], arguments: Mapping[str, Any]
    ) -> list[Tensor]:
        """The outputs of one call of a layer, or of a model inside."""
        self._calls += 1
        if self._calls > MAX_NODES:
            raise TooManyError(f"expected at most {MAX_NODES} calls of layers, found more")
        everything = [*_tensors(args), *_tensors([arguments])]
        try:
            args, arguments = named(item, args, arguments)
            expect_inference(item, arguments)
            gone = [one for one in everything if one.name in self.refused]
            if gone:  # what depends on a layer that is refused
                found = [Tensor(self.graph.add("Identity", [gone[0].name], f"{name}.gone")[0])]
                self.refused.add(found[0].name)
            else:
                found = self._called(item, held, name, args, arguments)
        except TooManyError:
            raise
        except FormatError as error:
            found = [Tensor(self._refuse(item, name, everything, str(error)))]
        self._name(name, found)
        return found

    def _called(
        self, item: dict[str, Any], held: Held, name: str, args: Sequence[Any], arguments: Mapping[str, Any]
    ) -> list[Tensor]:
        entry, kind = (None, class_name(item)) if is_model(item) else self._entry(item)
        if entry is None or OPERATORS.get(kind) is not entry:  # operators tell numbers from tensors by themselves
            args, arguments = applied(args, arguments, lambda value: self.graph.constant(value, f"{name}.constant"))
            self._expect_unmasked([args, arguments])
        given, inputs = Arguments(arguments), list(_tensors(args[:1]))
        call = Call(self, name, kind, config_of(item), self.version, held, inputs, given, args)
        found = self._nested(item, call) if entry is None else entry(call)
        given.expect_read()
        return found

    def _nested(self, item: dict[str, Any], call: Call) -> list[Tensor]:
        """The outputs of a model inside, whose inputs are masked as its call says."""
        masks, names = call.masks(), [one.name for one in call.inputs]
        if len(masks) != len(names):
            raise FormatError(f"mask: expected {len(names)}, one for each input, found {len(masks)}")
        # That of an input which has one comes by another name where Keras hands it on; a constant is another one.
        given = self.graph.constants
        lent = [one.name for one, mask in zip(call.inputs, masks) if mask and (not one.mask or mask in given)]
        if any(self._taken[one] > 1 for one in lent):
            raise FormatError(_LENT)
        inputs = [Tensor(one, mask) for one, mask in zip(names, masks)]
        found = self.model(item, call.held.weights, f"{call.name}/", inputs, call.held.memory)
        self._lent.update(lent)
        return found

    def _expect_unmasked(self, args: Sequence[Any]) -> None:
        """Refuse an input that a masked model was given: Keras leaves the mask on it, for all that take it."""
        for one in _tensors(args):
            if one.name in self._lent:
                raise FormatError(_LENT)
            self._taken[one.name] += 1

    def _entry(self, item: dict[str, Any]) -> tuple[Entry, str]:
        """Who writes a layer, and what kind it is called."""
        kind = item["class_name"]
        if kind in ("TFOpLambda", "SlicingOpLambda", "ClassMethod") and is_class(item, kind):
            table, kind = OPERATORS, f"tf.{str(config_of(item).get('function')).removeprefix('compat.v1.')}"
        elif is_class(item, kind) and self._is_operator(item, kind):
            table = OPERATORS
        elif is_class(item, kind):
            table = LAYERS
        else:
            raise FormatError(reason(class_name(item), own=True))
        if kind not in table:
            raise FormatError(reason(kind))
        return table[kind], kind

    def _is_operator(self, item: Mapping[str, Any], kind: str) -> bool:
        """Whether an item is one of ``keras.ops``; its HDF5 files do not say, but an operator has no such options."""
        if item.get("module") is not None:
            return ".ops." in f"{item['module']}."
        newer = not (self.version or "2").startswith(("1", "2"))
        return newer and kind in OPERATORS and "trainable" not in config_of(item)

    def _refuse(self, item: Mapping[str, Any], name: str, inputs: Sequence[Tensor], why: str) -> str:
        made = self.graph.refuse(class_name(item), [one.name for one in inputs], f"{name}.gone", name, why)
        self.refused.add(made)
        return made

    def _name(self, name: str, found: Sequence[Tensor]) -> None:
        """Enter outputs by the layer's name, further ones with their number."""
        for one in found:
            number = self._outputs[name]
            self._outputs[name] += 1
            self.made.setdefault(f"{name}:{number}" if number else name, one)

    def named(self, tensors: Sequence[Tensor], layers: Sequence[str]) -> dict[str, str]:
        """Outputs by the names of the layers that make them."""
        found: dict[str, str] = {}
        for k, one in enumerate(tensors):
            layer = layers[k] if k < len(layers) else layers[-1]
            name, number = layer, 0
            while name in found or self.made.get(name, one) != one:
                number += 1
                name = f"{layer}:{number}"
            found[name] = one.name
        return found

    def finish(self, outputs: Mapping[str, str], name: str) -> Graph:
        """The graph, its outputs under their names; states behind them."""
        values = []
        for public, tensor in {**outputs, **self.states}.items():
            values.append(Value(self.graph.add("Identity", [tensor], public)[0]))
        for k, one in enumerate(self.graph.inputs):
            self.graph.inputs[k] = _tokens(self.graph, one)
        return self.graph.finish(values, name)


def _tokens(graph: Builder, value: Value) -> Value:
    """An input; Keras declares tokens as floats, and makes them whole numbers where they pick rows."""
    uses = [k for k, one in enumerate(graph.nodes) if value.name in one.inputs]
    compared = [k for k in uses if graph.nodes[k].op == "Equal"]
    cast = [graph.nodes[k] for k in uses if graph.nodes[k].op == "Cast"]
    if not cast or len(cast) + len(compared) < len(uses) or any(one.attributes["to"].kind != "i" for one in cast):
        return value
    if compared and value.dtype is not None:  # masks: with a number of the type that was declared
        (floats,) = graph.add("Cast", [value.name], f"{value.name}.floats", to=value.dtype)
        for k in compared:
            one = graph.nodes[k]
            inputs = tuple(floats if name == value.name else name for name in one.inputs)
            graph.nodes[k] = replace(one, inputs=inputs)
        graph.nodes.insert(0, graph.nodes.pop())
    return replace(value, dtype=INT64)


def _tensors(tree: Any) -> Any:
    """The tensors in arguments."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for key in sorted(tree):
            yield from _tensors(tree[key])
    elif isinstance(tree, (list, tuple)):
        for one in tree:
            yield from _tensors(one)
