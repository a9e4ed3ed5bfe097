"""Budget: which re-trainings start now, and which wait for a later cycle.

Takes the streams that ask for a re-training and what they would save, gives those that are granted
and those that are deferred. Next is the training of those granted.
"""

from dataclasses import dataclass, replace
from math import floor, isfinite

import numpy as np
from numpy.typing import NDArray

from mlma.domain.budgets import Budget, BudgetColumns, BudgetState
from mlma.domain.columns import Columns
from mlma.domain.outcomes import Kind, kinds
from mlma.domain.verdicts import Codes, Reason

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

LEAST_GAIN = 0.001
"""Gain, in logs, that any re-training is taken to have at least, so that none waits for ever."""

DOUBLING_CYCLES = 28.0
"""Cycles of waiting after which what a deferred re-training saves counts twice.

Patience costs: after 7, small savings that waited long take the place of large ones.
"""

FLEET_FITS = 3.0
"""Fits that the mean seconds of the fleet are worth beside a stream's own."""

OWN_FITS = 20.0
"""A stream's mean seconds rest on no more fits than this: later ones count more."""

SHORTEST_SECONDS = 1e-6
"""No fit is expected to take less."""

MOST_FLEET_FITS = 10_000.0
"""The fleet's mean rests on no more fits than this."""

_EVIDENCE_UNIT, _AGE_UNIT = 6.0, 120.0
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Candidates(Columns):
    """What the budget reads of the live streams of a cycle, all ``(n_streams,)``.

    key, age
        of the agent's state.
    asks
        bool, a re-training is asked for in this cycle.
    healed
        bool, the loss is back at its healthy level: an alarm that was deferred no longer asks. What
        was asked for by age is not healed by it.
    idle
        bool, may be re-trained with what the budget leaves over.
    reason
        int8, why it asks; read where ``asks``.
    gain
        float64, expected gain in logs (`mlma.stats.gains.expected_gain`); NaN = not known.
    level
        float64, loss of a batch now, in the unit of the loss; ones to weigh streams alike.
    usefulness
        float64, batches that the new version is expected to serve, or ones.
    evidence
        float64, evidence added up; NaN = none.
    """

    key: NDArray[np.uint64]
    age: NDArray[np.int32]
    asks: Bools
    healed: Bools
    idle: Bools
    reason: Codes
    gain: Floats
    level: Floats
    usefulness: Floats
    evidence: Floats

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True, slots=True)
class Granted(Columns):
    """What a budget grants, all ``(n_streams,)``.

    granted
        bool, re-training starts now; ``rest`` of them with what was left over.
    deferred
        bool, waits for a later cycle.
    stopped
        bool, waited and no longer asks.
    reason
        int8, why it was asked for, where granted; `Reason.BUDGET` where deferred.
    """

    granted: Bools
    rest: Bools
    deferred: Bools
    stopped: Bools
    reason: Codes


