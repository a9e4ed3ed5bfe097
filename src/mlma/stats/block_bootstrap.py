"""The moving block bootstrap of single losses: what would a healthy batch of this length average?

Takes the incoming and the reference loss batch, gives one outcome per stream. Beside
``dependent_tests.py``, which asks the same with formulas. The calendar class is not used.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch, ReferenceBatch, TestOutcome
from mlma.stats.ratios import ratio
from mlma.stats.single_losses import (
    ROUNDING,
    by_blocks,
    largest,
    outcome,
    reference_losses,
    side_by_side,
)
from mlma.stats.tails import check_side

Floats = NDArray[np.float64]

RESAMPLES = 999
"""Resamples B; the smallest p-value is ``1 / (B + 1)``, .001."""

SEED = 1989
"""Of the numbers that choose the blocks, the same ones in every call."""

BLOCK = 200_000
"""Losses that are worked on at a time: about what fits in the cache of a processor."""


def block_bootstrap(incoming: LossBatch, reference: ReferenceBatch, side: str) -> TestOutcome:
    """Return the moving block bootstrap of the difference of the two mean losses.

    A resample has as many slots as the incoming batch. It is made of blocks of
    ``l = floor(b^(1/3))`` slots for ``b`` slots, drawn with replacement from all runs of ``l``
    slots within a reference batch; the last block is cut to fit. With ``e`` the distance of a
    reference loss from the mean of all, ``d*`` is the mean ``e`` of a resample less its expectation
    over the blocks (which is not quite 0: slots near the ends of a batch lie in fewer blocks).
    It is widened by ``sqrt(1 + n_1 / n_0)``, for the reference mean has an error, too.

    ``p = (1 + number of d* at or above d) / (B + 1)`` with ``d = mean_1 - mean_0`` and ``B = 999``,
    absolute values for ``two-sided``; ties, up to rounding, count against the alarm. The statistic
    is ``d`` divided by the standard deviation of the ``d*``: one unit for all, it changes no
    p-value. Missing losses have ``e = 0``; ``d*`` is divided by ``sqrt(n n_1)``, ``n`` the losses
    that a resample holds on average, so that it varies as a mean of the ``n_1`` losses that the
    incoming batch has. The p-value is NaN (cannot tell) with an empty side, or where the reference
    losses do not vary.

    Does not cover: dependence beyond ``l`` slots, and the level that all losses of a batch have in
    common, because a resample mixes blocks of many batches. A daily season counts as variance.

    Chance: the blocks are chosen by one set of uniform numbers from a constant seed, shared by all
    streams; a stream with ``k`` blocks takes number ``floor(u k)``. So a p-value depends on its
    stream alone, on neither the other streams nor their order, and is the same in every run.

    Level: of break-free batches it rejects .109 at a nominal .05 and .017 at .001
    (gamma-type losses, AR(1) with phi .6 within the day, 28 reference batches); see
    ``docs/statistics/block_bootstrap.md``.

    Source: Kunsch (1989, Annals of Statistics 17); the centring from Lahiri (1992, in Exploring the
    Limits of Bootstrap); the p-value from Davison and Hinkley (1997, Bootstrap Methods and their
    Application, eq. 4.11). The widening and the treatment of missing losses are ours.

    Parameters
    ----------
    incoming
        ``(n_streams, slots)`` losses; NaN = missing.
    reference
        ``losses``, ``(n_streams, m, slots)``; NaN = missing. Batches without a loss are not drawn.
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
    >>> incoming = LossBatch(np.array([[4.0, 5.0]]), np.zeros(1, np.int8))
    >>> float(block_bootstrap(incoming, reference, "greater").p_value[0])
    0.001
    """
    check_side(side)
    old = reference_losses(reference, "block_bootstrap")
    plan = _plan(incoming.losses.shape[1], old.shape[2])
    judged = by_blocks(partial(_judged, plan=plan, side=side), incoming.losses, old, BLOCK)
    statistic, p_value, expected = judged.T
    return outcome(incoming, expected, statistic, p_value)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a resample is made: its slots, the slots of a block, and what chooses the blocks."""

    slots: int
    block: int
    uniform: Floats  # (RESAMPLES, blocks of a resample)


