"""Division that tells what it cannot divide: shared by the tests."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """Return ``above / below``, broadcast; NaN where ``below`` is not positive.

    >>> ratio(np.array([1.0, 1.0]), np.array([4.0, 0.0])).tolist()
    [0.25, nan]
    """
    out = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out