def granted(
    state: BudgetState, candidates: Candidates, budget: Budget
) -> tuple[Granted, BudgetState]:
    """Return what may be re-trained now, and the state after it.

    Those that ask now and those deferred earlier that still ask are ranked, and granted from the
    top as long as what they cost is there. A cycle adds its share of the budget to what is carried
    over. Over any number of cycles no more is spent than these add, ``carry_cycles`` of them, and
    the cost of one fit (so that fractions add up to one). Ties: the longest waiting, the oldest
    model, the smallest key. Writes waiting, reason, spare_fits, spare_seconds.

    >>> one, no = np.ones(3), np.zeros(3, dtype=bool)
    >>> asking = Candidates(
    ...     np.arange(3, dtype=np.uint64), np.array([9, 9, 9], dtype=np.int32), ~no, no, no,
    ...     np.ones(3, dtype=np.int8), np.array([0.1, 0.3, 0.2]), one, one, one)
    >>> made, state = granted(BudgetState.new(3), asking, Budget(fits=1))
    >>> made.granted.tolist(), made.deferred.tolist()
    ([False, True, False], [True, False, True])
    >>> granted(state, asking, Budget(fits=1))[0].granted.tolist()
    [False, True, False]
    """
    waited = state.streams.waiting > 0
    healed = candidates.healed & (kinds(state.streams.reason) != Kind.AGE)
    asking = candidates.asks | (waited & ~healed)
    rows = np.flatnonzero(asking)
    reason = np.where(candidates.asks, candidates.reason, state.streams.reason)
    n, cost = len(candidates), seconds_expected(state)
    purse = _purse(state, budget, n, cost)
    ranked = rows[_ranking(state.streams.rows(rows), candidates.rows(rows), cost[rows], budget)]
    taken = ranked[: purse.affords(cost[ranked])]
    purse = purse.less(cost[taken])
    rest = _rest(candidates, ~asking & candidates.idle, cost, purse, budget)
    purse = purse.less(cost[rest]).capped()
    made = _answer(taken, rest, asking=asking, waited=waited, reason=reason)
    columns = replace(
        state.streams,
        waiting=np.where(made.deferred, state.streams.waiting + np.int32(1), np.int32(0)),
        reason=np.where(made.deferred, reason, np.int8(Reason.NONE)).astype(np.int8),
    )
    return made, replace(
        state,
        streams=columns,
        spare_fits=0.0 if budget.fits is None else purse.fits,
        spare_seconds=0.0 if budget.seconds is None else purse.seconds,
    )


def seconds_expected(state: BudgetState) -> Floats:
    """Return the training seconds to expect of each stream's next fit, ``(n_streams,)``.

    The mean of its own fits, shrunk to the fleet's, which counts as `FLEET_FITS` of them; 1 before
    any fit.

    >>> state = trained(BudgetState.new(2), np.array([0]), np.array([4.0]))
    >>> seconds_expected(state).tolist()
    [4.0, 4.0]
    >>> seconds_expected(trained(state, np.array([1]), np.array([8.0]))).tolist()
    [5.5, 6.5]
    """
    own, fits = state.streams.seconds.astype(np.float64), state.streams.fits.astype(np.float64)
    mean = (own * fits + state.fleet_seconds * FLEET_FITS) / (fits + FLEET_FITS)
    return np.fmax(mean, SHORTEST_SECONDS)


def trained(state: BudgetState, rows: Ints, seconds: Floats, *, paid: bool = False) -> BudgetState:
    """Return the state after fits of ``rows`` took these seconds; each row once.

    ``paid`` = they were granted by this budget, so what they took beyond what was expected is taken
    off, and what they did not take is given back. Writes seconds, fits, fleet_seconds, fleet_fits,
    spare_seconds.
    """
    if not len(rows):
        return state
    part = state.streams.rows(rows)
    fits = np.minimum(part.fits, OWN_FITS - 1) + 1
    mean = part.seconds + (seconds - part.seconds) / fits
    changed = replace(part, seconds=mean.astype(np.float32), fits=fits.astype(np.float32))
    k, total = len(rows), float(np.sort(seconds).sum())  # sorted: the same bits in any order
    before = min(state.fleet_fits, MOST_FLEET_FITS)
    over = total - float(np.sort(seconds_expected(state.rows(rows))).sum())
    return replace(
        state,
        streams=state.streams.with_rows(rows, changed),
        fleet_seconds=(state.fleet_seconds * before + total) / (before + k),
        fleet_fits=before + k,
        spare_seconds=state.spare_seconds - over * paid,
    )


def refunded(state: BudgetState, rows: Ints) -> BudgetState:
    """Return the state after what was granted to ``rows`` was not spent: withheld, or failed.

    Writes spare_fits and spare_seconds.
    """
    back = float(np.sort(seconds_expected(state.rows(rows))).sum())
    return replace(
        state, spare_fits=state.spare_fits + len(rows), spare_seconds=state.spare_seconds + back
    )


