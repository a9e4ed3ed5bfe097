"""A small live fleet with an engineer's desk, and orders at random, written as short steps."""

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import polars as pl
from hypothesis import strategies as st

from live_agents import START, SetClock, fleet, live_settings, on_day, push
from mlma.adapters.store import open_store
from mlma.agent.incidents import traces_of
from mlma.agent.live import LiveAgent
from mlma.agent.noting import events_in, in_force
from mlma.agent.rehearsing import rehearsed
from mlma.agent.remembered import columns_of
from mlma.agent.verification import verified
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.errors import ConflictError, DataError, SettingsError
from mlma.domain.orders import (
    Acknowledge,
    CancelEvent,
    Confirm,
    Declare,
    Deny,
    Freeze,
    LabelBatches,
    Overrule,
    Pin,
    Plan,
    Rejudge,
    ReopenIncident,
    Resolve,
    Retrain,
    RollBack,
    SetBudget,
    Snooze,
    SwitchPolicy,
    Undo,
    Unfreeze,
    Unpin,
)
from mlma.domain.periods import moment_of
from mlma.domain.selectors import Selector
from mlma.service.engineering import EngineersDesk
from mlma.service.orders.batches import trial

STREAMS, BEGUN, LAST = 8, 9, 34
POLICY = "mlma(level=0.01, pool=1, max_age=None, review_age=None, min_reference_batches=5)"
HISTORY = fleet(LAST, STREAMS, breaks_at=7, broken=3)
NAMES = sorted(set(HISTORY["unique_id"]))
REFUSED = (ConflictError, DataError, SettingsError)
"""What a desk may answer to an order that cannot be."""

ON_BATCHES = ("label", "overrule", "event", "cancel_event")
_HOURS = 3
_LABELS = ("one_off", "broken", "real_shift", "none")
_POLICIES = ("never", "periodic(every=3)", POLICY.replace("0.01", "0.05"), "")
_INCIDENTS = (Acknowledge, Resolve, ReopenIncident, Confirm, Deny)

ORDER_KINDS = (
    *("freeze", "unfreeze", "pin", "unpin", "policy", "fleet_policy", "budget", "event"),
    *("cancel_event", "label", "label", "overrule", "rejudge", "retrain", "plan", "roll_back"),
    *("undo", "undo", "undo", "incident", "snooze"),
)
_STEPS = (
    *("day",) * 4,
    *("order",) * 8,
    *("hours", "late", "deploy", "fail", "claim", "restart", "tags", "newcomer"),
)

Step = tuple[str, str, int, int]


def steps(kinds=_STEPS, orders=ORDER_KINDS):
    """Return a strategy of steps: what, which order, and two numbers that choose the rest."""
    return st.tuples(
        st.sampled_from(kinds), st.sampled_from(orders), st.integers(0, 63), st.integers(0, 31)
    )


