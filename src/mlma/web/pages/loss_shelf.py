"""The loss shelf: losses and references of recent cycles, kept small for pictures.

Takes the reading room, gives mean losses of some streams per cycle beside what their references
expected. What a revision of a cycle says never changes, so each is read once.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from mlma.domain.ledger import ABSENT, CycleInfo
from mlma.web.reading import ReadingRoom

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Small = NDArray[np.float32]

_KEPT_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class CycleLosses:
    """Losses of a cycle by row of the registry, ``(n_rows,) float32``; NaN = none."""

    loss: Small
    reference: Small

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        return self.loss.nbytes + self.reference.nbytes


@dataclass(frozen=True, slots=True)
class MemberLosses:
    """Losses of some streams over cycles, all ``(n_cycles,)``; NaN = nobody had any.

    loss, reference
        means over the streams that had both.
    rise
        median over the streams of loss / reference - 1; ``low`` and ``high``: 10 % and 90 %.
    """

    cycles: tuple[CycleInfo, ...]
    loss: Floats
    reference: Floats
    rise: Floats
    low: Floats
    high: Floats


class LossShelf:
    """Reads cycles and keeps the last ones that were asked for; any thread may ask."""

    def __init__(self, room: ReadingRoom) -> None:
        self._store = room.store
        self._kept: OrderedDict[tuple[int, int], CycleLosses] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def cycle(self, info: CycleInfo) -> CycleLosses:
        """Return the losses of a revision of a cycle."""
        key = (info.cycle, info.revision)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = self._read(*key)
        with self._lock:
            if key not in self._kept:
                self._bytes += made.bytes
            self._kept[key] = made
            while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].bytes
        return made

    def members(self, rows: Ints, cycles: Sequence[CycleInfo]) -> MemberLosses:
        """Return the losses of some streams over cycles."""
        told = [_member_figures(self.cycle(info), rows) for info in cycles]
        columns = np.array(told, dtype=np.float64).reshape(len(cycles), 5).T
        return MemberLosses(tuple(cycles), *columns)

    def ratios(self, rows: Ints, cycles: Sequence[CycleInfo]) -> Floats:
        """Return mean loss over mean reference of some streams, ``(n_cycles,)``; NaN = none."""
        return np.array([_ratio(self.cycle(info), rows) for info in cycles], dtype=np.float64)

    def table(self, rows: Ints, cycles: Sequence[CycleInfo]) -> Floats:
        """Return the loss of each stream in each cycle, ``(n_rows, n_cycles)``; NaN = none."""
        made = np.full((len(rows), len(cycles)), np.nan)
        for at, info in enumerate(cycles):
            made[:, at] = _of_rows(self.cycle(info).loss, rows)
        return made

    def _read(self, cycle: int, revision: int) -> CycleLosses:
        rows, records = self._store.evidence(cycle, revision)
        n = int(rows[-1]) + 1 if len(rows) else 0
        loss, reference = (np.full(n, np.nan, dtype=np.float32) for _ in range(2))
        there = records["n"] != ABSENT
        loss[rows[there]] = records["loss"][there]
        with np.errstate(over="ignore"):
            reference[rows[there]] = np.exp(records["reference_log"][there])
        return CycleLosses(loss, reference)


_SHELVES: WeakKeyDictionary[ReadingRoom, LossShelf] = WeakKeyDictionary()
_SHELVES_LOCK = Lock()


def shelf_of(room: ReadingRoom) -> LossShelf:
    """Return the shelf of a reading room."""
    with _SHELVES_LOCK:
        return _SHELVES.setdefault(room, LossShelf(room))


def _of_rows(column: Small, rows: Ints) -> Floats:
    """Return the entries of some rows; those after the end were not there yet."""
    made = np.full(len(rows), np.nan)
    there = rows < len(column)
    made[there] = column[rows[there]]
    return made


def _both(losses: CycleLosses, rows: Ints) -> tuple[Floats, Floats]:
    """Return loss and reference of those streams that have both."""
    loss, reference = _of_rows(losses.loss, rows), _of_rows(losses.reference, rows)
    both = np.isfinite(loss) & np.isfinite(reference) & (reference > 0)
    return loss[both], reference[both]


def _ratio(losses: CycleLosses, rows: Ints) -> float:
    loss, reference = _both(losses, rows)
    return float(loss.sum() / reference.sum()) if len(loss) else np.nan


def _member_figures(losses: CycleLosses, rows: Ints) -> tuple[float, float, float, float, float]:
    loss, reference = _both(losses, rows)
    if not len(loss):
        return (np.nan,) * 5
    low, rise, high = np.quantile(loss / reference - 1, (0.1, 0.5, 0.9))
    return float(loss.mean()), float(reference.mean()), float(rise), float(low), float(high)
