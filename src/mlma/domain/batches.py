"""The incoming loss batch and the reference loss batch, all streams at once.

The batch is the unit of the statistics: losses of one stream over one period. Takes pointwise
losses, gives the arrays that the tests compare. Next is the assessment.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mean_losses(losses: NDArray[Any]) -> Floats:
    """Return the mean over the last axis, missing losses left out; NaN = none.

    Infinite losses count as missing. float32 losses are added up as they are where none is missing:
    the relative error is below 1e-6.
    """
    return batch_summary(losses)[1]


def batch_summary(losses: NDArray[Any]) -> tuple[NDArray[np.int64], Floats]:
    """Return the number of losses over the last axis and their mean, NaN = none.

    >>> count, mean = batch_summary(np.array([[1.0, 2.0], [np.nan, 4.0]]))
    >>> count.tolist(), mean.tolist()
    ([2, 1], [1.5, 4.0])
    """
    slots = losses.shape[-1]
    shape = losses.shape[:-1]
    count = np.full(shape, slots, dtype=np.int64)
    if not slots:
        return count, np.full(shape, np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        # The same sum whatever the number of streams, which a matrix product does not promise.
        mean: Floats = np.einsum("...i->...", losses).astype(np.float64) / slots
    broken = ~np.isfinite(mean)
    if broken.any():
        count[broken], mean[broken] = _with_holes(losses[broken])
    return count, mean


def _with_holes(losses: NDArray[Any]) -> tuple[NDArray[np.int64], Floats]:
    """Return count and mean of batches in which a loss is missing, or whose sum overflows."""
    found = np.isfinite(losses)
    count = found.sum(axis=-1)
    held = np.where(found, losses, 0.0)
    unit = np.abs(held).max(axis=-1, keepdims=True)
    unit[unit == 0] = 1.0
    mean = np.full(count.shape, np.nan)
    np.divide((held / unit).sum(axis=-1), count, out=mean, where=count > 0)
    return count, mean * unit[..., 0]


@dataclass(frozen=True, slots=True)
class LossBatch:
    """The incoming loss batch of every stream in one cycle.

    losses
        ``(n_streams, slots)`` float32 or float64, pointwise losses; NaN = no pair for this slot.
    calendar
        ``(n_streams,) int8``, class of the calendar effect (for example 0 = Monday to Friday,
        1 = weekend); all 0 where no calendar effect is wanted.
    n
        ``(n_streams,) int64``, where ``losses`` is one column, the mean of each batch: of how many
        losses; None = ``losses`` are single ones.
    """

    losses: NDArray[Any]
    calendar: NDArray[np.int8]
    n: NDArray[np.int64] | None = None

    def rows(self, at: NDArray[np.int64] | slice) -> "LossBatch":
        """Return the losses of some streams."""
        return LossBatch(self.losses[at], self.calendar[at], None if self.n is None else self.n[at])

    def summary(self) -> tuple[NDArray[np.int64], Floats]:
        """Return the number of losses per stream and their mean, NaN = no loss at all."""
        return batch_summary(self.losses) if self.n is None else (self.n, self.losses[:, 0])

    def count(self) -> NDArray[np.int64]:
        """Return the number of losses per stream, ``(n_streams,) int64``."""
        return self.summary()[0]

    def mean(self) -> Floats:
        """Return the mean loss per stream, ``(n_streams,)``; NaN = no loss at all."""
        return self.summary()[1]


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
    score
        standard normal score of the batch, whatever the side; None = to be made of the p-value.
    spread, df
        standard error of ``log(1 + effect)`` and its degrees of freedom; None = the test has none.
    """

    statistic: Floats
    p_value: Floats
    reference_loss: Floats
    effect: Floats
    score: Floats | None = None
    spread: Floats | None = None
    df: Floats | None = None

    __test__ = False  # the name starts with Test; it holds none
