"""Processes of servers under test: `mlma serve` as users start it, or forked off a warm process.

Takes a settings file and a log, gives a process. The forked one runs what the command runs, in a
process of its own; everything was imported before, so that it answers in a tenth of the time.
"""

import atexit
import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

BENCHMARKS = Path(__file__).resolve().parents[1]
STARTS = ("fork", "command")

_WARM = [
    *("faults.processes", "faults.fits", "mlma.cli.listening", "mlma.service.bootstrap"),
    *("mlma.web.app", "mlma.agent.live", "mlma.adapters.store.opening", "mlma.service.logs"),
    *("mlma.adapters.notify.events", "mlma.adapters.frames.losses", "mlma.adapters.bodies"),
    *("mlma.adapters.executors.registry", "mlma.adapters.executors.processes", "httpx", "joblib"),
    *("mlma.adapters.executors.local", "mlma.adapters.sources.registry", "psycopg"),
]
_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(_WARM)


class Process(Protocol):
    """A process that can be asked and killed."""

    @property
    def pid(self) -> int | None:
        """Its number."""
        ...

    def poll(self) -> int | None:
        """Return its exit code; None = it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises ``subprocess.TimeoutExpired``."""
        ...

    def terminate(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


def started(how: str, config: Path, log: Path, environ: Mapping[str, str]) -> Process:
    """Start a server in the folder of its settings file."""
    if how == "fork":
        return _Forked(config, log, environ)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLMA_")}
    path = os.pathsep.join([str(BENCHMARKS), os.environ.get("PYTHONPATH", "")])
    with log.open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "mlma", "serve", "--config", str(config)],
            cwd=config.parent,
            env={**kept, "PYTHONPATH": path, **environ},
            stdout=said,
            stderr=said,
        )


class _Forked:
    """A process that was forked off."""

    def __init__(self, config: Path, log: Path, environ: Mapping[str, str]) -> None:
        self._process = _FORKING.Process(target=_serve, args=(config, log, dict(environ)))
        self._process.start()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("the forked server", timeout or 0.0)
        return code

    def terminate(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()


def _serve(config: Path, log: Path, environ: dict[str, str]) -> None:
    """Do what `mlma serve` does."""
    said = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.chdir(config.parent)
    os.environ.update(environ)
    faulthandler.register(signal.SIGUSR1)  # tells the harness where a server hangs

    from mlma.cli.listening import run
    from mlma.service.logs import logs
    from mlma.service.settings import read_settings

    settings = read_settings(config, {})
    with logs(settings.server.log, settings.server.level):
        run(settings)
    atexit._run_exitfuncs()  # a forked process leaves them out, and would wait for its workers
