"""A database that goes away and comes back, in the middle of pushes and cycles.

Takes PostgreSQL, stops it in order and as if it had crashed, starts it again. The server goes on by
itself; the ledger is that of a calm run.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Event, Thread

import httpx

from faults.databases import Databases, Postgres
from faults.histories import Day, Size
from faults.played import calm_account, judged, played
from faults.player import Player
from faults.servers import KEPT, Server
from faults.tables import Finding

SIZE = Size(days=14, streams=16, breaks=((7, 3), (9, 3)))
OUTAGES = 12


@dataclass
class Outages:
    """Stops the database now and then, and asks the server meanwhile how it is."""

    postgres: Postgres
    base: str
    seed: int
    most: int = OUTAGES
    count: int = 0
    health: Counter[int] = field(default_factory=Counter)
    ready: Counter[int] = field(default_factory=Counter)
    reasons: set[str] = field(default_factory=set)
    _ended: Event = field(default_factory=Event)

    def run(self) -> None:
        """Stop and start until told to end."""
        chance = Random(self.seed)
        while self.count < self.most and not self._ended.wait(0.2 + 0.8 * chance.random()):
            self.postgres.stop(chance.choice(["fast", "immediate"]))
            try:
                self._ask()
                time.sleep(chance.random())
            finally:
                self.postgres.start()
            self.count += 1

    def end(self) -> None:
        """Stop it no more."""
        self._ended.set()

    def _ask(self) -> None:
        with httpx.Client(base_url=self.base, timeout=15) as client:
            self.health[client.get("/health").status_code] += 1
            answer = client.get("/ready")
            self.ready[answer.status_code] += 1
            self.reasons.update(answer.json()["reasons"])


def scenario(databases: Databases, folder: Path, seed: int) -> list[Finding]:
    """Return what a server does whose database goes away."""
    if databases.postgres is None:
        return []
    calm = calm_account(seed, databases, folder / "calm", size=SIZE, setup=KEPT)
    outages: list[Outages] = []

    def play(player: Player, days: list[Day], server: Server) -> None:
        player.insist("GET", "/health")
        made = Outages(databases.postgres, server.base, seed)  # type: ignore[arg-type]  # not None
        outages.append(made)
        thread = Thread(target=made.run, daemon=True)
        thread.start()
        try:
            player.play(days)
        finally:
            made.end()
            thread.join()

    made = played(seed, databases.new(), folder / "away", size=SIZE, play=play)
    found, (was,) = judged(made, calm), outages
    clear = any("cannot be reached" in said for said in made.player.refused)
    why = any("does not answer" in reason for reason in was.reasons)
    holds = found.holds and set(was.health) == {200} and set(was.ready) == {503} and why
    told = (
        f"{was.count} outages; {sum(made.player.refused.values())} pushes and questions got 503"
        f"{'' if clear or not made.player.refused else ' (unclear)'}; /health {dict(was.health)}, "
        f"/ready {dict(was.ready)}; {found.acknowledged} rows acknowledged, {found.lost} lost, "
        f"ledger {'equal' if found.equal else 'NOT equal'}"
    )
    return [Finding("database away", databases.kind, holds, "; ".join([told, *found.problems]))]
