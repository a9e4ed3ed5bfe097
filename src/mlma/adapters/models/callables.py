"""A pair of Python functions as a forecaster.

Takes a function that trains and one that forecasts, gives a recipe of the port. Next is the guard,
which checks what comes out. For functions that read data frames see `frame_callables`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import ModelError, SettingsError
from mlma.domain.streams import Series

Floats = NDArray[np.float64]
Fit = Callable[[Series, int, int, int], Any]
Predict = Callable[[Any, Series, int, int], Floats]


class CallableForecaster:
    """Two functions of yours: one trains on a window of batches, one forecasts batches.

    Parameters
    ----------
    fit
        ``fit(series, first, last, seed)`` returns a model, any object, trained on batches ``first``
        to ``last - 1``. ``series.y`` is ``(n_batches, slots) float64``, NaN = missing, and must not
        be changed; nothing of it from batch ``last`` on may be read.
    predict
        ``predict(model, series, first, last)`` returns the forecasts of batches ``first`` to
        ``last - 1``, ``(last - first, slots) float64``, all finite. Those of batch ``b`` may read
        ``series.y[:b]`` only.
    name
        for tables and messages.
    warm_up
        batches that must lie before whatever is trained on or forecast. A window that begins
        earlier loses its first batches; where none remains, the fit is a ``ModelError``.
    held_out
        ``held_out(model, series, first, last)``: out-of-sample forecasts of batches inside the
        training window, if they are free; None = they take a second fit.
    mode
        ``day_ahead``, or ``one_step`` where a slot may read all slots before it.

    Raises
    ------
    SettingsError
        A function is not callable, ``name`` is empty, or ``warm_up`` is no number of batches.

    >>> from mlma.domain.streams import Grid
    >>> grid = Grid(np.datetime64("2024-01-01"), np.timedelta64(1, "D"), 1, 10)
    >>> series = Series("a", grid, np.arange(10.0).reshape(10, 1), np.empty((10, 1, 0)))
    >>> mean = CallableForecaster(
    ...     fit=lambda series, first, last, seed: np.nanmean(series.y[first:last]),
    ...     predict=lambda mean, series, first, last: np.full((last - first, 1), mean),
    ...     name="mean",
    ... )
    >>> mean.fit(series, 0, 9, seed=1).predict(series, 9, 10)
    array([[4.]])
    """

    def __init__(
        self,
        fit: Fit,
        predict: Predict,
        name: str = "mine",
        *,
        warm_up: int = 0,
        held_out: Predict | None = None,
        mode: str = "day_ahead",
    ) -> None:
        check_parts(name, warm_up, mode, fit=fit, predict=predict, held_out=held_out or predict)
        self.name, self.warm_up, self.mode = name, warm_up, mode
        self._fit, self._predict, self._held_out = fit, predict, held_out

    def __repr__(self) -> str:
        return f"CallableForecaster(name={self.name!r}, warm_up={self.warm_up})"

    def fit(self, series: Series, first: int, last: int, seed: int) -> "FittedCallable":
        """Return your model of batches ``first`` to ``last - 1``; see `mlma.ports`.

        Raises
        ------
        ModelError
            No batch of the window has ``warm_up`` batches before it.
        """
        first = first_batch(self.warm_up, series, first, last)
        model = self._fit(series, first, last, seed)
        return FittedCallable(self._predict, self._held_out, self.warm_up, model)


@dataclass(frozen=True, slots=True)
class FittedCallable:
    """What your ``fit`` returned, and the functions that forecast with it."""

    predict_with: Predict
    held_out_with: Predict | None
    warm_up: int
    model: Any

    def predict(self, series: Series, first: int, last: int) -> Floats:
        """Return what your ``predict`` returns, ``(last - first, slots)``.

        Raises
        ------
        ModelError
            Fewer than ``warm_up`` batches lie before ``first``.
        """
        check_history(self.warm_up, series, first)
        return self.predict_with(self.model, series, first, last)

    def held_out(self, series: Series, first: int, last: int) -> Floats | None:
        """Return what your ``held_out`` returns; None without one."""
        if self.held_out_with is None:
            return None
        return self.held_out_with(self.model, series, first, last)


def callables(
    fit: Fit,
    predict: Predict,
    name: str = "mine",
    *,
    warm_up: int = 0,
    held_out: Predict | None = None,
    mode: str = "day_ahead",
) -> CallableForecaster:
    """Return two functions as a forecaster; see `CallableForecaster`."""
    return CallableForecaster(fit, predict, name, warm_up=warm_up, held_out=held_out, mode=mode)


def check_parts(name: object, warm_up: object, mode: object, **functions: object) -> None:
    """Raise ``SettingsError`` unless the parts of a forecaster are what they should be."""
    for part, function in functions.items():
        if not callable(function):
            raise SettingsError(f"`{part}` of a model must be a function. Got {function!r:.60}.")
    if not isinstance(name, str) or not name:
        raise SettingsError(f"`name` of a model must be a text that is not empty. Got {name!r}.")
    if not isinstance(warm_up, int) or isinstance(warm_up, bool) or warm_up < 0:
        raise SettingsError(
            f"`warm_up` of model `{name}` must be a number of batches, 0 or more. Got {warm_up!r}."
        )
    if mode not in ("day_ahead", "one_step"):
        raise SettingsError(
            f"`mode` of model `{name}` must be one of day_ahead, one_step. Got {mode!r}."
        )


def first_batch(warm_up: int, series: Series, first: int, last: int) -> int:
    """Return the first batch of a window that has ``warm_up`` batches before it.

    Raises
    ------
    ModelError
        The window has none.
    """
    if warm_up >= last:
        raise ModelError(
            f"Stream `{series.unique_id}` is too short. Expected {warm_up} batches (`warm_up`) "
            f"before at least one batch of the window. Got a window that ends after {last} "
            f"batches. Hint: a smaller `warm_up`, or a longer `window`."
        )
    return max(first, warm_up)


def check_history(warm_up: int, series: Series, first: int) -> None:
    """Raise ``ModelError`` where fewer than ``warm_up`` batches lie before a forecast."""
    if first < warm_up:
        raise ModelError(
            f"Stream `{series.unique_id}` has too little history. Expected {warm_up} batches "
            f"(`warm_up`) before a forecast. Got {first}."
        )
