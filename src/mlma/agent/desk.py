"""The desk: where the rows of a period are laid together, out of the inbox and out of sources.

Takes store and sources, gives what was gathered of a period and what a cycle reads of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from mlma.agent.closing import told
from mlma.agent.gathering import Gathering, scored
from mlma.agent.judging import Inputs, Registered
from mlma.agent.watch import Watch
from mlma.domain.inbox import KINDS
from mlma.domain.live import LiveSettings
from mlma.ports.sources import RowSource
from mlma.ports.store import Store
from mlma.stats.calendar import calendar_class
from mlma.stats.losses import Loss, loss_from

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a cycle reads of a period, and what it was made of.

    rows
        counts: rows of each kind, overruled ones, batches that are too small, pairs without loss.
    """

    period: int
    inputs: Inputs
    rows: dict[str, int]
    through: int
    stamps: dict[str, str]


@dataclass(slots=True)
class Desk:
    """Lays rows together.

    ``registered`` is extended by streams that were registered since.
    """

    settings: LiveSettings
    store: Store
    sources: Sequence[RowSource]
    watch: Watch
    registered: Registered
    loss: Loss = field(init=False)
    _open: Gathering | None = None

    def __post_init__(self) -> None:
        self.loss = loss_from(self.settings.loss)

    def gathered(self, period: int) -> Gathering:
        """Return all rows of a period; the last one that was asked for is kept."""
        made = self._open
        if made is None or made.period != period:
            made = self._empty(period)
        self._open = self._filled(made)
        return self._open

    def cleared(self) -> None:
        """Forget what is kept."""
        self._open = None

    def stamps(self, period: int) -> dict[str, str]:
        """Return what the sources say of a period, by their names."""
        return {one.name: one.stamp(period) for one in self.sources}

    def again(self, period: int) -> Reading:
        """Return what a cycle reads of a period, laid together anew."""
        return self.reading(self._filled(self._empty(period)))

    def reading(self, gathered: Gathering) -> Reading:
        """Return what a cycle reads of a period."""
        forecasts, pairs = gathered.counts()
        rows = np.flatnonzero(forecasts > 0)
        enough = told(forecasts, pairs, self.settings.complete_share)[rows]
        made, y = gathered.table("forecasts").value, gathered.table("actuals").value
        keep = self.watch.reads_single_losses
        seen = scored(y, made, rows, self.loss, told=enough, keep=keep, in_place=keep)
        inputs = Inputs(
            rows=rows,
            n=seen.n,
            loss=seen.mean,
            benchmark=self._benchmark_losses(gathered, y, rows),
            forecasts=forecasts[rows],
            calendar=np.repeat(self._calendar(gathered.period), len(rows)),
            losses=seen.losses,
        )
        counts = gathered.account() | {
            "batches too small": int((~enough).sum()),
            "pairs without loss": seen.lost,
            **self._left_out(gathered.period),
        }
        return Reading(gathered.period, inputs, counts, gathered.through, gathered.stamps)

    def _empty(self, period: int) -> Gathering:
        return Gathering(period, self.settings.periods.width, len(self.registered.names))

    def _filled(self, made: Gathering) -> Gathering:
        """Return a gathering with all that came since; one whose sources changed starts anew."""
        stamps = self.stamps(made.period)
        if made.stamps and stamps != made.stamps:
            made = self._empty(made.period)
        if self.sources and not made.stamps:
            self._pull(made, KINDS)
        made.stamps = stamps
        last = self.store.periods(first=made.period).get(made.period, 0)
        if last > made.through:
            parcels = [
                parcel
                for kind in KINDS
                for parcel in self.store.parcels(kind, made.period, after=made.through)
                if parcel.number <= last  # of a kind that was read before, later ones are not here
            ]
            self._meet(made)
            for parcel in parcels:
                made.put(parcel.kind, parcel.rows)
            made.through = last
        self._meet(made)
        return made

    def _pull(self, made: Gathering, kinds: Sequence[str]) -> None:
        for source in self.sources:
            if source.kind in kinds:
                for rows in source.rows(made.period):
                    self._meet(made)
                    made.put(source.kind, rows)

    def _meet(self, made: Gathering) -> None:
        """Take note of streams that were registered since, and make room for them."""
        self.registered.extend(self.store.streams(len(self.registered.names)))
        made.widened(len(self.registered.names))

    def _left_out(self, period: int) -> dict[str, int]:
        return {
            f"{source.name}: {out.reason}": out.count
            for source in self.sources
            for out in source.left_out(period)
        }

    def _calendar(self, period: int) -> NDArray[np.int8]:
        periods = self.settings.periods
        start = np.array([periods.wall_start(period)])
        return calendar_class(start, periods.batch, self.watch.monitor.calendar)

    def _benchmark_losses(self, gathered: Gathering, y: Floats, rows: Ints) -> Floats:
        """Return the mean loss of the benchmark; NaN = none."""
        made = self._benchmark(gathered, len(y))
        if made is None:
            return np.full(len(rows), np.nan)
        every = np.ones(len(rows), dtype=np.bool_)
        return scored(y, made, rows, self.loss, told=every, keep=False, in_place=False).mean

    def _benchmark(self, gathered: Gathering, n_streams: int) -> Floats | None:
        """Return the forecasts of the benchmark; None = there are none."""
        if self.settings.benchmark == "pushed":
            table = gathered.tables.get("benchmarks")
            return None if table is None else table.value
        if self.settings.benchmark == "none":
            return None
        back = self.settings.season // batch_length(self.settings)
        before = self._empty(gathered.period - back)
        self._pull(before, ("actuals",))
        parcels = self.store.parcels("actuals", before.period)
        self._meet(before)
        for parcel in parcels:
            before.put("actuals", parcel.rows)
        return before.table("actuals").value[:n_streams]


def batch_length(settings: LiveSettings) -> timedelta:
    """Return the length of a batch."""
    length: timedelta = settings.periods.batch.astype("timedelta64[us]").item()
    return length
