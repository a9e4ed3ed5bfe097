"""Worker processes as their parent sees them: hired, given orders, minded, let go.

Takes a number of workers, gives them; keeps those that are done for the next call, because a
process takes a second to start. Next is the local executor.
"""

import atexit
import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from threading import Lock, current_thread, main_thread
from time import monotonic
from typing import Any

from joblib.externals.loky.backend.process import LokyProcess

from mlma.adapters.executors.worker import Board, Order, work

ONE_THREAD = {
    f"{library}_NUM_THREADS": "1"
    for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB", "NUMBA", "NUMEXPR")
}


@dataclass(slots=True, eq=False)
class Worker:
    """One worker process; ``numbers`` are the tasks it has, ``knows`` what it was sent."""

    process: Any
    pipe: Connection
    board: Board
    numbers: list[int] = field(default_factory=list)
    knows: set[int] = field(default_factory=set)
    briefed: bool = False
    _seen: tuple[int | None, float] = (None, 0.0)

    def give(self, order: Order) -> None:
        """Send an order; raises ``OSError`` if the worker is dead."""
        self.numbers, self._seen = order.numbers, (None, 0.0)
        self.briefed = True
        self.knows = (self.knows | order.shared.keys()) - set(order.drop)
        self.pipe.send_bytes(pickle.dumps(order, protocol=5))

    def seconds_over(self, limit: float) -> float:
        """Return by how many seconds the running task is over its limit, as far as was seen."""
        running, now = self.board.running, monotonic()
        if running is None or running != self._seen[0]:
            self._seen = (running, now)
        return now - self._seen[1] - limit if running is not None else -limit

    def end(self) -> str:
        """Kill the process; return how it ended, if it had ended by itself."""
        _kill(self.process)
        self.process.join()
        code = self.process.exitcode
        self.pipe.close()
        self.board.close()
        _living.discard(self)
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _kill(process: Any) -> None:
    if not hasattr(signal, "SIGKILL"):  # Windows, where to terminate is to kill
        process.terminate()
    elif process.is_alive():
        os.kill(process.pid, signal.SIGKILL)


_living: set[Worker] = set()
_idle: list[Worker] = []
_lock = Lock()


def hire(count: int) -> list[Worker]:
    """Return workers: idle ones first, new ones for the rest."""
    with _lock:
        chosen, _idle[:] = _idle[:count], _idle[count:]
    alive = []
    for worker in chosen:
        if worker.process.is_alive():
            alive.append(worker)
        else:
            worker.end()
    with _interrupts_stay_here():
        return alive + [_started() for _ in range(count - len(alive))]


def dismiss(workers: list[Worker]) -> None:
    """Let workers wait for the next call; they have no task left."""
    for worker in workers:
        worker.briefed = False
        worker.knows = set()
    with _lock:
        _idle.extend(workers)


def _started() -> Worker:
    here, there = Pipe()
    board = Board()
    process = LokyProcess(target=work, args=(there, board.path), env=ONE_THREAD)
    process.start()
    there.close()
    worker = Worker(process, here, board)
    _living.add(worker)
    return worker


@contextmanager
def _interrupts_stay_here() -> Iterator[None]:
    """Start workers inside: Ctrl-C, which a terminal sends to all, is then for this process only.

    A process inherits what its parent ignores. The block lasts for some hundredths of a second, in
    which Ctrl-C is lost.
    """
    if current_thread() is not main_thread():  # only there may it be set
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_all() -> None:
    for worker in list(_living):
        with suppress(Exception):  # the others must end too, or the exit waits for them
            worker.end()


def _forget() -> None:
    """In a fork the workers are the parent's."""
    _idle.clear()
    _living.clear()


atexit.register(_end_all)  # after multiprocessing's own, so before it: that one waits for all
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
