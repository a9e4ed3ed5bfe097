"""Noting: what engineers ordered and said, laid out for the streams of one cycle.

Takes recorded actions, gives columns that the cycle reads. What concerns the future only (freezes,
pins, policies, the budget) is that of the time of the cycle; what was said of batches (labels,
events, overruled verdicts) is all that is known today, whenever it was said.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from mlma.agent.cycle import Others
from mlma.agent.formers import FORMER, former_from
from mlma.agent.past import Past
from mlma.agent.standing import Hold, Standing, standing_of
from mlma.agent.watch import NOTHING_SAID, Said
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.ledger import Action, CycleInfo
from mlma.domain.orders import ORDERS
from mlma.domain.periods import Periods, instant_of, moment_of
from mlma.domain.settings import one_model
from mlma.domain.verdicts import Reason, Verdict
from mlma.steps.rollback import Former

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ratios = Callable[[CalendarEvent], tuple[Ints, Floats]]
"""`mlma.agent.past.Past.ratios`."""

_LABELS = {"none": 0, "one_off": 1, "broken": 2, "real_shift": 3}
_OUT = (_LABELS["one_off"], _LABELS["broken"])


@dataclass(slots=True)
class OrderBook:
    """Orders as a cycle sees them.

    standing
        what was in force when the cycle was judged.
    notes
        what is said of batches.
    carried
        orders that were carried out, by number.
    """

    notes: Standing = field(default_factory=Standing)
    standing: Standing = field(default_factory=Standing)
    carried: list[Action] = field(default_factory=list)

    @classmethod
    def noting(cls, actions: Iterable[Action]) -> "OrderBook":
        """Return a book that knows what was said of batches, and has carried out nothing yet."""
        return cls(notes=standing_of(one for one in actions if one.kind in ORDERS))

    def carry_out(self, actions: Iterable[Action]) -> None:
        """Have more actions in force; those that are no orders are passed over."""
        more = [one for one in actions if one.kind in ORDERS]
        if more:
            self.carried = sorted([*self.carried, *more], key=lambda one: one.number)
            self.standing = standing_of(self.carried)

    def learn(self, actions: Iterable[Action]) -> None:
        """Have more actions in force, and know what they say of batches."""
        self.carry_out(actions)
        self.notes = self.standing

    def action(self, number: int) -> Action | None:
        """Return an action that was carried out; None = it was not."""
        return next((one for one in self.carried if one.number == number), None)

    def former_of(self, requests: Mapping[str, str]) -> Iterator[tuple[list[str], Former]]:
        """Yield streams, and what is kept of the versions that answers to requests brought back.

        ``requests`` gives the stream by the id of its request.
        """
        for action in self.carried:
            asked = action.payload.get("requests", {})
            if FORMER in action.payload:
                names = [name for one, name in requests.items() if asked.get(name) == one]
                if names:
                    yield names, former_from(action.payload[FORMER], names)

    @property
    def empty(self) -> bool:
        """Whether nothing was ordered or said that a cycle has to know."""
        now, said = self.standing, self.notes
        ordered = now.frozen or now.pinned or now.policies
        return not (ordered or said.events or said.labels or said.overruled)


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of a cycle: ``rows`` of the registry, and what the registry knows of all.

    row
        of each stream by its name.
    """

    rows: Ints
    names: Sequence[str]
    row: Mapping[str, int]
    tags: Mapping[str, Mapping[str, str]]

    def of(self, unique_ids: Iterable[str]) -> Bools:
        """Return which streams of the cycle have these names, ``(n,) bool``."""
        found = [self.row[name] for name in unique_ids if name in self.row]
        everybody = np.zeros(len(self.names), dtype=np.bool_)
        everybody[found] = True
        return everybody[self.rows]

    def in_event(self, event: CalendarEvent) -> Bools:
        """Return whom an event concerns, ``(n,) bool``."""
        if event.selector.everything:
            return np.ones(len(self.rows), dtype=np.bool_)
        return event.selector.mask(self.names, self.tags)[self.rows]


@dataclass(frozen=True, slots=True)
class Noted:
    """What is known of the streams of a cycle before it is judged, ``(n,)`` each.

    said
        what the cycle reads.
    anew
        references that start empty with this batch.
    broken
        batches that are labelled as broken: they count for no figure of the fleet.
    muted
        streams for which no incident is made.
    """

    said: Said
    anew: Bools
    broken: Bools
    muted: Bools


def noted(book: OrderBook, streams: Streams, info: CycleInfo, past: Past) -> Noted:
    """Return what is known of the streams of a cycle; ``past`` are the cycles before it."""
    periods = past.periods
    n = len(streams.rows)
    nothing = np.zeros(n, dtype=np.bool_)
    if book.empty:
        return Noted(NOTHING_SAID, nothing, nothing, nothing)
    begins, ends = moment_of(periods.start(info.period)), moment_of(periods.end(info.period))
    labels, anew = _labels(book.notes, streams, info.period, past)
    out = np.isin(labels, _OUT)
    muted = nothing.copy()
    expected: Floats | None = None
    for event in events_in(book.notes, begins, ends):
        member = streams.in_event(event)
        if event.exclude:
            out |= member
        if event.mute:
            muted |= member
        if event.matched:
            times = _expected(event_before(book.notes, event), streams, past.ratios)
            expected = np.ones(n) if expected is None else expected
            expected = np.where(member, times, expected)
    said = Said(
        excluded=out if out.any() else None,
        hold=_holds(book.standing, streams, begins, muted),
        verdict=_overruled(book.notes, streams, info.cycle),
        expected=expected,
        policies=_policies(book.standing, streams),
    )
    return Noted(said, anew, labels == _LABELS["broken"], muted)


