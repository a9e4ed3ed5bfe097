"""Committing: what one transaction of the agent writes after some cycles.

Takes entries and the memory after them, gives the commit: requests, incidents, what the outside is
told, and the state.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlma.agent.announcing import Outstanding, events, wanted
from mlma.agent.carrying import asked_of
from mlma.agent.exclusions import exclusions
from mlma.agent.heard import KINDS
from mlma.agent.incidents import (
    DeskView,
    LaidOut,
    incidents_after,
    known_since,
    traces_of,
)
from mlma.agent.incidents import columns_of as columns_of_traces
from mlma.agent.judging import Registered
from mlma.agent.noting import events_in, in_force
from mlma.agent.recomputing import read_entry
from mlma.agent.remembered import columns_of, head_of
from mlma.agent.standing import standing_of
from mlma.agent.telling import desk_events
from mlma.agent.watch import Memory, Watch
from mlma.domain.incidents import Incident
from mlma.domain.ledger import (
    Action,
    Commit,
    CycleEntry,
    Event,
    OpenRequest,
    Snapshot,
)
from mlma.domain.live import LiveSettings
from mlma.domain.periods import moment_of
from mlma.ports.store import Store
from mlma.steps.trace import Traces

Bools = NDArray[np.bool_]


ANSWERS = ("deployed", "failed")
_ANSWERED_CYCLES = 7


@dataclass(frozen=True, slots=True)
class Standpoint:
    """How the agent stands after some entries: what a commit is made of beside them.

    applied
        actions that the commit carries out, and before which cycle.
    traces
        what the desk remembered of each stream before the entries.
    """

    memory: Memory
    watch: Watch
    registered: Registered
    traces: Traces
    applied: Sequence[tuple[Action, int]] = ()


@dataclass(frozen=True, slots=True)
class Committing:
    """Lays commits together for one agent."""

    settings: LiveSettings
    store: Store

    def commit(self, entries: Sequence[CycleEntry], at: Standpoint) -> tuple[Commit, Traces]:
        """Return what is written after entries, and the traces then.

        The last entry is the newest cycle.
        """
        newest, memory, registered = entries[-1], at.memory, at.registered
        outstanding = [one for _, one in self.store.requests(status=("open", "claimed"))]
        answered = self._answered(at)  # read after `outstanding`: a fit may end in between
        book, periods = registered.book, self.settings.periods
        pending = [registered.names[row] for row in np.flatnonzero(memory.state.pending)]
        waiting = self._waiting(at)
        asked, stale = wanted(
            newest,
            memory,
            registered,
            Outstanding(
                outstanding,
                answered,
                ordered={name for one in waiting for name in asked_of(one)},
                held=self._held(newest, pending, waiting, registered),
                budget=book.standing.budget,
            ),
            exclusions(book.notes, pending, registered.tags, periods),
        )
        gone = {*stale, *(one.id for one in asked)}
        still = [one for one in outstanding if one.request.id not in gone]
        still += [OpenRequest(one) for one in asked]
        known, laid = self._incidents(entries, at, still)
        told: list[Event] = []
        for entry in entries:
            news = (asked, stale) if entry is newest else ((), ())
            told += events(entry, *news, registered, periods)
        told += desk_events(newest, laid.incidents, known, registered, periods)
        commit = Commit(
            entries=tuple(entries),
            snapshot=_snapshot(newest, memory, laid.traces),
            applied={action.number: cycle for action, cycle in at.applied},
            requests=asked,
            withdrawn=stale,
            events=tuple(told),
            targets=self.settings.targets,
            incidents=laid.incidents,
        )
        return commit, laid.traces

    def _incidents(
        self, entries: Sequence[CycleEntry], at: Standpoint, outstanding: Sequence[OpenRequest]
    ) -> tuple[list[Incident], LaidOut]:
        """Return the incidents as they stood, and what the entries change."""
        traces, every = at.traces, tuple(entries)
        if entries[0].info.revision:
            traces, earlier = self._before(entries[0].info.cycle, len(at.registered.names))
            every = (*earlier, *entries)
        first, last = every[0].info.cycle, every[-1].info.cycle
        known = self.store.incidents(touched_since=known_since(first))
        seen = np.flatnonzero(at.memory.state.cycle > 0)
        view = DeskView(
            names=at.registered.names,
            tags=at.registered.tags,
            seen=seen,
            groups=at.registered.groups(seen, seen, at.watch),
            standing=at.registered.book.notes,
            periods=self.settings.periods,
            traces=traces,
            outstanding=outstanding,
            ended=tuple(self._ended(first, last, at)),
        )
        return known, incidents_after(known, every, view)

    def _before(self, cycle: int, n_streams: int) -> tuple[Traces, list[CycleEntry]]:
        """Return the traces of the last snapshot before a cycle, and the cycles between."""
        snapshot = self.store.snapshot(before=cycle)
        traces = traces_of({} if snapshot is None else snapshot.columns, n_streams)
        began = 1 if snapshot is None else snapshot.cycle + 1
        return traces, [read_entry(self.store, one) for one in range(began, cycle)]

    def _ended(self, first: int, last: int, at: Standpoint) -> Iterable[Action]:
        yield from self.store.actions(kind=ANSWERS, cycles=(first - _ANSWERED_CYCLES, last))
        for action, cycle in at.applied:
            if action.kind in ANSWERS:
                yield replace(action, cycle=cycle)

    def _waiting(self, at: Standpoint) -> list[Action]:
        """Return the orders that are not carried out yet."""
        applied = {action.number for action, _ in at.applied}
        waiting = self.store.actions(pending=True, kind=KINDS)
        return [one for one in waiting if one.number not in applied]

    def _held(
        self,
        newest: CycleEntry,
        pending: Sequence[str],
        waiting: Sequence[Action],
        registered: Registered,
    ) -> set[str]:
        """Return those of the pending streams for which the agent may ask for nothing now.

        Orders count that are not carried out yet: who froze a stream had its request withdrawn.
        """
        book, periods = registered.book, self.settings.periods
        standing = standing_of([*book.carried, *waiting]) if waiting else book.standing
        begins = moment_of(periods.start(newest.info.period))
        ends = moment_of(periods.end(newest.info.period))
        held = {*in_force(standing.frozen, begins), *standing.pinned}.intersection(pending)
        for event in events_in(standing, begins, ends):
            if event.mute:
                mask = event.selector.mask(pending, registered.tags)
                held |= {pending[at] for at in np.flatnonzero(mask).tolist()}
        return held

    def _answered(self, at: Standpoint) -> set[str]:
        """Return the streams whose fits ended, but for those of actions that are carried out."""
        applied = {action.number for action, _ in at.applied}
        return {
            name
            for action in self.store.actions(pending=True, kind=ANSWERS)
            if action.number not in applied
            for name in action.payload["unique_ids"]
        }


def _snapshot(newest: CycleEntry, memory: Memory, traces: Traces) -> Snapshot:
    columns = columns_of(memory.state, memory.fleet) | columns_of_traces(traces)
    columns["live.expected"] = _expected_after(newest, len(memory.row))
    return Snapshot(newest.info.cycle, {"fleet": head_of(memory.fleet)}, columns)


def _expected_after(newest: CycleEntry, n_streams: int) -> Bools:
    """Return the streams that the next cycle waits for: those of this one."""
    expected = np.zeros(n_streams, dtype=np.bool_)
    expected[newest.streams] = True
    return expected
