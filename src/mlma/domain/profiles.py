"""The reference of the test `profile`: what it must remember of the healthy batches.

Takes nothing, gives the columns that `mlma.stats.profile_moments` fills and reads. Constant in
size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

REMEMBERED = 6
"""Earlier batches whose scores are kept: with the incoming one they make a window of seven."""


@dataclass(frozen=True, slots=True)
class ProfileMoments(Columns):
    """The reference of the test `profile`; 1,102 bytes a stream at 96 slots and two classes.

    unit
        ``(n_streams,) float64``, cube root of the stream's typical loss: all else is relative to
        it; NaN = no positive loss seen yet.
    profile
        ``(n_streams, classes, slots) float32``, weighted mean of the cube roots; NaN = never seen.
    seen
        ``(n_streams, classes, slots) uint8``, effective number of batches behind each slot.
    weight
        ``(n_streams, classes) float64``, effective number of batches.
    lags
        ``(n_streams, bandwidth + 2) float64``, autocovariance of the deviations from the profile
        within the batch, lag 0 (their variance) first. Deviations are relative to the level of the
        batch, the root mean square of the profile at its slots.
    between, third
        ``(n_streams,) float64``, second and third moment of the mean deviation of a whole batch.
    scores
        ``(n_streams, 6) float32``, mean deviations of the last batches, brought to the variance of
        a whole batch, newest last; NaN = none yet.
    links
        ``(n_streams, 6) float32``, correlation of each score with later ones of its class.
    kinds
        ``(n_streams, 6) int8``, calendar class of each score.

    ``lags``, ``between`` and ``third`` count the first batch of a class as a deviation of 0.
    """

    unit: Floats
    profile: Singles
    seen: NDArray[np.uint8]
    weight: Floats
    lags: Floats
    between: Floats
    third: Floats
    scores: Singles
    links: Singles
    kinds: NDArray[np.int8]

    @classmethod
    def empty(cls, n_streams: int, classes: int, slots: int) -> "ProfileMoments":
        """Return the moments of streams of which nothing is known."""
        shape, ring = (n_streams, classes, slots), (n_streams, REMEMBERED)
        return cls(
            unit=np.full(n_streams, np.nan),
            profile=np.full(shape, np.nan, dtype=np.float32),
            seen=np.zeros(shape, dtype=np.uint8),
            weight=np.zeros((n_streams, classes)),
            lags=np.zeros((n_streams, bandwidth(slots) + 2)),
            between=np.zeros(n_streams),
            third=np.zeros(n_streams),
            scores=np.full(ring, np.nan, dtype=np.float32),
            links=np.zeros(ring, dtype=np.float32),
            kinds=np.zeros(ring, dtype=np.int8),
        )

    def count(self) -> Floats:
        """Return the effective number of batches, ``(n_streams,)``."""
        return np.asarray(self.weight.sum(axis=1))

    def df(self) -> Floats:
        """Return the degrees of freedom of the variances, ``(n_streams,)``; NaN = none."""
        df = self.count() - (self.weight > 0).sum(axis=1)
        return np.where(df > 0, df, np.nan)


def bandwidth(slots: int) -> int:
    """Return the number of lags of the long-run variance, the cube root of the slots.

    >>> bandwidth(96)
    4
    """
    return min(int(np.cbrt(slots) + 1e-9), max(slots - 2, 0))
