"""What is measured, from one amplifier sample to a batch of 128."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..weights import DirectionWeights, FloatArray, LSTMWeights

State = tuple[FloatArray, FloatArray]


@dataclass(frozen=True)
class Case:
    """One LSTM and one input."""

    name: str
    time: int
    batch: int
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    per_step: bool = False
    """A long sequence, told in nanoseconds a step."""

    @property
    def kind(self) -> str:
        """``step``, ``sequence``, ``batch`` or ``block`` (told in nanoseconds a step)."""
        if self.per_step:
            return "block"
        return "step" if self.time == 1 else "sequence" if self.batch == 1 else "batch"

    @property
    def shape(self) -> str:
        """The LSTM's sizes in words."""
        layers = f" x{self.num_layers}" if self.num_layers > 1 else ""
        return f"{self.input_size}→{self.hidden_size}{layers}{' bidir' if self.bidirectional else ''}"

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 2 if self.bidirectional else 1

    def weights(self) -> LSTMWeights:
        """Random weights, drawn as ``torch.nn.LSTM`` draws its own; time first, as most peers take it."""
        rng, hidden = np.random.default_rng(0), self.hidden_size

        def draw(*shape: int) -> FloatArray:
            return rng.uniform(-1, 1, shape).astype(np.float32) / np.float32(np.sqrt(hidden))

        def layer(width: int) -> list[DirectionWeights]:
            return [
                DirectionWeights(draw(4 * hidden, width), draw(4 * hidden, hidden), draw(4 * hidden))
                for _ in range(self.directions)
            ]

        widths = [self.input_size] + [hidden * self.directions] * (self.num_layers - 1)
        return LSTMWeights([layer(width) for width in widths], batch_first=False)

    def inputs(self) -> tuple[FloatArray, State | None]:
        """x (time, batch, input) and, for a single step, the state (h, c) that a stream would carry."""
        rng = np.random.default_rng(1)
        x = rng.standard_normal((self.time, self.batch, self.input_size), np.float32)
        if self.time > 1:
            return x, None
        shape = (self.num_layers * self.directions, self.batch, self.hidden_size)
        return x, (rng.uniform(-1, 1, shape).astype(np.float32), rng.standard_normal(shape, np.float32))


CASES = (
    Case("amp_step", 1, 1, 1, 40),
    Case("vad_step", 1, 1, 128, 128),
    Case("lm_step", 1, 1, 512, 512, num_layers=2),
    Case("big_step", 1, 1, 1024, 1024),
    Case("seq64", 100, 1, 64, 64),
    Case("seq128", 100, 1, 64, 128),
    Case("seq256", 100, 1, 256, 256),
    Case("seq512x2", 100, 1, 512, 512, num_layers=2),
    Case("seq1024", 100, 1, 1024, 1024),
    Case("seq20", 500, 1, 3, 20),
    Case("seq256x3", 160, 1, 40, 256, num_layers=3),
    Case("bi256", 50, 1, 300, 256, bidirectional=True),
    Case("bi256_b32", 50, 32, 300, 256, bidirectional=True),
    Case("b3_201", 70, 3, 93, 201),
    Case("b8_256", 50, 8, 256, 256),
    Case("b32_256", 50, 32, 256, 256),
    Case("b128_512", 25, 128, 512, 512),
    Case("b64_1024", 20, 64, 1024, 1024),
)

BLOCKS = (
    Case("block1_16", 4800, 1, 1, 16, per_step=True),
    Case("block1_40", 4800, 1, 1, 40, per_step=True),
    Case("block1_64", 4800, 1, 1, 64, per_step=True),
    Case("block64_64", 4800, 1, 64, 64, per_step=True),
    Case("block128_128", 4800, 1, 128, 128, per_step=True),
)
