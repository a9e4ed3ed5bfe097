"""The models by name, and what a user may hand in instead of a name.

Takes a text, a regressor of a library or an object of the port, gives a forecaster.
"""

import inspect
from collections.abc import Callable
from typing import Any, cast

from sklearn.base import BaseEstimator, is_regressor
from sklearn.linear_model import Ridge

from mlma.adapters.models.features import Mode
from mlma.adapters.models.lightgbm import LightGBMForecaster
from mlma.adapters.models.river import RiverForecaster, is_river_regressor
from mlma.adapters.models.seasonal_naive import SeasonalNaive
from mlma.adapters.models.sklearn import SklearnForecaster
from mlma.adapters.models.statsforecast import StatsForecaster, is_statsforecast_model
from mlma.adapters.models.xgboost import XGBoostForecaster
from mlma.domain.errors import SettingsError, unknown_name
from mlma.domain.expressions import parse_call
from mlma.ports import Forecaster


def ridge(*, alpha: float = 10.0, mode: Mode = "day_ahead") -> SklearnForecaster:
    """Return ridge regression, the default model.

    ``alpha`` is the penalty in units of the scaled window; on hourly pedestrian, bicycle and flight
    counts anything from 1 to 100 is within two per cent.

    Raises
    ------
    SettingsError
        ``alpha`` is not above 0.
    """
    _check_alpha(alpha, "ridge", "10")
    return SklearnForecaster(Ridge(alpha=float(alpha), solver="cholesky"), mode, "ridge")


def lasso(*, alpha: float = 0.01, mode: Mode = "day_ahead", **settings: Any) -> SklearnForecaster:
    """Return the lasso: linear, few features; settings of `sklearn.linear_model.Lasso`.

    ``alpha`` is the penalty in units of the scaled window, as for `ridge`.
    """
    from sklearn.linear_model import Lasso

    _check_alpha(alpha, "lasso", "0.01")
    _check_settings("lasso", settings, Lasso())
    estimator = Lasso(alpha=float(alpha), **{"max_iter": 5000, "tol": 1e-3, **settings})
    return SklearnForecaster(estimator, mode, "lasso")


def random_forest(*, mode: Mode = "day_ahead", **settings: Any) -> SklearnForecaster:
    """Return a random forest; settings of `sklearn.ensemble.RandomForestRegressor`.

    Here 50 trees of at least five rows per leaf, which look at a third of the features.
    """
    from sklearn.ensemble import RandomForestRegressor

    _check_settings("random_forest", settings, RandomForestRegressor())
    chosen = {"n_estimators": 50, "min_samples_leaf": 5, "max_features": 1 / 3, **settings}
    return SklearnForecaster(RandomForestRegressor(**chosen), mode, "random_forest")


def lightgbm(*, mode: Mode = "day_ahead", **settings: Any) -> LightGBMForecaster:
    """Return gradient-boosted trees; settings of `lightgbm.LGBMRegressor`."""
    _check_settings("lightgbm", settings, LightGBMForecaster(mode=mode).estimator)
    return LightGBMForecaster(mode=mode, **settings)


def xgboost(*, mode: Mode = "day_ahead", **settings: Any) -> XGBoostForecaster:
    """Return gradient-boosted trees; settings of `xgboost.XGBRegressor`."""
    _check_settings("xgboost", settings, XGBoostForecaster(mode=mode).estimator)
    return XGBoostForecaster(mode=mode, **settings)


def statsforecast(*, mode: Mode = "day_ahead", **settings: Any) -> StatsForecaster:
    """Return a local statistical model; see `StatsForecaster`. Day-ahead only."""
    _check_day_ahead(mode)
    return StatsForecaster(**settings)


def river(*, mode: Mode = "day_ahead", **settings: Any) -> RiverForecaster:
    """Return an online learner; see `RiverForecaster`."""
    return RiverForecaster(mode=mode, **settings)


