"""The incoming loss batch and the reference loss batch, all streams at once.

The batch is the unit of the statistics: losses of one stream over one period. Takes pointwise
losses, gives the arrays that the tests compare. Next is the assessment.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mean_losses(losses: Floats) -> Floats:
    """Return the mean over the last axis, missing losses left out; NaN = none."""
    found = np.isfinite(losses)
    count = found.sum(axis=-1)
    total = np.where(found, losses, 0.0).sum(axis=-1)
    mean: Floats = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


@dataclass(frozen=True, slots=True)
class LossBatch:
    """The incoming loss batch of every stream in one cycle.

    losses
        ``(n_streams, slots) float64``, pointwise losses; NaN = no pair for this slot.
    calendar
        ``(n_streams,) int8``, class of the calendar effect (for example 0 = Monday to Friday,
        1 = weekend); all 0 where no calendar effect is wanted.
    """

    losses: Floats
    calendar: NDArray[np.int8]

    def count(self) -> NDArray[np.int64]:
        """Return the number of losses per stream, ``(n_streams,) int64``."""
        return np.asarray(np.isfinite(self.losses).sum(axis=1), dtype=np.int64)

    def mean(self) -> Floats:
        """Return the mean loss per stream, ``(n_streams,)``; NaN = no loss at all."""
        return mean_losses(self.losses)


@dataclass(frozen=True, slots=True)
class ReferenceBatch:
    """The reference loss batch of every stream: healthy batches of the deployed model.

    means
        ``(n_streams, m) float64``, mean loss of each reference batch; NaN = empty place.
    calendar
        ``(n_streams, m) int8``, calendar class of each reference batch.
    losses
        ``(n_streams, m, slots) float64`` pointwise losses, or None where the test needs only
        batch means; NaN = missing.
    """

    means: Floats
    calendar: NDArray[np.int8]
    losses: Floats | None = None

    def count(self) -> NDArray[np.int64]:
        """Return the number of reference batches per stream, ``(n_streams,) int64``."""
        return np.asarray(np.isfinite(self.means).sum(axis=1), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """What a test says, per stream. All arrays ``(n_streams,) float64``; NaN = cannot tell.

    statistic
        positive = incoming losses larger than the reference.
    p_value
        of the side that was asked for, in [0, 1].
    reference_loss
        loss that the reference expects of this batch, calendar effect included.
    effect
        relative rise of the loss, ``loss / reference_loss - 1``.
    """

    statistic: Floats
    p_value: Floats
    reference_loss: Floats
    effect: Floats

    __test__ = False  # the name starts with Test; it holds none
