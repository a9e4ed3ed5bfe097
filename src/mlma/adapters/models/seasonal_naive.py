"""The value of a week ago as the forecast: the model that a platform would otherwise use.

Takes a series, gives forecasts without training. The yardstick of every other model.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.models.rhythm import carried, week_slots
from mlma.domain.streams import Grid, Series

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SeasonalNaive:
    """Forecasts the value one week before; forecaster and model version in one.

    A batch longer than a week takes the smallest number of weeks that is not shorter than it; slots
    that do not divide a week take one batch. A missing value is filled from the past (`carried`).

    >>> grid = Grid(np.datetime64("2024-01-01"), np.timedelta64(1, "D"), 1, 15)
    >>> series = Series("a", grid, np.arange(15.0).reshape(15, 1), np.empty((15, 1, 0)))
    >>> SeasonalNaive().fit(series, 7, 14, seed=1).predict(series, 14, 15)
    array([[7.]])
    """

    name: str = "seasonal_naive"
    warm_up: int = 7

    def fit(self, series: Series, first: int, last: int, seed: int) -> "SeasonalNaive":
        """Return itself: there is nothing to train."""
        return self

    def predict(self, series: Series, first: int, last: int) -> Floats:
        """Return forecasts of batches ``first`` to ``last - 1``, ``(last - first, slots)``.

        0 where no value lies before the cutoff.
        """
        slots = series.y.shape[1]
        start, stop = first * slots, last * slots
        lag = _lag(series.grid)
        y = series.y.reshape(-1)
        past = y[max(start - lag, 0) : max(stop - lag, 0)]
        if not np.isfinite(past).all():
            past = carried(y[: stop - lag], series.grid)[max(start - lag, 0) :]
        out = np.zeros(stop - start)
        out[len(out) - len(past) :] = past
        return out.reshape(last - first, slots)

    def held_out(self, series: Series, first: int, last: int) -> Floats:
        """Return the forecasts: nothing was trained on these batches."""
        return self.predict(series, first, last)


def _lag(grid: Grid) -> int:
    week = week_slots(grid)
    return week * -(-grid.slots // week) if week else grid.slots
