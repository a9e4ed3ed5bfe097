"""The default test: Student t on log batch means with a calendar effect.

Takes the incoming and the reference loss batch, gives one outcome per stream. Losses of a day move
together, so the unit is the batch and not the single loss. Every stream is judged by itself: a
batch that is re-opened alone gets the same p-value as in the whole fleet.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch, ReferenceBatch, TestOutcome
from mlma.stats.ratios import ratio
from mlma.stats.tails import student_p

Floats = NDArray[np.float64]

FLOOR = 1e-2
"""Batch means below this share of the stream's typical reference mean count as this share."""

SMALLEST_SD = 1e-9
"""Standard deviation of log means (a relative one) below which it is taken for rounding."""

SKEWNESS_PRIOR_BATCHES = 28
"""A reference of this many batches gives its own skewness half the weight; zero has the rest."""


def batch_t(incoming: LossBatch, reference: ReferenceBatch, side: str) -> TestOutcome:
    """Return, per stream, how far the incoming batch mean stands above its reference.

    With ``z_j`` the log mean loss of reference batch ``j`` of calendar class ``c_j``, the incoming
    ``z`` of class ``c`` has ``t = (z - mean_c) / (s sqrt(1 + 1/m_c))``: ``mean_c`` the mean of the
    ``m_c`` reference batches of this class, ``s`` the standard deviation pooled over classes with
    ``df = m - number of classes present``. The statistic is `t` after `straightened` has taken
    out what skewness the reference shows, and is read as Student's t.

    A class that the reference has never seen falls back on the mean and variance over all classes,
    ``df = m - 1``: the calendar effect then counts as noise.

    Parameters
    ----------
    incoming
        ``(n_streams, slots)`` losses, all at least 0; NaN = missing.
    reference
        ``(n_streams, m)`` mean losses; NaN = empty place. ``losses`` is not read.
    side
        ``greater`` or ``two-sided``.

    Returns
    -------
    TestOutcome
        ``reference_loss`` is ``exp`` of the predicted log mean, a geometric level: below the
        arithmetic mean of the reference, by about half the variance of the log means. ``effect``
        compares with it. The p-value is NaN (cannot tell) where the incoming batch is empty, where
        ``df < 1``, where the log means do not vary beyond rounding (a relative standard deviation
        under 1e-9), where every reference mean is 0, or where a mean is negative.
        ``reference_loss`` and ``effect`` are still given where only the variance is missing.

    Raises
    ------
    SettingsError
        ``side`` is unknown.

    Notes
    -----
    Zeros: a mean below one hundredth of the stream's median positive reference mean counts as one
    hundredth. The floor moves with the losses, so that their unit changes nothing, and it keeps
    one perfect day from blowing up the variance.

    Sources: the prediction of one new normal observation (Student, 1908; Geisser, 1993);
    Hall (1992, "On the removal of skewness by transformation", JRSS B 54) for the cubic.
    Assumes batches that are independent given their class, and one variance of the log for all
    classes.

    >>> means = np.array([[1.0, 1.1, 0.9, 1.05, 0.95, 1.2, 0.8]])
    >>> reference = ReferenceBatch(means, np.zeros((1, 7), np.int8))
    >>> incoming = LossBatch(np.array([[1.4, 1.6]]), np.zeros(1, np.int8))
    >>> float(batch_t(incoming, reference, "greater").p_value.round(4)[0])
    0.013
    """
    loss = incoming.mean()
    level = _typical(reference.means)
    z, places = _log_relative(loss, level), _log_relative(reference.means, level[:, None])
    fit = _predict(places, _classes(reference, places, incoming.calendar), incoming.calendar)
    spread = fit.deviation * np.sqrt(1 + ratio(np.ones_like(z), fit.class_count))
    t = ratio(z - fit.mean, np.where(fit.deviation > SMALLEST_SD, spread, 0.0))
    statistic = straightened(t, fit.skewness, fit.count)
    expected = np.exp(fit.mean) * level
    return TestOutcome(
        statistic=statistic,
        p_value=student_p(statistic, fit.df, side),
        reference_loss=expected,
        effect=ratio(loss, expected) - 1,
    )


