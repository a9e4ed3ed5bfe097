"""Calls in this process or in worker processes of this machine.

Takes a function and tasks, gives the answers in the order of the tasks, the same to the bit
whatever the number of workers.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from joblib import cpu_count

from mlma.adapters.executors.alarm import run_batch
from mlma.adapters.executors.ledger import Ledger
from mlma.adapters.executors.processes import apart
from mlma.adapters.executors.threads import one_thread
from mlma.domain.errors import SettingsError

T = TypeVar("T")

_BURST_SECONDS = 0.1  # entering `one_thread` costs a few milliseconds; progress stays fluid
_BURST_TASKS = 1000
_BATCH_SECONDS = 0.1  # an exchange with a worker costs some tenths of a millisecond


class LocalExecutor:
    """Runs independent calls on ``n_jobs`` processes; 1 runs them here, None takes every core.

    Small tasks travel in batches whose size follows the time they take. An argument that several
    tasks share travels once to each worker; arrays of a megabyte or more reach the workers as
    read-only memory maps. Workers stay for the next call and leave after five idle minutes.

    A worker that is killed loses nothing: its tasks are tried anew, once. An error in a task is
    raised here; an error, an interrupt or a generator that is closed early ends the workers.

    Parameters
    ----------
    n_jobs
        number of processes.
    time_limit
        seconds that a task may take; None = no limit. In worker processes nothing escapes it: a
        call that does not heed the alarm is ended with its process, a second or so later. In this
        process (``n_jobs=1``, or a single task) it is an alarm signal, which stops what Python
        executes; it cannot stop a call that stays in compiled code, it holds in the main thread
        only, and not on Windows.

    Raises
    ------
    SettingsError
        ``n_jobs`` is below 1, or ``time_limit`` is not above 0.

    >>> sum(LocalExecutor(n_jobs=1).map(pow, [(2, 3), (3, 2)]))
    17
    """

    def __init__(self, n_jobs: int | None = None, time_limit: float | None = None) -> None:
        check_settings("LocalExecutor", n_jobs, time_limit)
        self.n_jobs: int = n_jobs or cpu_count()
        self.time_limit = time_limit

    def map(
        self,
        function: Callable[..., T],
        tasks: Sequence[tuple[Any, ...]],
        label: str = "",
        *,
        lost: Callable[[Exception], T] | None = None,
    ) -> Iterator[T]:
        """Yield ``function(*task)`` for each task, in order; nothing runs before the first.

        ``lost`` makes the answer of a task that took longer than the time limit, or whose worker
        died twice; None = a ``TimeLimitError`` or ``ExecutorError`` is raised in its turn.
        """
        workers = min(self.n_jobs, len(tasks))
        ledger = Ledger(len(tasks), workers, _BATCH_SECONDS, lost, label, self.time_limit)
        if workers <= 1:
            return _here(function, tasks, ledger)
        return apart(function, tasks, ledger)


def check_settings(who: str, n_jobs: int | None, time_limit: float | None) -> None:
    """Raise ``SettingsError`` unless both are None or sensible."""
    if n_jobs is not None and n_jobs < 1:
        raise SettingsError(
            f"`n_jobs` of `{who}` must be at least 1. Got {n_jobs}. Hint: None takes every core."
        )
    if time_limit is not None and not 0 < time_limit < float("inf"):
        raise SettingsError(
            f"`time_limit` of `{who}` must be a number of seconds above 0. Got {time_limit}. "
            f"Hint: None sets no limit."
        )


def _here(
    function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], ledger: Ledger[T]
) -> Iterator[T]:
    while not ledger.finished:
        first = ledger.released
        burst = tasks[first : first + _BURST_TASKS]
        with one_thread():  # not across a yield: the caller's own threads are its own business
            outcome = run_batch(function, burst, ledger.time_limit, _BURST_SECONDS)
        ledger.take(list(range(first, first + outcome.reached)), outcome)
        yield from ledger.ready()
