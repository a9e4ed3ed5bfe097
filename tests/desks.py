"""Days of a small fleet as a cycle leaves them, laid out as incidents: for tests of the desk."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from mlma.agent.incidents import DeskView, incidents_after, known_since
from mlma.agent.standing import Standing
from mlma.domain.groups import groups_of
from mlma.domain.ledger import EVIDENCE, Action, CycleEntry, CycleInfo, OpenRequest
from mlma.domain.periods import Periods
from mlma.domain.requests import RetrainingRequest
from mlma.domain.verdicts import Decision, Reason, Verdict
from mlma.steps.trace import Traces

DAY = np.timedelta64(86_400 * 10**6, "us")
PERIODS = Periods(DAY, DAY // 6)
START = datetime(2024, 3, 1, tzinfo=UTC)
FIRST = PERIODS.at(np.datetime64("2024-03-01"))
SIZE = 40
CITIES = ("Ghent", "Bruges", "Liege", "Namur")


def stream_names(n=SIZE):
    return [f"shop {number:03d}" for number in range(n)]


def moment(day, hours=0.0):
    """Return a time: hours after the start of a day."""
    return START + timedelta(days=day, hours=hours)


def finding(scope, since, state="open", *, n=10, effect=0.4, p_value=1e-9, alarm=True):
    """Return an open finding in the plain values of a summary."""
    return {
        "scope": scope,
        "state": state,
        "since": since,
        "streams": n,
        "alarmed": 0,
        "score": 5.0,
        "p_value": p_value,
        "evidence": 20.0,
        "effect": effect,
        "alarm": alarm,
    }


def request(name, day, status="open"):
    """Return a request for the re-training of a stream, asked for on a day."""
    asked = RetrainingRequest(f"{name}:{day}", name, "loss", 1, day, moment(day, 25), {})
    return OpenRequest(asked, status)


class Fleet:
    """A fleet in four cities of ten, laid out day after day; day 0 is cycle 1."""

    def __init__(self, names=None, tags=None, order=None):
        self.names = names or stream_names()
        n = len(self.names)
        self.tags = tags or {
            "city": {name: CITIES[at * 4 // n] for at, name in enumerate(self.names)},
            "area": {
                name: "West" if at * 4 // n < 2 else "East" for at, name in enumerate(self.names)
            },
        }
        self.order = np.arange(n) if order is None else np.asarray(order)
        self.known, self.entries, self.kept = {}, [], []
        self.traces = Traces.new(n)
        self.standing, self.outstanding, self.ended = Standing(), [], []
        self.told = {}

    @property
    def rows(self):
        """Row of each stream by its number."""
        return np.argsort(self.order)

    def entry(self, *, findings=(), absent=(), revision=0, cycle=None, **columns):
        """Return a day: all is well but for ``columns``, values by number of the stream."""
        n = len(self.names)
        cycle = len(self.entries) + 1 if cycle is None else cycle
        made = np.zeros(n, dtype=EVIDENCE)
        made["loss"], made["reference_log"], made["spread"] = 1.0, 0.0, 0.1
        made["n"], made["forecasts"], made["version"] = 6, 6, 1
        made["verdict"] = Verdict.HEALTHY
        for name, values in columns.items():
            for number, value in values.items():
                made[name][number] = value
        there = np.setdiff1d(np.arange(n), np.array(list(absent), dtype=np.int64))
        rows = np.sort(self.rows[there])
        info = CycleInfo(
            cycle=cycle,
            revision=revision,
            period=FIRST + cycle - 1,
            judged_at=moment(cycle, 1),
            through=0,
            closed="complete",
            streams=len(rows),
            summary={"findings": list(findings)},
        )
        return CycleEntry(info, rows, made[self.order[rows]])

    def day(self, **said):
        """Lay out one more day; return the incidents that changed."""
        entry = self.entry(**said)
        self.kept.append((dict(self.known), self.traces))
        self.entries.append(entry)
        return self._laid([entry])

    def days(self, number, **said):
        """Lay out equal days; return the incidents that changed on the last of them."""
        return [self.day(**said) for _ in range(number)][-1]

    def again(self, cycle, changes):
        """Judge the days since a cycle anew; ``changes`` are what is said of them, by cycle."""
        fresh = []
        for old in self.entries[cycle - 1 :]:
            number = old.info.cycle
            made = self.entry(cycle=number, **changes[number]) if number in changes else old
            judged_at = moment(len(self.entries), 2)
            info = replace(made.info, revision=1, closed="revised", judged_at=judged_at)
            fresh.append(replace(made, info=info))
        self.entries[cycle - 1 :] = fresh
        self.traces = self.kept[cycle - 1][1]
        return self._laid(fresh)

    def view(self):
        by_row = [self.names[number] for number in self.order]
        tags = {tag: tuple(of.get(name) for name in by_row) for tag, of in self.tags.items()}
        return DeskView(
            names=by_row,
            tags=self.tags,
            seen=np.arange(len(by_row)),
            groups=groups_of(len(by_row), tags),
            standing=self.standing,
            periods=PERIODS,
            traces=self.traces,
            outstanding=self.outstanding,
            ended=self.ended,
        )

    def _laid(self, entries):
        since = known_since(entries[0].info.cycle)
        known = [
            one
            for one in self.known.values()
            if one.unfinished or max(one.updated_cycle, one.closed_cycle or 0) >= since
        ]
        made = incidents_after(known, entries, self.view())
        self.traces = made.traces
        self.known |= {one.id: one for one in made.incidents}
        return list(made.incidents)

    def do(self, incident, **changed):
        """Let a person change an incident."""
        self.known[incident.id] = replace(self.known[incident.id], changed=7, **changed)

    def resolve(self, incident, by="user:ann"):
        cycle = len(self.entries)
        closed = {"closed_cycle": cycle, "closed_at": moment(cycle, 3), "closed_by": by}
        self.do(incident, state="resolved", **closed)

    def failed(self, numbers, error):
        """Record that fits of streams fail, before the next day."""
        self._ended("failed", numbers, error=error)

    def deployed(self, numbers):
        self._ended("deployed", numbers)

    def _ended(self, kind, numbers, **payload):
        names = [self.names[number] for number in numbers]
        payload = {"unique_ids": names, **payload}
        cycle, number = len(self.entries) + 1, len(self.ended) + 1
        self.ended.append(Action(kind, payload, moment(cycle), number=number, cycle=cycle))

    @property
    def open(self):
        """Incidents on the desk, oldest first."""
        found = [one for one in self.known.values() if one.unfinished]
        return sorted(found, key=lambda one: (one.opened_cycle, one.id))

    def members(self, incident):
        """Return the numbers of the members of an incident."""
        return sorted(int(self.order[row]) for row in incident.members)


def hit(numbers, loss=1.5, **more):
    """Return what is said of streams that are degraded and alarm."""
    numbers = list(numbers)
    said = {
        "loss": dict.fromkeys(numbers, loss),
        "verdict": dict.fromkeys(numbers, Verdict.DEGRADED),
        "alarm": dict.fromkeys(numbers, 1),
        "decision": dict.fromkeys(numbers, Decision.RETRAIN),
        "reason": dict.fromkeys(numbers, Reason.ALARM),
    }
    return said | {name: dict.fromkeys(numbers, value) for name, value in more.items()}


def degraded(numbers, loss=1.5, **more):
    """Return what is said of streams that are degraded, and alarmed before."""
    said = hit(numbers, loss, **more)
    return said | {"alarm": {}, "decision": {}, "reason": {}}
