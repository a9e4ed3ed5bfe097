"""Fleets whose losses under any policy are known: a truth to compare the policy lab with.

Losses have breaks that a new version heals, the better the more it was trained on after the break,
and versions grow stale. Who trains answers after some cycles. The chance is the same whoever plays.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from live_agents import DAY, FIRST, live_settings
from mlma.adapters.store import open_store
from mlma.agent.carrying import carried_out
from mlma.agent.judging import Inputs, Registered, judged
from mlma.agent.past import Past
from mlma.agent.remembered import columns_of, head_of
from mlma.agent.watch import watch_for
from mlma.domain.ledger import Action, Commit, CycleInfo, Snapshot
from mlma.domain.verdicts import Decision
from mlma.stats.calendar import calendar_class

START = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class LabWorld:
    """What losses are made of; lengths in batches, sizes in logs."""

    streams: int = 200
    cycles: int = 182
    breaks: float = 1.0  # per stream
    size: tuple[float, float] = (0.3, 0.9)
    heals: float = 0.9  # share of a break that a version takes off that saw ``window`` of it
    window: int = 14
    stale: float = 0.0  # per batch of age
    noise: float = 0.12
    weekend: float = 0.2
    returns: float = 0.0  # share of the breaks that go by themselves after ``lasts``
    lasts: int = 4
    delay: int = 1
    brings: int = 0  # held-out batches
    seed: int = 0
    at: list = field(init=False, default_factory=list, compare=False)  # of this world alone

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        n, last = self.streams, self.cycles
        number = rng.poisson(self.breaks, n)
        for row in range(n):
            for at in sorted(rng.integers(min(35, last), last + 1, number[row]).tolist()):
                size = rng.uniform(*self.size)
                ends = at + self.lasts if rng.random() < self.returns else last + 1
                self.at.append((row, at, size, ends))
        object.__setattr__(self, "level", rng.normal(0.0, 1.0, n))
        object.__setattr__(self, "draw", rng.normal(0.0, self.noise, (last + 1, n)))

    def logs(self, cycle, trained, draw=None):
        """Log losses of versions that were trained after some cycles, ``(n,)``."""
        made = self.level + (self.draw[cycle] if draw is None else draw)
        made = made + self.weekend * ((FIRST + cycle - 1) % 7 >= 5)
        for row, at, size, ends in self.at:
            if at <= cycle < ends:
                seen = np.clip((trained[row] - at + 1) / self.window, 0, 1)
                made[row] += size * (1 - self.heals * seen)
        return made + self.stale * np.maximum(cycle - trained, 0)

    @property
    def names(self):
        return [f"stream {row:05d}" for row in range(self.streams)]


def recorded_history(world, policy, url="memory://"):
    """A store with the history of a world under a policy, settings, true losses, and asks."""
    store = open_store(url)
    store.register(world.names)
    settings = live_settings(policy=policy)
    watch, past = watch_for(settings), Past(store, settings.periods)
    registered, memory = Registered(list(world.names)), watch.nothing()
    rows = np.arange(world.streams)
    trained = np.zeros(world.streams, dtype=np.int64)
    due: dict[int, list[tuple[int, list[int]]]] = {}
    truth, asked = [], 0
    for cycle in range(1, world.cycles + 1):
        for ask, who in due.pop(cycle, ()):
            trained[who] = ask
            store.act([_deployed(world, ask, cycle, who)])
        actions = store.actions(pending=True)
        memory = carried_out(memory, actions, watch, registered)
        loss = np.exp(world.logs(cycle, trained))
        truth.append(loss)
        memory, entry = judged(
            memory, _inputs(rows, loss, cycle, watch), _info(cycle), watch, registered, past=past
        )
        past.judged_anew(entry)
        asks = rows[entry.evidence["decision"] == Decision.RETRAIN].tolist()
        asked += len(asks)
        if asks:
            due.setdefault(cycle + world.delay, []).append((cycle, asks))
        applied = {action.number: cycle for action in actions}
        store.commit(Commit((entry,), _snapshot(cycle, memory), applied))
    return store, settings, np.array(truth), asked


def _deployed(world, ask, cycle, who):
    names = [world.names[row] for row in who]
    payload = {"unique_ids": names, "held_out": None}
    if world.brings:
        rng = np.random.default_rng(world.seed + 7919 * cycle)
        trained = np.full(world.streams, ask)
        span = range(max(cycle - world.brings, 1), cycle)
        draws = [rng.normal(0.0, world.noise, world.streams) for _ in span]
        losses = [
            np.exp(world.logs(at, trained, draw))[who] for at, draw in zip(span, draws, strict=True)
        ]
        ds = [int((START + timedelta(days=at - 1)).timestamp()) * 10**6 for at in span]
        payload["held_out"] = {
            "ids": names,
            "code": np.tile(np.arange(len(who)), len(ds)).tolist(),
            "ds": np.repeat(ds, len(who)).tolist(),
            "loss": np.concatenate(losses).tolist(),
        }
    return Action("deployed", payload, START + timedelta(days=cycle), "trainer")


def _inputs(rows, loss, cycle, watch):
    start = np.array([np.datetime64("2024-01-01", "us") + DAY * (cycle - 1)])
    calendar = calendar_class(start, DAY, watch.monitor.calendar)
    n = len(rows)
    return Inputs(
        rows=rows,
        n=np.full(n, 6),
        loss=loss,
        benchmark=np.full(n, np.nan),
        forecasts=np.full(n, 6),
        calendar=np.repeat(calendar, n),
    )


def _info(cycle):
    at = START + timedelta(days=cycle)
    return CycleInfo(cycle, 0, FIRST + cycle - 1, at, 0, "complete")


def _snapshot(cycle, memory):
    columns = columns_of(memory.state, memory.fleet)
    columns["live.expected"] = np.ones(len(memory.row), dtype=np.bool_)
    return Snapshot(cycle, {"fleet": head_of(memory.fleet)}, columns)


def finished(generator):
    """The result of a lab run, and the shares that it told."""
    told = []
    while True:
        try:
            told.append(next(generator))
        except StopIteration as end:
            return end.value, told
