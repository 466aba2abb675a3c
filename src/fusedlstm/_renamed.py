"""Names of an earlier version, which go on for one version more."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


def renamed(**names: str) -> Callable[[T], T]:
    """Take keywords, and where a class is decorated attributes, by their old names too: ``@renamed(new="old")``.

    They warn. A keyword that is given by both names has the old one's value: `dataclasses.replace` does that.
    """
    former = {old: new for new, old in names.items()}

    def decorate(taker: T) -> T:
        if inspect.isclass(taker):
            taker.__init__ = _translating(taker.__init__, former)  # type: ignore[method-assign]
            for old, new in former.items():
                setattr(taker, old, property(functools.partial(_former, old, new), doc=f"The former name of `{new}`."))
            return taker
        translating: T = _translating(taker, former)
        return translating

    return decorate


def _translating(function: Any, former: dict[str, str]) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for old in former.keys() & kwargs.keys():
            _warn(f"{old}=", f"{former[old]}=")
            kwargs[former[old]] = kwargs.pop(old)
        return function(*args, **kwargs)

    return call


def _former(old: str, new: str, owner: Any) -> Any:
    _warn(f".{old}", f".{new}")
    return getattr(owner, new)


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is called {new} now; the old name goes with version 0.2", DeprecationWarning, stacklevel=3)
