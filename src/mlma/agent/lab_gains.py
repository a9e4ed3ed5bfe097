"""Hindsight: what re-trainings changed in the recorded history, to guess what others would have.

Takes the history, gives how far losses rose at a break, and which share of that a version takes off
that was trained so many batches after it began. It is an estimate: nobody saw the losses of
versions that never were.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlma.agent.lab_history import NEVER, Alarms, History
from mlma.domain.outcomes import Kind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

REACH = 28
"""Batches over which levels are taken at most: before a break, after an alarm, after a version."""

FEWEST = 3
"""Batches that a level must have."""

AROUND_AGE = 14
"""Batches before and after a re-training by age whose levels are compared."""

PRIOR_VERSIONS = 4.0
"""Versions of the fleet that the prior of each stream is worth."""

AGES = (0, 3, 6, 10, 18, 32)
"""Batches since a break, from which on versions are taken together."""

_ROUNDS = 20
_LARGEST = 3.0
"""Changes, in logs, are cut to this size."""


@dataclass(frozen=True, slots=True)
class Healed:
    """Real versions that came after an alarm; all ``(k,)``.

    row
        of the registry.
    since
        batches of the break that the version was trained on, from 1.
    risen
        by how much the loss had risen, in logs.
    gain
        by how much it then lay below where it had been until the first version came.
    weight
        how likely the break was one, times the batches that ``gain`` rests on.
    """

    row: Ints
    since: Ints
    risen: Floats
    gain: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class Hindsight:
    """What re-trainings changed.

    history
        of all cycles.
    outcomes
        real versions after alarms whose gain is known.
    since, taken
        ``(k,)`` batches of a break that a version was trained on, and the share of the rise that it
        takes off, over the fleet; empty = not known.
    lean
        ``(n_streams,)`` times the fleet's share that a stream's versions take off, shrunk to 1.
    rate
        share of all batches with which a break begins.
    per_batch, most
        what the log loss grows by per batch of a version's age, and at most: measured at
        re-trainings by age; 0 where there are none.
    """

    history: History
    versions: "Flat"
    outcomes: int
    since: Floats
    taken: Floats
    lean: Floats
    rate: float
    per_batch: float
    most: float

    def healed(self, rows: Ints, since: Ints) -> Floats:
        """Return the share of a rise that versions take off, trained on so many batches of it.

        0 where that is none; less than the fleet's first share for fewer batches than that.
        """
        if not len(self.since):
            return np.zeros(len(rows))
        curve = np.interp(since, [0.0, *self.since], [0.0, *self.taken])
        return np.asarray(np.where(since > 0, curve * self.lean[rows], 0.0))

    def risen(self, alarms: Alarms) -> Floats:
        """Return by how much the loss has risen for good after alarms, in logs, at least 0.

        Over all batches until the next real version, or four weeks of days, with hindsight: a rise
        that is chance alone has gone by then. Of one that rests on the alarm's own batches it is
        taken into account that chance called for it.
        """
        rows, history = alarms.rows, self.history
        after = np.full(len(rows), alarms.cycle + 1)
        stop = np.minimum(self._next_version(rows, after), after + REACH)
        before, n_before = healthy(history, rows, alarms.began)
        late, n_late = history.level(rows, after, stop)
        whole, n_whole = history.level(rows, alarms.began, np.maximum(stop, after))
        few = n_late < FEWEST
        level, n = np.where(few, whole, late), np.where(few, n_whole, n_late)
        rise = np.clip(np.nan_to_num(level - before), 0.0, _LARGEST)
        error = history.variance[rows] * (1 / np.maximum(n, 1) + 1 / n_before)
        sure = rise**2 / np.maximum(rise**2 + error, 1e-12)
        return np.asarray(rise * np.where(few, likely(rise, error, self.rate), sure))

    def staled(self, older: Ints) -> Floats:
        """Return by how much a version loses more that is so many batches older, in logs."""
        return np.clip(self.per_batch * older, -self.most, self.most)

    def _next_version(self, rows: Ints, cycles: Ints) -> Ints:
        """Return the cycle of each stream's next real version; one after the last = none."""
        end = self.history.last + 1
        if not len(self.versions.row):
            return np.full(len(rows), end)
        at = self.versions.after(rows, cycles)
        return np.where(at >= 0, self.versions.cycle[at], end)


def hindsight_of(history: History) -> Hindsight:
    """Return what the re-trainings of a history changed."""
    versions, alarms = _versions(history), _alarms(history)
    made, rate = _healed(history, versions, alarms)
    since, taken = _curve(made)
    per_batch, most = _aging(history, versions, alarms)
    plain = Hindsight(
        history,
        versions,
        outcomes=len(made.row),
        since=since,
        taken=taken,
        lean=np.ones(len(history.total)),
        rate=rate,
        per_batch=per_batch,
        most=most,
    )
    return _leaning(plain, made)