def seasonal_naive(*, mode: Mode = "day_ahead") -> SeasonalNaive:
    """Return the value of a week ago; the same in both modes."""
    return SeasonalNaive()


MODELS: dict[str, Callable[..., Forecaster]] = {
    "ridge": ridge,
    "lasso": lasso,
    "random_forest": random_forest,
    "lightgbm": lightgbm,
    "xgboost": xgboost,
    "statsforecast": statsforecast,
    "river": river,
    "seasonal_naive": seasonal_naive,
}


def forecaster_from(spec: object, mode: Mode = "day_ahead") -> Forecaster:
    """Return the forecaster that ``spec`` describes.

    Parameters
    ----------
    spec
        a name, with settings or without (``"ridge"``, ``"ridge(alpha=10)"``,
        ``"xgboost(n_estimators=50)"``, ``"statsforecast(model='AutoETS')"``); a regressor or
        pipeline of scikit-learn or river; a model of statsforecast; an object with ``fit``,
        ``name`` and ``warm_up`` as `mlma.ports.Forecaster` describes them, which is returned as it
        is.
    mode
        ``day_ahead`` or ``one_step``; an object of the port has its own.

    Raises
    ------
    SettingsError
        A name or setting is unknown, or ``spec`` is something else.
    MissingExtraError
        The model needs a library that is not installed.

    >>> forecaster_from("ridge(alpha=1)").name
    'ridge'
    """
    if isinstance(spec, str):
        return _from_text(spec, mode)
    if not isinstance(spec, type):
        if isinstance(spec, BaseEstimator) and is_regressor(spec):
            return SklearnForecaster(spec, mode)
        if is_river_regressor(spec):
            return RiverForecaster(spec, mode)
        if is_statsforecast_model(spec):
            _check_day_ahead(mode)
            return StatsForecaster(spec)
        if _is_of_the_port(spec):
            return cast("Forecaster", spec)
    raise _not_a_model(spec)


def _from_text(text: str, mode: Mode) -> Forecaster:
    name, arguments = parse_call(text, "model")
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    known = inspect.signature(MODELS[name]).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        for setting in arguments:
            if setting not in known:
                raise unknown_name(f"setting of `{name}`", setting, list(known))
    return MODELS[name](**{"mode": mode, **arguments})


def _check_alpha(alpha: object, model: str, usual: str) -> None:
    good = isinstance(alpha, int | float) and not isinstance(alpha, bool) and alpha > 0
    if not good:
        raise SettingsError(
            f"`alpha` of `{model}` must be above 0. Got {alpha!r}. Hint: {model}(alpha={usual})."
        )


def _check_settings(model: str, settings: dict[str, Any], estimator: Any) -> None:
    """Raise ``SettingsError`` for a setting that the estimator has not, or that is not free."""
    known = set(estimator.get_params()) - {"n_jobs", "random_state"}
    for setting in settings:
        if setting not in known:
            raise unknown_name(f"setting of `{model}`", setting, known)


def _check_day_ahead(mode: Mode) -> None:
    if mode != "day_ahead":
        raise SettingsError(
            f"Models of statsforecast forecast whole batches: `mode` must be day_ahead. "
            f"Got {mode!r}. Hint: shorter batches."
        )


def _is_of_the_port(spec: object) -> bool:
    complete = hasattr(spec, "name") and hasattr(spec, "warm_up")
    return complete and callable(getattr(spec, "fit", None))


def _not_a_model(spec: object) -> SettingsError:
    got = f"the class `{spec.__name__}`" if isinstance(spec, type) else f"`{spec!r:.60}`"
    hint = " Hint: hand in an instance, with brackets." if isinstance(spec, type) else ""
    return SettingsError(
        f"A model must be one of {', '.join(sorted(MODELS))} (as text, with settings or without), "
        f"a scikit-learn regressor, a river regressor, a model of statsforecast, or an object with "
        f"`fit`, `name` and `warm_up`. Got {got}.{hint}"
    )
