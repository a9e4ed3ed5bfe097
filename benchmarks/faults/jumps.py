"""Clocks that jump: the time by which batches are over, and the time by which a lease runs out.

Takes live agents in this process on a real store, and clocks that a seed moves forward and back;
gives what the ledger looks like beside that of a clock that walks.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from threading import Event, Lock, Thread
from typing import Any

from faults.tables import Finding
from live_agents import SetClock, fleet, ledger, live_settings, on_day, push
from mlma.adapters.sources.clocks import SimulatedClock, WallClock
from mlma.adapters.store import open_store
from mlma.agent.live import LiveAgent
from mlma.agent.verification import verified
from mlma.domain.errors import ConflictError, DataError, StoreError
from mlma.ports import Store

DAYS = 16
_WRITING = Lock()
HURRY = 300.0
"""Leases run out so many times faster than they would."""
START = datetime(2024, 1, 1, tzinfo=UTC)
SETTINGS = {"complete_share": 1.0, "timeout": timedelta(hours=6)}


def scenario(folder: Path, seed: int) -> list[Finding]:
    """Return what jumps of clocks do."""
    folder.mkdir(parents=True, exist_ok=True)
    calm = _calm(folder, seed)
    return [
        _wall_clock_jumps(folder, seed, calm),
        _simulated_clock_does_not_go_back(folder),
        _lease_clocks_jump(folder, seed, calm),
    ]


def _calm(folder: Path, seed: int) -> dict[Any, bytes]:
    frame, clock = fleet(DAYS, seed=seed, breaks_at=8), SetClock()
    store = open_store(f"sqlite:///{folder}/walked.db")
    agent = LiveAgent(live_settings(**SETTINGS), store, clock)
    for day in range(DAYS):
        push(store, on_day(frame, day))
        clock.day(day + 1, hours=1)
        agent.tick()
    made = ledger(store)
    store.close()
    return made


@dataclass
class Jumping:
    """A clock of a machine that is set forward and back."""

    chance: Random
    at: datetime = START
    passed: float = 0.0

    def wall(self) -> datetime:
        """Return what the machine shows."""
        return self.at

    def steady(self) -> float:
        """Return the seconds that really passed."""
        return self.passed

    def walk(self, to: datetime) -> None:
        """Have time pass until a moment, whatever the machine shows."""
        seconds = max((to - START).total_seconds() - self.passed, 0.0)
        self.passed += seconds
        self.at += timedelta(seconds=seconds)

    def jump(self) -> None:
        """Jump by up to two days."""
        self.at += timedelta(hours=self.chance.uniform(-48, 48))

    def right(self) -> None:
        """Show the right time again."""
        self.at = START + timedelta(seconds=self.passed)


def _wall_clock_jumps(folder: Path, seed: int, calm: dict[Any, bytes]) -> Finding:
    machine = Jumping(Random(seed))
    clock = WallClock(wall=machine.wall, steady=machine.steady)
    store = open_store(f"sqlite:///{folder}/jumped.db")
    agent = LiveAgent(live_settings(**SETTINGS), store, clock, wall=machine.wall)
    frame, told, back = fleet(DAYS, seed=seed, breaks_at=8), [], 0
    for day in range(DAYS):
        for part in _parts(on_day(frame, day), machine.chance):
            machine.jump()
            push(store, part)
            told.append(clock.now())
            agent.tick()
        machine.walk(START + timedelta(days=day + 1, hours=1))
        if machine.chance.random() < 0.5:
            machine.right()
        told.append(clock.now())
        agent.tick()
    machine.walk(START + timedelta(days=DAYS + 3))
    machine.right()
    agent.tick()
    machine.walk(START + timedelta(days=DAYS + 4))  # late rows are collected for a while
    agent.tick()
    back = sum(later < earlier for earlier, later in pairwise(told))
    holds, words = _standing(store, calm)
    store.close()
    words = f"{clock.jumped} jumps of up to two days; the clock went back {back} times; {words}"
    return Finding("wall clock jumps", "sqlite", holds and not back, words)


def _parts(frame: Any, chance: Random) -> list[Any]:
    cut = chance.randrange(1, len(frame))
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=chance.randrange(10**6))
    return [mixed[:cut], mixed[cut:]]


def _simulated_clock_does_not_go_back(folder: Path) -> Finding:
    store = open_store(f"sqlite:///{folder}/simulated.db")
    clock = SimulatedClock(store)
    clock.advance(START)
    try:
        clock.advance(START - timedelta(seconds=1))
        refused = ""
    except DataError as error:
        refused = str(error)
    holds = "cannot go back" in refused and SimulatedClock(store).now() == START
    store.close()
    return Finding("simulated clock set back", "sqlite", holds, refused or "it was not refused")


@dataclass
class Watched:
    """An agent that looks again and again, with a clock of its own that jumps.

    commits
        the tokens of the leases under which it committed, in order.
    """

    agent: LiveAgent
    chance: Random
    commits: list[int]
    ended: Event
    errors: Counter[str] = field(default_factory=Counter)
    ticks: int = 0

    def run(self) -> None:
        """Look until told to end."""
        while not self.ended.is_set():
            try:
                self.agent.tick()
            except StoreError as error:
                self.errors[type(error).__name__] += 1
            self.ticks += 1
            time.sleep(self.chance.random() * 0.01)


def _lease_clocks_jump(folder: Path, seed: int, calm: dict[Any, bytes]) -> Finding:
    frame, clock = fleet(DAYS, seed=seed, breaks_at=8), SetClock()
    url, ended = f"sqlite:///{folder}/leases.db", Event()
    commits: list[int] = []
    first = open_store(url)
    stores = {name: open_store(url) for name in ("one", "two")}
    watched = [
        _watched(store, name, Random(f"{seed} {name}"), clock, commits=commits, ended=ended)
        for name, store in stores.items()
    ]
    threads = [Thread(target=one.run, daemon=True) for one in watched]
    for thread in threads:
        thread.start()
    try:
        for day in range(DAYS):
            push(first, on_day(frame, day))
            clock.day(day + 1, hours=1)
            until = time.monotonic() + 30
            while len(first.cycles()) <= day and time.monotonic() < until:
                time.sleep(0.01)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    holds, words = _standing(first, calm)
    first.close()
    for store in stores.values():
        store.close()
    in_order = commits == sorted(commits)
    errors = sum((one.errors for one in watched), Counter[str]())
    conflicts = errors.pop(ConflictError.__name__, 0)
    words = (
        f"two agents, {sum(one.ticks for one in watched)} looks, {len(set(commits))} leases under "
        f"which {len(commits)} commits were made, {'each after the one before' if in_order else ''}"
        f"{'' if in_order else 'NOT in their order'}; {conflicts} commits refused as their lease "
        f"was lost; {words}{'; ' + str(dict(errors)) if errors else ''}"
    )
    return Finding("lease clocks jump", "sqlite", holds and in_order and not errors, words)


def _watched(
    store: Store, name: str, chance: Random, clock: SetClock, *, commits: list[int], ended: Event
) -> Watched:
    write = store.commit

    def commit(made: Any, lease: Any = None, **settings: Any) -> None:
        time.sleep(chance.random() * 0.05)  # so that leases are lost in between
        with _WRITING:
            write(made, lease, **settings)
            commits.append(lease.token)

    store.commit = commit  # type: ignore[method-assign]  # the harness looks on

    began = time.monotonic()

    def wall() -> datetime:
        passed = HURRY * (time.monotonic() - began)
        return START + timedelta(seconds=passed + chance.uniform(-60, 60))

    agent = LiveAgent(
        live_settings(**SETTINGS),
        store,
        clock,
        holder=name,
        lease=timedelta(seconds=20),
        wall=wall,
    )
    return Watched(agent, chance, commits, ended)


def _standing(store: Store, calm: dict[Any, bytes]) -> tuple[bool, str]:
    """Return whether a ledger is that of a calm run and proves itself, and words."""
    made = ledger(store)
    heads = store.cycles(revisions=True)
    periods = Counter(info.period for info in store.cycles())
    twice = sum(count - 1 for count in periods.values())
    proven = all(one.holds for one in verified(store, live_settings(**SETTINGS)))
    equal = made == calm
    words = (
        f"{len(periods)} cycles, {len(heads) - len(periods)} revisions, {twice} twice, ledger "
        f"{'equal' if equal else 'NOT equal'}, {'proven' if proven else 'NOT proven'}"
    )
    return equal and proven and not twice, words
