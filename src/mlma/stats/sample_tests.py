"""Tests whose unit is the single loss: Welch, Mann-Whitney, Kolmogorov-Smirnov.

Takes the incoming and the reference loss batch, gives one outcome per stream. They are here to
compare with: losses of a day move together, so all three reject far more often than they say. The
calendar class is not used.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlma.domain.batches import LossBatch, ReferenceBatch, TestOutcome
from mlma.stats.ratios import ratio
from mlma.stats.single_losses import ROUNDING, by_blocks, largest, moments, pooled
from mlma.stats.single_losses import outcome as finished
from mlma.stats.tails import check_side, normal_p, student_p

Floats = NDArray[np.float64]

BLOCK = 2_000_000
"""Losses that are sorted at a time, so that a large fleet does not need its size in memory."""


def welch(incoming: LossBatch, reference: ReferenceBatch, side: str) -> TestOutcome:
    """Return Welch's t test of the mean incoming loss against the mean reference loss.

    ``t = (mean_1 - mean_0) / sqrt(v_1 / n_1 + v_0 / n_0)`` with the degrees of freedom of Welch
    (1947, Biometrika 34). The p-value is NaN (cannot tell) with fewer than two losses on
    a side, or where the losses do not vary.

    Level: assumes independent losses. Of break-free batches it rejects .12 at a nominal
    .05 and .007 at .001 (gamma-type losses, AR(1) with phi .6 within the day, 28 reference
    batches); see ``docs/statistics/welch.md``.

    Parameters
    ----------
    incoming
        ``(n_streams, slots)`` losses; NaN = missing.
    reference
        ``losses``, ``(n_streams, m, slots)``; NaN = missing. All of them are pooled.
    side
        ``greater`` or ``two-sided``.

    Raises
    ------
    DataError
        The reference holds batch means only.
    SettingsError
        ``side`` is unknown.

    >>> reference = ReferenceBatch(
    ...     np.ones((1, 2)), np.zeros((1, 2), np.int8), np.array([[[1.0, 2.0], [3.0, 2.0]]])
    ... )
    >>> incoming = LossBatch(np.array([[4.0, 5.0, 4.5]]), np.zeros(1, np.int8))
    >>> float(welch(incoming, reference, "greater").p_value.round(4)[0])
    0.0022
    """
    new, old = incoming.losses, pooled(reference, "welch")
    unit = largest(new, old)
    count_1, mean_1, square_1 = moments(new / unit[:, None])
    count_0, mean_0, square_0 = moments(old / unit[:, None])
    error = np.sqrt(square_1 + square_0)
    telling = error > ROUNDING
    t = ratio(mean_1 - mean_0, np.where(telling, error, np.nan))
    below = ratio(square_1**2, count_1 - 1) + ratio(square_0**2, count_0 - 1)
    df = ratio(error**4, np.where(telling, below, np.nan))
    return _outcome(incoming, old, t, student_p(t, df, side))


def mann_whitney(incoming: LossBatch, reference: ReferenceBatch, side: str) -> TestOutcome:
    """Return the Mann-Whitney test: does an incoming loss tend to exceed a reference loss?

    The normal approximation of Mann and Whitney (1947) with the variance for ties (Lehmann, 1975)
    and without a continuity correction; the statistic is its z. The p-value is NaN (cannot tell)
    with an empty side, or where all losses of both sides are equal.

    Level: assumes independent losses. Of break-free batches it rejects .18 at a nominal
    .05 and .043 at .001 (gamma-type losses, AR(1) with phi .6 within the day, 28 reference
    batches); see ``docs/statistics/mann_whitney.md``.

    Parameters, errors and side as in `welch`.

    >>> reference = ReferenceBatch(
    ...     np.ones((1, 2)), np.zeros((1, 2), np.int8), np.array([[[1.0, 2.0], [3.0, 2.0]]])
    ... )
    >>> incoming = LossBatch(np.array([[4.0, 5.0, 4.5]]), np.zeros(1, np.int8))
    >>> float(mann_whitney(incoming, reference, "greater").p_value.round(4)[0])
    0.0162
    """
    old = pooled(reference, "mann_whitney")
    z = by_blocks(_rank_z, incoming.losses, old, BLOCK)
    return _outcome(incoming, old, z, normal_p(z, side))


def ks(incoming: LossBatch, reference: ReferenceBatch, side: str) -> TestOutcome:
    """Return the Kolmogorov-Smirnov test of the two distributions of losses.

    ``greater`` takes ``D+ = max(F_reference - F_incoming)``, large where incoming losses are
    larger, with the p-value of Hodges (1958, eq. 5.3). ``two-sided`` takes the larger of ``D+``
    and ``D-`` (the statistic carries the sign) with Kolmogorov's limit at
    ``sqrt(n_1 n_0 / (n_1 + n_0)) D`` (Smirnov, 1948), which is conservative in small samples. The
    p-value is NaN (cannot tell) with an empty side, or where all losses of both sides are equal.

    Level: assumes independent losses of a continuous distribution. Of break-free batches it
    rejects .19 at a nominal .05 and .034 at .001 (gamma-type losses, AR(1) with phi .6 within the
    day, 28 reference batches); see ``docs/statistics/ks.md``.

    Parameters, errors and side as in `welch`.

    >>> reference = ReferenceBatch(
    ...     np.ones((1, 2)), np.zeros((1, 2), np.int8), np.array([[[1.0, 2.0], [3.0, 2.0]]])
    ... )
    >>> incoming = LossBatch(np.array([[4.0, 5.0, 4.5]]), np.zeros(1, np.int8))
    >>> float(ks(incoming, reference, "greater").statistic[0])
    1.0
    """
    check_side(side)
    old = pooled(reference, "ks")
    gaps = by_blocks(_gaps, incoming.losses, old, BLOCK)
    above, below = gaps[:, 0], gaps[:, 1]
    n, m = np.isfinite(incoming.losses).sum(axis=1), np.isfinite(old).sum(axis=1)
    statistic = np.where((below > above) & (side == "two-sided"), -below, above)
    p_value = (_kolmogorov if side == "two-sided" else _hodges)(np.abs(statistic), n, m)
    return _outcome(incoming, old, statistic, p_value)


def _hodges(gap: Floats, n: NDArray[np.int64], m: NDArray[np.int64]) -> Floats:
    small, large = np.minimum(n, m).astype(np.float64), np.maximum(n, m).astype(np.float64)
    z = np.sqrt(ratio(n * m, n + m)) * gap
    lean = ratio(large + 2 * small, np.sqrt(large * small * (large + small)))
    return np.minimum(np.exp(-2 * z**2 - 2 * z * lean / 3), 1.0)


def _kolmogorov(gap: Floats, n: NDArray[np.int64], m: NDArray[np.int64]) -> Floats:
    z = np.sqrt(ratio(n * m, n + m)) * gap
    return np.asarray(special.kolmogorov(z), dtype=np.float64)


def _outcome(incoming: LossBatch, old: Floats, statistic: Floats, p_value: Floats) -> TestOutcome:
    unit = largest(incoming.losses, old)
    expected = moments(old / unit[:, None])[1] * unit
    return finished(incoming, expected, statistic, p_value)


def _sorted(new: Floats, old: Floats) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """Both sides in one rising order, NaN last; which are incoming; which end a run of ties."""
    both = np.concatenate([new, old], axis=1)
    order = np.argsort(both, axis=1)
    values = np.take_along_axis(both, order, axis=1)
    ends = np.ones(values.shape, dtype=np.bool_)
    ends[:, :-1] = values[:, 1:] != values[:, :-1]
    return values, (order < new.shape[1]) & np.isfinite(values), ends


def _rank_z(new: Floats, old: Floats) -> Floats:
    values, is_new, ends = _sorted(new, old)
    place = np.broadcast_to(np.arange(1, values.shape[1] + 1), values.shape)
    begins = np.ones_like(ends)
    begins[:, 1:] = ends[:, :-1]
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    beyond = np.where(ends, place, values.shape[1] + 1)
    last = np.minimum.accumulate(beyond[:, ::-1], axis=1)[:, ::-1]
    finite = np.isfinite(values)
    n_new, n = is_new.sum(axis=1).astype(np.float64), finite.sum(axis=1).astype(np.float64)
    rank_sum = np.where(is_new, (first + last) / 2, 0.0).sum(axis=1)
    # A run of t ties gives t^3 - t to the sum: each of its members t^2 - 1.
    ties = np.where(finite, (last - first + 1.0) ** 2 - 1, 0.0).sum(axis=1)
    n_pairs = n_new * (n - n_new)
    variance = n_pairs / 12 * ((n + 1) - ratio(ties, n * (n - 1)))
    excess = rank_sum - n_new * (n_new + 1) / 2 - n_pairs / 2
    # Below half of the smallest possible variance there is only rounding: all losses are equal.
    return ratio(excess, np.sqrt(np.where(variance > ROUNDING * n_pairs * n, variance, 0.0)))


def _gaps(new: Floats, old: Floats) -> Floats:
    """``D+`` and ``D-`` of each stream, ``(n_streams, 2)``; NaN = an empty side or all equal."""
    values, is_new, ends = _sorted(new, old)
    finite = np.isfinite(values)
    share_new, share_old = (_shares(side) for side in (is_new, finite & ~is_new))
    gap = np.where(ends & finite, share_old - share_new, 0.0)
    several = (ends & finite).sum(axis=1) > 1
    telling = several & is_new.any(axis=1) & (finite & ~is_new).any(axis=1)
    extremes = np.stack([gap.max(axis=1, initial=0.0), -gap.min(axis=1, initial=0.0)], axis=1)
    return np.where(telling[:, None], extremes, np.nan)


def _shares(member: NDArray[np.bool_]) -> Floats:
    return ratio(np.cumsum(member, axis=1), member.sum(axis=1)[:, None])
