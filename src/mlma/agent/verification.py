"""Verification: the ledger proves itself by being computed once more.

Takes a store, gives what came out differently. Evidence is compared to the bit, cycle by cycle; the
state at the end with the newest snapshot.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.agent.recomputing import Recomputed, recomputed
from mlma.agent.remembered import columns_of
from mlma.domain.ledger import EVIDENCE
from mlma.domain.live import LiveSettings
from mlma.ports.store import Store


@dataclass(frozen=True, slots=True)
class Verified:
    """One cycle, computed once more.

    streams
        how many were in it.
    differing
        rows of the registry whose record came out differently.
    columns
        names of what differs: columns of the evidence; of the state, for the last cycle.
    """

    cycle: int
    revision: int
    streams: int
    differing: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it came out the same."""
        return not (self.differing or self.columns)


def verified(
    store: Store, settings: LiveSettings, *, first: int | None = None, last: int | None = None
) -> Iterator[Verified]:
    """Yield each cycle, computed once more from what it read.

    ``first`` None = from the first cycle on, nothing but what was read is believed; otherwise the
    last snapshot before ``first`` is.
    """
    newest = store.cycles(newest_first=True, limit=1)
    if not newest:
        return
    final = newest[0].cycle
    end = final if last is None else min(last, final)
    for made in recomputed(store, settings, first or 1, end, in_words=False):
        differing, columns = _differences(made)
        if made.entry.info.cycle == final:
            columns += _state_differences(store, made)
        info = made.before.info
        yield Verified(info.cycle, info.revision, info.streams, differing, columns)


def _differences(made: Recomputed) -> tuple[tuple[int, ...], tuple[str, ...]]:
    before, now = made.before.evidence, made.entry.evidence
    apart = np.zeros(len(before), dtype=np.bool_)
    columns = []
    for name in EVIDENCE.names or ():
        unlike = ~_alike(before[name], now[name])
        if unlike.any():
            columns.append(name)
            apart |= unlike
    return tuple(made.before.streams[apart].tolist()), tuple(columns)


def _state_differences(store: Store, made: Recomputed) -> tuple[str, ...]:
    snapshot = store.snapshot()
    if snapshot is None:
        return ("no snapshot",)
    now = columns_of(made.memory.state, made.memory.fleet)
    kept = len(snapshot.columns["live.expected"])
    return tuple(
        name
        for name, column in now.items()
        if not _all_alike(
            snapshot.columns[name], column[:kept] if name.startswith("stream.") else column
        )
    )


def _all_alike(one: NDArray[np.generic], other: NDArray[np.generic]) -> bool:
    return one.shape == other.shape and bool(_alike(one, other).all())


def _alike(one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.bool_]:
    same = np.asarray(one == other)
    if one.dtype.kind == "f":
        same |= np.isnan(one) & np.isnan(other)
    return same
