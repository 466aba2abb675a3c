"""Threads beside others: never much slower than one, whoever else wants the CPUs."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="puts processes on certain CPUs"),
    pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda _: ())(0)) < 2, reason="needs two CPUs"),
]

_PATH = Path(__file__).parents[1] / "benchmarks" / "noisy_threads.py"
_SPEC = importlib.util.spec_from_file_location("noisy_threads", _PATH)
assert _SPEC is not None and _SPEC.loader is not None
noisy = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(noisy)

# Of means, twice as loose as what is aimed at: 5 % on an idle machine, 25 beside one busy core, 60 with all of them busy.
LIMITS = {
    "nothing": 1.25,
    "one spinner": 1.5,
    "a spinner on each CPU": 2.0,
    "two on each CPU": 2.0,
    "one CPU": 1.5,
    "stopped a quarter of the time": 1.5,
    "eight callers": 2.0,
    "ONNX Runtime between": 1.5,
    "PyTorch between": 1.5,
}


@pytest.mark.parametrize("scenario", LIMITS)
def test_two_threads_are_not_much_slower_than_one(scenario):
    """Where they waited for each other at every step, the mean was 10 to 40 times that of one thread."""
    found = noisy.scenarios()
    if scenario not in found:
        pytest.skip("a peer is not installed")
    with found[scenario]() as between:
        for case in noisy.CASES:
            # Others come and go: the best of three counts.
            tries = (noisy.ratios(case, 2.0, between)["mean"] for _ in range(3))
            assert any(ratio < LIMITS[scenario] for ratio in tries), case


def test_a_large_layer_is_shared():
    """A worker that was woken slept again before the first step, which takes 0.4 ms alone, had ended."""
    tries = [noisy.ratios("20 x 1024", 3.0)["median"] for _ in range(3)]
    assert min(tries) < 0.8, tries
