"""A fleet that was judged for twelve days, with an engineer's desk on it; a copy for each test."""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from live_agents import POLICY, SetClock, fleet, live_agent, on_day, played, push
from live_agents import START as FIRST_DAY
from mlma.adapters.store import open_store
from mlma.agent.live import LiveAgent
from mlma.agent.recomputing import read_entry
from mlma.domain.incidents import Incident
from mlma.domain.ledger import Commit
from mlma.domain.selectors import Selector
from mlma.service.engineering import EngineersDesk

DAYS, STREAMS = 12, 6
ANN, BOB = "user:ann", "user:bob"
HISTORY = fleet(DAYS + 6, STREAMS, breaks_at=9, broken=1)
NAMES = [f"shop {number:02d}" for number in range(STREAMS)]
GHENT = Selector(tags=("city=Ghent",))
"""The streams with even numbers."""
BROKEN = Selector(unique_ids=("shop 00",))


def day(number, hours=0):
    return FIRST_DAY + timedelta(days=number, hours=hours)


QUICK = POLICY.replace(")", ", min_reference_batches=5)")
"""Under it the break of the first stream is seen within the twelve days."""


def judged_fleet(path, policy=POLICY):
    """Write the store that all tests begin with."""
    agent, store, clock = live_agent(open_store(f"sqlite:///{path}"), policy=policy)
    agent.tag({"city": {name: ("Ghent", "Bruges")[at % 2] for at, name in enumerate(NAMES)}})
    played(HISTORY, DAYS, agent, store, clock)
    agent.surrender()
    store.close()


@dataclass
class Office:
    """A desk, and what stands around it."""

    desk: EngineersDesk
    agent: LiveAgent
    store: Any
    clock: SetClock
    pokes: list

    def order(self, order, by=ANN, why="", **more):
        """Carry an order out; return the number of its action."""
        return self.desk.carry_out(order, by, why, **more)

    def look(self, order, by=ANN):
        return self.desk.rehearse(order, by)

    def live_on(self, number=1):
        """Push and judge more days."""
        for _ in range(number):
            gone = round((self.clock.now() - FIRST_DAY) / timedelta(days=1))
            push(self.store, on_day(HISTORY, gone))
            self.clock.day(gone + 1)
            self.agent.tick()

    def open_requests(self):
        found = self.store.requests(status=("open", "claimed"))
        return {one.request.unique_id: one.request for _, one in found}

    def kinds(self):
        return [one.kind for one in self.desk.actions()]

    def show(self, incident):
        """Write an incident as the agent would."""
        info = self.store.cycles(newest_first=True, limit=1)[0]
        entry = read_entry(self.store, info.cycle)
        again = replace(entry, info=replace(info, revision=info.revision + 1, closed="revised"))
        self.store.commit(Commit((again,), self.store.snapshot(), incidents=(incident,)))


@contextmanager
def office(folder, judged, policy=POLICY):
    """Lend an office in which nothing was ordered yet."""
    path = folder / "store.db"
    shutil.copy(judged, path)
    store, clock = open_store(f"sqlite:///{path}"), SetClock()
    clock.day(DAYS)
    agent, _, _ = live_agent(store, clock, policy=policy)
    pokes = []
    desk = EngineersDesk(store, agent, clock, trains=True, poke=lambda: pokes.append(1))
    try:
        yield Office(desk, agent, store, clock, pokes)
    finally:
        store.close()


def incident(id="i1", **changes):
    told = {
        "kind": "group",
        "scope": "city=Ghent",
        "state": "open",
        "opened_cycle": DAYS,
        "opened_at": day(DAYS),
        "updated_cycle": DAYS,
        "streams": 3,
        "members": (0, 2, 4),
        "stake": 7.0,
        "cause": "Losses of 3 streams rose together.",
    }
    return Incident(id=id, **(told | changes))
