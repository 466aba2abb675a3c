"""An exported program as its JSON has it: inputs, nodes, outputs, and what they are called."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....errors import FormatError
from . import schema
from .inner import inlined
from .operation import Operation
from .schema import Meta, Ref


@dataclass(frozen=True)
class Input:
    """One input of the graph.

    Parameters
    ----------
    name : str
        In the graph.
    kind : str
        ``user_input``, ``parameter``, ``buffer`` or ``tensor_constant``.
    target : str
        The name of the tensor that it stands for; "" of what the user gives.
    number : bool
        Whether the user gives a whole number rather than a tensor.
    """

    name: str
    kind: str
    target: str = ""
    number: bool = False


@dataclass(frozen=True)
class Output:
    """One output of the graph: what it is, and for what kind of use (``user_output``, ``buffer_mutation``, …)."""

    value: Any
    kind: str
    target: str = ""


@dataclass(frozen=True)
class Program:
    """One exported program.

    Parameters
    ----------
    inputs, nodes, outputs : list
        In their order.
    ranges : dict
        By the name of an open size, the least and the most that it may be.
    names : sequence of str
        What the outputs that the user gets are called, "" where nothing says so.
    """

    inputs: Sequence[Input]
    nodes: Sequence[Operation]
    outputs: Sequence[Output]
    ranges: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    names: Sequence[str] = ()
    metas: Mapping[str, Any] = field(default_factory=dict)
    _parsed: dict[str, Meta] = field(default_factory=dict)
    _dense: dict[str, bool] = field(default_factory=dict)

    def meta(self, name: str) -> Meta:
        """The type of a tensor."""
        if name not in self._parsed:
            if name not in self.metas:
                raise FormatError(f"tensor {name!r}: expected its type in the file, found none")
            self._parsed[name] = schema.meta(name, self.metas[name])
        return self._parsed[name]

    def is_dense(self, name: str) -> bool:
        """Whether a tensor lies in memory without gaps, its last axis innermost."""
        if name not in self._dense:
            self._dense[name] = _is_dense(self.meta(name), self.metas[name])
        return self._dense[name]


def _is_dense(meta: Meta, held: Any) -> bool:
    inner = held.get("meta")
    strides = held.get("strides", inner.get("strides") if isinstance(inner, dict) else None)
    if not isinstance(strides, list) or len(strides) != len(meta.shape):
        return False
    step: Any = 1
    for extent, stride in zip(reversed(meta.shape), reversed(strides)):
        if extent != 1 and schema.size(stride) != step:
            return False
        step = step * extent
    return True


def program(member: str, tree: dict[str, Any]) -> Program:
    """What a file of JSON holds.

    Raises
    ------
    FormatError
        It is damaged, or of a version that is not known.
    """
    module = schema.table(member, tree.get("graph_module"))
    graph = schema.table(f"{member}: graph", module.get("graph"))
    signature = schema.table(f"{member}: signature", module.get("signature"))
    if "input_specs" not in signature:
        raise FormatError(
            f"{member}: expected a program of PyTorch 2.2 or newer, found an older one; export and save it again"
        )
    nodes, metas = inlined(member, graph)
    outputs = [_output(one) for one in schema.objects(f"{member}: output_specs", signature.get("output_specs"))]
    return Program(
        [one for spec in schema.objects(f"{member}: input_specs", signature["input_specs"]) for one in _inputs(spec)],
        nodes,
        outputs,
        _ranges(tree.get("range_constraints")),
        _names(module, sum(one.kind == "user_output" for one in outputs)),
        metas,
    )


def _inputs(spec: dict[str, Any]) -> Iterator[Input]:
    match spec:
        case {"user_input": {"arg": {"as_tensor": {"name": str() as name}}}}:
            yield Input(name, "user_input")
        case {"user_input": {"arg": {"as_sym_int": {"as_name": str() as name}}}}:
            yield Input(name, "user_input", number=True)
        case {"user_input": _} | {"constant_input": _}:
            pass  # a number or None, which stands where it is used
        case {"parameter": {"arg": {"name": str() as name}, "parameter_name": str() as target}}:
            yield Input(name, "parameter", target)
        case {"buffer": {"arg": {"name": str() as name}, "buffer_name": str() as target}}:
            yield Input(name, "buffer", target)
        case {"tensor_constant": {"arg": {"name": str() as name}, "tensor_constant_name": str() as target}}:
            yield Input(name, "tensor_constant", target)
        case {"token": _} | {"custom_obj": _}:
            pass  # what uses them is refused
        case _:
            raise FormatError(f"input_specs: expected an input, found {str(spec)[:80]!r}")


def _output(spec: dict[str, Any]) -> Output:
    match spec:
        case {"user_output": {"arg": value}}:
            return Output(schema.argument("output_specs", value), "user_output")
        case {"buffer_mutation": {"arg": {"name": str() as name}, "buffer_name": str() as target}}:
            return Output(Ref(name), "buffer_mutation", target)
    if len(spec) == 1:
        return Output(None, str(next(iter(spec))))
    raise FormatError(f"output_specs: expected an output, found {str(spec)[:80]!r}")


def _ranges(given: Any) -> dict[str, tuple[int, int | None]]:
    found = {}
    for name, one in given.items() if isinstance(given, dict) else ():
        match one:
            case {"min_val": int() | None as least, "max_val": int() | None as most}:
                # 2 is what PyTorch assumes of any when it traces; a size of 1 has the same graph.
                found[str(name)] = (least if least is not None and least > 2 else 0, most)
    return found


def _names(module: Mapping[str, Any], count: int) -> list[str]:
    """What the outputs are called in the tree that the module returns: keys of dictionaries, and places below them."""
    match module.get("module_call_graph"):
        case [{"signature": {"out_spec": str() as text}}, *_] if len(text) < 1 << 20:
            try:
                _, tree = json.loads(text)
                names = list(_leaves(tree, ()))
            except (ValueError, TypeError, RecursionError):
                return [""] * count
            if len(names) == count:
                return names
    return [""] * count


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[str]:
    match tree:
        case {"type": None, "children_spec": []}:
            yield ".".join(path) if any(not one.isdecimal() for one in path) else ""
        case {"type": str() as kind, "context": context, "children_spec": list() as children}:
            keys: Any = json.loads(context) if isinstance(context, str) and kind.endswith(("dict", "Dict")) else None
            if not isinstance(keys, list) or len(keys) != len(children):
                keys = list(range(len(children)))
            for key, child in zip(keys, children):
                yield from _leaves(child, (*path, str(key)[:100]))
        case _:
            raise ValueError("expected a tree")
