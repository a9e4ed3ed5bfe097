"""Gate: a new version goes live only if it is better than the old one on held-out batches."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_BATCHES = 3


def passes_gate(old: Floats, new: Floats) -> NDArray[np.bool_]:
    """Return where the new version's mean loss is lower, ``(n_streams,) bool``.

    ``old`` and ``new`` are ``(n_streams, n_batches)`` mean losses of both versions on the same
    batches, both out of sample; NaN = missing. Fewer than three common batches: the new version
    passes, because nothing speaks against it.

    >>> passes_gate(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 1.0, 3.0]])).tolist()
    [True]
    """
    shared = np.isfinite(old) & np.isfinite(new)
    gain = np.where(shared, old - new, 0.0).sum(axis=1)
    return np.asarray((gain > 0) | (shared.sum(axis=1) < LEAST_BATCHES))
