"""How streams move from actor to actor while they live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import ray
from ray.exceptions import RayError

from .table import ATTEMPTS, Live, Place, Table

TOGETHER = 1000
"""Streams that move, and wait, at the same time."""


def spread(table: Table, leaving: Sequence[Place]) -> None:
    """Give each place as many streams as the others, and those that leave none."""
    while True:
        with table.changed:
            plan = [*_plan(table.places, leaving)]
        for lives, place in plan:
            for start in range(0, len(lives), TOGETHER):
                move(table, lives[start : start + TOGETHER], place)
        if not any(place.lives for place in leaving):  # or one was forked there meanwhile
            return


def _plan(places: Sequence[Place], leaving: Sequence[Place]) -> Iterator[tuple[list[Live], Place]]:
    """Streams of one place, and where they go."""
    each, more = divmod(sum(len(place.lives) for place in (*places, *leaving)), len(places))
    fullest = sorted(places, key=lambda place: len(place.lives), reverse=True)
    goals = {place: each + (k < more) for k, place in enumerate(fullest)}
    free = (place for place, goal in goals.items() for _ in range(goal - len(place.lives)))
    for source in (*leaving, *fullest):
        surplus = sorted(source.lives, key=lambda live: live.id)[goals.get(source, 0) :]
        for target, group in groupby(zip(surplus, free), key=lambda pair: pair[1]):
            yield [live for live, _ in group], target


def move(table: Table, lives: list[Live], target: Place) -> None:
    """Let streams go on elsewhere; their calls wait meanwhile, and none of their steps is lost or comes twice."""
    source = lives[0].place
    try:
        with table.changed:
            lives = [live for live in lives if table.lives.get(live.id) is live and live.place is source]
            for live in lives:
                live.moving = True
            while any(live.busy for live in lives):
                table.changed.wait()
        ids = [live.id for live in lives]
        for attempt in range(ATTEMPTS):
            with table.changed:
                giving, taking = source.told(), target.told()
                adopted = taking.adopt.remote(giving.give.remote(ids))
            try:
                ray.get(adopted)
            except RayError as error:
                if attempt == ATTEMPTS - 1:
                    raise RuntimeError(f"scale: expected actors that live, found that they die ({error})") from error
                _see_to(table, source, target)
                continue
            with table.changed:
                if source.actor is not giving or target.actor is not taking:
                    continue  # one was replaced meanwhile, and its streams are where their checkpoints are
                for live in lives:
                    source.lives.discard(live)
                    target.lives.add(live)
                    live.place = target
                giving.drop.remote(ids)
                return
    finally:
        with table.changed:
            for live in lives:
                live.moving = False
            table.changed.notify_all()


def _see_to(table: Table, *places: Place) -> None:
    """Replace those that are dead."""
    for place in places:
        actor = place.actor
        try:
            ray.get(actor.ready.remote())
        except RayError:
            table.replace(place, actor)