def events_in(notes: Standing, begins: datetime, ends: datetime) -> list[CalendarEvent]:
    """Return the events that touch a span of time."""
    return [one for one in notes.events.values() if one.begins < ends and begins < one.ends]


def event_before(notes: Standing, event: CalendarEvent) -> CalendarEvent | None:
    """Return the last event of the same name that was over before an event; None = there is none.

    Small and capital letters are alike.
    """
    name = event.name.casefold()
    earlier = [
        one
        for one in notes.events.values()
        if one.name.casefold() == name and one.id != event.id and one.ends <= event.begins
    ]
    return max(earlier, key=lambda one: (one.ends, one.id), default=None)


def _labels(
    notes: Standing, streams: Streams, period: int, past: Past
) -> tuple[NDArray[np.int8], Bools]:
    """Return the label of each stream's batch, and where the reference starts anew with it.

    It does with the first batch that a stream has of those that a label says to be a real shift.
    """
    told = _told(notes, streams, period, past.periods)
    codes = np.array([0, *(_LABELS[one.label] for one in notes.labels)], dtype=np.int8)
    labels = codes[told + 1]
    anew = labels == _LABELS["real_shift"]
    for at in np.unique(told[anew]).tolist():
        first = past.periods.at(instant_of(notes.labels[at].begins))
        for earlier, rows in past.streams_in(first, period - 1):
            before = _told(notes, streams, earlier, past.periods)
            anew &= ~((told == at) & (before == at) & np.isin(streams.rows, rows))
    return labels, anew


def _told(notes: Standing, streams: Streams, period: int, periods: Periods) -> Ints:
    """Return by which label each stream's batch of a period is told, its place; -1 = by none."""
    told = np.full(len(streams.rows), -1, dtype=np.int64)
    for place, one in enumerate(notes.labels):
        if periods.at(instant_of(one.begins)) <= period <= last_period(one.ends, periods):
            told[streams.of(one.unique_ids)] = place
    return told


def last_period(ends: datetime, periods: Periods) -> int:
    """Return the last period that a span touches which ends, exclusively, at a moment."""
    return periods.at(instant_of(ends) - np.timedelta64(1, "us"))


def _holds(
    standing: Standing, streams: Streams, begins: datetime, muted: Bools
) -> NDArray[np.int8] | None:
    """Return why streams are not re-trained: pinned before frozen before muted."""
    hold = np.where(muted, np.int8(Reason.EVENT), np.int8(0))
    for holds, why in ((standing.frozen, Reason.FROZEN), (standing.pinned, Reason.PINNED)):
        if holds:
            hold[streams.of(in_force(holds, begins))] = why
    return hold if hold.any() else None


def in_force(holds: Mapping[str, Hold], begins: datetime) -> list[str]:
    """Return the streams that are held in a period that begins at a moment."""
    return [name for name, one in holds.items() if one.until is None or begins < one.until]


def _overruled(notes: Standing, streams: Streams, cycle: int) -> NDArray[np.int8] | None:
    said = [one for one in notes.overruled if one.cycle == cycle]
    if not said:
        return None
    told = np.zeros(len(streams.rows), dtype=np.int8)
    for one in said:
        told[streams.of(one.unique_ids)] = Verdict[one.verdict.upper()]
    return told


def _policies(standing: Standing, streams: Streams) -> Others:
    by_text: dict[str, list[str]] = {}
    for name, (_, text) in standing.policies.items():
        by_text.setdefault(text, []).append(name)
    found = (
        (one_model(text), np.flatnonzero(streams.of(names))) for text, names in by_text.items()
    )
    return tuple((policy, at) for policy, at in found if len(at))


def _expected(before: CalendarEvent | None, streams: Streams, ratios: Ratios) -> Floats:
    """Return times the usual loss that streams had in an event; 1 where none is known."""
    everybody = np.zeros(len(streams.names))
    if before is not None:
        rows, logs = ratios(before)
        here = rows < len(everybody)
        everybody[rows[here]] = logs[here]
    return np.asarray(np.exp(everybody[streams.rows]))


def touched(before: Standing, after: Standing, periods: Periods) -> int | None:
    """Return the first period of which something else is said; None = of none.

    Overruled verdicts are told by cycle, not by period: see `overruled_apart`.
    """
    begun = [span[0] for span in set(_spans(before)) ^ set(_spans(after))]
    for name in before.events.keys() | after.events.keys():
        old, new = before.events.get(name), after.events.get(name)
        if old != new:
            begun += [event.begins for event in (old, new) if event is not None]
    first = [periods.at(instant_of(moment)) for moment in begun]
    return min(first, default=None)


def overruled_apart(before: Standing, after: Standing) -> int | None:
    """Return the first cycle of which another verdict is said; None = of none."""
    changed = set(before.overruled) ^ set(after.overruled)
    return min((one.cycle for one in changed), default=None)


def _spans(notes: Standing) -> list[tuple[datetime, datetime, int, str]]:
    return [(one.begins, one.ends, one.action, one.label) for one in notes.labels]