@dataclass(frozen=True, slots=True)
class _Purse:
    """What there is to spend, and what may be carried over; infinite = no limit."""

    fits: float
    seconds: float
    kept_fits: float
    kept_seconds: float
    dearest: float

    def affords(self, cost: Floats, *, spared: bool = False) -> int:
        """Return how many of these fits, from the first on, can be paid for.

        ``spared`` = what may be carried over is not touched.
        """
        fits, seconds = self.fits, self.seconds
        if spared:
            fits, seconds = fits - self.kept_fits, seconds - self.kept_seconds
        number = max(floor(fits + _ROUNDING), 0) if isfinite(fits) else len(cost)
        paid = np.searchsorted(cost.cumsum(), seconds * (1 + _ROUNDING), side="right")
        return min(number, int(paid), len(cost))

    def less(self, cost: Floats) -> "_Purse":
        """Return what is left after these fits."""
        spent = float(cost.sum())
        return replace(self, fits=self.fits - len(cost), seconds=self.seconds - spent)

    def capped(self) -> "_Purse":
        """Return what is left after what can not be carried over is lost."""
        return replace(
            self,
            fits=min(self.fits, self.kept_fits + 1),
            seconds=min(self.seconds, self.kept_seconds + self.dearest),
        )


def _purse(state: BudgetState, budget: Budget, n: int, cost: Floats) -> _Purse:
    fits, seconds = budget.fits_per_cycle(n), budget.seconds_per_cycle()
    carry = budget.carry_cycles
    return _Purse(
        fits=state.spare_fits + fits,
        seconds=state.spare_seconds + seconds,
        kept_fits=carry * fits if isfinite(fits) else 0.0,
        kept_seconds=carry * seconds if isfinite(seconds) else 0.0,
        dearest=float(cost.max(initial=0.0)),
    )


def _ranking(columns: BudgetColumns, part: Candidates, cost: Floats, budget: Budget) -> Ints:
    """Return the order of the candidates, the first to be granted first."""
    if budget.rank == "evidence_and_age":
        score = _evidence_and_age(part)
    else:
        gain = np.fmax(part.gain, LEAST_GAIN)
        saved = -np.expm1(-gain) * part.level * part.usefulness / cost
        score = np.log2(np.fmax(saved, np.finfo(np.float64).tiny))
    score = score + columns.waiting / DOUBLING_CYCLES
    return np.lexsort((part.key, -part.age, -columns.waiting, -score))


def _evidence_and_age(part: Candidates) -> Floats:
    """Return the rank of a published prototype."""
    return np.nan_to_num(part.evidence) / _EVIDENCE_UNIT + part.age / _AGE_UNIT


def _rest(candidates: Candidates, may: Bools, cost: Floats, purse: _Purse, budget: Budget) -> Ints:
    """Return the streams that get what would be lost, the oldest models first."""
    rows = np.flatnonzero(may)
    if not (budget.spend_rest and budget.limited and len(rows)):
        return np.empty(0, dtype=np.int64)
    most = purse.affords(np.sort(cost[rows]), spared=True)
    part = candidates.rows(rows)
    by_age = budget.rank != "evidence_and_age"
    score = part.age.astype(np.float64) if by_age else _evidence_and_age(part)
    ranked = rows[_highest(score, part.key, most)]
    return ranked[: purse.affords(cost[ranked], spared=True)]


def _highest(score: Floats, key: NDArray[np.uint64], count: int) -> Ints:
    """Return the ``count`` highest, in order, ties by the smallest key; without sorting all."""
    if not count:
        return np.empty(0, dtype=np.int64)
    limit = np.partition(score, len(score) - count)[len(score) - count]
    above, level = np.flatnonzero(score > limit), np.flatnonzero(score == limit)
    need = count - len(above)
    if need < len(level):
        level = level[np.argpartition(key[level], need - 1)[:need]]
    picked = np.concatenate([above, level])
    return np.asarray(picked[np.lexsort((key[picked], -score[picked]))])


def _answer(taken: Ints, rest: Ints, *, asking: Bools, waited: Bools, reason: Codes) -> Granted:
    done, extra = np.zeros_like(asking), np.zeros_like(asking)
    done[taken] = True
    done[rest] = extra[rest] = True
    deferred = asking & ~done
    told = np.where(done, reason, np.int8(Reason.NONE)).astype(np.int8)
    told[deferred], told[rest] = Reason.BUDGET, Reason.MAX_AGE
    return Granted(done, extra, deferred, waited & ~asking, told)
