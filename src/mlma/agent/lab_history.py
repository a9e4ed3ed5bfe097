"""The history that the policy lab plays on: what was really seen, asked for and carried out.

Takes a store, reads its ledger once from the first cycle on, gives columns that tell the hindsight
of `mlma.agent.lab_gains`: levels of losses over any span, breaks, and what re-trainings changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.agent.cycle import monitor_of
from mlma.domain.ledger import Action, CycleInfo
from mlma.domain.live import LiveSettings
from mlma.domain.orders import SetBudget
from mlma.domain.outcomes import kinds
from mlma.domain.settings import MLMA, policy_from
from mlma.domain.verdicts import Decision, Verdict
from mlma.ports.store import Store
from mlma.stats.calendar import calendar_class
from mlma.stats.cusum import rising_above
from mlma.steps.ease import difficulty

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NEVER = -1
"""Cycle of what has not happened."""

ANSWERS = ("deployed", "failed")
"""Kinds of actions that tell what became of a re-training."""

SAME_BREAK = 21
"""An alarm whose evidence began so many batches after a break speaks of that break still."""

_FEWEST = 8
"""Streams of a cycle below which it tells nothing of a calendar effect."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of re-trainings, before a cycle: new versions went live, or none came.

    action
        number of the action: two histories that carry it out have the same version.
    failed
        no version came.
    decided, asked
        ``(n,)`` cycle in which the policy had decided on each, and in which it was asked for; later
        where it waited for a budget. `NEVER` = it had not: somebody else's doing, which happens
        whatever the policy is.
    kind
        ``(n,) int8``, why it was decided (`Kind`).
    """

    action: int
    cycle: int
    failed: bool
    rows: Ints
    decided: Ints
    asked: Ints
    kind: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Alarms:
    """Alarms of a cycle, ``(k,)`` each.

    rows
        of the registry.
    began
        first batch of the break.
    new
        bool, the first alarm of its break: the others say that it is not healed yet.
    """

    cycle: int
    rows: Ints
    began: Ints
    new: Bools


class Runs:
    """How long evidence has been growing: when what an alarm speaks of began.

    The first batch of an unbroken row of batches that are degraded, or after which the evidence
    stands above what chance alone adds up to. What began within `SAME_BREAK` batches of the break
    before is that break still.
    """

    def __init__(self, n: int) -> None:
        self._length = np.zeros(n, dtype=np.int32)
        self._broke = np.full(n, -SAME_BREAK - 1, dtype=np.int64)

    def alarms(self, cycle: int, rows: Ints, evidence: NDArray[np.void], monitor: MLMA) -> Alarms:
        """Return the alarms of a cycle; each cycle once, in order."""
        limit = 0.0 if monitor.accumulate == "e_process" else rising_above(monitor.allowance)
        sums = np.fmax(evidence["evidence"], evidence["drift"])
        suspect = (sums > limit) | (evidence["verdict"] == Verdict.DEGRADED)
        told = evidence["n"] > 0
        length = self._length[rows]
        self._length[rows] = np.where(told, np.where(suspect, length + 1, 0), length)
        at = np.flatnonzero(evidence["alarm"])
        found = rows[at]
        began = (cycle - np.maximum(self._length[found], 1) + 1).astype(np.int64)
        self._length[found] = 0
        before = self._broke[found]
        new = began > before + SAME_BREAK
        self._broke[found] = np.where(new, began, before)
        return Alarms(cycle, found, self._broke[found], new)


@dataclass(slots=True)
class History:
    """What really happened in the cycles 1 to ``last``; columns by cycle have ``last + 1`` places.

    infos
        heads of the cycles, by number.
    total, count
        ``(n_streams, last + 1)``, log losses added up, difficulty and calendar taken out, and how
        many they are, up to and with each cycle.
    variance
        ``(n_streams,)``, of one batch's log loss around its level.
    alarms
        by cycle; those without are left out.
    answers
        in the order in which they were carried out.
    decided, asked
        rows by cycle for which a re-training was decided on, and asked for.
    delay
        cycles from a request to the version: the median, at least 1; None = none was answered.
    brings
        batches of held-out losses that new versions bring along: the median; 0 = none.
    """

    infos: dict[int, CycleInfo]
    total: Singles
    count: NDArray[np.int16]
    variance: Floats
    alarms: dict[int, Alarms] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    decided: dict[int, Ints] = field(default_factory=dict)
    asked: dict[int, Ints] = field(default_factory=dict)
    delay: int | None = None
    brings: int = 0

    @property
    def last(self) -> int:
        """Number of the last cycle."""
        return int(self.total.shape[1]) - 1

    def level(self, rows: Ints, first: Ints, stop: Ints) -> tuple[Floats, Ints]:
        """Return mean log loss of cycles ``first`` to before ``stop``, and of how many batches.

        NaN where there are none.
        """
        low = np.clip(first - 1, 0, self.last)
        high = np.maximum(np.clip(stop - 1, 0, self.last), low)
        n = (self.count[rows, high] - self.count[rows, low]).astype(np.int64)
        total = self.total[rows, high].astype(np.float64) - self.total[rows, low]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(n > 0, total / n, np.nan), n


def history_of(store: Store, settings: LiveSettings, last: int) -> Iterator[float | History]:
    """Yield the share that is read, again and again, and at last the history of the cycles."""
    infos = {info.cycle: info for info in store.cycles(last=last)}
    reader = _Reader(store, settings, len(store.streams()), last)
    for cycle in range(1, last + 1):
        reader.read(infos[cycle])
        yield cycle / last
    yield reader.history(infos)


class _Reader:
    """Reads cycle after cycle."""

    def __init__(self, store: Store, settings: LiveSettings, n: int, last: int) -> None:
        self._store, self._settings = store, settings
        self._row = {name: at for at, name in enumerate(store.streams())}
        self._actions: dict[int, list[Action]] = {}
        for action in store.actions(cycles=(1, last)):
            if action.kind in ANSWERS and action.cycle is not None:
                self._actions.setdefault(action.cycle, []).append(action)
        self._requests = _requests(store) if store.actions(kind=SetBudget.kind) else None
        self._logs = np.full((n, last + 1), np.nan, dtype=np.float32)
        self._benchmark = np.full(n, np.nan)
        self._at = np.full((2, n), NEVER, dtype=np.int64)  # decided, asked
        self._kind = np.zeros(n, dtype=np.int8)
        self._runs = Runs(n)
        self._monitors: dict[str, MLMA] = {}
        self._made = History({}, self._logs, np.zeros((0, 0), dtype=np.int16), self._benchmark)

    def read(self, info: CycleInfo) -> None:
        """Read one cycle, and what was carried out before it."""
        for action in self._actions.get(info.cycle, ()):
            self._carry(action, info.cycle)
        rows, evidence = self._store.evidence(info.cycle, info.revision)
        monitor = self._monitors.get(info.policy) or monitor_of(policy_from(info.policy))
        self._monitors[info.policy] = monitor
        ease, self._benchmark[rows] = difficulty(
            evidence["benchmark"], self._benchmark[rows], monitor.adjustment
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(evidence["loss"]) - np.log(ease)
        logs[~np.isfinite(logs) | (evidence["n"] <= 0)] = np.nan
        self._logs[rows, info.cycle] = logs
        found = self._runs.alarms(info.cycle, rows, evidence, monitor)
        if len(found.rows):
            self._made.alarms[info.cycle] = found
        self._note(info.cycle, rows, evidence)

    def _note(self, cycle: int, rows: Ints, evidence: NDArray[np.void]) -> None:
        """Take note of the re-trainings that a cycle decided on and asked for."""
        wanted = evidence["decision"] == Decision.RETRAIN
        decided = asked = rows[wanted]
        self._kind[decided] = kinds(evidence["reason"][wanted])
        if self._requests is not None:
            names = self._requests.get(cycle, ())
            asked = np.array([self._row[name] for name in names], dtype=np.int64)
        self._at[0, decided] = self._at[1, asked] = cycle
        self._made.decided[cycle], self._made.asked[cycle] = decided, asked

    def _carry(self, action: Action, cycle: int) -> None:
        names = action.payload["unique_ids"]
        rows = np.array([self._row[name] for name in names if name in self._row], dtype=np.int64)
        decided, asked = self._at[:, rows]
        self._at[:, rows] = NEVER
        failed = action.kind == "failed"
        kind = self._kind[rows]
        made = Answer(action.number, cycle, failed, rows, decided, asked, kind)
        self._made.answers.append(made)

    def history(self, infos: dict[int, CycleInfo]) -> History:
        """Return what was read."""
        logs = self._logs
        logs -= _calendar_effect(logs, infos, self._settings).astype(np.float32)
        known = np.isfinite(logs)
        variance = _variances(np.diff(logs[:, 1:], axis=1))
        total = np.cumsum(np.where(known, logs, np.float32(0)), axis=1, dtype=np.float64)
        answers = [one for one in self._made.answers if not one.failed]
        waits = [one.cycle - one.asked[one.asked != NEVER] for one in answers]
        waited = np.concatenate([np.zeros(0, dtype=np.int64), *waits])
        actions = [one for many in self._actions.values() for one in many]
        brings = [self._brought(one) for one in actions if one.kind == "deployed"]
        return replace(
            self._made,
            infos=infos,
            total=total.astype(np.float32),
            count=np.cumsum(known, axis=1, dtype=np.int16),
            variance=variance,
            delay=max(int(np.median(waited)), 1) if len(waited) else None,
            brings=int(np.median(brings)) if brings else 0,
        )

    def _brought(self, action: Action) -> int:
        """Return how many batches of held-out losses a deployment brought."""
        brought = action.payload.get("held_out")
        if not brought:
            return 0
        batch = int(self._settings.periods.batch / np.timedelta64(1, "us"))
        return len(np.unique(np.array(brought["ds"], dtype=np.int64) // batch))


def _requests(store: Store) -> dict[int, list[str]]:
    """Return the streams that the agent asked a re-training for, by cycle."""
    made: dict[int, list[str]] = {}
    for _, one in store.requests(status=("open", "claimed", "done", "failed")):
        asked = one.request
        if not asked.by and asked.kind == "retrain" and "cycle" in asked.evidence:
            made.setdefault(int(asked.evidence["cycle"] or 0), []).append(asked.unique_id)
    return made


def _calendar_effect(logs: Singles, infos: dict[int, CycleInfo], settings: LiveSettings) -> Floats:
    """Return what the weekday adds to the log losses of a typical stream, by cycle.

    The median over the cycles of a weekday of the median over streams, the stream's own usual level
    taken off.
    """
    effect = np.zeros(logs.shape[1])
    periods = settings.periods
    starts = np.array([periods.wall_start(infos[cycle].period) for cycle in sorted(infos)])
    if len(logs) < _FEWEST or not len(starts):
        return effect
    weekday = calendar_class(starts, periods.batch, "weekday")
    middle = _medians(logs, axis=1)
    typical = _medians(logs - middle[:, None], axis=0)[1:]
    for one in np.unique(weekday):
        known = typical[(weekday == one) & np.isfinite(typical)]
        if len(known):
            effect[1:][weekday == one] = np.median(known)
    return effect


def _medians(values: NDArray[np.floating[Any]], axis: int) -> Floats:
    """Return medians without NaN, NaN where there is nothing."""
    ordered = np.sort(values, axis=axis)  # NaN at the end
    n = np.isfinite(ordered).sum(axis=axis)
    at = np.expand_dims(np.maximum(n - 1, 0) // 2, axis)
    middle = np.take_along_axis(ordered, at, axis=axis).squeeze(axis)
    return np.where(n > 0, middle, np.nan).astype(np.float64)


_PRIOR_STEPS = 10.0


def _variances(steps: Singles) -> Floats:
    """Return the variance of a batch's log loss, ``(n_streams,)``, from steps between batches.

    Robust, so that a break does not count, and shrunk to the fleet's.
    """
    known = np.isfinite(steps)
    if not known.any():
        return np.ones(len(steps))
    scale = _medians(np.abs(steps), axis=1) / 0.6745
    own = scale**2 / 2
    n = known.sum(axis=1)
    fleet = float(np.nanmedian(own))
    return np.asarray((np.nan_to_num(own) * n + _PRIOR_STEPS * fleet) / (n + _PRIOR_STEPS))
