"""Gradient-boosted trees (XGBoost) as a forecaster; needs the extra ``xgboost``.

Takes the settings of the trees, gives a recipe on the features of this house. Next is the guard.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.models.features import Mode
from mlma.adapters.models.sklearn import SklearnForecaster
from mlma.domain.errors import MissingExtraError


class XGBoostForecaster(SklearnForecaster):
    """`xgboost.XGBRegressor` on the features of this house; gaps reach it as NaN.

    One thread, so that the same seed gives the same bits everywhere. XGBoost computes in single
    precision; forecasts are right to seven digits.

    Parameters
    ----------
    n_estimators, max_depth, learning_rate
        number of trees, depth of a tree, step of the boosting.
    mode
        ``day_ahead`` or ``one_step``, see `Features`.
    settings
        further settings of `xgboost.XGBRegressor`.

    Raises
    ------
    MissingExtraError
        XGBoost is not installed.
    """

    def __init__(
        self,
        n_estimators: int = 100,
        max_depth: int = 6,
        learning_rate: float = 0.1,
        *,
        mode: Mode = "day_ahead",
        name: str = "xgboost",
        **settings: Any,
    ) -> None:
        if find_spec("xgboost") is None:
            raise MissingExtraError("The model `xgboost`", "xgboost")
        from xgboost import XGBRegressor

        estimator = XGBRegressor(
            n_estimators=n_estimators,
            max_depth=max_depth,
            learning_rate=learning_rate,
            n_jobs=1,
            **{"tree_method": "hist", "verbosity": 0, **settings},
        )
        super().__init__(estimator, mode, name, fill=False)

    def _trained(self, estimator: Any) -> Any:
        return BoostedTrees(estimator.get_booster())


@dataclass(frozen=True, slots=True)
class BoostedTrees:
    """A trained booster: it forecasts a day faster than scikit-learn's wrapper.

    The number of its threads, 1, is a part of the booster and survives pickling.
    """

    booster: Any

    def predict(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return predictions, ``(n_rows,) float64``."""
        return np.asarray(self.booster.inplace_predict(X), dtype=np.float64)
