"""Which alarms does an engineer have to see? A fleet over 26 weeks, whose truth is known.

    python benchmarks/quality/desk.py [--streams 10000] [--seeds 3] [--quick] [--policy TEXT]
        [--json FILE]

The live agent judges a day after the other (one slot a day, a store in memory), this program plays
the trainer, and the incidents of each cycle are counted against what was planted
(`desk_world`). Prints a Markdown table; ``docs/incidents.md`` tells what it means. The exit code is
1 where a target is missed.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

# This folder itself leaves the path, so that its modules hide no others of the same names.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.store import open_store
from mlma.agent.groups import policy_groups
from mlma.agent.incident_sheet import code_of
from mlma.agent.incidents import DeskView, incidents_after, known_since
from mlma.agent.live import LiveAgent
from mlma.agent.recomputing import read_entry
from mlma.agent.standing import Standing
from mlma.domain.inbox import Parcel, Rows
from mlma.domain.incidents import Incident
from mlma.domain.ledger import Action
from mlma.domain.live import LiveSettings
from mlma.domain.periods import Periods
from mlma.domain.rows import LossRows
from mlma.domain.settings import MLMA, policy_from
from mlma.steps.trace import Traces
from quality.desk_score import HEAD, Opened, Played, cause_of, figures, line, line_of, missed
from quality.desk_world import DAYS, HELD_OUT, World, world

Ints = NDArray[np.int64]

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = np.timedelta64(86_400 * 10**6, "us")
POLICY = "mlma(pool=1)"


class SetClock:
    """A clock that is set."""

    time = START

    def now(self) -> datetime:
        return self.time


@dataclass
class Desk:
    """The agent with its desk and its trainer."""

    truth: World
    policy: str
    clock: SetClock = field(default_factory=SetClock)
    known: dict[str, Incident] = field(default_factory=dict)
    ended: list[Action] = field(default_factory=list)
    due: dict[str, int] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = LiveSettings(policy_from(self.policy), Periods(DAY, DAY), snapshot_every=1000)
        self.store = open_store("memory://")
        self.store.register(self.truth.names)
        self.agent = LiveAgent(settings, self.store, self.clock)
        self.agent.tag(self.truth.tags)
        self.periods = settings.periods
        self.first = self.periods.at(np.datetime64(START.replace(tzinfo=None), "us"))
        names = self.truth.names
        tags = {tag: tuple(of[name] for name in names) for tag, of in self.truth.tags.items()}
        self.groups = policy_groups(tags, self.truth.n, MLMA())
        self.traces = Traces.new(self.truth.n)
        self.rng = np.random.default_rng(self.truth.seed + 1)

    def live(self, day: int) -> tuple[Sequence[Incident], int]:
        """Live through a day; return the incidents that changed, and the alarms."""
        self._push(day)
        self.clock.time = START + timedelta(days=day + 1, hours=7)
        (info,) = self.agent.tick()
        entry = read_entry(self.store, info.cycle)
        outstanding = [one for _, one in self.store.requests(status=("open", "claimed"))]
        began = time.process_time()
        since = known_since(info.cycle)
        laid = incidents_after(
            [
                one
                for one in self.known.values()
                if one.unfinished or max(one.updated_cycle, one.closed_cycle or 0) >= since
            ],
            [entry],
            DeskView(
                self.truth.names,
                self.truth.tags,
                np.arange(self.truth.n),
                self.groups,
                Standing(),
                self.periods,
                self.traces,
                outstanding,
                self.ended,
            ),
        )
        self.times.append(time.process_time() - began)
        self.traces = laid.traces
        self.known |= {one.id: one for one in laid.incidents}
        self._train(day, info.cycle)
        return laid.incidents, int(entry.evidence["alarm"].sum())

    def _push(self, day: int) -> None:
        rows, losses, actual = self.truth.day(day)
        place, stream = np.zeros(len(rows), dtype=np.int32), rows.astype(np.int32)
        period = self.first + day
        parcels = [Parcel("forecasts", period, Rows(stream, place, np.zeros(len(rows))))]
        if actual.any():
            seen = Rows(stream[actual], place[actual], losses[actual])
            parcels.append(Parcel("actuals", period, seen))
        self.store.accept(parcels)

    def _train(self, day: int, cycle: int) -> None:
        """Answer the requests that are due: a fit takes until the next day, or one or two more."""
        asked = [one.request for _, one in self.store.requests(status=("open", "claimed"))]
        for one in asked:
            self.due.setdefault(one.id, day + int(self.rng.integers(0, 3)))
        state = self.truth.trainer(day)
        ready = [one for one in asked if self.due[one.id] <= day] if state != "silent" else []
        if not ready:
            return
        names, ids = [one.unique_id for one in ready], [one.id for one in ready]
        if state == "failing":
            error = f"MemoryError: cannot allocate {self.rng.integers(10, 99)} GiB"
            number = self.agent.failed(names, error, requests=ids)
            payload = {"unique_ids": names, "error": error}
            self.ended.append(Action("failed", payload, self.clock.time, "", "", number, cycle + 1))
            return
        rows = np.array([int(name[-6:]) for name in names])
        held_out = self.truth.retrain(rows, day + 1)
        starts = self.periods.start(self.first) + DAY * np.arange(day + 1 - HELD_OUT, day + 1)
        code = np.repeat(np.arange(len(rows)), HELD_OUT)
        there = np.flatnonzero(np.tile(np.arange(HELD_OUT) >= HELD_OUT - day - 1, len(rows)))
        losses = LossRows(
            tuple(names),
            code[there],
            np.tile(starts, len(rows))[there],
            held_out.ravel()[there],
            (),
        )
        number = self.agent.deployed(names, losses, requests=ids)
        payload = {"unique_ids": names}
        self.ended.append(Action("deployed", payload, self.clock.time, "", "", number, cycle + 1))
        self.ended = [one for one in self.ended if (one.cycle or 0) > cycle - 8]


def play(truth: World, policy: str) -> Played:
    """Return what came of a fleet in its 26 weeks and the four before them."""
    began = time.perf_counter()
    desk, played = Desk(truth, policy), Played(truth)
    played.on_desk = np.full(truth.n, -1)
    for day in range(DAYS):
        changed, alarms = desk.live(day)
        played.alarms += alarms
        for one in changed:
            if one.id not in played.opened:
                played.opened[one.id] = Opened(one, np.zeros(0, dtype=np.int64), day)
            made, column = played.opened[one.id], "hole" if one.kind == "data" else "cause"
            rows = np.flatnonzero(getattr(desk.traces, column) == code_of(one.id))
            rows = rows if one.kind != "trainer" else np.array(one.members, dtype=np.int64)
            made.members, made.incident = np.union1d(made.members, rows), one
        # Being hit by a shock of the fleet is no telling of a break of one's own.
        own = [code_of(one.id) for one in desk.known.values() if one.kind in ("group", "model")]
        played.on_desk[np.isin(desk.traces.cause, own)] = day
    played.retrained = sum(len(one) for one in truth.healed)
    times = np.array(desk.times) * 1000
    played.slowest_ms, played.mean_ms = float(times.max()), float(times.mean())
    # The agent lays its incidents out itself: they must be these.
    own = {one.id: one.cause for one in desk.store.incidents()}
    played.same = own == {one.id: one.cause for one in desk.known.values()}
    desk.store.close()
    for one in played.opened.values():
        one.cause = cause_of(one, truth)
    played.seconds = time.perf_counter() - began
    return played


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--policy", default=POLICY)
    parser.add_argument("--quick", action="store_true", help="1,000 streams")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--verbose", action="store_true", help="print every incident")
    asked = parser.parse_args()
    streams = 1_000 if asked.quick else asked.streams
    print(HEAD, flush=True)
    rows = []
    for seed in range(asked.first, asked.first + asked.seeds):
        played = play(world(streams, seed), asked.policy)
        rows.append(figures(played))
        print(line(rows[-1]), flush=True)
        if asked.verbose:
            _tell(played)
    unmet = missed(rows)
    print("\n" + ("\n".join(f"missed: {one}" for one in unmet) or "all targets are met"))
    if asked.json:
        asked.json.write_text(json.dumps({"policy": asked.policy, "rows": rows}, indent=1))
    return int(bool(unmet))


def _tell(played: Played) -> None:
    for number, one in enumerate(played.truth.planted):
        if one.scope or one.kind in ("failing", "silent"):
            ids = [it for it in played.opened.values() if it.cause == number]
            print(
                f"  {number} {one.kind} {one.scope} day {one.begins}-{one.ends} x{one.factor:.2f}"
            )
            for it in ids:
                print(
                    f"      day {it.day}-{it.incident.closed_cycle}: {it.incident.kind} "
                    f"{it.incident.scope} ({len(it.members)}): {it.incident.cause} "
                    f"{it.incident.done}"
                )
    for it in played.opened.values():
        if it.cause < 0:
            print("  without a cause:", line_of(it))
    for it in played.opened.values():
        if it.cause >= 0 and not played.truth.planted[it.cause].scope:
            print("  alone:", line_of(it), it.incident.done)


if __name__ == "__main__":
    sys.exit(main())
