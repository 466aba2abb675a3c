"""Engines for the bench, of which we know what they do. Here, since another process imports them by name."""

import time

import numpy as np

from fusedlstm import bench
from fusedlstm.bench import oracle

SLOW_MS, FAST_MS = 4, 2


class Stub(bench.FusedLSTM):
    """Right, in a known time."""

    name, needs, install, milliseconds = "stub", ("numpy",), "numpy", SLOW_MS

    def __init__(self, weights, x, state, threads):
        self._y = oracle.lstm(weights, x, state)
        self.call = lambda: time.sleep(self.milliseconds / 1e3)

    def y(self):
        return self._y.astype(np.float32)


class Fast(Stub):
    name, milliseconds = "fast", FAST_MS


class Wrong(Stub):
    name = "wrong"

    def y(self):
        return super().y() + np.float32(0.01)


class Misshapen(Stub):
    name = "misshapen"

    def y(self):
        return super().y()[0]


class Mute(Stub):
    name = "mute"

    def y(self):
        raise AssertionError


class Broken(Stub):
    name = "broken"

    def __init__(self, weights, x, state, threads):
        raise RuntimeError("no such operator\nand a long story")


class Forgetful(Stub):
    """Goes on where it stopped."""

    name, calls = "forgetful", 0

    def y(self):
        self.calls += 1
        return super().y() * np.float32(self.calls)
