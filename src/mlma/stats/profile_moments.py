"""Slot profiles of cube-rooted losses: what a stream's usual day looks like, and how it varies.

Takes loss batches, gives `ProfileMoments` and how far a batch stands from them. Next is the test
`profile`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch
from mlma.domain.profiles import ProfileMoments
from mlma.stats.ratios import ratio

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

BLOCK = 2_000
"""Streams that are worked on at a time: about what fits in the cache of a processor."""

MOST_SEEN = 255
"""A slot counts no more batches than this."""

_INVERSE = 1 / np.maximum(np.arange(MOST_SEEN + 1.0), 1)

SMALLEST_LEVEL = 0.3
"""Levels below this, relative to the unit (a loss of 1/37 of the typical one), count as this: one
quiet batch must not blow up the relative deviations of the next."""

LARGEST_ROOT = 1e10
"""Cube roots are kept below this, relative to the unit: single precision must hold their sums."""

LARGEST_PHI, SMALLEST_SHARE = 0.9, 0.05
"""Bounds of the pre-whitening coefficient, and of the long-run over the plain variance."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """How a batch stands to its profile; all ``(n_streams,) float64``, NaN = no slot to compare.

    shift
        mean over the slots of loss root minus profile, relative to the level of these slots with
        this batch in it, times ``sqrt(certainty)``: its variance is that of a batch mean.
    found
        number of slots compared.
    certainty
        ``1 / (1 + mean of 1 / seen)``.
    evenness
        mean of the profile over these slots, relative to their level.
    loss, expected
        mean loss of these slots, and the mean loss that the profile expects of them, relative to
        the cube of the unit.
    """

    shift: Floats
    found: Floats
    certainty: Floats
    evenness: Floats
    loss: Floats
    expected: Floats


def cube_roots(losses: NDArray[Any], unit: Floats) -> Floats:
    """Return cube roots over the unit; NaN = missing, infinite or negative loss.

    The cube root brings gamma-type losses near to a normal distribution (Wilson and Hilferty, 1931)
    and, unlike a log, bears zeros.

    >>> cube_roots(np.array([[8.0, 27.0, np.inf, -1.0]]), np.array([2.0])).tolist()
    [[1.0, 1.5, nan, nan]]
    """
    with np.errstate(invalid="ignore"):
        roots: Floats = np.cbrt(losses) / np.where(unit > 0, unit, 1.0)[:, None]
        usable = (losses >= 0) & (losses < np.inf)
    if not usable.all():
        roots[~usable] = np.nan
    return np.minimum(roots, LARGEST_ROOT)


def long_run_variance(moments: ProfileMoments) -> Floats:
    """Return the long-run variance of the cube roots within a batch, ``(n_streams,)``.

    Bartlett weights (Newey and West, 1987) after pre-whitening by an AR(1) (Andrews and Monahan,
    1992): without it phi .6 at 96 slots is underrated by a third. NaN = no degree of freedom.

    >>> made = ProfileMoments.empty(1, 1, 8)
    >>> lags = 0.5 ** np.arange(4.0)[None]
    >>> made = replace(made, weight=np.full((1, 1), 1e9), lags=lags)
    >>> float(long_run_variance(made).round(6)[0])  # (1 + phi) / (1 - phi)
    3.0
    """
    lags = moments.lags * ratio(moments.count(), moments.df())[:, None]
    phi = np.clip(np.nan_to_num(ratio(lags[:, 1], lags[:, 0])), -LARGEST_PHI, LARGEST_PHI)
    before = np.concatenate([lags[:, 1:2], lags[:, :-2]], axis=1)
    white = (1 + phi**2)[:, None] * lags[:, :-1] - phi[:, None] * (before + lags[:, 1:])
    longest = white.shape[1] - 1
    taper = 2 * (1 - np.arange(longest + 1) / (longest + 1))
    taper[0] = 1.0
    variance = np.maximum(white @ taper / (1 - phi) ** 2, SMALLEST_SHARE * lags[:, 0])
    return np.asarray(variance)


def deviation(incoming: LossBatch, moments: ProfileMoments) -> Deviation:
    """Return how the incoming batch stands to the profile of its class.

    Only slots that are there and that the reference has seen are compared. ``expected`` is
    ``mean(p^3) (1 + 3 v (1 - mean of 1 / seen))``: the second order of the back-transformation,
    ``v`` the relative variance of the deviations, less what the error of the profile ``p`` adds to
    ``p^3`` already. Deviations are taken to be in proportion to the profile.

    >>> first, day = LossBatch(np.array([[8.0, 1.0]]), np.zeros(1, np.int8)), np.ones(1, np.bool_)
    >>> made = absorbed(ProfileMoments.empty(1, 1, 2), first, day, cap=28)
    >>> later = LossBatch(np.array([[8.0, np.nan]]), np.zeros(1, np.int8))
    >>> float((deviation(later, made).expected * made.unit**3).round(5)[0])
    8.0
    """
    variance = np.nan_to_num(moments.lags[:, 0] * ratio(moments.count(), moments.df()))
    parts = [_deviation(incoming, moments, variance, rows) for rows in _blocks(len(variance))]
    if not parts:
        return Deviation(*(np.empty(0) for _ in range(6)))
    return Deviation(*np.concatenate(parts, axis=1))


def _deviation(batch: LossBatch, moments: ProfileMoments, variance: Floats, rows: slice) -> Floats:
    """Return the fields of `Deviation` as rows of one array, for a block of streams."""
    calendar = batch.calendar[rows]
    roots = cube_roots(batch.losses[rows], moments.unit[rows])
    profile = _of_class(moments.profile[rows], calendar).astype(np.float64)
    away = roots - profile
    holes = np.isnan(away)
    found = np.full(len(away), float(away.shape[1]))
    if holes.any():
        found -= holes.sum(axis=1)
        for part in (roots, profile, away):
            part[holes] = 0.0
    inverse = _INVERSE[_of_class(moments.seen[rows], calendar)]
    certainty = 1 / (1 + ratio((inverse * ~holes).sum(axis=1), found))
    level = _levels(profile, found)
    spare = variance[rows] * (2 - 1 / certainty)
    expected = (1 + 3 * spare) * _means(profile * profile, profile, found)
    loss = _means(roots * roots, roots, found)
    mean = ratio(away.sum(axis=1), found)
    # As in `_slots_moved`: relative to the level that this batch would make.
    shift = mean * np.sqrt(certainty) / np.maximum(level + (1 - certainty) * mean, SMALLEST_LEVEL)
    evenness = ratio(profile.sum(axis=1), found) / level
    return np.stack([shift, found, certainty, evenness, loss, expected])


def _levels(profile: Floats, found: Floats) -> Floats:
    """Return the root mean square of profiles, 0 where not compared; not below a bound."""
    return np.maximum(np.sqrt(_means(profile, profile, found)), SMALLEST_LEVEL)


def absorbed(
    moments: ProfileMoments, incoming: LossBatch, rows_mask: Bools, cap: int
) -> ProfileMoments:
    """Return the reference with one batch more where ``rows_mask``; its ring stays as it is.

    Equal weights until there are ``cap`` batches, then exponential ones, ``2 / (m + 1)`` for a
    class or slot of ``m`` batches, which keep the effective number (Kish, 1965) as it is. The
    first two batches of a class always count. A batch without losses changes nothing.

    Deviations are recursive residuals (Brown, Durbin and Evans, 1975), from the profile before the
    batch and scaled to the variance of a loss: no estimated slot mean biases the autocovariances.

    >>> days, yes = np.array([[[1.0, 8.0]], [[27.0, 8.0]]]), np.ones(1, np.bool_)
    >>> made = ProfileMoments.empty(1, 1, 2)
    >>> for day in days:
    ...     made = absorbed(made, LossBatch(day, np.zeros(1, np.int8)), yes, cap=28)
    >>> (made.profile[0, 0] * made.unit).round(3).tolist()
    [2.0, 2.0]
    """
    unit = _with_units(moments.unit, incoming, rows_mask)
    made = replace(
        moments,
        unit=unit,
        profile=moments.profile.copy(),
        seen=moments.seen.copy(),
        weight=moments.weight.copy(),
        lags=moments.lags.copy(),
        between=moments.between.copy(),
        third=moments.third.copy(),
    )
    for block in _blocks(len(unit)):
        some = np.arange(block.start, block.stop)[rows_mask[block]]
        for one in np.unique(incoming.calendar[some]):
            _absorb(made, incoming, some[incoming.calendar[some] == one], int(one), cap)
    return made


def _absorb(made: ProfileMoments, incoming: LossBatch, rows: Ints, one: int, cap: int) -> None:
    """Write the batch of class ``one`` into ``rows`` of ``made``."""
    roots = cube_roots(incoming.losses[rows], made.unit[rows])
    held = ~np.isnan(roots).all(axis=1)
    rows, roots = rows[held], roots[held]
    part = _counted(made, rows, one, cap)
    residual = _slots_moved(made, rows, one, roots)
    first = made.weight[rows, one] == 1
    compared = ~np.isnan(residual)
    residual[~compared] = 0.0
    found = compared.sum(axis=1)
    mean = ratio(residual.sum(axis=1), np.sqrt(found * residual.shape[1]))
    mean[first] = 0.0
    made.between[rows] = _moved(made.between[rows], mean**2, part)
    made.third[rows] = _moved(made.third[rows], mean**3, part)
    for lag in range(made.lags.shape[1]):
        value = np.where(first, 0.0, _lagged(residual, compared, lag))
        made.lags[rows, lag] = _moved(made.lags[rows, lag], value, part)


def _counted(made: ProfileMoments, rows: Ints, one: int, cap: int) -> Floats:
    """Count the batch of class ``one``; return its part in the moments of all classes."""
    size, count = made.weight[rows, one], made.weight[rows].sum(axis=1)
    growing = (count < cap) | (size < 2)
    rate = (2.0 - growing) / (size + 1)
    size += growing
    made.weight[rows, one] = size
    return np.asarray(size * rate / (count + growing))


def _slots_moved(made: ProfileMoments, rows: Ints, one: int, roots: Floats) -> Floats:
    """Move the profile of class ``one``; return relative recursive residuals, NaN = none."""
    old, seen = made.profile[rows, one].astype(np.float64), made.seen[rows, one]
    most = np.minimum(made.weight[rows, one], MOST_SEEN)
    growing = seen < most[:, None]
    rates = (2.0 - growing) / (seen + 1.0)
    away = roots - old
    new = np.where(np.isnan(old), roots, old + rates * away)
    there = ~np.isnan(roots)
    made.profile[rows, one] = np.where(there, new, old)
    made.seen[rows, one] = seen + (growing & there)
    compared = ~np.isnan(away)
    # The level with this batch in it: relative to the old one alone, rises would lean to the right.
    level = _levels(np.where(compared, new, 0.0), compared.sum(axis=1))
    return np.asarray(away * np.sqrt(1 - rates) / level[:, None])


def _moved(old: Floats, value: Floats, part: Floats) -> Floats:
    return np.where(np.isnan(value), old, old + part * (value - old))


def _lagged(residual: Floats, compared: Bools, lag: int) -> Floats:
    """Return the mean product of residuals ``lag`` slots apart, NaN = no such pair."""
    stop = residual.shape[1] - lag
    products = np.einsum("nt,nt->n", residual[:, :stop], residual[:, lag:])
    if compared.all():
        return products / stop if stop else np.full(len(products), np.nan)
    pairs = (compared[:, :stop] & compared[:, lag:]).sum(axis=1)
    return ratio(products, pairs)


def _with_units(unit: Floats, incoming: LossBatch, wanted: Bools) -> Floats:
    """Return the units, made of the incoming batch where they are not known yet."""
    new = np.flatnonzero(np.isnan(unit) & wanted)
    unit = unit.copy()
    unit[new] = typical_root(incoming.losses[new])
    return unit


def typical_root(losses: NDArray[Any]) -> Floats:
    """Return the mean cube root over all but the first axis; NaN = no positive loss.

    >>> typical_root(np.array([[8.0, 64.0], [0.0, np.nan]])).tolist()
    [3.0, nan]
    """
    flat = losses.reshape(len(losses), int(np.prod(losses.shape[1:])))
    there = (flat >= 0) & (flat < np.inf)
    roots = np.cbrt(np.where(there, flat, 0.0))
    mean = ratio(roots.sum(axis=1, dtype=np.float64), there.sum(axis=1))
    return np.where(mean > 0, mean, np.nan)


def _blocks(n_streams: int) -> Iterator[slice]:
    for start in range(0, n_streams, BLOCK):
        yield slice(start, min(start + BLOCK, n_streams))


def _of_class(table: NDArray[Any], calendar: NDArray[np.int8]) -> NDArray[Any]:
    """Return the row of each stream's calendar class, ``(n_streams, slots)``."""
    if (calendar == calendar[0]).all():  # the usual case: one day for the whole fleet
        return table[:, calendar[0]]
    return table[np.arange(len(table)), calendar]


def _means(left: Floats, right: Floats, found: Floats) -> Floats:
    return ratio(np.einsum("nt,nt->n", left, right), found)
