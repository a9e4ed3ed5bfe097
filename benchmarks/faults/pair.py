"""Two servers on one store: both take rows, one leads; it is killed again and again.

Takes a kind of store, gives what the survivor makes of it: the ledger of a calm run.
"""

import time
from collections import Counter
from pathlib import Path

from faults.databases import Databases
from faults.histories import Day, Size
from faults.played import calm_account, judged, played
from faults.player import GaveUpError, Player
from faults.servers import KEPT, Server
from faults.tables import Finding

SIZE = Size(days=14, streams=16, breaks=((7, 3), (9, 3)))
WAIT_SECONDS = 40.0


def scenario(
    databases: Databases, folder: Path, seed: int, *, size: Size = SIZE, kill_every: int = 2
) -> list[Finding]:
    """Return what two servers on one store do when the leader dies."""
    calm = calm_account(seed, databases, folder / "calm", size=size, setup=KEPT)
    kills, taken_over = Counter[str](), []

    def play(player: Player, days: list[Day], server: Server) -> None:
        player.insist("GET", "/health")
        second = Server(server.folder, server.url, server.told, server.setup, name="second")
        second.start()
        _wait(player, second)
        player.servers.append(second)
        try:
            for day, sent in enumerate(days):
                player.play([sent], since=day)
                if day % kill_every == kill_every - 1:
                    leader, other = _leading(player)
                    kills[leader.name] += 1
                    leader.end()
                    taken_over.append(_seconds_until_it_leads(player, other))
                    leader.start()
                    _wait(player, leader)
        finally:
            server.died += second.died
            player.servers.remove(second)
            code = second.stop()
            if code:
                server.died += 1

    made = played(seed, databases.new(), folder / "pair", size=size, play=play)
    found = judged(made, calm)
    longest = max(taken_over, default=float("nan"))
    told = (
        f"leader killed {kills.total()} times; the other one led after {longest:.1f} s at most; "
        f"{found.acknowledged} rows acknowledged, {found.lost} lost, {found.twice} twice, "
        f"ledger {'equal' if found.equal else 'NOT equal'}"
    )
    return [Finding("two servers", databases.kind, found.holds, "; ".join([told, *found.problems]))]


def _wait(player: Player, server: Server) -> None:
    player.insist("GET", "/health", server=server)


def _leading(player: Player) -> tuple[Server, Server]:
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        for at, server in enumerate(player.servers):
            if player.insist("POST", "/api/v1/cycle", server=server)["leads"]:
                return server, player.servers[1 - at]
        time.sleep(0.1)
    raise GaveUpError("nobody leads")


def _seconds_until_it_leads(player: Player, server: Server) -> float:
    """Return after how many seconds the survivor leads."""
    began = time.monotonic()
    while time.monotonic() - began < WAIT_SECONDS:
        if player.insist("POST", "/api/v1/cycle", server=server)["leads"]:
            return time.monotonic() - began
        time.sleep(0.05)
    raise GaveUpError(f"{server.name} does not lead {WAIT_SECONDS:g} s after the leader died")
