"""A forecaster that remembers what `always` forecasts, so that the next replay need not train it.

Takes a forecaster, gives one of the same forecasts. A version that forecasts its first batch alone
is trained once; asked for the same again, its forecast is handed out, and a model is trained only
when more is asked of it. For models that draw nothing, so that the seed does not matter, and in one
process: what is kept does not travel to workers.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlma.domain.streams import Series
from mlma.ports import FittedForecaster, Forecaster

Floats = NDArray[np.float64]
Key = tuple[str, int, int]


@dataclass
class Kept:
    """``inner``, and the forecasts of the first batch of its versions."""

    inner: Forecaster
    told: dict[Key, Floats] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def warm_up(self) -> int:
        return self.inner.warm_up

    def fit(self, series: Series, first: int, last: int, seed: int) -> "KeptVersion":
        key = (series.unique_id, first, last)
        model = None if key in self.told else self.inner.fit(series, first, last, seed)
        return KeptVersion(self, key, model)

    def __getstate__(self) -> dict[str, object]:
        return {"inner": self.inner, "told": {}}


@dataclass
class KeptVersion:
    """A version; ``model`` is None while its kept forecast is all that was asked for."""

    owner: Kept
    key: Key
    model: FittedForecaster | None

    def predict(self, series: Series, first: int, last: int) -> Floats:
        if (first, last) != (self.key[2], self.key[2] + 1):
            return self._model(series).predict(series, first, last)
        told = self.owner.told
        if self.key not in told:
            told[self.key] = self._model(series).predict(series, first, last)
        return told[self.key]

    def held_out(self, series: Series, first: int, last: int) -> Floats | None:
        return self._model(series).held_out(series, first, last)

    def _model(self, series: Series) -> FittedForecaster:
        if self.model is None:
            _, first, last = self.key
            self.model = self.owner.inner.fit(series, first, last, seed=0)
        return self.model