def straightened(t: Floats, skewness: Floats, count: Floats) -> Floats:
    """Return t statistics freed of the reference's skewness; rising in ``t``.

    The Cornish-Fisher terms ``t - a t^2 + a`` with ``a = g / 6``, made monotone by Hall's (1992)
    cubic term ``a^2 t^3 / 3``. The sample skewness of ``m``
    values has variance 6/m, more than most streams differ by, so it is shrunk towards 0:
    ``g = skewness m / (m + 28)``, kept within -1 and 1.

    The reason: the log of a mean of gamma-type losses leans to the left (at a nominal .001 a plain
    t rejects .0003 to .0006), the log means of real streams lean to the right (.004 to .013,
    holidays included). A milder transform, such as the cube root, would mend the first and make
    the second worse; figures in ``docs/statistics/batch_t.md``.

    >>> float(straightened(np.array([3.0]), np.array([0.6]), np.array([28.0])).round(3)[0])
    2.622
    """
    shrunk = np.clip(skewness * count / (count + SKEWNESS_PRIOR_BATCHES), -1.0, 1.0) / 6
    # The derivative is (1 - a t)^2: worse losses never get a larger p-value.
    return t - shrunk * t**2 + shrunk**2 / 3 * t**3 + shrunk


@dataclass(frozen=True, slots=True)
class _Prediction:
    """What the reference says of the log mean of a batch; all ``(n_streams,)``."""

    mean: Floats
    deviation: Floats
    skewness: Floats
    class_count: Floats
    count: Floats
    df: Floats


def _typical(means: Floats) -> Floats:
    """Median positive reference mean; NaN = none, or a negative mean stands in the reference."""
    count = (means > 0).sum(axis=1)
    if means.shape[1] == 0:
        return np.full(len(means), np.nan)
    ranked = np.sort(np.where(means > 0, means, np.nan), axis=1)  # NaN stand last
    rows = np.arange(len(means))
    low, high = ranked[rows, np.maximum(count - 1, 0) // 2], ranked[rows, count // 2]
    middle: Floats = low + (high - low) / 2
    return np.where((means < 0).any(axis=1), np.nan, middle)


def _log_relative(means: Floats, level: Floats) -> Floats:
    """Log of the means relative to the level, floored; NaN = missing or negative."""
    relative = ratio(means, level)
    floored = np.maximum(relative, FLOOR)
    return np.log(floored, out=np.full_like(floored, np.nan), where=relative >= 0)


def _classes(
    reference: ReferenceBatch, places: Floats, incoming: NDArray[np.int8]
) -> NDArray[np.int8]:
    """Class of each reference place; all as the incoming one where that one is new to them."""
    seen = ((reference.calendar == incoming[:, None]) & np.isfinite(places)).any(axis=1)
    return np.where(seen[:, None], reference.calendar, incoming[:, None])


def _predict(places: Floats, classes: NDArray[np.int8], incoming: NDArray[np.int8]) -> _Prediction:
    filled = np.isfinite(places)
    residual = np.where(filled, places, 0.0)
    mean, class_count = np.full(len(places), np.nan), np.zeros(len(places))
    present = np.zeros(len(places))
    for one in np.unique(classes):  # at most seven
        member = filled & (classes == one)
        size = member.sum(axis=1).astype(np.float64)
        centre = ratio(np.where(member, residual, 0.0).sum(axis=1), size)
        residual = np.where(member, residual - centre[:, None], residual)
        present += size > 0
        own = incoming == one
        mean, class_count = np.where(own, centre, mean), np.where(own, size, class_count)
    count = filled.sum(axis=1).astype(np.float64)
    df = np.where(count > present, count - present, np.nan)
    squared = residual * residual  # several times faster than a power
    squares = squared.sum(axis=1)
    deviation = np.sqrt(ratio(squares, df))
    skewness = ratio((squared * residual).sum(axis=1) * np.sqrt(count), squares**1.5)
    return _Prediction(mean, deviation, skewness, class_count, count, df)
