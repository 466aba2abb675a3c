"""`--peers` of `bench`: which engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import click

from ..bench.peers import Engine, installed
from ..bench.whole.engine import WholeEngine

Kind = TypeVar("Kind", type[Engine], type[WholeEngine])


def chosen_of(written: str, peers: Sequence[Kind]) -> list[Kind]:
    """The engines that are meant: all, none, or by their names, which must be installed."""
    known = {peer.name: peer for peer in peers}
    if written in ("all", "none"):
        return list(peers) if written == "all" else []
    names = list(dict.fromkeys(written.split(",")))
    for name in names:
        if name not in known:
            raise click.BadParameter(f"{name}: expected all, none or some of {', '.join(known)}", param_hint="--peers")
        if not installed(known[name]):
            raise click.BadParameter(
                f"{name} is not installed: pip install {known[name].install}", param_hint="--peers"
            )
    return [known[name] for name in names]
