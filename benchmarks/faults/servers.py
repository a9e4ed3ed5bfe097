"""A server under test: `mlma serve` in a process of its own, on the loopback.

Takes a folder and the address of a store, gives a process that is started, killed and started again
on the same port. What it says goes into a file of the folder.
"""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

import psutil

from faults.processes import Process, started
from mlma.service.settings import Settings, read_settings

POLICY = (
    "mlma(level=0.05, pool=1, min_reference_batches=5, max_age=12, cooldown=3, review_age=None)"
)
LEASE_SECONDS = 2
STOP_SECONDS = 60
ORPHAN_SECONDS = 20


@dataclass(frozen=True)
class Setup:
    """What differs between the servers of the harness.

    rows
        how long pushed rows are kept; the long one keeps all of them for the check.
    start
        see `faults.processes`.
    """

    rows: str = "400d"
    executor: str = "threads"
    start: str = "fork"


KEPT = Setup()


def settings_text(url: str, port: int, hook: str, setup: Setup) -> str:
    """Return mlma.toml of a server under test."""
    return f"""
[agent]
policy = "{POLICY}"
slot = "4h"
[batches]
complete_share = 1.0
timeout = "1h"
reopen = "7d"
[store]
url = "{url}"
[retention]
rows = "{setup.rows}"
[clock]
kind = "simulated"
[server]
port = {port}
requests_per_minute = 0
level = "warning"
[scheduler]
every = "1s"
lease = "{LEASE_SECONDS}s"
[retraining]
function = "faults.fits:retrained"
executor = "{setup.executor}"
time_limit = "1m"
[[webhooks]]
name = "desk"
url = "{hook}"
allow_private = true
"""


def free_port() -> int:
    """Return a port of the loopback that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Server:
    """One server: its settings, and the process that runs now.

    incarnation
        counts its processes; a kill that is meant for one does not hit the next.
    died
        how often it ended without being killed.
    """

    folder: Path
    url: str
    told: str
    setup: Setup = field(default_factory=Setup)
    name: str = "server"
    port: int = field(default_factory=free_port)
    incarnation: int = 0
    died: int = 0
    orphans: int = 0
    _process: Process | None = None
    _workers: list[psutil.Process] = field(default_factory=list)
    _lock: RLock = field(default_factory=RLock)

    def __post_init__(self) -> None:
        text = settings_text(self.url, self.port, f"{self.told}/hook", self.setup)
        self.config.write_text(text)

    @property
    def config(self) -> Path:
        """Its mlma.toml."""
        return self.folder / f"{self.name}.toml"

    @property
    def log(self) -> Path:
        """What it said."""
        return self.folder / f"{self.name}.log"

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Settings:
        """Its settings."""
        return read_settings(self.config, {})

    @property
    def runs(self) -> bool:
        """Whether its process runs."""
        process = self._process
        return process is not None and process.poll() is None

    def start(self) -> None:
        """Start the process; it answers a second or two later."""
        with self._lock:
            environ = {"FAULTS_TOLD": f"{self.told}/fit"}
            self._process = started(self.setup.start, self.config, self.log, environ)
            self.incarnation += 1

    def revive(self) -> bool:
        """Start the process again if it ended by itself; return whether it had."""
        with self._lock:
            if self.runs or self._process is None:
                return False
            self.died += 1
            self.start()
            return True

    def kill(self, incarnation: int, *, asked_seconds: float | None = None) -> bool:
        """Kill the process if it is still the one that is meant, and start it again.

        ``asked_seconds``: it was asked to end so many seconds before. Return whether it was hit.
        """
        with self._lock:
            if self.incarnation != incarnation or not self.runs:
                return False
            self.end(asked_seconds=asked_seconds)
            self.start()
            return True

    def end(self, *, asked_seconds: float | None = None) -> None:
        """Kill the process; it is not started again."""
        with self._lock:
            process = self._process
            assert process is not None
            workers = _children(process.pid)
            if asked_seconds is not None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(asked_seconds)
            process.kill()
            process.wait()
            self._process = None
            self._workers += workers

    def stop(self) -> int:
        """Ask the process to end; return its exit code."""
        with self._lock:
            process = self._process
            if process is None:
                return 0
            process.terminate()
            try:
                return process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                if self.setup.start == "fork" and process.pid is not None:
                    os.kill(process.pid, signal.SIGUSR1)  # where it hangs goes into the log
                    time.sleep(2)
                process.kill()
                return process.wait()
            finally:
                self._process = None

    def count_orphans(self) -> None:
        """Count the worker processes of killed servers that are still there after a while."""
        _, left = psutil.wait_procs(self._workers, ORPHAN_SECONDS)
        self.orphans, self._workers = len(left), []
        for one in left:
            one.kill()

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of what it said."""
        return "\n".join(self.log.read_text().splitlines()[-lines:]) if self.log.exists() else ""


def _children(pid: int | None) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
