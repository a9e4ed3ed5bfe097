"""Blocks of streams: what needs no other stream is done in parts that fit into a core's cache.

Takes a function of some rows, gives its answers for all rows, in order. Next is the cycle.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns

C = TypeVar("C", bound=Columns)
D = TypeVar("D", bound=Columns)

BLOCK = 65_536
"""Streams in a block: a column of them is 512 KiB."""


def in_blocks(function: Callable[[slice], C], n_streams: int, *, whole: bool = False) -> C:
    """Return ``function`` of all rows, by as many threads as there are cores.

    NumPy lets go of the interpreter while it computes. Answers do not depend on the threads.
    ``whole`` = in one block, for what looks at all streams together.
    """
    rows = [slice(0, n_streams)] if whole else _block_rows(n_streams)
    first = function(rows[0])
    if len(rows) == 1:
        return first
    sheet = _Sheet(first, None, n_streams)
    sheet.write(rows[0], first.flat(), {})
    _threaded(lambda one: sheet.write(one, function(one).flat(), {}), rows[1:])
    return first.refilled(sheet.columns)


def changed_in_blocks(
    function: Callable[[slice, C], tuple[C, D]], state: C, n_streams: int
) -> tuple[C, D]:
    """Return the state that ``function`` makes of the state, and what else it gives.

    A column that no block has changed is that of the old state, not a copy.
    """
    rows = _block_rows(n_streams)
    before = state if len(rows) == 1 else state.rows(rows[0])
    after, told = function(rows[0], before)
    if len(rows) == 1:
        return after, told
    states, others = _Sheet(after, state, n_streams), _Sheet(told, None, n_streams)

    def write(one: slice, before: C, after: C, told: D) -> None:
        states.write(one, after.flat(), before.flat())
        others.write(one, told.flat(), {})

    def work(one: slice) -> None:
        before = state.rows(one)
        write(one, before, *function(one, before))

    write(rows[0], before, after, told)
    _threaded(work, rows[1:])
    return state.refilled(states.columns), told.refilled(others.columns)


class _Sheet:
    """Columns of all streams, filled block by block.

    A column is laid out when the first block changes it: until then it is the old one. Large
    columns laid out once are several times cheaper than many small ones that are put together.
    """

    def __init__(self, like: Columns, old: Columns | None, n_streams: int) -> None:
        self.columns: dict[str, NDArray[Any]] = {} if old is None else dict(old.flat())
        self._like, self._n = like.flat(), n_streams
        self._own: set[str] = set()
        self._lock = Lock()

    def write(
        self, rows: slice, after: dict[str, NDArray[Any]], before: dict[str, NDArray[Any]]
    ) -> None:
        for name, values in after.items():
            if name in self._own or values is not before.get(name):
                self._laid_out(name)[rows] = values

    def _laid_out(self, name: str) -> NDArray[Any]:
        if name not in self._own:
            with self._lock:
                if name not in self._own:
                    self.columns[name] = self._fresh(name)
                    self._own.add(name)
        return self.columns[name]

    def _fresh(self, name: str) -> NDArray[Any]:
        old, like = self.columns.get(name), self._like[name]
        if old is None:
            return np.empty((self._n, *like.shape[1:]), dtype=like.dtype)
        return old.copy()


def _block_rows(n_streams: int) -> list[slice]:
    """Return the rows of each block; one empty block where there are no streams."""
    starts = range(0, max(n_streams, 1), BLOCK)
    return [slice(start, min(start + BLOCK, n_streams)) for start in starts]


def _threaded(work: Callable[[slice], None], rows: list[slice]) -> None:
    with ThreadPoolExecutor(min(len(rows), os.cpu_count() or 1)) as pool:
        for _ in pool.map(work, rows):
            pass  # an error in a thread is raised here
