"""One history played from start to end, calmly or with kills.

Takes a seed and a database, gives what the store holds, what was acknowledged and received.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from faults.checks import Account, Verdict, account, verdict
from faults.databases import Databases
from faults.histories import FULL, Day, Size, history
from faults.killer import PHASES, Killer, Phase
from faults.player import GaveUpError, Player
from faults.receiver import Receiver, receiving
from faults.servers import KEPT, Server, Setup


@dataclass
class Played:
    """What became of a history."""

    seed: int
    account: Account | None
    player: Player
    receiver: Receiver
    server: Server
    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    code: int = 0
    error: str = ""
    verdict: Verdict = field(default_factory=Verdict)


def played(
    seed: int,
    url: str,
    folder: Path,
    *,
    kills: int = 0,
    size: Size = FULL,
    setup: Setup = KEPT,
    phases: dict[str, Phase] | None = None,
    play: Callable[[Player, list[Day], Server], None] | None = None,
) -> Played:
    """Play a history; ``kills`` at most. ``play`` does it in another way than day by day."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with receiving(seed) as receiver:
        server = Server(folder, url, receiver.url, setup)
        killer = Killer(server, seed, kills, dict(phases or PHASES))
        player = Player([server])
        if kills:
            player.at = receiver.told = killer.at
        made = Played(seed, None, player, receiver, server, killer.kills)
        server.start()
        if kills:
            killer.start()
        try:
            days = history(seed, size)
            if play is None:
                player.play(days)
            else:
                play(player, days, server)
            if kills:
                killer.end()
            player.delivered()
            made.code = server.stop()
            server.count_orphans()
            made.account = account(server.settings)
        except GaveUpError as error:
            made.error = f"{error}\n{server.tail()}"
        finally:
            if kills:
                killer.end()
            if server.runs:
                server.end()
            player.close()
    made.seconds = time.perf_counter() - began
    return made


def judged(made: Played, calm: Account) -> Verdict:
    """Return what is wrong after a history, beside a calm one."""
    if made.account is None:
        return Verdict(equal=False, problems=[made.error or "it was not played to its end"])
    live = made.server.settings.live()
    found = verdict(made.account, calm, made.player.acknowledged, made.receiver, live)
    if made.server.died:
        found.problems.append(f"the server ended {made.server.died} times by itself")
    if made.code:
        where = made.server.tail(80)
        found.problems.append(f"it ended with {made.code} when it was asked to end: {where}")
    if made.server.orphans:
        found.problems.append(f"{made.server.orphans} worker processes outlived their server")
    return found


def calm_account(
    seed: int, databases: Databases, folder: Path, *, size: Size, setup: Setup
) -> Account:
    """Return what a run without disturbance leaves.

    Raises
    ------
    GaveUpError
        Even that did not go well.
    """
    made = played(seed, databases.new(), folder, size=size, setup=setup)
    if made.account is None:
        raise GaveUpError(made.error)
    found = judged(made, made.account)
    if not found.holds:
        raise GaveUpError(f"a calm run breaks the promise: {found.problems}")
    return made.account
