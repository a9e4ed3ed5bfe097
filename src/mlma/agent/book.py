"""The book of forecasts: what every version says of the next batches, made once for all policies.

Takes fitted models and a batch, gives forecasts of a chunk of batches. Next are the pools.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlma.agent.training import Failure, forecast
from mlma.domain.streams import Series
from mlma.ports import FittedForecaster

Floats = NDArray[np.float64]

CHUNK = 28
"""Batches that a version forecasts in one call, each from its own cutoff."""


@dataclass(slots=True)
class Book:
    """Forecasts of the batches ``first`` to ``last - 1``, by stream and version."""

    series: tuple[Series, ...]
    n_batches: int
    first: int = 0
    last: int = 0
    _pages: dict[tuple[int, int], tuple[FittedForecaster, Floats]] = field(default_factory=dict)

    def turned(self, batch: int) -> bool:
        """Whether a new chunk starts with this batch; the old pages are gone then."""
        if self.first <= batch < self.last:
            return False
        self.first, self.last = batch, min(batch + CHUNK, self.n_batches)
        self._pages.clear()
        return True

    def write(self, row: int, fitted: FittedForecaster, forecasts: Floats) -> None:
        """Take the forecasts of the last ``len(forecasts)`` batches of the chunk."""
        page = np.full((self.last - self.first, forecasts.shape[1]), np.nan)
        page[len(page) - len(forecasts) :] = forecasts
        self._pages[row, id(fitted)] = fitted, page

    def page(self, row: int, fitted: FittedForecaster, batch: int) -> Floats | Failure:
        """Return the forecasts of the chunk, ``(last - first, slots)``; NaN before they were made.

        Made from ``batch`` on if they are not there yet.
        """
        held = self._pages.get((row, id(fitted)))
        if held is not None:
            return held[1]
        made = forecast(fitted, self.series[row], batch, self.last)
        if isinstance(made, Failure):
            return made
        self.write(row, fitted, made)
        return self._pages[row, id(fitted)][1]
