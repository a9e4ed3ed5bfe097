"""Streams on one common grid of slots: what a replay reads and a forecaster is fitted on.

Takes the dense arrays that the frame reader made, gives views per stream. Next is the forecaster.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """The common grid of slots: ``n_batches`` batches of ``slots`` slots each.

    ``start`` is the first slot (datetime64[us], wall clock), ``step`` the length of a slot
    (timedelta64[us]). Batches are whole: batch ``b`` covers ``[start + b * slots * step, ...)``.
    """

    start: np.datetime64
    step: np.timedelta64
    slots: int
    n_batches: int

    @property
    def batch(self) -> np.timedelta64:
        """Length of a batch."""
        return self.step * self.slots

    def batch_starts(self) -> NDArray[np.datetime64]:
        """Return the first slot of every batch, ``(n_batches,) datetime64[us]``."""
        return self.start + self.batch * np.arange(self.n_batches)

    def slot_times(self) -> NDArray[np.datetime64]:
        """Return every slot, ``(n_batches * slots,) datetime64[us]``."""
        return self.start + self.step * np.arange(self.n_batches * self.slots)


@dataclass(frozen=True, slots=True)
class Series:
    """One stream, as a forecaster sees it.

    y
        ``(n_batches, slots) float64``, observed values; NaN = missing.
    exogenous
        ``(n_batches, slots, n_exogenous) float64``, known in advance; NaN = missing.
    """

    unique_id: str
    grid: Grid
    y: Floats
    exogenous: Floats


@dataclass(frozen=True, slots=True)
class Panel:
    """All streams of a history on one grid.

    y
        ``(n_streams, n_batches, slots) float64``, observed values; NaN = missing.
    exogenous
        ``(n_streams, n_batches, slots, n_exogenous) float64``; last axis empty without any.
    tags
        name to ``(n_streams,)`` labels.
    """

    ids: tuple[str, ...]
    grid: Grid
    y: Floats
    exogenous: Floats
    exogenous_names: tuple[str, ...] = ()
    tags: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def series(self, row: int) -> Series:
        """Return one stream; arrays are views."""
        return Series(self.ids[row], self.grid, self.y[row], self.exogenous[row])
