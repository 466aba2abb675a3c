"""What else the machine did while it was measured: the times then say less than they seem to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .peers.base import Beside

WIDE = 0.15
"""The share of the median between a machine's quartiles from which on it was busy."""
LOAD, STEAL = 0.5, 0.01
"""Programs that ran before the first case; the share of time that went to other machines on the same hardware."""
NAMED = 4


class Watch:
    """From here on: the load before, and the time that is stolen until `seen`."""

    def __init__(self) -> None:
        self._load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        self._before = _ticks()

    def seen(self) -> dict[str, float | None]:
        """``load`` at the start and ``steal``, a share of all time since; None where the system does not say."""
        now = _ticks()
        if self._before is None or now is None or now[1] == self._before[1]:
            return {"load": self._load, "steal": None}
        return {"load": self._load, "steal": (now[0] - self._before[0]) / (now[1] - self._before[1])}


def _ticks(stat: str = "/proc/stat") -> tuple[int, int] | None:
    """Stolen, and all, of every CPU together; None where that is not to be had."""
    try:
        first = Path(stat).read_text().partition("\n")[0].split()
    except OSError:
        return None
    if len(first) < 9 or first[0] != "cpu":
        return None
    counts = [int(one) for one in first[1:9]]  # guests, which come after, are in user already
    return counts[7], sum(counts)


def signs(about: Mapping[str, Any], rows: Mapping[str, Beside]) -> list[str]:
    """What says so, each in a few words; empty: nothing."""
    found = []
    load, steal = about.get("load"), about.get("steal")
    if load is not None and load > LOAD:
        found.append(f"a load of {load:.1f} before the first case")
    if steal is not None and steal > STEAL:
        found.append(f"{100 * steal:.0f} % of the time went to other machines on this hardware")
    wide = {name: spread for name, row in rows.items() if (spread := row.spread) > WIDE}
    if wide:
        most = sorted(wide, key=lambda name: -wide[name])[:NAMED]
        told = "; ".join(f"{name}: {100 * wide[name]:.0f} %" for name in most)
        found.append(f"quartiles more than {100 * WIDE:.0f} % apart in {len(wide)} of {len(rows)} ({told})")
    return found