@dataclass
class World:
    """A fleet that was judged for some days, and what its invariants are checked against."""

    store: object = None
    day: int = 0
    clock: SetClock = field(default_factory=SetClock)
    withheld: list = field(default_factory=list)
    newcomers: int = 0
    number: int = 0
    holder: str = "one"

    def __post_init__(self):
        self.store = self.store or open_store("memory://")
        self.settings = live_settings(policy=POLICY)
        self.clock.day(self.day, 7)
        self.agent = self.another(self.holder)
        self.desk = self.another_desk()
        if self.store.streams():
            return
        self.agent.tag({"city": {name: "AB"[at % 2] for at, name in enumerate(NAMES)}})
        for _ in range(BEGUN):
            self.next_day()

    def another(self, holder):
        """Return another instance on the store."""
        return LiveAgent(self.settings, self.store, self.clock, holder=holder)

    def another_desk(self):
        return EngineersDesk(self.store, self.agent, self.clock, trains=True)

    # What happens.

    def next_day(self, held=0):
        """Push a day; actuals of the streams in the bits of ``held`` are kept back."""
        if self.day >= LAST:
            return
        frame = on_day(HISTORY, self.day)
        if self.newcomers:
            more = [
                frame.filter(pl.col("unique_id") == NAMES[-1]).with_columns(
                    unique_id=pl.lit(f"a new {one}")
                )
                for one in range(self.newcomers)
            ]
            frame = pl.concat([frame, *more])
        late = [name for at, name in enumerate(NAMES) if held >> at & 1]
        push(self.store, frame, ("forecasts",))
        push(self.store, frame.filter(~pl.col("unique_id").is_in(late)), ("actuals",))
        if late:
            self.withheld.append(frame.filter(pl.col("unique_id").is_in(late)))
        self.day += 1
        self.clock.day(self.day, 7)
        self.agent.tick()

    def take(self, step):
        """Take a step; return whether the desk took the order, if it was one."""
        what, kind, one, other = step
        if what == "order":
            return self.give(kind, one, other) is not None
        getattr(self, f"_{what}")(one, other)
        return True

    def give(self, kind, one, other):
        """Give an order; return the number of its action, None = it was refused."""
        try:
            order = self.order(kind, one, other)
            return None if order is None else self.desk.carry_out(order, "user:ann")
        except REFUSED:
            return None

    def _day(self, one, other):
        self.next_day(one if other % 3 == 0 else 0)

    def _hours(self, one, _):
        self.clock.time += timedelta(hours=1 + one % _HOURS)
        self.agent.tick()

    def _late(self, one, other):
        if self.withheld:
            push(self.store, self.withheld.pop(one % len(self.withheld)), ("actuals",))
            self.clock.time += timedelta(minutes=20)
            self.agent.tick()

    def _claim(self, one, _):
        self.store.claim(1 + one % 3)

    def _deploy(self, one, other):
        found = self._running(one)
        if found:
            called = dict.fromkeys(found, f"model {self.number}") if other % 2 else None
            self.number += 1
            self.agent.deployed(list(found), requests=list(found.values()), artefacts=called)

    def _fail(self, one, _):
        found = self._running(one)
        if found:
            self.agent.failed(list(found), "it fell", requests=list(found.values()))

    def _running(self, one):
        open_ones = [one.request for _, one in self.store.requests(status=("open", "claimed"))]
        return {r.unique_id: r.id for at, r in enumerate(open_ones) if one >> (at % 6) & 1}

    def _restart(self, one, _):
        self.agent.surrender()
        self.agent = self.another(f"holder {one}")
        self.desk = self.another_desk()
        self.agent.tick()

    def _tags(self, one, other):
        self.agent.tag({"city": {NAMES[one % STREAMS]: "AB"[other % 2]}})

    def _newcomer(self, one, _):
        self.newcomers = min(self.newcomers + 1, 2)

    # Orders.

    def order(self, kind, one, other):
        """Return an order; None = there is nothing that it could be about."""
        chosen = Selector(
            unique_ids=tuple(n for at, n in enumerate(NAMES) if (one | one << 6) >> at & 1)
            or (NAMES[other % STREAMS],)
        )
        if one % 7 == 0:
            chosen = Selector(tags=(f"city={'AB'[other % 2]}",))
        now = self.clock.now()
        made = getattr(self, f"_order_{kind}", None)
        if made is not None:
            return made(chosen, now, one, other)
        simple = {"unfreeze": Unfreeze, "pin": Pin, "unpin": Unpin, "retrain": Retrain}
        return simple[kind](selector=chosen, everything=True)

    def _order_freeze(self, chosen, now, one, other):
        until = now + timedelta(hours=6 * (1 + other)) if other % 2 else None
        return Freeze(selector=chosen, everything=True, until=until)

    def _order_policy(self, chosen, now, one, other):
        return SwitchPolicy(selector=chosen, everything=True, policy=_POLICIES[other % 4])

    def _order_fleet_policy(self, chosen, now, one, other):
        return SwitchPolicy(selector=Selector(), everything=True, policy=_POLICIES[other % 4])

    def _order_budget(self, chosen, now, one, other):
        return SetBudget(per_cycle=(None, 0, 1, 2)[other % 4])

    def _order_plan(self, chosen, now, one, other):
        return Plan(selector=chosen, everything=True, at=now + timedelta(hours=1 + other))

    def _order_event(self, chosen, now, one, other):
        begins, ends = self._span(other, ahead=3)
        matched = one % 5 == 0
        event = CalendarEvent(
            id=f"e{one % 3}",
            name=("Fair", "Outage")[one % 2],
            type="holiday",
            begins=begins,
            ends=ends,
            selector=Selector() if one % 4 == 0 else chosen,
            exclude=not matched and one % 3 != 0,
            mute=other % 2 == 0,
            matched=matched,
        )
        return Declare(event=event, overlap=True)

    def _order_cancel_event(self, chosen, now, one, other):
        return CancelEvent(event=f"e{one % 3}")

    def _order_label(self, chosen, now, one, other):
        begins, ends = self._span(other, ahead=1)
        return LabelBatches(
            selector=chosen, everything=True, begins=begins, ends=ends, label=_LABELS[one % 4]
        )

    def _order_overrule(self, chosen, now, one, other):
        verdict = ("healthy", "degraded")[one % 2]
        return Overrule(selector=chosen, everything=True, cycle=self._cycle(other), verdict=verdict)

    def _order_rejudge(self, chosen, now, one, other):
        return Rejudge(cycle=self._cycle(other))

    def _order_roll_back(self, chosen, now, one, other):
        return RollBack(selector=chosen, everything=True, version=None if other % 3 else 1)

    def _order_undo(self, chosen, now, one, other):
        given = self.desk.actions()
        return Undo(action=given[-1 - other % min(len(given), 6)].number) if given else None

    def _order_incident(self, chosen, now, one, other):
        found = self.store.incidents()
        if not found:
            return None
        return _INCIDENTS[other % 5](incident=found[one % len(found)].id)

    def _order_snooze(self, chosen, now, one, other):
        found = self.store.incidents(states=("open", "acknowledged"))
        if not found:
            return None
        until = now + timedelta(hours=2 + other)
        return Snooze(incident=found[one % len(found)].id, until=until)

    def _span(self, other, ahead):
        first = max(self.day - other % 8 + ahead, 0)
        begins = START + timedelta(days=first, hours=other % 2 * 5)
        return begins, begins + timedelta(days=1 + other // 8)

    def _cycle(self, other):
        last = self.store.cycles(newest_first=True, limit=1)[0].cycle
        return max(last - other % 8, 1)

    def undo(self, number):
        return Undo(action=number)

    # What there is.

    def open_requests(self):
        found = self.store.requests(status=("open", "claimed"))
        return [one.request for _, one in found]

    def evidence(self):
        """Return the newest evidence by period and stream, as bytes."""
        names, made = self.store.streams(), {}
        for info in self.store.cycles():
            rows, records = self.store.evidence(info.cycle)
            made |= {
                (info.period, names[row]): record.tobytes()
                for row, record in zip(rows.tolist(), records, strict=True)
            }
        return made

    def remembered(self):
        """Return all columns that an agent on the store begins with."""
        memory = self.another("looks").memory
        return columns_of(memory.state, memory.fleet)

    def close(self):
        self.store.close()


def unproven(world):
    """Return the cycles that come out differently when they are computed once more."""
    return [
        (one.cycle, one.columns, one.differing)
        for one in verified(world.store, world.settings)
        if not one.holds
    ]


def apart(one, other):
    """Return the names of columns that are not the same to the bit."""
    return [
        name
        for name in one
        if name not in other or one[name].shape != other[name].shape or not _same(one, other, name)
    ]


def _same(one, other, name):
    return np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f")


def restarted_apart(world):
    """Return what another instance on the store knows otherwise than the one that judged."""
    agent, other = world.agent, world.another("looks")
    mine = columns_of(agent.memory.state, agent.memory.fleet)
    theirs = columns_of(other.memory.state, other.memory.fleet)
    found = apart(mine, theirs)
    if agent.streams != other.streams:
        found.append("streams")
    n = len(agent.memory.row)
    if n:
        traces = traces_of(world.store.snapshot().columns, n)
        found += apart(agent._traces.rows(np.arange(n)).flat(), traces.flat())
    if agent._registered.tags != other._registered.tags:
        found.append("tags")
    return found


def asked_twice(world):
    """Return streams with more than one open request."""
    names = [one.unique_id for one in world.open_requests()]
    return sorted({name for name in names if names.count(name) > 1})


def held(world):
    """Return the streams for which the agent may ask for nothing just now."""
    standing = world.desk.standing()
    newest = world.store.cycles(newest_first=True, limit=1)[0]
    periods = world.settings.periods
    begins = moment_of(periods.start(newest.period))
    ends = moment_of(periods.end(newest.period))
    muted = set()
    for event in events_in(standing, begins, ends):
        if event.mute:
            names, tags = world.store.streams(), world.agent._registered.tags
            muted |= set(np.array(names)[event.selector.mask(names, tags)].tolist())
    # A freeze that ends in the middle of the newest batch may hold it or not.
    frozen = set(in_force(standing.frozen, begins)) & set(
        in_force(standing.frozen, world.clock.now())
    )
    return frozen | set(standing.pinned) | muted


def odd_incidents(world):
    """Return incidents that are closed without saying when, or open and say so."""
    found = world.store.incidents()
    assert len({one.id for one in found}) == len(found)
    return [
        one.id
        for one in found
        if (one.state == "resolved")
        != (one.closed_cycle is not None and one.closed_at is not None and bool(one.closed_by))
        or (one.state == "snoozed") != (one.snoozed_until is not None)
    ]


def predicted(world, order):
    """Return what a dry run of an order on batches says that it will do, None = it is refused."""
    try:
        known = world.desk._known("user:ann", dry=True)
        draft = world.desk._draft(order, known)
    except REFUSED:
        return None
    names = draft.streams if draft.named else ()
    return rehearsed(world.store, world.settings, [trial(order, names, known)])


def judged(world):
    """Return verdict and decision of each stream and cycle, as a dry run tells them."""
    names, made = world.store.streams(), {}
    for info in world.store.cycles():
        rows, records = world.store.evidence(info.cycle)
        for what in ("verdict", "decision"):
            made |= {
                (names[row], info.cycle, what): int(value)
                for row, value in zip(rows.tolist(), records[what], strict=True)
            }
    return made


def changed(before, after):
    return {one for one in after if before.get(one) != after[one]}
