"""The worker process of the local executor: what it does, and what it leaves on its board.

Takes orders from a pipe, gives outcomes back, one after the other. The board is a few bytes of
memory that parent and worker share: it says which task runs, even after the worker was killed.
"""

import mmap
import os
import pickle
import signal
import struct
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

from mlma.adapters.executors.alarm import run_batch
from mlma.adapters.executors.depot import mapped
from mlma.adapters.executors.ledger import Outcome
from mlma.adapters.executors.parcels import pack_outcome, unpack, unpack_function

IDLE_SECONDS = 300.0
"""A worker that has nothing to do for so long goes away."""

_ORPHAN_SECONDS = 2.0


class Board:
    """Which task a worker prepares or runs: 8 bytes of a file that both processes map."""

    def __init__(self, path: str | None = None) -> None:
        if path is None:
            handle, self.path = tempfile.mkstemp(prefix="mlma-board-")
            os.write(handle, struct.pack("<q", 0))
        else:
            handle, self.path = os.open(path, os.O_RDWR), path
        self._map = mmap.mmap(handle, 8)
        os.close(handle)
        if path is not None:
            self._remove()  # both have mapped it: nothing stays behind, whoever is killed

    def prepare(self, number: int) -> None:
        """Write that the worker unpacks the task."""
        struct.pack_into("<q", self._map, 0, -1 - number)

    def begin(self, number: int) -> None:
        """Write that the worker runs the task."""
        struct.pack_into("<q", self._map, 0, 1 + number)

    def end(self) -> None:
        """Write that the worker runs nothing."""
        struct.pack_into("<q", self._map, 0, 0)

    @property
    def running(self) -> int | None:
        """The task that runs, or None."""
        written: int = struct.unpack_from("<q", self._map, 0)[0]
        return written - 1 if written > 0 else None

    @property
    def latest(self) -> int | None:
        """The task that runs or is prepared, or None."""
        written: int = struct.unpack_from("<q", self._map, 0)[0]
        return abs(written) - 1 if written else None

    def close(self) -> None:
        """Forget the memory."""
        self._map.close()
        self._remove()

    def _remove(self) -> None:
        with suppress(OSError):  # gone already, or, on Windows, still mapped by the other
            os.unlink(self.path)


@dataclass(frozen=True, slots=True)
class Order:
    """A batch for a worker.

    ``function`` comes with the first batch of a call of ``map``, ``shared`` with the first batch
    that needs it; ``drop`` names what no later batch needs. ``tasks`` is packed.
    """

    numbers: list[int]
    tasks: bytes
    function: bytes | None
    shared: dict[int, bytes]
    drop: list[int]
    limit: float | None
    budget: float


@dataclass(slots=True)
class _Desk:
    """What a worker remembers during one call of ``map``."""

    board: Board
    function: Any = None
    shared: dict[int, Any] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)

    def outcome(self, order: Order) -> Outcome:
        try:
            tasks = self._tasks(order)
        except Exception as error:  # what it needs is not installed or not importable here
            return Outcome([], 0.0, raised=error)
        return run_batch(
            self.function,
            tasks,
            order.limit,
            order.budget,
            begin=lambda place: self.board.begin(order.numbers[place]),
        )

    def _tasks(self, order: Order) -> list[tuple[Any, ...]]:
        if order.function is not None:
            self.shared, self.files = {}, {}
            self.function = unpack_function(order.function, self._load)
        for key in order.drop:
            self.shared.pop(key, None)
        for key, data in order.shared.items():
            self.shared[key] = unpack(data, self._load)
        tasks: list[tuple[Any, ...]] = unpack(order.tasks, self._load)
        return tasks

    def _load(self, name: int | str) -> Any:
        if isinstance(name, int):
            return self.shared[name]
        if name not in self.files:
            self.files[name] = mapped(name)
        return self.files[name]


def work(pipe: Connection, board_path: str) -> None:
    """Carry out orders until the parent closes the pipe or has none for a long time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    Thread(target=_leave_with_parent, args=(os.getppid(),), daemon=True).start()
    board = Board(board_path)
    desk = _Desk(board)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while pipe.poll(IDLE_SECONDS):
            order: Order = pickle.loads(pipe.recv_bytes())
            board.prepare(order.numbers[0])
            data = pack_outcome(desk.outcome(order))
            board.end()
            pipe.send_bytes(data)


def _leave_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_ORPHAN_SECONDS)
    os._exit(1)
