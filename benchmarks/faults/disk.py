"""A disk that is full, and has room again.

Takes a file system in memory with little room, fills it up, has rows pushed and batches judged
meanwhile, makes room. What could not be stored was refused; the ledger is that of a calm run.
"""

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from threading import Lock, Timer

import httpx

from faults.databases import Databases
from faults.histories import Day, Size
from faults.played import calm_account, judged, played
from faults.player import Player
from faults.servers import KEPT, Server
from faults.tables import Finding

SIZE = Size(days=14, streams=16, breaks=((7, 3), (9, 3)))
MEGABYTES = 24
FILLS = 20
SECONDS = 0.8
CHANCES = {"body": 0.3, "clock": 0.3, "cycle": 0.5}


class CannotMountError(Exception):
    """File systems cannot be mounted here."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Lend a file system with little room.

    Raises
    ------
    CannotMountError
        It may not be mounted.
    """
    place = folder / "disk"
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "mlma-faults", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CannotMountError(str(error)) from error
    if done.returncode:
        raise CannotMountError(done.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


class Ballast:
    """Fills a disk up, now and then, but for a few kilobytes that a seed draws."""

    def __init__(self, disk: Path, base: str, seed: int, most: int = FILLS) -> None:
        self._file, self._base, self._chance = disk / "ballast", base, Random(seed)
        self._most, self._lock = most, Lock()
        self._timer: Timer | None = None
        self.fills = 0
        self.health: Counter[int] = Counter()

    def at(self, moment: str) -> None:
        """Fill the disk up as something begins, perhaps; it is made free a little later."""
        with self._lock:
            if self._timer is not None or self.fills >= self._most:
                return
            if self._chance.random() > CHANCES.get(moment, 0.0):
                return
            self._fill(self._chance.choice([0, 0, 4, 16, 64]) * 1024)
            self._timer = Timer(SECONDS * (0.5 + self._chance.random()), self._free)
            self._timer.daemon = True
            self._timer.start()

    def _fill(self, left: int) -> None:
        """Take all room but ``left`` bytes."""
        block = b"\0" * 4096
        with self._file.open("ab", buffering=0) as ballast:
            with suppress(OSError):
                while ballast.write(block) == len(block):
                    pass
            ballast.truncate(max(ballast.tell() - left, 0))
        self.fills += 1

    def _free(self) -> None:
        with httpx.Client(base_url=self._base, timeout=15) as client:
            self.health[client.get("/health").status_code] += 1
        self._file.unlink(missing_ok=True)
        with self._lock:
            self._timer = None

    def end(self) -> None:
        """Make room for good."""
        timer = self._timer
        if timer is not None:
            timer.join()
        self._file.unlink(missing_ok=True)


def scenario(
    databases: Databases, folder: Path, seed: int, *, size: Size = SIZE, fills: int = FILLS
) -> list[Finding]:
    """Return what a server does whose disk is full."""
    if databases.kind != "sqlite":
        return []
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with small_disk(folder) as disk:
            return [_found(disk, databases, folder, seed, size=size, fills=fills)]
    except CannotMountError as error:
        return [Finding("full disk", "sqlite", True, f"skipped: {error}")]


def _found(
    disk: Path, databases: Databases, folder: Path, seed: int, *, size: Size, fills: int
) -> Finding:
    calm = calm_account(seed, databases, folder / "calm", size=size, setup=KEPT)
    ballasts: list[Ballast] = []

    def play(player: Player, days: list[Day], server: Server) -> None:
        player.insist("GET", "/health")
        ballast = Ballast(disk, server.base, seed, fills)
        ballasts.append(ballast)
        player.play(days[:1])
        player.at = ballast.at
        try:
            player.play(days[1:], since=1)
        finally:
            ballast.end()

    made = played(seed, f"sqlite:///{disk}/store.db", folder / "full", size=size, play=play)
    found, (was,) = judged(made, calm), ballasts
    refused = made.player.refused
    unclear = [said for said in refused if "is full" not in said]
    holds = found.holds and bool(refused) and set(was.health) == {200} and not unclear
    told = (
        f"{was.fills} times full; {sum(refused.values())} answers 503, of which "
        f"{sum(refused[said] for said in unclear)} do not say why"
        f"{': ' + str(unclear[:2]) if unclear else ''}; /health {dict(was.health)}; "
        f"{found.acknowledged} rows acknowledged, {found.lost} lost, "
        f"ledger {'equal' if found.equal else 'NOT equal'}"
    )
    return Finding("full disk", "sqlite", holds, "; ".join([told, *found.problems]))
