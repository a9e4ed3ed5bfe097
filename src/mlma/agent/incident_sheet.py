"""The sheet: the desk while one cycle is laid out on it.

Takes what an `incidents_after` call knows, gives the verbs by which causes open, join and close
incidents. Next are `mlma.agent.incident_causes`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.agent.standing import Standing
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.groups import Division, Groups
from mlma.domain.incidents import BY_ITSELF, MOST_MEMBERS, WITHDRAWN, Incident, IncidentKind
from mlma.domain.ledger import Action, CycleEntry, OpenRequest
from mlma.domain.periods import Periods, moment_of
from mlma.domain.requests import digest
from mlma.domain.selectors import Tags
from mlma.steps.follow import begun, over, traced, waiting_anew
from mlma.steps.group import SAME
from mlma.steps.trace import Patience, Seen, Traces, seen_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DeskView:
    """What `mlma.agent.incidents.incidents_after` needs beside the entries.

    names, tags
        of all registered streams, by row of the registry.
    seen, groups
        rows that were in a cycle so far, ascending, and the groups that divide them:
        ``registered.groups(seen, seen, watch)``.
    standing
        orders in force; ``events`` are read.
    traces
        as they were before the first of the entries.
    outstanding
        requests that are open or claimed after the newest entry, its own included.
    ended
        actions ``deployed`` and ``failed`` that were carried out before a cycle of the last week,
        with their ``cycle``, those that are applied by this very commit included.
    """

    names: Sequence[str]
    tags: Tags
    seen: Ints
    groups: Groups
    standing: Standing
    periods: Periods
    traces: Traces
    outstanding: Sequence[OpenRequest] = ()
    ended: Sequence[Action] = ()
    patience: Patience = field(default_factory=Patience)


def code_of(incident_id: str) -> int:
    """Return the number by which traces name an incident."""
    return int(incident_id[:15], 16)


def by_person(incident: Incident) -> bool:
    """Whether a person resolved it."""
    return incident.state == "resolved" and incident.closed_by not in (BY_ITSELF, WITHDRAWN)


@dataclass(slots=True)
class Sheet:
    """Incidents and traces while cycles are laid out one after the other.

    desk
        incidents by id, those that closed lately too.
    former
        incidents of cycles that are judged anew, to be found again.
    words
        gives an incident its sentences; the last ones when it closes.
    """

    view: DeskView
    words: Callable[["Sheet", Incident], Incident]
    desk: dict[str, Incident]
    former: list[Incident]
    traces: Traces
    groups: Groups
    entry: CycleEntry
    at: Ints
    seen: Seen
    there: Bools
    hit: Bools
    newest: bool = True

    @classmethod
    def blank(
        cls,
        view: DeskView,
        entry: CycleEntry,
        words: Callable[["Sheet", Incident], Incident],
    ) -> "Sheet":
        """Return the sheet before the first entry."""
        n = len(view.names)
        nothing = np.zeros(n, dtype=np.bool_)
        seen = seen_of(entry.evidence[:0], nothing[:0])
        groups = _over_all(view.groups, view.seen, n)
        traces = view.traces.widened(n)
        rows = np.zeros(0, dtype=np.int64)
        return cls(view, words, {}, [], traces, groups, entry, rows, seen, nothing, nothing)

    def turn(self, entry: CycleEntry, newest: bool) -> None:
        """Take the next entry: traces follow it."""
        n = len(self.view.names)
        self.entry, self.at, self.newest = entry, entry.streams, newest
        muted = self._touched(lambda event: event.mute)[self.at]
        self.seen = seen_of(entry.evidence, muted)
        self.traces = traced(self.traces, self.at, self.seen, self.view.patience)
        self.there = np.zeros(n, dtype=np.bool_)
        self.there[self.at] = ~self.seen.aside
        self.hit = np.zeros(n, dtype=np.bool_)
        self.hit[self.at] = self.seen.hit

    @property
    def cycle(self) -> int:
        """Number of the cycle."""
        return self.entry.info.cycle

    @property
    def known(self) -> Bools:
        """Which streams were in a cycle so far, ``(n_streams,)``."""
        return np.asarray(self.traces.version > 0)

    @property
    def patience(self) -> Patience:
        """How long and how much until something is an incident."""
        return self.view.patience

    def unfinished(self, *kinds: IncidentKind) -> Iterator[Incident]:
        """Yield the incidents of some kinds that are on the desk, in a fixed order."""
        for one in sorted(self.desk.values(), key=lambda one: (one.opened_cycle, one.id)):
            if one.unfinished and one.kind in kinds:
                yield one

    def open(
        self, kind: IncidentKind, scope: str, rows: Ints, part: str = "", **evidence: Any
    ) -> Incident:
        """Put a new incident on the desk, or one of a former judgement again, and return it.

        ``scope`` empty = the streams have no tag in common.
        """
        info = self.entry.info
        known = self._former(kind, scope, part, rows)
        made = Incident(
            id=digest(["incident", kind, scope, part, info.cycle]) if known is None else known.id,
            kind=kind,
            scope=scope or self.named(rows),
            state="open",
            opened_cycle=info.cycle,
            opened_at=info.judged_at,
            updated_cycle=info.cycle,
            streams=len(rows),
            evidence={
                **{"opened_as": kind, "tag": scope, "part": part, "begins": self.begins()},
                **evidence,
            },
        )
        if known is not None:
            made = _with_people(made, known)
        self.desk[made.id] = made
        self.join(made, rows)
        return made

    def join(self, incident: Incident, rows: Ints) -> None:
        """Make streams members of an incident, and note its cause as seen."""
        code, column = code_of(incident.id), _column(incident.kind)
        if len(rows) and column:
            codes = getattr(self.traces, column).copy()
            codes[rows] = code
            self.traces = replace(self.traces, **{column: codes})
        if column == "cause":
            place = np.searchsorted(self.at, rows)
            inside = (place < len(self.at)) & (self.at[np.minimum(place, len(self.at) - 1)] == rows)
            rows, place = rows[inside], place[inside]
            seen = self.seen
            self.traces = begun(self.traces, rows, seen.reference[place], seen.calendar[place])
        self.put(incident, updated_cycle=self.cycle)

    def takes(self, incident: Incident) -> bool:
        """Return whether an incident takes new members in this cycle."""
        one = self.desk[incident.id]
        return one.unfinished or (by_person(one) and (one.closed_cycle or 0) >= self.cycle)

    def put(self, incident: Incident, **changed: Any) -> Incident:
        """Write fields of an incident that may have changed meanwhile; return it."""
        made = replace(self.desk[incident.id], **changed)
        self.desk[incident.id] = made
        return made

    def note(self, incident: Incident, **evidence: Any) -> Incident:
        """Write values of the evidence of an incident; return it."""
        known = self.desk[incident.id].evidence
        return self.put(incident, evidence={**known, **evidence})

    def members(self, incident: Incident) -> Ints:
        """Return the rows of its members, all of them."""
        column = _column(incident.kind)
        if not column:
            return np.array(incident.members, dtype=np.int64)
        return np.flatnonzero(getattr(self.traces, column) == code_of(incident.id))

    def free(self, incident: Incident) -> None:
        """Let the members go: what is still wrong with them may be told anew."""
        column = _column(incident.kind)
        if column:
            codes = getattr(self.traces, column)
            kept = np.where(codes == code_of(incident.id), 0, codes)
            self.traces = replace(self.traces, **{column: kept})

    def close(self, incident: Incident, by: str = BY_ITSELF, **changed: Any) -> None:
        """Resolve an incident whose cause is gone.

        The few members that are not back get the time of a new trouble before they are told again.
        """
        if by == BY_ITSELF:
            incident = self.words(self, self.refreshed(self.desk[incident.id]))
        if _column(incident.kind) == "cause":
            self.traces = waiting_anew(self.traces, self.members(incident))
        self.free(incident)
        self.put(
            incident,
            **{"stake": 0.0, **changed},
            state="resolved",
            closed_cycle=self.cycle,
            closed_at=self.entry.info.judged_at,
            closed_by=by,
            snoozed_until=None,
        )

    def fill(self, rows: Ints) -> None:
        """Take holes of streams as filled: the next one is told anew."""
        if len(rows):
            holes = self.traces.hole.copy()
            holes[rows] = 0
            self.traces = replace(self.traces, hole=holes)

    def forget(self, incident: Incident) -> None:
        """Take what a person resolved as settled: where its members stand now is usual."""
        rows = np.flatnonzero(self.traces.cause == code_of(incident.id))
        if len(rows):
            gone = np.zeros(len(self.traces), dtype=np.bool_)
            gone[rows] = True
            self.traces = over(self.traces, gone)
            self.free(incident)

    def events(self) -> list[tuple[CalendarEvent, Bools]]:
        """Return the events of this batch that are not muted, by id, and whom they concern."""
        return [
            (event, event.selector.mask(self.view.names, self.view.tags))
            for event in self._now()
            if not event.mute
        ]

    def begins(self) -> str:
        """Return the start of the batch, in words of ISO 8601."""
        return moment_of(self.view.periods.start(self.entry.info.period)).isoformat()

    def losses(self, rows: Ints) -> tuple[float, float | None, Floats]:
        """Return loss at stake, median relative rise, and what each of some streams loses.

        The level before the trouble counts where a stream is in one: the reference of a new version
        may have learnt the bad level.
        """
        place = np.searchsorted(self.at, rows)
        inside = place < len(self.at)
        inside[inside] = self.at[place[inside]] == rows[inside]
        lost, rise = np.zeros(len(rows)), np.full(len(rows), np.nan)
        at = place[inside]
        seen, own = self.seen.rows(at), self.traces.rows(rows[inside])
        usual = own.usual[np.arange(len(at)), seen.calendar].astype(np.float64)
        told = own.troubled & np.isfinite(usual)
        expected = np.where(told, np.fmin(usual, seen.reference), seen.reference)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            level = np.exp(expected)
            lost[inside] = np.nan_to_num(np.maximum(seen.loss - level, 0.0) * np.maximum(seen.n, 0))
            rise[inside] = np.where(level > 0, seen.loss / level - 1, np.nan)
        rise = rise[np.isfinite(rise)]
        return float(lost.sum()), float(np.median(rise)) if len(rise) else None, lost

    def refreshed(self, incident: Incident) -> Incident:
        """Return an incident with members, stake and effect of this cycle."""
        rows = self.members(incident)
        if not len(rows) or incident.kind == "trainer":
            return self.put(incident, stake=0.0)
        stake, effect, lost = self.losses(rows)
        largest = rows
        if len(rows) > MOST_MEMBERS:
            largest = self._largest(rows, lost)
        return self.put(
            incident,
            scope=incident.scope if incident.evidence.get("tag") else self.named(rows),
            members=tuple(largest.tolist()),
            streams=len(rows),
            stake=round(stake, 6),
            effect=incident.effect if effect is None else round(effect, 4),
        )

    def _largest(self, rows: Ints, lost: Floats) -> Ints:
        """Return the rows that lose most, of equal ones the first by name; ascending."""
        least = np.partition(lost, -MOST_MEMBERS)[-MOST_MEMBERS]
        more, equal = rows[lost > least], rows[lost == least].tolist()
        first = nsmallest(MOST_MEMBERS - len(more), equal, key=self.view.names.__getitem__)
        return np.sort(np.concatenate([more, np.array(first, dtype=np.int64)]))

    def named(self, rows: Ints) -> str:
        """Return the name of a stream, or how many there are."""
        return self.view.names[int(rows[0])] if len(rows) == 1 else f"{len(rows):,} streams"

    def _former(self, kind: str, scope: str, part: str, rows: Ints) -> Incident | None:
        """Return the incident of a former judgement that tells of this cause, and take it."""
        near = [
            one
            for one in self.former
            if _origin(one) == (kind, scope, part)
            and abs(one.opened_cycle - self.cycle) <= self.patience.linger
            and (scope or np.isin(rows, one.members).mean() >= SAME)
        ]
        if not near:
            return None
        found = min(near, key=lambda one: (abs(one.opened_cycle - self.cycle), one.id))
        self.former.remove(found)
        return found

    def _now(self) -> list[CalendarEvent]:
        periods, period = self.view.periods, self.entry.info.period
        begins, ends = moment_of(periods.start(period)), moment_of(periods.end(period))
        events = self.view.standing.events
        return [events[name] for name in sorted(events) if _touches(events[name], begins, ends)]

    def _touched(self, wanted: Any) -> Bools:
        touched = np.zeros(len(self.view.names), dtype=np.bool_)
        for event in self._now():
            if wanted(event):
                touched |= event.selector.mask(self.view.names, self.view.tags)
        return touched


def _origin(incident: Incident) -> tuple[Any, ...]:
    """Return what an incident opened as: that of a city may have become that of the fleet."""
    return tuple(incident.evidence.get(name) for name in ("opened_as", "tag", "part"))


def _column(kind: str) -> str:
    return {"data": "hole", "trainer": ""}.get(kind, "cause")


def _touches(event: CalendarEvent, begins: Any, ends: Any) -> bool:
    return bool(event.begins < ends and begins < event.ends)


def _with_people(made: Incident, known: Incident) -> Incident:
    """Return an incident with what people did to it."""
    made = replace(made, opened_at=known.opened_at, changed=known.changed, told=known.told)
    if by_person(known) or known.unfinished:
        made = replace(
            made,
            state=known.state,
            snoozed_until=known.snoozed_until,
            closed_cycle=known.closed_cycle,
            closed_at=known.closed_at,
            closed_by=known.closed_by,
        )
    return made


def _over_all(groups: Groups, seen: Ints, n: int) -> Groups:
    """Return the groups of all registered streams."""
    made = []
    for division in groups.divisions:
        codes = np.full(n, -1, dtype=np.int32)
        codes[seen] = division.codes
        made.append(Division(division.names, codes))
    return Groups(n, tuple(made))