class Told(NamedTuple):
    """What is told of an event beside its stream and cycle; ``(k,)`` each."""

    first: Ints
    second: Ints


@dataclass(frozen=True, slots=True)
class Flat:
    """Events of streams, ordered by stream and cycle; ``width`` is above all cycles."""

    row: Ints
    cycle: Ints
    told: Told
    width: int

    def after(self, rows: Ints, cycles: Ints) -> Ints:
        """Return the place of each stream's first event in a cycle or after it; -1 = none."""
        if not len(self.row):
            return np.full(len(rows), -1)
        key = self.row * self.width + self.cycle
        at = np.searchsorted(key, rows * self.width + np.clip(cycles, 0, self.width - 1))
        inside = np.minimum(at, len(self.row) - 1)
        return np.where((at < len(self.row)) & (self.row[inside] == rows), inside, -1)


def _flat(parts: list[tuple[int, Ints, Ints, Ints]], width: int) -> Flat:
    """Return events ``(cycle, rows, two things told)`` in the order of streams."""
    nothing = np.zeros(0, dtype=np.int64)
    row = np.concatenate([nothing, *(part[1] for part in parts)])
    cycle = np.concatenate([nothing, *(np.full(len(part[1]), part[0]) for part in parts)])
    first = np.concatenate([nothing, *(part[2] for part in parts)])
    second = np.concatenate([nothing, *(part[3] for part in parts)])
    order = np.lexsort((cycle, row))
    return Flat(row[order], cycle[order], Told(first[order], second[order]), width)


def _versions(history: History) -> Flat:
    """Return all versions; told is the cycle after which one was trained, and why it was asked."""
    return _flat(
        [
            (
                one.cycle,
                one.rows,
                np.where(one.asked == NEVER, one.cycle - 1, one.asked),
                np.where(one.decided == NEVER, Kind.NONE, one.kind).astype(np.int64),
            )
            for one in history.answers
            if not one.failed
        ],
        history.last + 2,
    )


def _alarms(history: History) -> Flat:
    """Return the first alarms of all breaks; told is when these began, twice."""
    parts = [
        (one.cycle, one.rows[one.new], one.began[one.new], one.began[one.new])
        for one in history.alarms.values()
    ]
    return _flat(parts, history.last + 2)


def healthy(history: History, rows: Ints, began: Ints) -> tuple[Floats, Ints]:
    """Return the level before breaks, NaN = too few batches, and of how many, at least 1."""
    level, n = history.level(rows, began - REACH, began)
    return np.where(n >= FEWEST, level, np.nan), np.maximum(n, 1)


def likely(risen: Floats, error: Floats, rate: float) -> Floats:
    """Return how likely each rise is a break: some batches begin one, and chance calls too.

    The posterior of a mixture; the density of a break is taken at its own size. ``error`` is the
    variance of the rise.
    """
    evidence = np.where(risen > 0, risen**2 / (2 * np.maximum(error, 1e-12)), 0.0)
    odds = np.exp(np.minimum(evidence + np.log(rate), 50.0))
    return np.asarray(odds / (1 + odds))


def _healed(history: History, versions: Flat, alarms: Flat) -> tuple[Healed, float]:
    """Return the versions that came after alarms, and with which rate breaks begin."""
    nothing = np.zeros(0, dtype=np.int64)
    none = Healed(nothing, nothing, np.zeros(0), np.zeros(0), np.zeros(0))
    batches = max(float(history.count[:, -1].sum()), 1.0)
    first = versions.after(alarms.row, alarms.cycle + 1)
    if not (first >= 0).any():
        return none, max(len(alarms.row), 0.5) / batches
    arrived = np.where(first >= 0, versions.cycle[first], alarms.cycle)
    before, n_before = healthy(history, alarms.row, alarms.told.first)
    broken, n_broken = history.level(alarms.row, alarms.told.first, arrived)
    risen = np.clip(broken - before, -_LARGEST, _LARGEST)
    error = history.variance[alarms.row] * (1 / np.maximum(n_broken, 1) + 1 / n_before)
    known = np.isfinite(risen) & (first >= 0)
    rate = _rate(risen[known], error[known], batches)
    real = np.where(known, likely(np.nan_to_num(risen), error, rate), 0.0)

    # The alarm that each version came after, its last one before.
    place = np.searchsorted(
        alarms.row * alarms.width + alarms.cycle, versions.row * versions.width + versions.cycle
    )
    at = np.maximum(place - 1, 0)
    after = (place > 0) & (alarms.row[at] == versions.row) & known[at]
    stop = np.minimum(_ends(versions, alarms), versions.cycle + REACH)
    level, n = history.level(versions.row, versions.cycle, stop)
    gain = np.clip(broken[at] - level, -_LARGEST, _LARGEST)
    since = versions.told.first - alarms.told.first[at] + 1
    good = np.flatnonzero(after & np.isfinite(gain) & (n >= FEWEST) & (since > 0))
    weight = real[at] * n.astype(np.float64)
    return (
        Healed(versions.row[good], since[good], risen[at][good], gain[good], weight[good]),
        rate,
    )


