"""How operators become steps: entered beside their meaning, by what knows plans."""

from __future__ import annotations

from collections.abc import Callable

from .operator import OPERATORS


def lowers(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Enter how operators are lowered: decorates ``lower(plan, node)``, which emits their steps (see `plan.Plan`)."""

    def enter(lower: Callable[..., None]) -> Callable[..., None]:
        for name in names:
            if OPERATORS[name].lower is not None:
                raise RuntimeError(f"operator {name} is lowered twice")
            object.__setattr__(OPERATORS[name], "lower", lower)
        return lower

    return enter
