"""The reference of a batch-mean test: what it must remember of the healthy batches, and no more.

Takes nothing, gives the columns that `mlma.stats.moments` fills and reads. Constant in size: a
reference of 28 batches takes no more room than one of three.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Moments(Columns):
    """Moments of the log mean losses of each stream's healthy batches.

    weight
        ``(n_streams, n_classes) float32``, effective number of batches per calendar class.
    mean
        ``(n_streams, n_classes) float64``, mean log of the batch means; 0 where the weight is 0.
    variance, third
        ``(n_streams,) float64``, second and third central moment within the classes, divided by
        the number of batches (not by the degrees of freedom).
    typical
        ``(n_streams,) float64``, log of a typical positive batch mean, over all classes: the median
        at the start, which then moves as a mean does; NaN = there was none. Batch means below a
        hundredth of ``exp(typical)`` count as a hundredth.
    outlying
        ``(n_streams,) float32``, share of the batches that had to be winsorised.
    """

    weight: Singles
    mean: Floats
    variance: Floats
    third: Floats
    typical: Floats
    outlying: Singles

    @classmethod
    def empty(cls, n_streams: int, n_classes: int) -> "Moments":
        """Return the moments of references without a batch."""
        zeros = np.zeros(n_streams)
        return cls(
            weight=np.zeros((n_streams, n_classes), dtype=np.float32),
            mean=np.zeros((n_streams, n_classes)),
            variance=zeros,
            third=zeros,
            typical=np.full(n_streams, np.nan),
            outlying=np.zeros(n_streams, dtype=np.float32),
        )

    @property
    def n_classes(self) -> int:
        """Number of calendar classes."""
        return int(self.weight.shape[1])

    def count(self) -> Floats:
        """Return the effective number of batches per stream, ``(n_streams,)``."""
        total: Floats = self.weight[:, 0].astype(np.float64)
        for one in range(1, self.n_classes):  # at most seven
            total += self.weight[:, one]
        return total

    def level(self) -> Floats:
        """Return the mean log over all batches, ``(n_streams,)``; NaN = no batch."""
        total: Floats = self.weight[:, 0] * self.mean[:, 0]
        for one in range(1, self.n_classes):
            total += self.weight[:, one] * self.mean[:, one]
        with np.errstate(divide="ignore", invalid="ignore"):
            total /= self.count()  # no batch: 0 / 0, no number
        return total