def _rate(risen: Floats, error: Floats, batches: float) -> float:
    """Return with which rate breaks begin, by expectation and maximisation."""
    rate = max(len(risen), 0.5) / batches
    for _ in range(_ROUNDS):
        rate = max(float(likely(risen, error, rate).sum()), 0.5) / batches
    return rate


def _ends(versions: Flat, alarms: Flat) -> Ints:
    """Return when each version made way for another one, or the next break began."""
    following = versions.after(versions.row, versions.cycle + 1)
    until = np.where(following >= 0, versions.cycle[following], versions.width)
    alarm = alarms.after(versions.row, versions.cycle)
    return np.minimum(until, np.where(alarm >= 0, alarms.told.first[alarm], versions.width))


def _curve(made: Healed) -> tuple[Floats, Floats]:
    """Return the share of a rise that versions take off, by batches of the break they have seen.

    Regression of the gain on the rise, through the origin, for versions of alike age of the break.
    """
    since, taken = [], []
    for low, high in zip(AGES, (*AGES[1:], np.inf), strict=True):
        at = (made.since > low) & (made.since <= high) & (made.risen > 0)
        square = float((made.weight * made.risen**2)[at].sum())
        if at.sum() < FEWEST or not square:
            continue
        product = float((made.weight * made.risen * made.gain)[at].sum())
        since.append(float(np.average(made.since[at], weights=made.weight[at])))
        taken.append(float(np.clip(product / square, -1.0, 1.0)))
    return np.array(since), np.array(taken)


def _leaning(plain: Hindsight, made: Healed) -> Hindsight:
    """Return hindsight with each stream's own share, shrunk to the fleet's."""
    if not len(made.row) or not len(plain.since):
        return plain
    guess = plain.healed(made.row, made.since) * np.maximum(made.risen, 0.0)
    square, product = made.weight * guess**2, made.weight * guess * made.gain
    prior = PRIOR_VERSIONS * float(square.mean())
    if not prior:
        return plain
    n = len(plain.lean)
    up = np.bincount(made.row, weights=product, minlength=n) + prior
    down = np.bincount(made.row, weights=square, minlength=n) + prior
    return Hindsight(
        **{name: getattr(plain, name) for name in Hindsight.__slots__ if name != "lean"},
        lean=np.clip(up / down, 0.0, 2.0),
    )


def _aging(history: History, versions: Flat, alarms: Flat) -> tuple[float, float]:
    """Return what a batch of age costs in logs, and the most that age was seen to cost.

    Regression through the origin of the fall at re-trainings by age on how much younger the new
    version was over the batches compared, shrunk by its own error; never negative. Where an alarm
    is near it does not count.
    """
    row, cycle = versions.row, versions.cycle
    same = np.zeros(len(row), dtype=np.bool_)
    same[1:] = row[1:] == row[:-1]
    age = np.where(same, np.diff(versions.told.first, prepend=0), versions.told.first)
    alarm = alarms.after(row, cycle - AROUND_AGE)
    near = alarm >= 0
    near[near] = alarms.cycle[alarm[near]] <= cycle[near] + AROUND_AGE
    younger = age - AROUND_AGE  # both sides are told by the middle of so many batches
    at = np.flatnonzero((versions.told.second == Kind.AGE) & ~near & (younger > 0))
    before, n_before = history.level(row[at], cycle[at] - AROUND_AGE, cycle[at])
    after, n_after = history.level(row[at], cycle[at], cycle[at] + AROUND_AGE)
    fall = before - after
    known = np.isfinite(fall) & (n_before >= FEWEST) & (n_after >= FEWEST)
    fall, old = np.clip(fall[known], -_LARGEST, _LARGEST), younger[at][known].astype(np.float64)
    square = float((old**2).sum())
    if len(fall) < FEWEST or not square:
        return 0.0, 0.0
    slope = max(float((old * fall).sum()) / square, 0.0)
    error = float(((fall - slope * old) ** 2).sum()) / (len(fall) - 1) / square
    slope *= slope**2 / (slope**2 + error) if slope else 0.0
    return slope, slope * float(old.max())
