"""Seeded losses of a large fleet, day after day: exponential, 1 % of the streams break.

Takes a number of streams, gives their levels, held-out daily means and one batch a day. Weekends
are 20 % higher; from day `BREAK` every hundredth stream has losses that are half as high again, so
that a cycle also has something to decide.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

HELD_OUT = 28
"""Days before the first cycle, which make the reference."""

BREAK = 30
WEEKEND_FACTOR, BREAK_FACTOR = 1.2, 1.5


def is_weekend(day: int) -> bool:
    return day % 7 >= 5


def levels(n: int, seed: int) -> Floats:
    """Return the mean loss of each stream, ``(n,)``."""
    return np.random.default_rng(seed).gamma(4.0, 0.25, n)


def held_out_means(n: int, slots: int, seed: int) -> Floats:
    """Return the mean losses of the days before the first cycle, ``(n, HELD_OUT)``."""
    rng = np.random.default_rng(seed + 1)
    factor = np.array([WEEKEND_FACTOR if is_weekend(day) else 1.0 for day in range(HELD_OUT)])
    return rng.gamma(slots, 1 / slots, (n, HELD_OUT)) * levels(n, seed)[:, None] * factor


def fill(losses: Singles, day: int, level: Floats, seed: int) -> None:
    """Overwrite ``(n, slots)`` with the losses of a day."""
    rng = np.random.default_rng((seed, day))
    rng.standard_exponential(out=losses, dtype=np.float32)
    scale = level * (WEEKEND_FACTOR if is_weekend(day) else 1.0)
    if day >= BREAK:
        scale[7::100] *= BREAK_FACTOR
    losses *= scale.astype(np.float32)[:, None]