def _plan(slots: int, reference_slots: int) -> _Plan:
    block = max(min(int(np.cbrt(slots)), reference_slots), 1)
    needed = -(-slots // block)
    return _Plan(slots, block, np.random.default_rng(SEED).random((RESAMPLES, needed)))


def _judged(new: Floats, old: Floats, plan: _Plan, side: str) -> Floats:
    """Statistic, p-value and reference mean, ``(n_streams, 3)``."""
    unit = largest(new, side_by_side(old))
    count_1, mean_1, _ = _centred((new / unit[:, None])[:, None, :])
    count_0, mean_0, residual = _centred(old / unit[:, None, None])
    filled = np.isfinite(old).any(axis=2)
    held = filled.sum(axis=1)
    first = np.argsort(~filled, axis=1, kind="stable")  # batches with a loss come first
    out = np.full((len(new), 2), np.nan)
    for m in np.unique(held[(held > 0) & (count_1 > 0)]):  # one, mostly: full references
        rows = np.flatnonzero((held == m) & (count_1 > 0))
        batches = residual[rows[:, None], first[rows, :m]]
        n_1, n_0 = count_1[rows], count_0[rows]
        expected_count = n_0 * plan.slots / (m * old.shape[2])
        scale = np.sqrt((1 + n_1 / n_0) / (expected_count * n_1))
        resampled = _resampled(batches, plan) * scale[:, None]
        out[rows] = _compared((mean_1 - mean_0)[rows], resampled, side)
    return np.column_stack([out, mean_0 * unit])


def _centred(losses: Floats) -> tuple[Floats, Floats, Floats]:
    """Count, mean and distances from it (0 = missing), of losses ``(n_streams, m, slots)``."""
    found = np.isfinite(losses)
    count = found.sum(axis=(1, 2)).astype(np.float64)
    mean = ratio(np.where(found, losses, 0.0).sum(axis=(1, 2)), count)
    return count, mean, np.where(found, losses - mean[:, None, None], 0.0)


def _resampled(residual: Floats, plan: _Plan) -> Floats:
    """Sums of the resamples about their expectation, ``(n_streams, RESAMPLES)``."""
    n_streams, m, slots = residual.shape
    run = np.zeros((n_streams, m, slots + 1))
    np.cumsum(residual, axis=2, out=run[:, :, 1:])
    chosen = (plan.uniform * (m * (slots - plan.block + 1))).astype(np.int64)
    whole, rest = divmod(plan.slots, plan.block)
    sums, expected = _block_sums(run, plan.block, plan.block)
    total, expected = np.zeros((len(chosen), n_streams)), expected * whole
    for blocks in chosen.T[:whole]:
        total += sums[blocks]
    if rest:
        sums, last = _block_sums(run, plan.block, rest)
        total += sums[chosen[:, -1]]
        expected = expected + last
    return np.ascontiguousarray((total - expected).T)


def _block_sums(run: Floats, block: int, width: int) -> tuple[Floats, Floats]:
    """Sums of `width` slots from every start of a block on, ``(starts, n_streams)``; their mean.

    The mean is taken along a stream, so that its last digit does not depend on how many streams
    there are.
    """
    starts = run.shape[2] - block
    sums = (run[:, :, width : width + starts] - run[:, :, :starts]).reshape(len(run), -1)
    return np.ascontiguousarray(sums.T), sums.mean(axis=1)


def _compared(difference: Floats, resampled: Floats, side: str) -> Floats:
    """Statistic and p-value, ``(n_streams, 2)``, of ``(n_streams, RESAMPLES)`` resamples."""
    deviation = np.sqrt((resampled**2).mean(axis=1))
    statistic = ratio(difference, np.where(deviation > ROUNDING, deviation, np.nan))
    if side == "two-sided":
        difference, resampled = np.abs(difference), np.abs(resampled)
    hits = (resampled >= difference[:, None] - ROUNDING).sum(axis=1)
    p_value = (1.0 + hits) / (RESAMPLES + 1)
    return np.stack([statistic, np.where(np.isnan(statistic), np.nan, p_value)], axis=1)
