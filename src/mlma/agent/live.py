"""The live agent: judges each period once, when it is complete or timed out.

Takes what waits in the inbox and what sources hold, commits cycles. A `tick` that fails
has changed nothing; it is tried again. Late and revised rows open their batch again: it and all
later cycles are judged anew, and the ledger keeps both revisions.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.agent.afterwards import Afterwards, afterwards
from mlma.agent.agenda import NOTHING, Agenda
from mlma.agent.carrying import carried_out, check_known, held_out_payload
from mlma.agent.closing import Closing
from mlma.agent.committing import Committing, Standpoint
from mlma.agent.desk import Desk, Reading, batch_length
from mlma.agent.gathering import Gathering
from mlma.agent.heard import KINDS, Heard
from mlma.agent.incidents import traces_of
from mlma.agent.judging import Inputs, Registered, judged
from mlma.agent.lateness import late_readings
from mlma.agent.past import Past
from mlma.agent.planning import Planning
from mlma.agent.recomputing import recomputed, restored, unchanged
from mlma.agent.watch import Memory, Watch, watch_for
from mlma.domain.ledger import Action, CycleEntry, CycleInfo, Lease
from mlma.domain.live import LiveSettings, LiveStatus
from mlma.domain.periods import instant_of, moment_of
from mlma.domain.rows import LossRows
from mlma.domain.settings import one_model
from mlma.ports.sources import Clock, RowSource
from mlma.ports.store import Store

Bools = NDArray[np.bool_]

LEASE = timedelta(seconds=30)
PASSED = "passed"
"""Setting of the store: the last period of sources that was passed as empty."""
REOPEN_EVERY = timedelta(minutes=15)
"""Late rows are collected for so long before they open their batches; so does a new cycle."""


class LiveAgent:
    """Judges what a store and sources hold, period by period.

    Parameters
    ----------
    settings
        how.
    store
        where everything is kept.
    clock
        tells the time by which periods are over.
    sources
        forecasts and actuals that are read where they lie.
    holder
        name of this instance: of all instances on one store, one judges.
    start
        first instant to judge; None = the first period that has rows.
    """

    def __init__(
        self,
        settings: LiveSettings,
        store: Store,
        clock: Clock,
        *,
        sources: Sequence[RowSource] = (),
        holder: str = "agent",
        start: datetime | None = None,
        lease: timedelta = LEASE,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings, self.holder = settings, holder
        self._store, self._clock, self._sources = store, clock, tuple(sources)
        self._lease_time, self._wall = lease, wall
        self._start = None if start is None else settings.periods.at(instant_of(start))
        self._watch = watch_for(settings)
        self._committing = Committing(settings, store)
        self.heard = Heard(store)
        self._planning = Planning(settings, store, self.heard)
        self._lease: Lease | None = None
        self._lock = RLock()
        self._reopened_at: datetime | None = None
        self._load()

    @property
    def streams(self) -> list[str]:
        """Names of the streams by row of the registry, as of the last tick."""
        return self._registered.names

    @property
    def memory(self) -> Memory:
        """What the agent remembers after its last cycle."""
        return self._memory

    def tick(self) -> list[CycleInfo]:
        """Judge all that can be judged now; return the heads of the cycles that were written.

        Empty where there is nothing to do, or another instance leads.

        Raises
        ------
        StoreError, SourceError
            Nothing of the cycle was written; call again later.
        """
        done: list[CycleInfo] = []
        with self._lock:
            try:
                while self._leads():
                    made = self._step()
                    if not made:
                        break
                    done.extend(made)
            except BaseException:
                self._stale = True  # what is remembered may be ahead of the store
                raise
        return done

    def surrender(self) -> None:
        """Give the right to judge back, so that another instance can take it at once."""
        if self._lease is not None:
            self._store.surrender(self._lease)
            self._lease = None

    def deployed(
        self,
        names: Sequence[str],
        held_out: LossRows | None = None,
        *,
        requests: Sequence[str] = (),
        artefacts: Mapping[str, str] | None = None,
        by: str = "",
        why: str = "",
    ) -> int:
        """Record that new versions of streams are live; they count from the next cycle on.

        ``held_out`` are losses of the new versions on batches that they were not trained on;
        ``requests`` the ids that this answers; empty = all that are open for these streams. One
        that asked for a former version brings its reference back with it. ``artefacts`` tells by
        stream what the models are called, to ask for them again. Return the number of the action.

        Raises
        ------
        DataError
            A stream is unknown, or held-out losses have no times.
        ConflictError
            A request is closed already.
        """
        brought = None if held_out is None else held_out_payload(held_out, self._watch)
        answered = list(requests) or self._asked_of(names)
        payload: dict[str, Any] = {"unique_ids": list(names), "held_out": brought}
        called = dict(artefacts or {})
        if back := self.heard.restored(answered):
            payload["restored"] = back
            called = self._called(back) | called
        if called:
            payload["artefacts"] = called
        action = Action("deployed", payload, self._clock.now(), by, why)
        return self._act(action, names, answered, "done")

    def failed(
        self,
        names: Sequence[str],
        error: str = "",
        *,
        requests: Sequence[str] = (),
        by: str = "",
    ) -> int:
        """Record that re-trainings failed: the old versions stay, and may ask again."""
        payload = {"unique_ids": list(names), "error": error}
        action = Action("failed", payload, self._clock.now(), by, error)
        return self._act(action, names, list(requests) or self._asked_of(names), "failed")

    def tag(self, tags: dict[str, dict[str, str]], *, by: str = "") -> int:
        """Record tags of streams, known or to come: values by stream, by name of the tag."""
        action = Action("tags", {"tags": tags}, self._clock.now(), by)
        return self._store.act([action])

    def status(self) -> LiveStatus:
        """Return how the agent stands."""
        lease = self._store.lease()
        there = lease is not None and lease.expires_at > self._wall()
        last = self._last
        if self._agenda.standing is None:
            with self._lock:
                self._agenda.next(self._clock.now())
        period, state = self._agenda.standing or (None, NOTHING)
        begins = None if period is None else moment_of(self.settings.periods.start(period))
        waits = "re-trainings that are running" if self._fits_open() else state.waits_for
        return LiveStatus(
            cycle=0 if last is None else last.cycle,
            streams=len(self.streams),
            next_period=begins,
            waits_for=waits,
            complete=state.complete,
            leader=lease.holder if lease is not None and there else None,
            leads=self._lease is not None and there and lease == self._lease,
            verdicts={} if last is None else dict(last.summary.get("verdicts", {})),
        )

    # What follows reads and writes the store, in the order of a tick.

    def _leads(self) -> bool:
        """Return whether this instance may judge, and take note of what others judged before."""
        held, wall = self._lease, self._wall()
        if held is None or self._stale or held.expires_at - wall < self._lease_time / 2:
            self._lease = self._store.acquire(self.holder, self._lease_time, wall)
        if self._lease is None:
            return False
        if self._stale or held is None or held.token != self._lease.token:
            self._load()
        return True

    def _load(self) -> None:
        """Read what the store knows: streams, tags, state, and the cycles that may be opened."""
        store = self._store
        self._registered = Registered(store.streams())
        for action in store.actions(kind="tags"):
            if action.cycle is not None:
                self._registered.tag(action.payload["tags"])
        orders = [one for one in store.actions(kind=KINDS) if one.cycle is not None]
        self._registered.book.learn(orders)
        snapshot, names = store.snapshot(), self._registered.names
        self._memory, expected = restored(snapshot, self._watch, names, store.url)
        self._traces = traces_of({} if snapshot is None else snapshot.columns, len(names))
        reach = int(self.settings.reopen / batch_length(self.settings)) + 2
        recent = store.cycles(newest_first=True, limit=reach)
        self._judged = {info.period: info for info in recent}
        self._last = recent[0] if recent else None
        passed = self._last.period if self._last else None
        if self._sources and (remembered := store.setting(PASSED)) is not None:
            passed = max(int(remembered), int(remembered) if passed is None else passed)
        self._desk = Desk(self.settings, store, self._sources, self._watch, self._registered)
        self._agenda = Agenda(self._desk, self._start, passed, expected)
        self._stale = False

    def _step(self) -> list[CycleInfo]:
        """Judge one period, or some again; empty = there is nothing to do."""
        now = self._clock.now()
        self._planning.ask(now, self._memory, self._registered.tags, self._last)
        gathered, ready = (None, Closing()) if self._fits_open() else self._next(now)
        waited = self._reopened_at is None or now - self._reopened_at >= REOPEN_EVERY
        late: dict[int, Reading] = {}
        if ready.closed or waited:
            late, self._judged = late_readings(self._desk, self._judged, now)
            self._reopened_at = now if late else self._reopened_at
        said = self._said_afterwards(now)
        if late or said.actions:
            return self._judge_anew(late, said, now)
        if gathered is None or not ready.closed:
            return []
        return self._judge(gathered, ready, now)

    def _said_afterwards(self, now: datetime) -> Afterwards:
        """Return what was said of judged batches since the last look."""
        pending = self._store.actions(pending=True, kind=KINDS)
        if not pending or self._last is None:
            return Afterwards()
        return afterwards(pending, self._registered.book.carried, self._store, self.settings)

    def _next(self, now: datetime) -> tuple[Gathering | None, Closing]:
        """Return the next period; of sources it is remembered which days were empty."""
        before = self._agenda.passed
        found = self._agenda.next(now)
        if self._sources and self._agenda.passed != before:
            self._store.remember(PASSED, str(self._agenda.passed))
        return found

    def _fits_open(self) -> bool:
        if not self.settings.wait_for_fits:
            return False
        return bool(self._store.requests(status=("open", "claimed"), limit=1))

    def _judge(self, gathered: Gathering, ready: Closing, now: datetime) -> list[CycleInfo]:
        """Judge the next period and commit it."""
        began = time.perf_counter()
        cycle = 1 if self._last is None else self._last.cycle + 1
        actions, registered = self._store.actions(pending=True), self._registered
        registered.extend(self._store.streams(len(registered.names)))  # all that they may name
        registered.book.learn(actions)
        watch = self._watch_now()
        memory = carried_out(self._memory, actions, watch, registered)
        reading = self._desk.reading(gathered)
        info = CycleInfo(
            cycle=cycle,
            revision=0,
            period=gathered.period,
            judged_at=now,
            through=gathered.through,
            closed=ready.closed,
            summary={"complete": ready.complete, **_made_of(reading)},
        )
        past = Past(self._store, self.settings.periods)
        memory, entry = judged(memory, reading.inputs, info, watch, registered, past=past)
        summary = {**entry.info.summary, "seconds": time.perf_counter() - began}
        entry = replace(entry, info=replace(entry.info, summary=summary))
        applied = [(action, cycle) for action in actions]
        self._commit((entry,), Standpoint(memory, watch, registered, self._traces, applied))
        return [entry.info]

    def _watch_now(self) -> Watch:
        """Return the watch of the next cycle: an engineer may have switched the policy."""
        text = self._registered.book.standing.fleet_policy
        return replace(self._watch, policy=one_model(text)) if text else self._watch

    def _judge_anew(
        self, late: Mapping[int, Reading], said: Afterwards, now: datetime
    ) -> list[CycleInfo]:
        """Judge periods anew into which rows came, or of which something was said.

        And all cycles after the first of them.
        """
        assert self._last is not None
        self._registered.extend(self._store.streams(len(self._registered.names)))
        opened = {period: self._desk.again(period) for period in said.read_again}
        # Rows may be forgotten by now: what the ledger says was read is all there is then.
        kept = {one: reading for one, reading in opened.items() if len(reading.inputs.rows)}
        again = {**kept, **late}

        def read(before: CycleEntry) -> tuple[CycleInfo, Inputs]:
            info, inputs = unchanged(before)
            info = replace(info, revision=info.revision + 1, judged_at=now, closed="revised")
            reading = again.get(info.period)
            if reading is None:
                return info, inputs
            summary = {**info.summary, **_made_of(reading)}
            return replace(info, through=reading.through, summary=summary), reading.inputs

        begins = [self._judged[period].cycle for period in late]
        first = min([*begins, *([said.first] if said.first else [])])
        entries, memory = [], self._memory
        for made in recomputed(
            self._store, self.settings, first, self._last.cycle, read, more=said.actions
        ):
            entries.append(made.entry)
            memory = made.memory  # of the last one only: a state is large
        self._registered.book.learn(said.actions)
        applied = [(action, first) for action in said.actions]
        at = Standpoint(memory, self._watch_now(), self._registered, self._traces, applied)
        self._commit(tuple(entries), at)
        return [entry.info for entry in entries]

    def _commit(self, entries: tuple[CycleEntry, ...], at: Standpoint) -> None:
        """Write entries and the state after them; only then does this instance know of them."""
        made, traces = self._committing.commit(entries, at)
        self._store.commit(made, self._lease, keep=self.settings.snapshot_every)
        self._traces = traces
        self._took(entries, at.memory)

    def _took(self, entries: tuple[CycleEntry, ...], memory: Memory) -> None:
        """Take note of what was committed."""
        newest = entries[-1]
        self._memory, self._last = memory, newest.info
        self._judged |= {entry.info.period: entry.info for entry in entries}
        self._agenda.judged(newest.info.period, newest.streams, len(memory.row))

    def _act(
        self, action: Action, names: Sequence[str], answered: Sequence[str], outcome: str
    ) -> int:
        check_known(names, self._memory.row, self._store)
        return self._store.act([action], finished=dict.fromkeys(answered, outcome))

    def _called(self, restored: Mapping[str, str]) -> dict[str, str]:
        """Return what the models are called that some requests ask back, by stream."""
        asked = self._store.requests(status=("open", "claimed"))
        found = {one.request.id: one.request.artefact for _, one in asked}
        return {name: found[one] for one, name in restored.items() if found.get(one)}

    def _asked_of(self, names: Sequence[str]) -> list[str]:
        """Return the ids of what is asked of these streams."""
        wanted = set(names)
        asked = self._store.requests(status=("open", "claimed"))
        return [one.request.id for _, one in asked if one.request.unique_id in wanted]


def _made_of(reading: Reading) -> dict[str, Any]:
    return {"rows": reading.rows, "stamps": reading.stamps}
