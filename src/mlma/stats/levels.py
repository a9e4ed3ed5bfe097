"""Whether the level of a reference has risen since deployment.

Takes the moments of a reference, gives a p-value. Next are the reviews.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mlma.domain.moments import Moments

Floats = NDArray[np.float64]


def rise_p_value(moments: Moments, birth_level: Floats) -> Floats:
    """Return the one-sided p-value of a level above the one at birth, ``(n,)``; NaN = cannot tell.

    A normal test of the difference of two means of as many log batch means each, with the spread
    of the present ones for both; the calendar effect counts as spread, which makes it cautious.

    Parameters
    ----------
    moments
        of the reference now.
    birth_level
        ``(n,)`` mean log of the reference at deployment; NaN = not known.

    >>> from mlma.stats.moments import moments_of
    >>> now = moments_of(np.array([[1.0, 1.1, 1.2, 1.3]]), np.zeros((1, 4), np.int8), 1)
    >>> float(rise_p_value(now, np.array([0.0])).round(3)[0])
    0.045
    """
    count, level = moments.count(), moments.level()
    squares = moments.variance * count
    for one in range(moments.n_classes):
        squares = squares + moments.weight[:, one] * (moments.mean[:, one] - level) ** 2
    variance = np.divide(squares, count - 1, out=np.full(len(count), np.nan), where=count > 1)
    error = np.sqrt(variance * 2 / np.maximum(count, 1))
    usable = np.isfinite(birth_level) & (error > 0)
    z = np.divide(level - birth_level, error, out=np.full(len(level), np.nan), where=usable)
    return np.asarray(ndtr(-z))
