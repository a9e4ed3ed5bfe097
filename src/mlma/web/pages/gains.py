"""Gains: whether re-trainings helped, by the losses before and after.

Takes deployments and losses of recent cycles, gives the share that helped and the mean gain. The
same ratio of the fleet is taken off, so that an easy week is no merit of a new version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from mlma.domain.ledger import Action, CycleInfo
from mlma.web.face import Desk
from mlma.web.pages.loss_shelf import LossShelf, shelf_of
from mlma.web.reading import ReadingRoom

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CYCLES, BATCHES, LEAST = 28, 7, 3
HOW = (
    f"Mean loss of up to {BATCHES} batches from the new version on against that of up to {BATCHES} "
    f"before it, at least {LEAST} on each side, each over the median loss of the fleet in the same "
    f"batches. A re-training follows bad batches, so some of the gain would have come anyway."
)


@dataclass(frozen=True, slots=True)
class Gains:
    """What re-trainings of the last cycles gained.

    first, last
        cycles before which they went live; None = there is no cycle.
    live
        how many went live; ``told`` of them have enough batches on both sides.
    helped
        share of those told whose loss fell; None = none is told.
    mean
        mean relative fall of their losses, 0.1 = 10 % lower.
    by_stream
        gain of each, by name and cycle.
    """

    first: int | None = None
    last: int | None = None
    live: int = 0
    told: int = 0
    helped: float | None = None
    mean: float | None = None
    by_stream: dict[tuple[str, int], float] | None = None

    def of(self, unique_id: str, asked_in: int | None) -> tuple[int, float] | None:
        """Return cycle and gain of the first version after a cycle; None = not known."""
        found = [
            (cycle, gain)
            for (name, cycle), gain in (self.by_stream or {}).items()
            if name == unique_id and cycle > (asked_in or 0)
        ]
        return min(found, default=None)


_KEPT: WeakKeyDictionary[ReadingRoom, tuple[tuple[int, int], Gains]] = WeakKeyDictionary()


def recent_gains(at: Desk) -> Gains:
    """Return what the re-trainings gained that went live before the last cycles.

    They change with a new cycle, or one that is judged anew, and are kept until then.
    """
    newest = at.room.newest()
    if newest is None:
        return Gains()
    key = (newest.cycle, newest.revision)
    kept = _KEPT.get(at.room)
    if kept is None or kept[0] != key:
        kept = _KEPT[at.room] = (key, _recent(at, newest))
    return kept[1]


def _recent(at: Desk, newest: CycleInfo) -> Gains:
    store = at.room.store
    first = max(newest.cycle - CYCLES + 1, 1)
    actions = store.actions(kind="deployed", cycles=(first, newest.cycle))
    heads = store.cycles(first=max(first - BATCHES, 1), last=newest.cycle)
    names, rows, cycles = _deployments(at, actions)
    if not len(rows):
        return Gains(first, newest.cycle)
    gains = _gains(shelf_of(at.room), rows, cycles, heads)
    told = np.isfinite(gains)
    mean = float(gains[told].mean()) if told.any() else None
    helped = float((gains[told] > 0).mean()) if told.any() else None
    keys = zip(names, cycles.tolist(), strict=True)
    by_stream = dict(zip(keys, gains.tolist(), strict=True))
    return Gains(first, newest.cycle, len(rows), int(told.sum()), helped, mean, by_stream=by_stream)


def _deployments(at: Desk, actions: Sequence[Action]) -> tuple[list[str], Ints, Ints]:
    """Return streams, their rows, and the cycle before which a new version went live."""
    row = at.service.engineering.fleet().row
    pairs = {
        (name, int(action.cycle or 0)): row[name]
        for action in actions
        for name in action.payload["unique_ids"]
        if name in row
    }
    names = [name for name, _ in pairs]
    cycles = np.array([cycle for _, cycle in pairs], dtype=np.int64)
    return names, np.array(list(pairs.values()), dtype=np.int64), cycles


def _gains(shelf: LossShelf, rows: Ints, cycles: Ints, heads: Sequence[CycleInfo]) -> Floats:
    """Return the gain of each deployment, ``(n,)``; NaN = too few batches on a side."""
    numbers = np.array([info.cycle for info in heads])
    typical = np.array([_median(shelf.cycle(info).loss) for info in heads])
    unique, back = np.unique(rows, return_inverse=True)
    scaled = shelf.table(unique, heads)[back] / np.where(typical > 0, typical, np.nan)
    since = numbers[None, :] - cycles[:, None]
    before = _mean(np.where((since < 0) & (since >= -BATCHES), scaled, np.nan))
    after = _mean(np.where((since >= 0) & (since < BATCHES), scaled, np.nan))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(before > 0, 1 - after / before, np.nan)


def _median(losses: NDArray[np.float32]) -> float:
    there = losses[np.isfinite(losses)]
    return float(np.median(there)) if len(there) else np.nan


def _mean(values: Floats) -> Floats:
    told = np.isfinite(values)
    count = told.sum(axis=1)
    total = np.where(told, values, 0.0).sum(axis=1)
    return np.where(count >= LEAST, total / np.maximum(count, 1), np.nan)
