"""The delivery platform: it forecasts with its models, and learns what really came.

Takes the simulated world, gives the forecasts and the actuals of a day as frames. Actuals come late
or not at all, some are corrected afterwards, some are told twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.domain.streams import Grid, Panel, Series
from mlma.library.live_demo.plan import HISTORY_DAYS, SLOTS, TIMEOUT, WARM_UP_DAYS, Plan
from mlma.ports import FittedForecaster

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_READ_DAYS = 2 * WARM_UP_DAYS
_LATEST_DAYS = 2
_REVISED, _TWICE, _FIRST_TOLD = 0.01, 0.01, 0.6
_DAY = timedelta(days=1).total_seconds()


@dataclass(frozen=True, slots=True)
class Letters:
    """Actuals on their way, by the day on which they come; all ``(n,)``.

    day
        int64, day of arrival, from the start of the history.
    stream, slot
        int64, row of the stream, and slot from the start of the history.
    y
        float64, what is told; of a slot that is revised this is not the last word.
    """

    day: Ints
    stream: Ints
    slot: Ints
    y: Floats

    def on(self, day: int) -> "Letters":
        """Return those that come on a day, in the order in which they are told."""
        at = slice(*np.searchsorted(self.day, (day, day + 1)))
        return self.taken(at)

    def after(self, day: int) -> "Letters":
        """Return those that come after a day."""
        return self.taken(slice(int(np.searchsorted(self.day, day, side="right")), None))

    def taken(self, at: Any) -> "Letters":
        """Return some of them."""
        return Letters(self.day[at], self.stream[at], self.slot[at], self.y[at])

    def __len__(self) -> int:
        return len(self.day)


class DeliveryPlatform:
    """What the platform knows and forecasts.

    names, rows
        of the streams, and the row of each name.
    known
        ``(n_streams, all_days, slots) float64``, actuals that came so far; NaN = none yet.
    y
        the same, as it really was; NaN = it never comes.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, world = plan, plan.world
        self.frame = world.streams
        self.names: list[str] = self.frame["unique_id"].to_list()
        self.rows = {name: row for row, name in enumerate(self.names)}
        days = [world.batch(day) for day in range(plan.all_days)]
        self.y = np.stack([day.y for day in days], axis=1).astype(np.float64)
        self.known = np.full_like(self.y, np.nan)
        self.known[:, :HISTORY_DAYS] = self.y[:, :HISTORY_DAYS]
        delay = np.stack([day.delay_seconds for day in days[HISTORY_DAYS:]], axis=1)
        self.letters = _letters(self.y, delay, plan.seed)

    def history(self) -> Panel:
        """Return all that is known before the first day."""
        known = self.known[:, :HISTORY_DAYS]
        return Panel(tuple(self.names), self._grid(0, HISTORY_DAYS), known, _nothing(known))

    def truth(self, days: int) -> Panel:
        """Return the last days of all, as they really were."""
        y, first = self.y[:, -days:], self.plan.all_days - days
        return Panel(tuple(self.names), self._grid(first, days), y, _nothing(y))

    def history_frame(self) -> pl.DataFrame:
        """Return it as rows ``unique_id, ds, y``."""
        stream, day, slot = np.nonzero(np.isfinite(self.known[:, :HISTORY_DAYS]))
        return self._actuals(stream, day * SLOTS + slot, self.known[stream, day, slot])

    def forecast(self, day: int, models: Sequence[FittedForecaster], rows: Sequence[int]) -> Floats:
        """Return forecasts of a day for some streams by their models, ``(n_rows, slots)``.

        A model sees the actuals that came before the day.
        """
        first = day + 1 - _READ_DAYS
        grid, seen = self._grid(first, _READ_DAYS), self.known[:, first : day + 1].copy()
        seen[:, -1] = np.nan
        out = np.empty((len(rows), SLOTS))
        for place, (row, model) in enumerate(zip(rows, models, strict=True)):
            series = Series(self.names[row], grid, seen[row], _nothing(seen[row]))
            out[place] = model.predict(series, _READ_DAYS - 1, _READ_DAYS)[0]
        return out

    def forecast_frame(self, day: int, y_hat: Floats) -> pl.DataFrame:
        """Return the forecasts of a day as rows ``unique_id, ds, y_hat, cutoff``."""
        stream, slot = np.divmod(np.arange(y_hat.size), SLOTS)
        frame = self._actuals(stream, day * SLOTS + slot, y_hat.ravel()).rename({"y": "y_hat"})
        return frame.with_columns(cutoff=pl.lit(self._time(day), dtype=pl.Datetime("us")))

    def arrived(self, letters: Letters) -> pl.DataFrame:
        """Take note of actuals, and return them as rows ``unique_id, ds, y``."""
        day, slot = np.divmod(letters.slot, SLOTS)
        self.known[letters.stream, day, slot] = letters.y
        return self._actuals(letters.stream, letters.slot, letters.y)

    def _actuals(self, stream: Ints, slot: Ints, y: Floats) -> pl.DataFrame:
        times = np.datetime64(self._time(0), "us") + slot * np.timedelta64(3600 * 10**6, "us")
        names = pl.Series("unique_id", self.names).gather(stream)
        return pl.DataFrame({"unique_id": names, "ds": times, "y": y})

    def _time(self, day: int) -> Any:
        return self.plan.start(day).replace(tzinfo=None)

    def _grid(self, first: int, days: int) -> Grid:
        hour = np.timedelta64(3600 * 10**6, "us")
        return Grid(np.datetime64(self._time(first), "us"), hour, SLOTS, days)


def _nothing(y: Floats) -> Floats:
    """Return the exogenous values of streams that have none."""
    return np.empty((*y.shape, 0))


def _letters(y: Floats, delay: NDArray[np.float32], seed: int) -> Letters:
    """Return all actuals of the days that are played, by day of arrival.

    ``delay`` is in seconds from the end of a slot. One stream-day in a hundred is told too low at
    first and corrected a day or two later; one row in a hundred is told again the day after.
    """
    rng = np.random.default_rng([seed, 271])
    last = y.shape[1]
    stream, day, slot = np.nonzero(np.isfinite(y[:, HISTORY_DAYS:]))
    day_end = (SLOTS - 1 - slot) * 3600.0 + TIMEOUT.total_seconds()
    late = np.ceil((delay[stream, day, slot] - day_end) / _DAY)
    revised = (rng.random(y.shape[:2]) < _REVISED)[stream, day + HISTORY_DAYS]
    again = rng.integers(1, 3, y.shape[:2])[stream, day + HISTORY_DAYS]
    twice = ~revised & (rng.random(len(stream)) < _TWICE)
    day = day + HISTORY_DAYS
    arrives = day + np.clip(late, 0, _LATEST_DAYS).astype(np.int64)
    true, at = y[stream, day, slot], day * SLOTS + slot
    parts = [
        Letters(arrives, stream, at, np.where(revised, np.floor(_FIRST_TOLD * true), true)),
        Letters((arrives + again), stream, at, true).taken(revised),
        Letters(arrives + 1, stream, at, true).taken(twice),
    ]
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS]
    made = Letters(np.minimum(columns[0], last), *columns[1:])
    return made.taken(np.argsort(made.day, kind="stable"))


_COLUMNS = ("day", "stream", "slot", "y")
