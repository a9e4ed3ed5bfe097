"""Calls in this process or in worker processes of this machine (joblib, loky).

Takes a function and tasks, gives the answers in the order of the tasks, the same to the bit
whatever the number of workers.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread
from time import monotonic
from typing import Any, TypeVar
from warnings import catch_warnings, simplefilter

from joblib import Parallel, cpu_count, delayed, parallel_config

from mlma.adapters.executors.threads import one_thread
from mlma.domain.errors import SettingsError

T = TypeVar("T")

_BURST_SECONDS = 0.1  # entering `one_thread` costs a few milliseconds; progress stays fluid


class LocalExecutor:
    """Runs independent calls on ``n_jobs`` processes; 1 runs them here, None takes every core.

    Small tasks travel in batches whose size joblib adapts; arrays of a megabyte or more reach the
    workers as read-only memory maps. An error in a task is raised here; an error, an interrupt or a
    generator that is closed early ends the workers.

    Raises
    ------
    SettingsError
        ``n_jobs`` is below 1.

    >>> sum(LocalExecutor(n_jobs=1).map(pow, [(2, 3), (3, 2)]))
    17
    """

    def __init__(self, n_jobs: int | None = None) -> None:
        if n_jobs is not None and n_jobs < 1:
            raise SettingsError(
                f"`n_jobs` of `LocalExecutor` must be at least 1. Got {n_jobs}. "
                f"Hint: None takes every core."
            )
        self.n_jobs: int = n_jobs or cpu_count()

    def map(
        self, function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], label: str = ""
    ) -> Iterator[T]:
        """Yield ``function(*task)`` for each task, in order; nothing runs before the first."""
        workers = min(self.n_jobs, len(tasks))
        return _here(function, tasks) if workers <= 1 else _apart(function, tasks, workers)


def _here(function: Callable[..., T], tasks: Sequence[tuple[Any, ...]]) -> Iterator[T]:
    done = 0
    while done < len(tasks):
        answers: list[T] = []
        pause = monotonic() + _BURST_SECONDS
        with one_thread():  # not across a yield: the caller's own threads are its own business
            while done < len(tasks) and (not answers or monotonic() < pause):
                answers.append(function(*tasks[done]))
                done += 1
        yield from answers


@contextmanager
def _interrupts_stay_here() -> Iterator[None]:
    """Start workers inside: Ctrl-C, which a terminal sends to all, is then for this process only.

    A process inherits what its parent ignores. (A blocked signal would be inherited too, but loky
    unblocks it.) The block lasts for some hundredths of a second, in which Ctrl-C is lost.
    """
    if current_thread() is not main_thread():  # only there may it be set
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _no_false_leaks() -> Iterator[None]:
    """Start workers inside: after an interrupt, loky's tracker keeps to itself what it missed.

    It warns of semaphores that the dying process has removed already, on stderr and after our last
    word. The tracker is a process of its own, which takes its filters from the environment.
    """
    before = os.environ.get("PYTHONWARNINGS")
    module = "joblib.externals.loky.backend.resource_tracker"
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (before, f"ignore:::{module}")))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def _apart(
    function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[T]:
    own_setting = parallel_config(backend="loky", inner_max_num_threads=1)
    with own_setting, _interrupts_stay_here(), _no_false_leaks():
        answers = Parallel(n_jobs=workers, return_as="generator")(
            delayed(function)(*task) for task in tasks
        )
    try:
        for answer in answers:  # noqa: UP028  # `yield from` would close them before `finally`
            yield answer
    finally:
        with catch_warnings():  # joblib warns of tasks that were cancelled: here, on purpose
            simplefilter("ignore", UserWarning)
            answers.close()
