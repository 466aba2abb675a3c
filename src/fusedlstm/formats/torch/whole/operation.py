"""One node of a program, as its JSON has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import schema
from .schema import Ref

_ATEN = "torch.ops.aten."


@dataclass(frozen=True)
class Operation:
    """One node."""

    target: str
    inputs: Any
    outputs: tuple[str, ...]
    metadata: Mapping[str, Any]
    given: dict[str, Any] | None = None

    @property
    def kind(self) -> str:
        """The operator's name without what all names begin with."""
        return self.target.removeprefix(_ATEN)

    def arguments(self) -> dict[str, Any]:
        """By name."""
        if self.given is not None:
            return self.given
        return dict(schema.named_arguments(self.target, self.inputs))

    @property
    def module(self) -> str:
        """The path of the module that it belongs to."""
        return self._module()[0]

    @property
    def where(self) -> str:
        """Where it stands in the user's code, for messages."""
        path, kind = self._module()
        trace = self.metadata.get("stack_trace")
        line = trace.strip().rpartition("\n")[2].strip()[:100] if isinstance(trace, str) else ""
        parts = [
            f"in {path} ({kind})" if path else "",
            f"at `{line}`" if line and "insert_deferred" not in line else "",
        ]
        return ", ".join(filter(None, parts))

    def _module(self) -> tuple[str, str]:
        stack = self.metadata.get("nn_module_stack")
        last = stack.rpartition(";")[2].split(",") if isinstance(stack, str) else []
        if len(last) != 3 or last[0].startswith("_empty"):
            return "", ""
        return last[1][:200], last[2].rpartition(".")[2][:100]


def operation(node: dict[str, Any]) -> Operation:
    """What a node of the JSON says."""
    target = schema.text("node", node.get("target"))
    outputs: list[str] = []
    for one in schema.objects(f"{target}: outputs", node.get("outputs")):
        found = schema.argument(f"{target}: outputs", one)
        for ref in found if isinstance(found, list) else [found]:
            outputs.append(ref.name if isinstance(ref, Ref) else "")
    metadata = node.get("metadata")
    return Operation(target, node.get("inputs"), tuple(outputs), metadata if isinstance(metadata, dict) else {})
