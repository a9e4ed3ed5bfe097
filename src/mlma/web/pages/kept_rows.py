"""Kept rows: forecasts and actuals of one stream, as far as the inbox still has them.

Takes the store, gives one value per slot. Parcels hold the rows of all streams, so that reading has
to have an end: the newest periods come first, and patience is short.
"""

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from mlma.agent.gathering import Table
from mlma.domain.inbox import Kind, Rows
from mlma.domain.periods import Periods
from mlma.ports import Store

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

PATIENCE_SECONDS = 0.2
FEWEST_PERIODS, MOST_PERIODS = 3, 14


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Forecasts and actuals by slot, all ``(n,)``; NaN = none.

    periods
        how many periods they are of; ``more``: there are older ones.
    """

    times: Times
    y_hat: Floats
    y: Floats
    periods: int = 0
    more: bool = False

    def __len__(self) -> int:
        return len(self.times)


def kept_rows(
    store: Store, periods: Periods, row: int, *, patience: float = PATIENCE_SECONDS
) -> KeptRows:
    """Return what is kept of a stream: the newest periods that can be read soon."""
    began = perf_counter()
    there = sorted(store.periods(), reverse=True)
    parts: list[tuple[Times, Floats, Floats]] = []
    for period in there[:MOST_PERIODS]:
        if len(parts) >= FEWEST_PERIODS and perf_counter() - began > patience:
            break
        parts.append(_period(store, periods, period, row))
    read = len(parts)
    told = [part for part in reversed(parts) if np.isfinite(part[1:]).any()]
    if not told:
        return KeptRows(np.zeros(0, dtype="datetime64[us]"), np.zeros(0), np.zeros(0))
    times, y_hat, y = (np.concatenate([part[at] for part in told]) for at in range(3))
    return KeptRows(times, y_hat, y, len(told), read < len(there))


def _period(store: Store, periods: Periods, period: int, row: int) -> tuple[Times, Floats, Floats]:
    values = [_values(store, kind, period, row, periods.width) for kind in ("forecasts", "actuals")]
    places = np.arange(periods.width, dtype=np.int64)
    within = periods.times(period, places) < periods.end(period)
    # On the clock of the wall, as the batches of the other charts.
    shift = periods.wall_start(period) - periods.start(period)
    times = periods.times(period, places[within]) + shift
    return times, values[0][within], values[1][within]


def _values(store: Store, kind: Kind, period: int, row: int, width: int) -> Floats:
    table = Table(np.full((1, width), np.nan))
    for parcel in store.parcels(kind, period):
        mine = parcel.rows.take(parcel.rows.stream == row)
        if len(mine):
            table.put(Rows(np.zeros_like(mine.stream), mine.place, mine.value, mine.cutoff))
    return np.asarray(table.value[0])
