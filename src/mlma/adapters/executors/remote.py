"""What a worker of Ray does with a batch.

Takes a packed function and packed tasks, gives the packed outcome. Under a time limit the batch
runs in a process beside the worker, which can be ended while the worker lives on.
"""

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from time import perf_counter
from typing import Any

from threadpoolctl import threadpool_limits

from mlma.adapters.executors.alarm import run_batch
from mlma.adapters.executors.crew import ONE_THREAD
from mlma.adapters.executors.ledger import Ledger, Lost, Outcome
from mlma.adapters.executors.parcels import pack_outcome, unpack, unpack_apart, unpack_function
from mlma.adapters.executors.processes import apart
from mlma.domain.errors import TimeLimitError

_BATCH_SECONDS = 0.1
_KEPT_BYTES = 2**28
_BUDGET_SECONDS = 0.9  # a batch that turns out to take longer comes back undone


@dataclass(slots=True)
class _Keep:
    """Parts that a worker has seen lately: the same object for all tasks that share it.

    Models remember what they derived from a series as long as they meet the same one.
    """

    parts: OrderedDict[str, tuple[Any, int]] = field(default_factory=OrderedDict)
    nbytes: int = 0

    def part(self, token: str, nbytes: int, make: Callable[[], Any]) -> Any:
        if token not in self.parts:
            self.parts[token] = (make(), nbytes)
            self.nbytes += nbytes
        self.parts.move_to_end(token)
        made = self.parts[token][0]
        while self.nbytes > _KEPT_BYTES:
            self.nbytes -= self.parts.popitem(last=False)[1][1]
        return made


_keep = _Keep()


def carry_out(
    function: bytes,
    tasks: bytes,
    limit: float | None,
    told: list[tuple[str, int, bytes | None]],
    *stored: Any,
) -> bytes:
    """Return the packed outcome of a batch; this is what a worker of Ray runs.

    ``told`` names the parts that tasks share, their sizes, and their bytes unless they are among
    ``stored``, in the same order.
    """
    _keep_to_one_thread()
    try:
        called = unpack_function(function)
        todo = unpack(tasks, _parts(told, stored).__getitem__)
    except Exception as error:  # what it needs is not installed or not importable there
        return pack_outcome(Outcome([], 0.0, raised=error))
    if limit is None:
        return pack_outcome(run_batch(called, todo, None, _BUDGET_SECONDS))
    return pack_outcome(_minded(called, todo, limit))


def _parts(told: list[tuple[str, int, bytes | None]], stored: tuple[Any, ...]) -> dict[str, Any]:
    rest = iter(stored)
    parts = {}
    for token, nbytes, packed in told:
        make = partial(unpack, packed) if packed is not None else partial(unpack_apart, next(rest))
        parts[token] = _keep.part(token, nbytes, make)
    return parts


@cache
def _keep_to_one_thread() -> None:
    """Limit this process: libraries that are loaded, and, by the environment, later ones."""
    os.environ.update(ONE_THREAD)
    threadpool_limits(limits=1)


def _minded(function: Callable[..., Any], tasks: list[tuple[Any, ...]], limit: float) -> Outcome:
    """Run a batch in a process beside this one, which can be ended."""

    def lost(error: Exception) -> Lost:
        return Lost.OVERTIME if isinstance(error, TimeLimitError) else Lost.DIED

    start = perf_counter()
    ledger: Ledger[Any] = Ledger(len(tasks), 1, _BATCH_SECONDS, lost, time_limit=limit)
    answers: list[Any] = []
    try:
        answers.extend(apart(function, tasks, ledger))
    except Exception as error:
        return Outcome(answers, perf_counter() - start, raised=error)
    return Outcome(answers, perf_counter() - start)
