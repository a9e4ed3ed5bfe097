"""Kills: histories are played until a number of kills is reached.

Takes a kind of store and a seed, gives what became of each history. Every history is played twice:
calmly, and with kills.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faults.checks import Account
from faults.databases import Databases
from faults.histories import FULL, Size
from faults.played import Played, calm_account, judged, played
from faults.servers import Setup

MOST_PER_HISTORY = 60
SETUPS = (Setup(), Setup(rows="10d"), Setup(executor="local"))
"""Setups take turns: everything is kept; rows go after ten days; fits in processes of their own."""


@dataclass
class Totals:
    """Sums over histories."""

    histories: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    resent: int = 0
    lost: int = 0
    twice: int = 0
    missing: int = 0
    unequal: int = 0
    duplicates: int = 0
    events: int = 0
    requests: int = 0
    cycles: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def add(self, made: Played) -> None:
        """Add a history."""
        found = made.verdict
        self.histories += 1
        self.kills += made.kills
        self.acknowledged += found.acknowledged
        self.resent += made.player.resent
        self.lost += found.lost
        self.twice += found.twice
        self.missing += found.missing
        self.unequal += not found.equal
        self.duplicates += made.receiver.duplicates
        self.events += len(made.receiver.bodies)
        self.seconds += made.seconds
        if made.account is not None:
            self.requests += len(made.account.asked)
            self.cycles += len(made.account.cycles)
        self.problems += [f"history {made.seed}: {problem}" for problem in found.problems]

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return {**vars(self), "kills": dict(self.kills), "killed": self.kills.total()}


def killed(
    databases: Databases,
    folder: Path,
    *,
    kills: int,
    seed: int,
    size: Size = FULL,
    minutes: float = 60.0,
    only: int | None = None,
    start: str = "fork",
) -> Iterator[Played]:
    """Yield histories that were played with kills, until there were enough or the time is over.

    ``only`` plays the history of one seed alone.
    """
    until = time.monotonic() + 60 * minutes
    left, number = kills, 0
    while left > 0 and time.monotonic() < until:
        history = seed * 1000 + number if only is None else only
        setup = replace(SETUPS[history % len(SETUPS)], start=start)
        place = folder / f"{databases.kind}-{history}"
        calm = _calm(history, databases, place, size, setup)
        made = played(
            history,
            databases.new(),
            place / "killed",
            kills=min(left, MOST_PER_HISTORY),
            size=size,
            setup=setup,
        )
        made.verdict = judged(made, calm)
        yield made
        left, number = left - made.kills.total(), number + 1
        if only is not None:
            return


def _calm(seed: int, databases: Databases, folder: Path, size: Size, setup: Setup) -> Account:
    return calm_account(seed, databases, folder / "calm", size=size, setup=setup)
