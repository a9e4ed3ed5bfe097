"""Ease: how hard a batch was for a benchmark model, so that a hard day is no alarm.

Takes the benchmark's mean losses, gives what the losses are divided by before they are compared.
Next is `assess`.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLOOR = 0.01
"""A benchmark loss below this share of its usual level counts as this share."""

MEMORY = 1 / 28
"""Weight of a new batch in the usual level of the benchmark's loss."""


def difficulty(benchmark: Floats, level: Floats, power: float) -> tuple[Floats, Floats]:
    """Return the difficulty of a batch and the new usual level of the benchmark's loss.

    A control variate in the log: dividing by ``benchmark ** power`` takes out what moves the
    losses of every model alike (holidays, weather, growth).

    Parameters
    ----------
    benchmark
        ``(n_streams,)`` mean loss of the benchmark in this batch; NaN = none.
    level
        ``(n_streams,)`` its usual level so far, an exponential mean; NaN = none yet.
    power
        0 = no adjustment, 1 = relative to the benchmark.

    Returns
    -------
    tuple
        Both ``(n_streams,)``. A batch without a benchmark gets the usual level's difficulty; a
        stream that never had one, or whose benchmark is always perfect, gets 1.

    >>> hard, level = difficulty(np.array([4.0, np.nan]), np.array([1.0, np.nan]), 0.5)
    >>> hard.tolist()
    [2.0, 1.0]
    """
    known = np.isfinite(benchmark)
    started = np.isfinite(level)
    moved = level + MEMORY * (np.where(known, benchmark, 0.0) - level)
    new_level = np.where(known, np.where(started, moved, benchmark), level)
    size = np.maximum(np.where(known, benchmark, new_level), FLOOR * new_level)
    usable = np.isfinite(size) & (size > 0)
    return np.where(usable, np.where(usable, size, 1.0) ** power, 1.0), new_level
