"""The ledger of one call of ``map``: which tasks wait, are out, are answered.

Takes what came of each batch, gives the next batch to hand out and the answers in the order of
the tasks. It knows nothing of processes. Next are the executors that keep one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from heapq import heappop, heappush
from math import ceil
from typing import Any, Generic, TypeVar

from mlma.domain.errors import ExecutorError, TimeLimitError

T = TypeVar("T")

_GROWTH = 8  # a batch is at most so many times as large as the one that was measured
_LEAST_BACKLOG = 256  # tasks
_BACKLOG_BATCHES = 8  # per worker
_CHANCES = 2  # a task whose worker died so often is lost


class Lost(Enum):
    """What stands in place of an answer that will not come."""

    OVERTIME = "the task took longer than it may"
    DIED = "its worker died as often as it was tried"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a batch: the answers of its first tasks, or `Lost` in place of one.

    ``raised`` is the error of the task after the last answer. Without one, the batch is done, or
    was cut short because its time was up. ``seconds`` is what the tasks took.
    """

    answers: list[Any]
    seconds: float
    raised: BaseException | None = None

    @property
    def reached(self) -> int:
        """How many tasks of the batch something came of."""
        return len(self.answers) + (self.raised is not None)


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException
    by_itself: bool  # the function raised; otherwise the task is lost


@dataclass(slots=True)
class Ledger(Generic[T]):
    """Hands out batches of task numbers, takes outcomes, releases answers in order.

    Batches are as large as ``batch_seconds`` allows, by the latest measurement; they get smaller
    towards the end, so that workers finish together. At most some hundred answers wait for an
    earlier one.

    >>> ledger = Ledger(3, workers=1, batch_seconds=0.1)
    >>> ledger.batch()
    [0]
    >>> ledger.take([0], Outcome(["a"], seconds=0.01))
    >>> list(ledger.ready()), ledger.batch()
    (['a'], [1])
    """

    n_tasks: int
    workers: int
    batch_seconds: float
    lost: Callable[[Exception], T] | None = None
    label: str = ""
    time_limit: float | None = None
    released: int = 0
    _fresh: int = 0
    _again: list[int] = field(default_factory=list)
    _deaths: dict[int, int] = field(default_factory=dict)
    _came: dict[int, T | _Failed] = field(default_factory=dict)
    _stop: int = -1  # tasks from here on are not needed: an earlier one raised
    _size: int = 1

    def __post_init__(self) -> None:
        self._stop = self.n_tasks

    @property
    def finished(self) -> bool:
        """Whether every answer was released."""
        return self.released >= self.n_tasks

    def batch(self) -> list[int]:
        """Return the numbers of the tasks to hand out next; empty = nothing now."""
        while self._again and self._again[0] >= self._stop:
            heappop(self._again)
        if self._again:
            return self._old_batch()
        backlog = max(_LEAST_BACKLOG, _BACKLOG_BATCHES * self.workers * self._size)
        room = min(self._stop, self.released + backlog) - self._fresh
        if room <= 0:
            return []
        share = ceil((self._stop - self._fresh) / (2 * self.workers))
        first, self._fresh = self._fresh, self._fresh + min(self._size, share, room)
        return list(range(first, self._fresh))

    def _old_batch(self) -> list[int]:
        """Return tasks that are tried anew: alone if a worker died over them."""
        numbers = [heappop(self._again)]
        if numbers[0] in self._deaths:
            return numbers
        while (
            self._again
            and len(numbers) < self._size
            and self._again[0] not in self._deaths
            and self._again[0] < self._stop
        ):
            numbers.append(heappop(self._again))
        return numbers

    def take(self, numbers: list[int], outcome: Outcome) -> None:
        """Write down what came of a batch; tasks that it did not reach wait again."""
        done = len(outcome.answers)
        for number, answer in zip(numbers, outcome.answers, strict=False):
            if isinstance(answer, Lost):
                self.lose(number, answer)
            else:
                self._came[number] = answer
        if outcome.raised is not None:
            self._fail(numbers[done], outcome.raised, by_itself=True)
        self.back(numbers[outcome.reached :])
        if done:
            fitting = int(self.batch_seconds * done / max(outcome.seconds, 1e-9))
            self._size = max(1, min(fitting, _GROWTH * max(done, self._size)))

    def back(self, numbers: list[int]) -> None:
        """Let tasks wait again that nothing came of, through no fault of theirs."""
        for number in numbers:
            heappush(self._again, number)

    def died(self, numbers: list[int], suspects: list[int], how: str) -> None:
        """Write down that the worker of a batch died; ``suspects`` are those it may have run."""
        for number in suspects:
            self._deaths[number] = self._deaths.get(number, 0) + 1
        lost = [number for number in suspects if self._deaths[number] >= _CHANCES]
        for number in lost:
            self.lose(number, Lost.DIED, how)
        self.back([number for number in numbers if number not in lost])

    def lose(self, number: int, why: Lost, how: str = "in a process of its own") -> None:
        """Write down that there will be no answer of a task."""
        if why is Lost.OVERTIME:
            message = (
                f"{self._name(number)} was stopped: it may take {self.time_limit:g} seconds and "
                f"took longer. Hint: raise `time_limit`, or give it less to do."
            )
            self._fail(number, TimeLimitError(message))
            return
        message = (
            f"{self._name(number)} was lost: its worker died {_CHANCES} times ({how}). "
            f"Expected an answer. Hint: it may need more memory than there is, or crash; "
            f"run it alone."
        )
        self._fail(number, ExecutorError(message))

    def _name(self, number: int) -> str:
        what = f"Task {number + 1} of {self.n_tasks}"
        return f"{what} of `{self.label}`" if self.label else what

    def _fail(self, number: int, error: BaseException, by_itself: bool = False) -> None:
        self._came[number] = _Failed(error, by_itself)
        if by_itself or self.lost is None:
            self._stop = min(self._stop, number + 1)

    def ready(self) -> Iterator[T]:
        """Yield the answers whose turn it is, or raise the error whose turn it is."""
        while self.released in self._came:
            came = self._came.pop(self.released)
            self.released += 1
            yield self._answer(came) if isinstance(came, _Failed) else came

    def _answer(self, failed: _Failed) -> T:
        if self.lost is None or failed.by_itself or not isinstance(failed.error, Exception):
            raise failed.error
        return self.lost(failed.error)
