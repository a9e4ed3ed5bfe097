"""Any scikit-learn regressor or pipeline as a forecaster.

Takes an estimator, gives a recipe that fits one copy of it per stream and window on the features of
this house. Next is the guard, which checks what comes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import Ridge, ridge_regression

from mlma.adapters.models.features import Features, Mode
from mlma.adapters.models.ridge import FittedRidge
from mlma.adapters.models.scaling import TrainingWindow, training_window
from mlma.domain.streams import Series
from mlma.ports import FittedForecaster

Floats = NDArray[np.float64]

_EXACT_SOLVERS = ("auto", "cholesky", "svd")
_THREADS = ("n_jobs", "nthread", "num_thread", "num_threads", "thread_count")


class SklearnForecaster:
    """A scikit-learn regressor, fitted on lags, level, calendar and exogenous columns.

    Every fit clones ``estimator``, sets each ``random_state`` in it from the seed and each
    ``n_jobs`` (or what LightGBM, XGBoost and CatBoost call it) to 1. Target and lags are in units
    of the training window.

    Parameters
    ----------
    estimator
        regressor or pipeline; not changed.
    mode
        ``day_ahead`` or ``one_step``, see `Features`.
    name
        for tables; default: the class of the estimator.
    fill
        False leaves missing features NaN, for estimators that know NaN.

    >>> from mlma.domain.streams import Grid
    >>> grid = Grid(np.datetime64("2024-01-01"), np.timedelta64(1, "D"), 1, 60)
    >>> weekly = (np.arange(60.0) % 7).reshape(60, 1)
    >>> series = Series("a", grid, weekly, np.empty((60, 1, 0)))
    >>> model = SklearnForecaster(Ridge(alpha=0.01)).fit(series, 14, 59, seed=1)
    >>> print(model.predict(series, 59, 60).round(1))
    [[3.]]
    """

    def __init__(
        self,
        estimator: Any,
        mode: Mode = "day_ahead",
        name: str | None = None,
        *,
        fill: bool = True,
    ) -> None:
        self.estimator = estimator
        self.features = Features(mode, fill)
        self.warm_up = 14
        self.name = name or type(estimator).__name__
        parameters: Mapping[str, Any] = estimator.get_params(deep=True)
        self._seeded = [key for key in parameters if key.split("__")[-1] == "random_state"]
        self._serial = {key: 1 for key in parameters if key.split("__")[-1] in _THREADS}
        self._plain = type(estimator) is Ridge and _is_plain(estimator)

    def __repr__(self) -> str:
        return f"SklearnForecaster({self.estimator!r}, mode={self.mode!r}, name={self.name!r})"

    @property
    def mode(self) -> Mode:
        """``day_ahead`` or ``one_step``."""
        return self.features.mode

    def fit(self, series: Series, first: int, last: int, seed: int) -> FittedForecaster:
        """Return a model trained on batches ``first`` to ``last - 1``; see `mlma.ports`."""
        window = training_window(self.features, series, first, last)
        if self._plain:
            return self._fit_ridge(window, first, last)
        estimator = clone(self.estimator)
        settings = {**self._serial, **dict.fromkeys(self._seeded, seed % 2**31)}
        if settings:
            estimator.set_params(**settings)
        estimator.fit(window.X, window.y)
        return FittedSklearn(self.features, self._trained(estimator), window.unit, window.columns)

    def _trained(self, estimator: Any) -> Any:
        """Return the part of a fitted estimator that forecasts; here, all of it."""
        return estimator

    def _fit_ridge(self, window: TrainingWindow, first: int, last: int) -> FittedRidge:
        # `Ridge.fit` spends half of its time on checks that the window has passed already.
        alpha = float(self.estimator.alpha)
        centre, level = window.X.mean(axis=0), float(window.y.mean())
        with config_context(assume_finite=True, skip_parameter_validation=True):
            slopes = ridge_regression(
                window.X - centre, window.y - level, alpha, solver="cholesky", check_input=False
            )
        weights = slopes * (window.unit / window.columns)
        intercept = (level - float(centre @ slopes)) * window.unit
        return FittedRidge(self.features, weights, intercept, alpha, first, last)


@dataclass(frozen=True, slots=True)
class FittedSklearn:
    """A fitted scikit-learn regressor of one stream, with the units of its training window."""

    features: Features
    estimator: Any
    unit: float
    columns: Floats

    def predict(self, series: Series, first: int, last: int) -> Floats:
        """Return forecasts of batches ``first`` to ``last - 1``, ``(last - first, slots)``."""
        X = self.features.matrix(series, first, last) / self.columns
        return np.asarray(self.estimator.predict(X) * self.unit).reshape(last - first, -1)

    def held_out(self, series: Series, first: int, last: int) -> None:
        """Return None: it would take another fit."""
        return


def _is_plain(ridge: Any) -> bool:
    """Whether the closed form of ridge regression with an intercept is what this one fits."""
    return bool(
        ridge.fit_intercept
        and not ridge.positive
        and ridge.solver in _EXACT_SOLVERS
        and np.ndim(ridge.alpha) == 0
        and ridge.alpha > 0
    )
