"""Pool: the members' forecasts become one, and their losses become weights.

Takes the state of the pools and the members' forecasts of a batch, gives the combined forecast;
later, with the actuals, the state after the batch. Next is the loss batch of the combined forecast.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mlma.domain.pools import PoolState
from mlma.stats import fast
from mlma.stats.losses import Loss
from mlma.stats.mixtures import Kinds, blocks, class_means, loss_means, mixture
from mlma.stats.pool import LARGEST, CombinationRule, entered, over_members

Floats = NDArray[np.floating]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Classes = NDArray[np.int8]
D = TypeVar("D", bound=np.floating)

UNIT_BATCHES = 14
"""Batches over which the unit of the losses is averaged."""

OUTLYING = 10
"""A member's loss counts so many times the unit in it at most: one that fails must not set it."""

SMALLEST = np.float32(1e-30)
"""Units below this count as this."""


def combined(
    pool: PoolState, forecasts: NDArray[D], classes: Classes, rule: CombinationRule
) -> NDArray[D]:
    """Return the combined forecast of a batch, ``(n_streams, slots)``, of the forecasts' type.

    A weighted mean of the members' forecasts: it lies between the lowest and the highest of those
    with a weight. NaN for a pool without a member.

    Parameters
    ----------
    forecasts
        ``(n_streams, n_members, slots)``; those in empty places are not read.
    classes
        ``(slots,)`` of `mlma.stats.calendar.slot_classes`.

    >>> from mlma.stats.pool import Mean
    >>> pool = PoolState.empty(1, 1, 3)
    >>> for place in (0, 1):
    ...     pool = admitted(pool, np.array([0]), np.array([place]), batch=0, rule=Mean())
    >>> forecasts = np.array([[[4.0], [8.0], [np.nan]]])
    >>> combined(pool, forecasts, np.array([0], dtype=np.int8), Mean()).tolist()
    [[6.0]]
    """
    kinds = Kinds.of(classes)
    out = np.empty((len(pool), forecasts.shape[2]), dtype=forecasts.dtype)
    active = pool.active[:, None]
    for rows in blocks(forecasts):
        weights = rule.weights(pool.scores[rows].take(kinds.classes, axis=1), active[rows])
        mixture(weights, forecasts[rows], kinds, out[rows])
    return out


def learnt(pool: PoolState, losses: Floats, classes: Classes, rule: CombinationRule) -> PoolState:
    """Return the pools after the members' losses of a batch are known.

    ``losses (n_streams, n_members, slots)``, pointwise; NaN = not observed. Writes scores and unit.
    """
    kinds = Kinds.of(classes)
    return _learnt(pool, losses, kinds.classes, rule, lambda at: class_means(losses[at], kinds))


def learnt_from(
    pool: PoolState,
    y: Floats,
    forecasts: Floats,
    classes: Classes,
    rule: CombinationRule,
    *,
    loss: Loss,
    scale: Floats | float = 1.0,
) -> PoolState:
    """Return what `learnt` does, from actuals and forecasts: the losses are not laid out.

    ``y (n_streams, slots)``, ``forecasts (n_streams, n_members, slots)``, ``scale (n_streams,)`` of
    `mlma.stats.losses.Loss.scale_from`. Writes scores and unit.
    """
    kinds = Kinds.of(classes)
    scales = np.broadcast_to(scale, (len(pool),))

    def means(at: slice) -> Singles:
        return loss_means(loss, y[at], forecasts[at], kinds, scales[at])

    return _learnt(pool, forecasts, kinds.classes, rule, means)


def learnt_means(pool: PoolState, means: Floats, kinds: Ints, rule: CombinationRule) -> PoolState:
    """Return what `learnt` does, from the members' mean losses per class.

    ``means (n_streams, n_kinds, n_members)``, NaN = not observed; ``kinds (n_kinds,)``, the classes
    that they are of. Writes scores and unit.
    """
    with np.errstate(over="ignore"):  # what is too large for a float is infinite
        singles = means.astype(np.float32, copy=False)
    return _learnt(pool, singles, kinds, rule, lambda at: singles[at])


