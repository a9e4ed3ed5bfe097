"""The level of a reference, and whether it has risen since deployment.

Takes batch means, gives mean and spread of their logs. Next are reference rules and reviews.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]


def log_level(means: Floats) -> Floats:
    """Return the mean log of the positive batch means, ``(n,)``; NaN = none.

    ``means (n, m)``; NaN = empty place.

    >>> float(log_level(np.array([[1.0, np.e**2, np.nan]]))[0])
    1.0
    """
    level, _, _ = _moments(means)
    return level


def rise_p_value(means: Floats, birth_level: Floats) -> Floats:
    """Return the one-sided p-value of a level above the one at birth, ``(n,)``; NaN = cannot tell.

    A normal test of the difference of two means of as many log batch means each, with the spread
    of the present ones for both; the calendar effect counts as spread, which makes it cautious.

    Parameters
    ----------
    means
        ``(n, m)`` batch means of the reference now; NaN = empty place.
    birth_level
        ``(n,)`` mean log of the reference at deployment; NaN = not known.

    >>> now = np.array([[1.0, 1.1, 1.2, 1.3]])
    >>> float(rise_p_value(now, np.array([0.0])).round(3)[0])
    0.045
    """
    level, deviation, count = _moments(means)
    error = deviation * np.sqrt(2 / np.maximum(count, 1))
    usable = np.isfinite(birth_level) & (error > 0)
    z = np.divide(level - birth_level, error, out=np.full(len(level), np.nan), where=usable)
    return np.asarray(ndtr(-z))


def _moments(means: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return mean and standard deviation of the logs, and how many there are."""
    positive = means > 0
    logs = np.log(means, out=np.zeros_like(means), where=positive)
    count = positive.sum(axis=1)
    nothing = np.full(len(means), np.nan)
    level = np.divide(logs.sum(axis=1), count, out=nothing.copy(), where=count > 0)
    squares = np.where(positive, (logs - np.nan_to_num(level)[:, None]) ** 2, 0.0).sum(axis=1)
    variance = np.divide(squares, count - 1, out=nothing.copy(), where=count > 1)
    return level, np.sqrt(variance), count
