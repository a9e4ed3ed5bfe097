"""The history that never was: the fleet's cycles once more, under another policy.

Takes what the ledger recorded, cycle by cycle, and hindsight; gives the entry that the tried policy
would have written. Where it has other versions live than there really were, the losses are guesses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mlma.agent.announcing import lost
from mlma.agent.carrying import carried_out
from mlma.agent.judging import Inputs, Registered, judged, recorded
from mlma.agent.lab_gains import Hindsight
from mlma.agent.lab_history import ANSWERS, NEVER, Alarms, Answer, Runs
from mlma.agent.lab_sides import Breaks, Recent, Side
from mlma.agent.noting import Streams, noted
from mlma.agent.past import Past
from mlma.agent.watch import Memory, Watch
from mlma.domain.ledger import Action, CycleEntry
from mlma.domain.orders import SetBudget, SwitchPolicy
from mlma.domain.periods import Periods
from mlma.domain.state import HeldOut
from mlma.domain.verdicts import Decision
from mlma.stats.calendar import calendar_class
from mlma.steps.ease import difficulty

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

REPLACED = (SwitchPolicy.kind, SetBudget.kind)
"""Orders that the tried policy and budget take the place of."""

SOON = 7
"""A break that began so few batches after the other side's version is the one that it was for."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One cycle under the tried policy.

    entry
        as it would stand in the ledger.
    change
        ``(n,)`` by which the log of the loss differs from the recorded one.
    apart
        ``(n,) bool``, another version is live than there really was.
    asks
        ``(n,) bool``, a re-training was asked for.
    """

    entry: CycleEntry
    change: Floats
    apart: Bools
    asks: Bools


@dataclass(slots=True)
class TriedFleet:
    """The fleet under the tried policy; `step` goes on by one cycle.

    memory
        of the agent that never was.
    limit
        re-trainings that a cycle may ask for; None = no limit.
    """

    watch: Watch
    periods: Periods
    registered: Registered
    past: Past
    memory: Memory
    hindsight: Hindsight
    limit: int | None
    real: Side
    tried: Side
    recent: Recent
    runs: Runs
    breaks: Breaks
    _made: int = 0
    _answers: dict[int, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._answers = {one.action: one for one in self.hindsight.history.answers}

    def warm(self, before: CycleEntry, actions: Sequence[Action]) -> None:
        """Take note of a cycle before the first one that is played: both sides are the same."""
        for action in actions:
            if action.kind in ANSWERS:
                self._really(self._answers[action.number])
        self._note_real(before.info.cycle)
        self.tried = Side(*(column.copy() for column in _columns(self.real)))
        self._remember(before.info.cycle, self._inputs(before))

    def step(self, before: CycleEntry, actions: Sequence[Action]) -> Tried:
        """Return a cycle as it would have been; ``before`` is the real one."""
        cycle = before.info.cycle
        self._carry(actions)
        self._bring_own(cycle)
        inputs = self._inputs(before)
        rows = inputs.rows
        apart = self.real.version[rows] != self.tried.version[rows]
        change = self._change(rows, cycle, apart)
        guessed = _changed(inputs, change)
        self.memory, entry = judged(
            self.memory,
            guessed,
            before.info,
            self.watch,
            self.registered,
            past=self.past,
            before=before,
        )
        self.past.judged_anew(entry)
        self._note_real(cycle)
        asks = self._ask(entry)
        self._remember(cycle, inputs)
        return Tried(entry, change, apart, asks)

    def broken(self, before: CycleEntry) -> Bools:
        """Return which batches are labelled as broken: they count for no figure of the fleet."""
        book = self.registered.book
        if book.empty:
            return np.zeros(len(before.streams), dtype=np.bool_)
        names, tags = self.registered.names, self.registered.tags
        streams = Streams(before.streams, names, self.memory.row, tags)
        return noted(book, streams, before.info, self.past).broken

    # What follows happens before a cycle.

    def _carry(self, actions: Sequence[Action]) -> None:
        """Carry out what people did on both sides, and of trainers what both sides asked for."""
        kept: list[Action] = []
        for action in actions:
            shared: Action | None = action
            if action.kind in ANSWERS:
                shared = self._shared(action)
            if shared is not None and action.kind not in REPLACED:
                kept.append(shared)
        self.registered.book.carry_out(kept)
        self.memory = carried_out(self.memory, kept, self.watch, self.registered)

    def _shared(self, action: Action) -> Action | None:
        """Return the part of an answer that the tried side gets too; None = nothing of it."""
        answer = self._answers[action.number]
        tried, rows = self.tried, answer.rows
        same = answer.decided == NEVER
        same |= (tried.decided[rows] == answer.decided) & (tried.asked[rows] == answer.asked)
        self._really(answer)
        at = rows[same]
        if answer.failed:
            tried.closed(at)
        else:
            tried.went_live(at, answer.action, self.real.trained[at])
        if same.all():
            return action
        if not same.any():
            return None
        names = [self.registered.names[row] for row in at]
        return replace(action, payload={**action.payload, "unique_ids": names})

    def _really(self, answer: Answer) -> None:
        """Take note of what really went live."""
        if answer.failed:
            self.real.closed(answer.rows)
            return
        trained = np.where(answer.asked == NEVER, answer.cycle - 1, answer.asked)
        self.real.went_live(answer.rows, answer.action, trained)

    def _bring_own(self, cycle: int) -> None:
        """Bring the versions that only the tried policy asked for into service."""
        tried, real, delay = self.tried, self.real, self.hindsight.history.delay or 1
        due = (tried.asked != NEVER) & (tried.asked + delay <= cycle)
        due &= ~((real.decided == tried.decided) & (real.asked == tried.asked))
        rows = np.flatnonzero(due[: len(self.memory.row)])
        if not len(rows):
            return
        numbers = -1 - self._made - np.arange(len(rows))
        self._made += len(rows)
        tried.went_live(rows, numbers, tried.asked[rows])
        self.memory = self.watch.deployed(self.memory, rows, self._held_out(rows))

    def _held_out(self, rows: Ints) -> HeldOut | None:
        """Return what versions that never were would have lost on the last batches."""
        recent = self.recent
        if not recent.cycles:
            return None
        batches = len(recent.cycles)
        losses = recent.loss[rows, -batches:].copy()
        for place, cycle in enumerate(recent.cycles):
            live = recent.trained[rows, place - batches]
            losses[:, place] *= np.exp(self._apart(rows, cycle, live, self.tried.trained[rows]))
        calendar = np.array(recent.calendar, dtype=np.int8)
        return HeldOut(
            losses=losses[:, :, None],
            calendar=np.broadcast_to(calendar, losses.shape),
            difficulty=recent.ease[rows, -batches:],
        )

    # What follows is the cycle itself.

    def _inputs(self, before: CycleEntry) -> Inputs:
        """Return what a cycle read, as the tried policy reads it."""
        inputs, monitor = recorded(before), self.watch.monitor
        start = np.array([self.periods.wall_start(before.info.period)])
        calendar = calendar_class(start, self.periods.batch, monitor.calendar)
        losses = inputs.losses if self.watch.reads_single_losses else None
        return replace(inputs, calendar=np.repeat(calendar, len(inputs.rows)), losses=losses)

    def _change(self, rows: Ints, cycle: int, apart: Bools) -> Floats:
        """Return by how much the log losses are guessed to differ from the recorded ones."""
        change, at = np.zeros(len(rows)), rows[apart]
        if len(at):
            real, tried = self.real.trained[at], self.tried.trained[at]
            change[apart] = self._apart(at, cycle, real, tried)
            change[apart] += self.hindsight.staled(real - tried)
        return change

    def _apart(self, rows: Ints, cycle: int, real: Ints, tried: Ints) -> Floats:
        """Return what breaks make of it that other versions are live, in logs.

        ``real`` and ``tried (len(rows),)`` tell after which cycles the versions of both sides were
        trained.
        """
        breaks = self.breaks
        place = np.full(len(breaks.newest), -1)
        place[rows] = np.arange(len(rows))
        at = np.flatnonzero((place[breaks.row] >= 0) & (breaks.began <= cycle))
        who, began = breaks.row[at], breaks.began[at]
        own = place[who]
        healed = self.hindsight.healed
        more = healed(who, real[own] - began + 1) - healed(who, tried[own] - began + 1)
        made = np.bincount(own, weights=breaks.risen[at] * more, minlength=len(rows))
        return made.astype(np.float64)

    def _note_real(self, cycle: int) -> None:
        """Take note of what the real policy saw and decided in a cycle."""
        history = self.hindsight.history
        self.real.decided[history.decided[cycle]] = cycle
        self.real.asked[history.asked[cycle]] = cycle
        alarms = history.alarms.get(cycle)
        if alarms is not None:
            self._alarmed(alarms, self.real, self.tried)

    def _alarmed(self, alarms: Alarms, side: Side, other: Side) -> None:
        """Take note of breaks that one side alarms.

        It is the newest one that is known already, if this side has no version since: it only sees
        it later than the other one did.
        """
        rows = alarms.rows
        known = self.breaks.began_of(rows)
        soon = (alarms.began <= other.trained[rows] + SOON) | (other.trained[rows] < known)
        same = ~alarms.new | ((side.trained[rows] < known) & soon)
        same |= np.abs(alarms.began - known) <= SOON
        same &= known != NEVER
        risen = self.hindsight.risen(alarms)
        place = self.breaks.newest[rows[same]]
        self.breaks.risen[place] = np.maximum(self.breaks.risen[place], risen[same])
        self.breaks.add(rows[~same], alarms.began[~same], risen[~same])

    # What follows happens after it.

    def _ask(self, entry: CycleEntry) -> Bools:
        """Return which streams a re-training is asked for, under the limit; note alarms."""
        cycle, rows, tried = entry.info.cycle, entry.streams, self.tried
        alarms = self.runs.alarms(cycle, rows, entry.evidence, self.watch.monitor)
        self._alarmed(alarms, tried, self.real)
        tried.decided[rows[entry.evidence["decision"] == Decision.RETRAIN]] = cycle
        pending = self.memory.state.pending
        waiting = np.flatnonzero(pending & (tried.decided[: len(pending)] != NEVER))
        waiting = waiting[tried.asked[waiting] == NEVER]
        if self.limit is not None and len(waiting) > self.limit:
            stake = lost(entry)
            names = self.registered.names
            order = sorted(waiting.tolist(), key=lambda row: (-stake.get(row, 0.0), names[row]))
            waiting = np.array(order[: self.limit], dtype=np.int64)
        tried.asked[waiting] = cycle
        return np.isin(rows, waiting)

    def _remember(self, cycle: int, inputs: Inputs) -> None:
        level = np.full(len(inputs.rows), np.nan)
        known = inputs.rows < len(self.memory.row)
        level[known] = self.memory.state.benchmark_level[inputs.rows[known]]
        ease, _ = difficulty(inputs.benchmark, level, self.watch.monitor.adjustment)
        self.recent.add(cycle, inputs, ease, self.real.trained)


def _columns(side: Side) -> tuple[Ints, Ints, Ints, Ints]:
    return side.version, side.trained, side.decided, side.asked


def _changed(inputs: Inputs, change: Floats) -> Inputs:
    """Return inputs with other losses; those that are not changed stay as they are, to the bit."""
    at = np.flatnonzero(change)
    if not len(at):
        return inputs
    factor, loss = np.exp(change[at]), inputs.loss.copy()
    loss[at] *= factor
    losses = inputs.losses
    if losses is not None:
        losses = losses.copy()
        losses[at] *= factor[:, None]
    return replace(inputs, loss=loss, losses=losses)
