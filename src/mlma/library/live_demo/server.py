"""The server of a demo: ``mlma serve`` as a process of its own, which is ended in any case.

Takes a folder with an ``mlma.toml``, gives the address on which it answers.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

from mlma.domain.errors import MlmaError

_READY = "mlma serves at "
_START_SECONDS, _STOP_SECONDS, _LOOK_SECONDS = 60.0, 30.0, 0.05
_TOLD_LINES = 8
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class ServerError(MlmaError):
    """The server of a demo does not start, or ended by itself."""


class Server:
    """A running ``mlma serve``; ``log`` is the file of its lines, ``address`` where it answers."""

    def __init__(self, folder: Path, store: str | None = None) -> None:
        self.log, self.address = folder / "server.log", ""
        # What the environment sets would go before the file.
        kept = {name: value for name, value in os.environ.items() if not _of_mlma(name)}
        told = {} if store is None else {"MLMA_STORE__URL": store}
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlma", "serve", "--config", "mlma.toml"],
                cwd=folder,
                env={**kept, **_ONE_THREAD, **told},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which ends it in order
            )

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def check(self) -> None:
        """Raise where it no longer runs.

        Raises
        ------
        ServerError
            It ended by itself; the end of its log is told.
        """
        code = self._process.poll()
        if code is not None:
            lines = self.log.read_text(errors="replace").splitlines()[-_TOLD_LINES:]
            raise ServerError(
                f"The server of the demo ended with exit code {code}. The end of its log:\n"
                + "\n".join(lines)
            )

    def wait_until_ready(self) -> None:
        """Wait until it answers.

        Raises
        ------
        ServerError
            It ended, or takes too long.
        """
        until = monotonic() + _START_SECONDS
        while monotonic() < until:
            self.check()
            for line in self.log.read_text(errors="replace").splitlines():
                if line.startswith(_READY):
                    self.address = line.removeprefix(_READY).strip()
                    return
            sleep(_LOOK_SECONDS)
        raise ServerError(
            f"The server of the demo was not ready after {_START_SECONDS:g} seconds. "
            f"Hint: see {self.log}."
        )

    def stop(self) -> None:
        """End it in order; where that takes too long, end it and all that it started at once."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        with suppress(ProcessLookupError, PermissionError):  # workers that outlived it
            os.killpg(self._process.pid, signal.SIGKILL)


@contextmanager
def serving(folder: Path, store: str | None = None) -> Iterator[Server]:
    """Serve from a folder until left; however it is left, the process is gone afterwards."""
    server = Server(folder, store)
    try:
        server.wait_until_ready()
        yield server
    finally:
        with _unmoved():
            server.stop()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the demo as Ctrl-C does, in order."""
    kinds = [kind for kind in (signal.SIGTERM, getattr(signal, "SIGHUP", None)) if kind]
    before = {kind: signal.signal(kind, _interrupt) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _unmoved() -> Iterator[None]:
    """Let no second Ctrl-C come between a server and its end."""
    kinds = [signal.SIGINT, signal.SIGTERM]
    try:
        before = {kind: signal.signal(kind, signal.SIG_IGN) for kind in kinds}
    except ValueError:  # not the main thread, which alone is interrupted
        before = {}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _of_mlma(name: str) -> bool:
    return name.upper().startswith("MLMA_")
