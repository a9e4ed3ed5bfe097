"""Moments of log batch means: how a reference starts, what it predicts, how it takes batches in.

Takes mean losses and calendar classes, gives `Moments` and what they expect of the next batch.
Next are the tests on batch means.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.moments import Moments
from mlma.stats import fast
from mlma.stats.ratios import ratio

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Classes = NDArray[np.int8]

LOG_FLOOR = float(np.log(1e-2))
"""Batch means below a hundredth of the typical one count as a hundredth."""

FEWEST_FOR_SKEWNESS = 5
"""A smaller reference says nothing of its skewness."""

FENCE = 4.0
"""Held-out batches further from the median of their class, in robust standard deviations, are
winsorised to this distance: an outage in the training window must not become the normal state."""

MAD_TO_SD = 1.482602218505602
"""Standard deviation of a normal distribution whose median absolute deviation is 1."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a reference says of the log mean of the next batch; all ``(n_streams,)``, NaN = nothing.

    centre
        expected log mean, calendar effect included.
    variance, df
        variance of a log mean about its class, unbiased, and its degrees of freedom.
    skewness
        of the log means about their class.
    class_count, count
        effective number of reference batches of this class, and of all.
    level
        mean log over all batches.
    """

    centre: Floats
    variance: Floats
    df: Floats
    skewness: Floats
    class_count: Floats
    count: Floats
    level: Floats


def log_means(means: Floats, typical: Floats) -> Floats:
    """Return the log of batch means, floored at a hundredth of the typical one.

    ``means`` and ``typical`` broadcast. NaN = missing or negative. A zero is 0 where nothing
    positive was ever seen: such a reference has no level, and no variance either.

    >>> log_means(np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, np.nan])).round(3).tolist()
    [0.0, -4.605, 0.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(means)
    made: Floats = np.fmax(logs, typical + LOG_FLOOR)
    usable = means >= 0
    if not usable.all():
        made[~usable] = np.nan
    made[np.isneginf(made)] = 0.0
    return made


def moments_of(means: Floats, calendar: Classes, n_classes: int) -> Moments:
    """Return the moments of references made of raw batches, every batch with equal weight.

    Outlying batches are winsorised about the median of their class (`FENCE`).

    Parameters
    ----------
    means
        ``(n_streams, m)`` mean losses; NaN = empty place, and a negative one counts as empty.
    calendar
        ``(n_streams, m) int8``, below ``n_classes``.

    >>> made = moments_of(np.exp([[0.0, 1.0, 2.0]]), np.zeros((1, 3), np.int8), 1)
    >>> float(made.variance[0].round(6)), float(made.count()[0])
    (0.666667, 3.0)
    """
    positive = means > 0
    logs = np.log(means, out=np.zeros_like(means), where=positive)
    typical = row_medians(np.where(positive, logs, np.nan))
    places, outlying = _winsorised(log_means(means, typical[:, None]), calendar, n_classes)
    return _plain(places, outlying, calendar, n_classes, typical)


def _plain(
    places: Floats, outlying: Floats, calendar: Classes, n_classes: int, typical: Floats
) -> Moments:
    n = len(places)
    weight, mean = np.zeros((n, n_classes), dtype=np.float32), np.zeros((n, n_classes))
    squares, cubes = np.zeros(n), np.zeros(n)
    for one in range(n_classes):
        member = np.isfinite(places) & (calendar == one)
        size = member.sum(axis=1)
        centre = np.nan_to_num(ratio(np.where(member, places, 0.0).sum(axis=1), size))
        residual = np.where(member, places - centre[:, None], 0.0)
        weight[:, one], mean[:, one] = size, centre
        squares += (residual * residual).sum(axis=1)
        cubes += (residual * residual * residual).sum(axis=1)
    count = weight.sum(axis=1, dtype=np.float64)
    return Moments(
        weight=weight,
        mean=mean,
        variance=np.nan_to_num(ratio(squares, count)),
        third=np.nan_to_num(ratio(cubes, count)),
        typical=typical,
        outlying=outlying.astype(np.float32),
    )


def _winsorised(places: Floats, calendar: Classes, n_classes: int) -> tuple[Floats, Floats]:
    """Return the places, outlying ones moved to the fence, and the share that was."""
    centre = np.zeros_like(places)
    for one in range(n_classes):
        member = calendar == one
        middle = row_medians(np.where(member, places, np.nan))
        centre = np.where(member, middle[:, None], centre)
    residual = places - centre
    limit = FENCE * MAD_TO_SD * row_medians(np.abs(residual))[:, None]
    fenced = np.where(limit > 0, np.clip(residual, -limit, limit), residual)
    moved = (fenced != residual) & np.isfinite(residual)
    share = np.nan_to_num(ratio(moved.sum(axis=1), np.isfinite(residual).sum(axis=1)))
    return np.where(moved, centre + fenced, places), share


def row_medians(values: Floats) -> Floats:
    """Return the median of each row, ``(n,)``, NaN left out; NaN = a row of NaN.

    >>> row_medians(np.array([[1.0, 9.0, 3.0, np.nan]])).tolist()
    [3.0]
    """
    if values.shape[1] == 0:
        return np.full(len(values), np.nan)
    ranked = np.sort(values, axis=1)  # NaN stand last
    count = np.isfinite(values).sum(axis=1)
    rows = np.arange(len(values))
    low, high = ranked[rows, np.maximum(count - 1, 0) // 2], ranked[rows, count // 2 * (count > 0)]
    return np.asarray(low + (high - low) / 2)


def expectation(moments: Moments, calendar: Classes) -> Expectation:
    """Return what the references expect of a batch of class ``calendar (n_streams,)``.

    A class that a reference has never seen falls back on the mean and the variance over all
    classes: the calendar effect then counts as noise.

    >>> made = moments_of(np.exp([[0.0, 1.0, 2.0]]), np.zeros((1, 3), np.int8), 1)
    >>> float(expectation(made, np.zeros(1, np.int8)).variance[0].round(6))
    1.0
    """
    if fast.AVAILABLE:
        return _fast_expectation(moments, calendar)
    class_count = chosen(moments.weight, calendar).astype(np.float64)
    centre: Floats = chosen(moments.mean, calendar).astype(np.float64)
    count = moments.count()
    df, squares = count.copy(), moments.variance * count
    for one in range(moments.n_classes):
        df -= moments.weight[:, one] > 0
    new = np.flatnonzero(class_count == 0)
    if len(new):
        spread = _between(moments, new)
        centre[new] = moments.level()[new]
        class_count[new], df[new] = count[new], count[new] - 1
        squares[new] += spread
    few = count < FEWEST_FOR_SKEWNESS
    if few.any():
        df[df <= 0] = np.nan
    variance = squares / df
    with np.errstate(divide="ignore", invalid="ignore"):
        skewness = moments.third / (moments.variance * np.sqrt(moments.variance))
        skewness *= np.sqrt(count * (count - 1)) / (count - 2)  # Joanes and Gill 1998
    silent = ~np.isfinite(skewness)
    silent |= few
    if silent.any():
        skewness[silent] = 0.0
    return Expectation(centre, variance, df, skewness, class_count, count, moments.level())


def _fast_expectation(moments: Moments, calendar: Classes) -> Expectation:
    made = [np.empty(len(calendar)) for _ in range(7)]
    held = (moments.weight, moments.mean, moments.variance, moments.third)
    fast.expectation(*held, calendar, FEWEST_FOR_SKEWNESS, *made)
    return Expectation(*made)


def _between(moments: Moments, rows: NDArray[np.int64]) -> Floats:
    """Return the sum of squares between classes of some rows."""
    weight, mean = moments.weight[rows].astype(np.float64), moments.mean[rows]
    centre = ratio((weight * mean).sum(axis=1), weight.sum(axis=1))
    return np.asarray((weight * (mean - centre[:, None]) ** 2).sum(axis=1))


def chosen(table: NDArray[np.generic], calendar: Classes) -> NDArray[np.generic]:
    """Return the column of each row's calendar class, ``(n_streams,)``."""
    if len(calendar) == 0 or table.shape[1] == 1:
        return table[:, 0]
    if (calendar == calendar[0]).all():  # the usual case: one day for the whole fleet
        return table[:, calendar[0]]
    return np.take_along_axis(table, calendar[:, None].astype(np.int64), axis=1)[:, 0]


def absorbed(
    moments: Moments,
    logs: Floats,
    calendar: Classes,
    *,
    taken: Bools,
    positive: Bools,
    moved: Bools,
    cap: int,
    own: bool = False,
) -> Moments:
    """Return the moments with one batch more where ``taken``.

    Equal weights until there are ``cap`` batches; from then on exponential ones, ``2 / (m + 1)``
    for a class of ``m`` batches, which keep the effective number of batches (Kish 1965) as it is.
    The first two batches of a class always count. Updates as in Pebay (2008, eq. 2.1), written for
    weights. With several classes the third moment is an approximation: its update takes the pooled
    variance for that of the batch's class; mean and variance are exact while weights are equal.

    Parameters
    ----------
    logs
        ``(n_streams,)`` log means from `log_means`, winsorised where ``moved``; NaN = no batch.
    calendar, taken, positive, moved
        ``(n_streams,)``; ``positive`` = the batch mean was above 0.
    own
        the moments belong to the caller and may be written into.

    >>> old = moments_of(np.exp([[0.0, 1.0]]), np.zeros((1, 2), np.int8), 1)
    >>> yes, no, day = np.ones(1, np.bool_), np.zeros(1, np.bool_), np.zeros(1, np.int8)
    >>> new = absorbed(old, np.array([2.0]), day, taken=yes, positive=yes, moved=no, cap=28)
    >>> float(new.mean[0, 0]), float(new.variance[0].round(6))
    (1.0, 0.666667)
    """
    mine = moments if own else copied(moments)
    taking = _fast_absorbed if fast.AVAILABLE else _plain_absorbed
    return taking(mine, logs, calendar, (taken, positive, moved), cap)


def _plain_absorbed(
    moments: Moments, logs: Floats, calendar: Classes, held: tuple[Bools, ...], cap: int
) -> Moments:
    """Return the moments with one batch more; weights and means are written in place."""
    taken, positive, moved = held
    taken = taken & np.isfinite(logs)
    weight, mean = moments.weight, moments.mean
    started = _awakened(moments, mean, logs, taken & positive)
    variance, third = moments.variance, moments.third
    count = moments.count()
    share = np.zeros(len(logs))
    for one in _present(calendar):
        member = taken if _uniform(calendar) else taken & (calendar == one)
        size = weight[:, one].astype(np.float64)
        growing = (count < cap) | (size < 2)
        rate = (2.0 - growing) / (size + 1)
        away = logs - mean[:, one]
        _silence(rate, away, without=~member)
        size += growing & member
        part = size * rate / (count + growing)
        mean[:, one] += rate * away
        weight[:, one] = size
        kept, square = 1 - rate, away * away
        bend = kept * away * ((kept - rate) * square - 3 * variance)
        third = third + part * (bend - third)
        variance = variance + part * (kept * square - variance)
        share += part
    toward = logs - started
    _silence(toward, without=~(taken & positive))
    return Moments(
        weight=weight,
        mean=mean,
        variance=variance,
        third=third,
        typical=started + share * toward,
        outlying=_outlying(moments, share, moved),
    )


def _fast_absorbed(
    moments: Moments, logs: Floats, calendar: Classes, held: tuple[Bools, ...], cap: int
) -> Moments:
    taken, positive, moved = held
    if np.isnan(moments.typical).any():
        seen = taken & positive & np.isfinite(logs)
        moments.typical[:] = _awakened(moments, moments.mean, logs, seen)
    fast.absorbed(
        *(logs, calendar, taken, positive, moved, cap, moments.weight, moments.mean),
        *(moments.variance, moments.third, moments.typical, moments.outlying),
    )
    return moments


def copied(moments: Moments) -> Moments:
    """Return moments that may be written into."""
    return Moments(**{name: column.copy() for name, column in moments.flat().items()})


def _silence(*columns: Floats, without: Bools) -> None:
    """Put 0 into some rows of columns, in place."""
    if without.any():
        for column in columns:
            column[without] = 0.0


def _outlying(moments: Moments, share: Floats, moved: Bools) -> NDArray[np.float32]:
    """Return the share of winsorised batches."""
    if not (moved.any() or moments.outlying.any()):
        return moments.outlying
    made = moments.outlying + share * (moved - moments.outlying)
    return np.asarray(made, dtype=np.float32)


def _awakened(moments: Moments, mean: Floats, logs: Floats, seen: Bools) -> Floats:
    """Return the typical level; where it was not known, zeros get their floor beneath it."""
    typical = moments.typical
    first = np.flatnonzero(np.isnan(typical) & seen)
    if not len(first):
        return typical
    typical = typical.copy()
    typical[first] = logs[first]
    mean[first] = np.where(moments.weight[first] > 0, (logs[first] + LOG_FLOOR)[:, None], 0.0)
    return typical


def _uniform(calendar: Classes) -> bool:
    return len(calendar) == 0 or bool((calendar == calendar[0]).all())


def _present(calendar: Classes) -> list[int]:
    if _uniform(calendar):
        return [int(one) for one in calendar[:1]]
    return [int(one) for one in np.unique(calendar)]  # at most seven


def released(
    moments: Moments, batches: Floats, total: Floats, squares: Floats, cap: int
) -> Moments:
    """Return the moments with batches taken in of which only sums are known.

    Chan's merge (Chan, Golub, LeVeque 1979) of ``batches`` deviations from the expected log mean
    with their sums and sums of squares, ``(n_streams,)``. All classes move alike. The weight is
    what the batches would have had one by one: together ``1 - (1 - 2 / (cap + 1))^n`` of a full
    reference.

    >>> old = moments_of(np.exp([[0.0, 1.0]]), np.zeros((1, 2), np.int8), 1)
    >>> new = released(old, np.array([1.0]), np.array([1.5]), np.array([2.25]), 28)
    >>> float(new.mean[0, 0]), float(new.variance[0].round(6))  # as if the batch 2.0 had entered
    (1.0, 0.666667)
    """
    count = moments.count()
    growing = count < cap
    rate = np.where(growing, batches / (count + batches), 1 - (1 - 2 / (cap + 1)) ** batches)
    away = total / batches
    within = np.maximum(squares / batches - away * away, 0.0)
    kept = 1 - rate
    held = moments.weight > 0
    grown = np.where(growing, np.minimum(count + batches, cap) / np.maximum(count, 1), 1.0)
    return Moments(
        weight=(moments.weight * grown[:, None]).astype(np.float32),
        mean=moments.mean + np.where(held, (rate * away)[:, None], 0.0),
        variance=kept * (moments.variance + rate * away * away) + rate * within,
        third=kept * moments.third,
        typical=moments.typical + rate * away,
        outlying=moments.outlying,
    )
