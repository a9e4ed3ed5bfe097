"""The soft time limit, and the batch that a worker runs under it.

Takes a function and some tasks, gives an `Outcome`. The limit is an alarm signal, which Python
handles between two of its own instructions in the main thread: a loop in Python is stopped, a call
that stays in compiled code is not. For those a parent process is needed.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import current_thread, main_thread
from time import monotonic, perf_counter
from types import FrameType
from typing import Any

from mlma.adapters.executors.ledger import Lost, Outcome


class _OvertimeAlarm(BaseException):
    """Raised by the alarm; no ``except Exception`` of a task may keep it."""


@dataclass(slots=True)
class _Alarm:
    """The alarm of one process: set for a task, it rings once, then again ten times a limit."""

    limit: float
    on: bool = False
    rang: bool = False

    def ring(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        if self.on:
            self.rang = True
            raise _OvertimeAlarm

    def answer(self, function: Callable[..., Any], task: tuple[Any, ...]) -> Any:
        """Return the answer, or that it took too long, whatever the function made of the alarm."""
        self.rang = False
        try:
            answer = self._call(function, task)
        except BaseException:
            if not self.rang:
                raise
            self.stop()  # it may have rung while it was being stopped
        return Lost.OVERTIME if self.rang else answer

    def _call(self, function: Callable[..., Any], task: tuple[Any, ...]) -> Any:
        self.on = True
        try:
            signal.setitimer(signal.ITIMER_REAL, self.limit, max(self.limit / 10, 0.01))
            return function(*task)
        finally:
            self.stop()

    def stop(self) -> None:
        """Let it ring no more."""
        self.on = False
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def _alarm(limit: float | None) -> Iterator[_Alarm | None]:
    """Give the alarm, or None where there is no limit or signals cannot be handled."""
    if limit is None or not can_ring():
        yield None
        return
    alarm = _Alarm(limit)
    before = signal.signal(signal.SIGALRM, alarm.ring)
    delay, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    begun = monotonic()
    try:
        yield alarm
    finally:
        signal.signal(signal.SIGALRM, before)
        if delay:  # the caller had set an alarm of its own
            signal.setitimer(signal.ITIMER_REAL, max(delay - (monotonic() - begun), 1e-3), interval)


def can_ring() -> bool:
    """Return whether an alarm can stop a task here: in a main thread, where alarms exist."""
    return hasattr(signal, "setitimer") and current_thread() is main_thread()


def run_batch(
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    limit: float | None,
    budget: float,
    begin: Callable[[int], None] | None = None,
) -> Outcome:
    """Return what came of the tasks: all answers, or those before an error or the end of time.

    ``limit`` is in seconds per task; no task begins after ``budget`` seconds, but one always does.
    ``begin`` is told the place of each task before it runs.
    """
    answers: list[Any] = []
    start = perf_counter()
    with _alarm(limit) as alarm:
        for place, task in enumerate(tasks):
            if place and perf_counter() - start > budget:
                break
            if begin:
                begin(place)
            try:
                answers.append(alarm.answer(function, task) if alarm else function(*task))
            except KeyboardInterrupt:
                raise  # of the user, not of the task
            except BaseException as error:
                return Outcome(answers, perf_counter() - start, raised=error)
    return Outcome(answers, perf_counter() - start)
