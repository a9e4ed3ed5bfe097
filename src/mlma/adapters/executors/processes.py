"""One call of ``map`` on worker processes, which are minded while it lasts.

Takes a function, tasks and their ledger, gives the answers in order. All of it happens in the
caller's thread, while an answer is asked for: workers go on meanwhile with the batch they have.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from mlma.adapters.executors.crew import Worker, dismiss, hire
from mlma.adapters.executors.depot import Depot
from mlma.adapters.executors.ledger import Ledger, Lost, Outcome
from mlma.adapters.executors.parcels import Shared, pack, pack_function, unpack
from mlma.adapters.executors.worker import Order
from mlma.domain.errors import ExecutorError

T = TypeVar("T")

_BUDGET_BATCHES = 3  # a batch that takes so many times longer than meant comes back undone
_LOOK_SECONDS = 0.2  # how often workers are looked at under a time limit
_FALSE_STARTS = 5


def apart(
    function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], ledger: Ledger[T]
) -> Iterator[T]:
    """Yield the answers of ``ledger.workers`` processes, in order."""
    run = _Run(function, tasks, ledger, Shared(tasks))
    try:
        while True:
            for answer in ledger.ready():  # noqa: UP028  # `yield from` would close it first
                yield answer
            if ledger.finished:
                return
            run.step()
    finally:
        run.close()


@dataclass(slots=True)
class _Run(Generic[T]):
    function: Callable[..., T]
    tasks: Sequence[tuple[Any, ...]]
    ledger: Ledger[T]
    shared: Shared
    workers: list[Worker] = field(default_factory=list)
    depot: Depot = field(default_factory=Depot)
    _packed: bytes | None = None
    _gone: set[int] = field(default_factory=set)
    _false_starts: int = 0

    def step(self) -> None:
        """Hand out what can be handed out, wait until something happens, see to it."""
        self.workers += hire(self.ledger.workers - len(self.workers))
        for worker in [worker for worker in self.workers if not worker.numbers]:
            self._hand_out(worker)
        busy = [worker for worker in self.workers if worker.numbers]
        if not busy:  # all of them were found dead
            return
        heard = wait(
            [part for worker in busy for part in (worker.pipe, worker.process.sentinel)],
            None if self.ledger.time_limit is None else _LOOK_SECONDS,
        )
        for worker in busy:
            if worker.pipe in heard or worker.process.sentinel in heard:
                self._hear(worker)
            elif self._is_stuck(worker):
                self._stop(worker)

    def _hand_out(self, worker: Worker) -> None:
        numbers = self.ledger.batch()
        if not numbers:
            return
        order = self._order(worker, numbers)
        try:
            worker.give(order)
        except OSError:
            self._bury(worker)

    def _order(self, worker: Worker, numbers: list[int]) -> Order:
        new: dict[int, Any] = {}

        def name(part: object) -> int | str | None:
            if not self.shared.uses(part):
                return self.depot.name(part)
            if id(part) not in worker.knows:
                new[id(part)] = part
            return id(part)

        tasks = pack([self.tasks[number] for number in numbers], name)
        if self._packed is None:
            self._packed = pack_function(self.function, self.depot.name)
        return Order(
            numbers,
            tasks,
            None if worker.briefed else self._packed,
            {key: pack(part, self.depot.name) for key, part in new.items()},
            list(self._gone & worker.knows),
            self.ledger.time_limit,
            _BUDGET_BATCHES * self.ledger.batch_seconds,
        )

    def _hear(self, worker: Worker) -> None:
        try:
            data = worker.pipe.recv_bytes() if worker.pipe.poll() else None
        except (EOFError, OSError):
            data = None
        if data is None:
            self._bury(worker)
            return
        outcome: Outcome = unpack(data)
        numbers, worker.numbers = worker.numbers, []
        self.ledger.take(numbers, outcome)
        self._false_starts = 0
        for number in numbers[: outcome.reached]:
            self._gone.update(self.shared.answered(self.tasks[number]))

    def _bury(self, worker: Worker) -> None:
        """See to the tasks of a worker that died."""
        worker.process.join(timeout=1.0)  # its pipe may end a moment before it does
        suspect = worker.board.latest
        numbers, how = worker.numbers, worker.end()
        self.workers.remove(worker)
        if suspect is not None:
            self.ledger.died(numbers, [suspect], how)
            return
        self.ledger.back(numbers)
        self._false_starts += 1
        if self._false_starts >= _FALSE_STARTS:
            raise ExecutorError(
                f"{_FALSE_STARTS} worker processes in a row died before their first task ({how}). "
                f"Expected processes that start. Hint: n_jobs=1 does without them."
            )

    def _is_stuck(self, worker: Worker) -> bool:
        """Return whether a task is over its limit so long that the alarm did not reach it."""
        limit = self.ledger.time_limit
        return limit is not None and worker.seconds_over(limit) > 1.0 + limit / 10

    def _stop(self, worker: Worker) -> None:
        number = worker.board.running
        if number is None or worker.pipe.poll():  # it came to an end just now
            return
        self.workers.remove(worker)
        worker.end()
        self.ledger.lose(number, Lost.OVERTIME)
        self.ledger.back([other for other in worker.numbers if other != number])

    def close(self) -> None:
        """Keep the workers of a call that came to its end; end those of any other."""
        idle = [worker for worker in self.workers if not worker.numbers]
        kept = idle if self.ledger.finished else []
        dismiss(kept)
        for worker in self.workers:
            if worker not in kept:
                worker.end()
        self.workers = []
        self.depot.close()
