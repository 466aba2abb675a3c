"""What we aim at. Targets are our own: nobody else has set or checked them."""

from __future__ import annotations

from fusedlstm.bench import Row

SPEED_UPS = {
    "amp_step": (12, 10),
    "vad_step": (3.2, 4),
    "lm_step": (1.2, 1.4),
    "big_step": (1.2, 1.4),
    "seq20": (2.5, 2.5),
    "seq64": (1.5, 1.8),
    "seq128": (1.25, 1.9),
    "seq256": (1.25, 1.6),
    "seq512x2": (1.2, 1.3),
    "seq1024": (1.2, 1.15),
    "seq256x3": (0.99, 1.0),
    "bi256": (1.3, 1.5),
    "bi256_b32": (1.04, 1.1),
    "b3_201": (1.2, 1.2),
    "b8_256": (1.1, 1.2),
    "b32_256": (1.03, 1.08),
    "b128_512": (1.03, 1.04),
    "b64_1024": (1.12, 1.15),
}
"""The best peer's time by ours, with one thread and with two."""

NANOSECONDS = {"block1_16": 48, "block1_40": 110, "block1_64": 330, "block64_64": 450, "block128_128": 1900}
"""A step inside a block, with one thread."""

BOUND = {"sequence": 0.85, "batch": 0.92}
"""The share of the machine's bound with one thread, by kind of case."""

TWO_THREADS = {True: 1.85, False: 1.0}
"""One thread's time by that of two, for layers of 256 units or more, and smaller ones."""

BEST = {
    "step": ("litert", "onnxruntime", "keras"),
    "sequence": ("onnxruntime", "openvino"),
    "batch": ("onnxruntime", "openvino", "torch"),
    "block": ("onnxruntime",),
}
"""Peers that have been the best of all in a stored report, by kind of case: without them nobody knows who is."""

CONTENDERS = tuple(dict.fromkeys(name for names in BEST.values() for name in names))


def speed_up(row: Row) -> float | None:
    """The target, if there is one for so many threads."""
    aims = SPEED_UPS.get(row.case.name, ())
    return aims[row.threads - 1] if row.threads <= len(aims) else None


def missing(row: Row) -> list[str]:
    """Peers that may be the best one, and were not measured."""
    return [name for name in BEST[row.case.kind] if name not in row.engines]


def tick(reached: float | None, target: float | None) -> str:
    """Whether a target is met."""
    return "" if reached is None or target is None else "✓" if reached >= target else "✗"


def speed_tick(row: Row) -> str:
    """The same of a speed-up: only beside all who may be the best peer."""
    met = tick(row.speedup, speed_up(row))
    return "?" if met == "✓" and missing(row) else met