def _learnt(
    pool: PoolState,
    like: Floats,
    kinds: Ints,
    rule: CombinationRule,
    means: Callable[[slice], Singles],
) -> PoolState:
    """Return the pools after mean losses, in blocks of so many rows as those of ``like``."""
    scores, unit, active = pool.scores.copy(), pool.unit.copy(), pool.active
    at = _columns(kinds)
    for rows in blocks(like):
        relative, after = _measured(unit[rows].take(kinds, axis=1), means(rows), active[rows])
        unit[rows, at] = after
        old = scores[rows].take(kinds, axis=1)
        scores[rows, at] = rule.updated(old, relative, active[rows][:, None])
    return replace(pool, scores=scores, unit=unit)


def admitted(
    pool: PoolState, rows: Ints, places: Ints, batch: int, rule: CombinationRule
) -> PoolState:
    """Return the pools after new members took the places ``places (len(rows),)`` of ``rows``.

    A member that stood there leaves. The new one starts with the mean weight of the others, see
    `mlma.stats.pool.entered`, under any ``rule``. Writes scores and born.
    """
    part = pool.rows(rows)
    active = np.broadcast_to(part.active[:, None], part.scores.shape)
    scores = entered(part.scores, active, places)
    born = part.born.copy()
    born[np.arange(len(rows)), places] = batch
    return pool.with_rows(rows, replace(part, scores=scores, born=born))


def places_for(pool: PoolState, rows: Ints, versions: int) -> Ints:
    """Return the place of the next version of each row: the first empty one, else the oldest.

    ``versions`` = number of places for versions; the members behind them stay.

    >>> pool = PoolState.empty(1, 1, 3)
    >>> places_for(pool, np.array([0]), versions=2).tolist()
    [0]
    """
    return np.asarray(pool.born[rows, :versions].argmin(axis=1))  # EMPTY is below every batch


def leading(pool: PoolState, rule: CombinationRule) -> Floats:
    """Return each member's weight, the mean over the classes, ``(n_streams, n_members)``."""
    active = np.broadcast_to(pool.active[:, None], pool.scores.shape)
    return np.asarray(rule.weights(pool.scores, active).mean(axis=1))


def _columns(kinds: Ints) -> slice | Ints:
    """Return classes as a slice where they are neighbours, which is quicker to write to."""
    first = int(kinds[0]) if len(kinds) else 0
    neighbours = np.array_equal(kinds, first + np.arange(len(kinds)))
    return slice(first, first + len(kinds)) if neighbours else kinds


def _measured(unit: Singles, means: Singles, active: NDArray[np.bool_]) -> tuple[Singles, Singles]:
    """Return losses relative to their unit, and the unit after this batch, ``(n, n_kinds)``.

    Losses are seen in the unit before this batch, in the first batch in its own level; in 1 where
    there is no level yet. A level of 0, or none, keeps the unit.
    """
    if fast.AVAILABLE:
        relative, after = np.empty_like(means), np.empty_like(unit)
        limits = (np.float32(OUTLYING), LARGEST, SMALLEST, np.float32(UNIT_BATCHES))
        fast.measured(unit, means, active, *limits, relative, after)
        return relative, after
    losses = np.where(active[:, None], np.minimum(np.abs(means), LARGEST), np.float32(np.nan))
    known = ~np.isnan(unit)
    level = _level(losses, unit, known)
    usable = level > 0
    before = np.where(known, unit, level)
    moved = np.clip(before + (level - before) / UNIT_BATCHES, SMALLEST, LARGEST)
    divisor = np.where(known | usable, np.maximum(before, SMALLEST), np.float32(1))
    with np.errstate(over="ignore"):
        relative = np.asarray(means / divisor[:, :, None], dtype=np.float32)
    return relative, np.where(usable, moved, unit)


def _level(losses: Singles, unit: Singles, known: NDArray[np.bool_]) -> Singles:
    """Return the members' mean loss, each at most `OUTLYING` units; NaN where none is known.

    Where there is no unit yet the smallest loss above 0 stands for it.
    """
    least = over_members(np.minimum, np.where(losses > 0, losses, np.float32(np.inf)))
    with np.errstate(over="ignore"):
        cap = OUTLYING * np.where(known[:, :, None], unit[:, :, None], least)
    seen = ~np.isnan(losses)
    cut = np.where(seen, np.minimum(losses, cap), np.float32(0))
    count = over_members(np.add, seen).astype(np.float32)
    level = over_members(np.add, cut) / np.where(count > 0, count, np.float32(np.nan))
    return np.asarray(level[..., 0])
