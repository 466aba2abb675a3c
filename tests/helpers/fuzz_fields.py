"""Fields of a file's schema set to something else, where bytes alone would seldom stay well-formed."""

import numpy as np

LARGE = [2**31 - 1, -(2**31), 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, -(2**63)]


def number_of(rng, value):
    """Another number of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return float(rng.choice([0.0, -1.0, 1e38, np.inf, np.nan, value * 2]))
    near = [value + 1, value - 1, -value, 0, -1, 2, 1000]
    pool = near if rng.random() < 0.6 else LARGE
    return pool[int(rng.integers(len(pool)))]
