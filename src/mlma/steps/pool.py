"""Pool: the members' forecasts become one, and their losses become weights.

Takes the state of the pools and the members' forecasts of a batch, gives the combined forecast;
later, with the actuals, the state after the batch. Next is the loss batch of the combined forecast.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.pools import PoolState
from mlma.stats.pool import CombinationRule, entered

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
Classes = NDArray[np.int8]

UNIT_BATCHES = 14
"""Batches over which the unit of the losses is averaged."""


def combined(
    pool: PoolState, forecasts: Floats, classes: Classes, rule: CombinationRule
) -> NDArray[np.float64]:
    """Return the combined forecast of a batch, ``(n_streams, slots) float64``.

    ``forecasts (n_streams, n_members, slots)``; those in empty places are not read. ``classes
    (slots,)`` of `mlma.stats.calendar.slot_classes`.
    """
    active = pool.active
    out = np.empty((len(pool), forecasts.shape[2]))
    for one, slots in class_slots(classes):
        weights = rule.weights(pool.scores[:, one], active)
        part = forecasts[:, :, slots]
        if not active.all():
            part = np.where(active[:, :, None], part, 0)
        out[:, slots] = np.einsum("nm,nms->ns", weights, part)
    return out


def learnt(pool: PoolState, losses: Floats, classes: Classes, rule: CombinationRule) -> PoolState:
    """Return the pools after the members' losses of a batch are known.

    ``losses (n_streams, n_members, slots)``, pointwise; NaN = not observed. Writes scores and unit.
    """
    active = pool.active
    scores, unit = pool.scores.copy(), pool.unit.copy()
    for one, slots in class_slots(classes):
        mean = _means(losses[:, :, slots])
        mean = np.where(active, mean, np.nan)
        level = _means(mean)
        unit[:, one], known = _followed(unit[:, one], level)
        relative = mean / known[:, None]
        scores[:, one] = rule.updated(scores[:, one], relative, active)
    return replace(pool, scores=scores, unit=unit)


def admitted(
    pool: PoolState, rows: Ints, places: Ints, batch: int, rule: CombinationRule
) -> PoolState:
    """Return the pools after new members took the places ``places (len(rows),)`` of ``rows``.

    A member that stood there leaves. The new one starts with the mean weight of the others. Writes
    scores and born.
    """
    part = pool.rows(rows)
    active = np.broadcast_to(part.active[:, None], part.scores.shape)
    scores = entered(part.scores, active, places, rule.weights(part.scores, active))
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


def class_slots(classes: Classes) -> list[tuple[int, slice | NDArray[np.int64]]]:
    """Return each class that a batch has and its slots: a slice where they are neighbours.

    >>> class_slots(np.array([0, 0, 1, 1], dtype=np.int8))
    [(0, slice(0, 2, None)), (1, slice(2, 4, None))]
    """
    out: list[tuple[int, slice | NDArray[np.int64]]] = []
    for one in np.unique(classes):
        at = np.flatnonzero(classes == one)
        neighbours = at[-1] - at[0] + 1 == len(at)
        out.append((int(one), slice(int(at[0]), int(at[-1]) + 1) if neighbours else at))
    return out


def _means(values: Floats) -> Floats:
    """Return means over the last axis without NaN; NaN where all are."""
    seen = np.isfinite(values)
    count = seen.sum(axis=-1)
    total = np.where(seen, values, 0).sum(axis=-1)
    mean: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def _followed(unit: Floats, level: Floats) -> tuple[Floats, Floats]:
    """Return the unit after this batch, and the one that this batch is seen in.

    The unit before this batch; in the first one its own level. A level of 0 keeps the unit.
    """
    level = np.abs(level)
    usable = level > 0
    before = np.where(np.isnan(unit) & usable, level, unit)
    after = np.where(usable, before + (level - before) / UNIT_BATCHES, before)
    return after, np.where(np.isnan(before), 1.0, before)
