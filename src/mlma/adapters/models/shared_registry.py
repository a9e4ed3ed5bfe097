"""The shared models by name, and what a user may hand in instead of a name.

Takes a text, a scikit-learn regressor, an `mlforecast.MLForecast` or an object of the port, gives a
shared forecaster.
"""

import inspect
import sys
from typing import Any, cast

from sklearn.base import BaseEstimator, is_regressor

from mlma.adapters.models.features import Mode
from mlma.adapters.models.mlforecast import MLForecastShared
from mlma.adapters.models.mlforecast_recipe import FromGrid
from mlma.adapters.models.registry import MODELS, forecaster_from
from mlma.adapters.models.shared import SharedSklearn
from mlma.adapters.models.sklearn import SklearnForecaster
from mlma.domain.errors import SettingsError, unknown_name
from mlma.domain.expressions import parse_call
from mlma.ports import SharedForecaster

NO_SHARED = ("seasonal_naive", "statsforecast", "river")
"""Models by name that learn from one stream alone."""


def mlforecast(
    *,
    model: Any = "lightgbm",
    lags: tuple[int, ...] | None = None,
    date_features: tuple[str, ...] | None = None,
    units: bool = True,
    mode: Mode = "day_ahead",
) -> MLForecastShared:
    """Return MLForecast with features that follow the grid; see `FromGrid`.

    Parameters
    ----------
    model
        text as in `shared_from`, such as ``"lightgbm(n_estimators=50)"``, or a regressor.
    lags, date_features
        as MLForecast takes them; None = by the grid. Lags shorter than a batch are allowed: then
        MLForecast forecasts from its own forecasts.
    units
        every stream in units of its training window.

    Raises
    ------
    SettingsError
        The model is no regressor, lags are not slots, or ``mode`` is not ``day_ahead``.
    MissingExtraError
        MLForecast, or the library of the model, is not installed.
    """
    if mode != "day_ahead":
        raise SettingsError(
            f"Models of MLForecast forecast whole batches: `mode` must be day_ahead. Got {mode!r}. "
            f"Hint: shorter batches."
        )
    return MLForecastShared(
        FromGrid(_regressor(model).estimator, _lags(lags), _names(date_features)), units=units
    )


def shared_from(spec: object, mode: Mode = "day_ahead") -> SharedForecaster:
    """Return the shared forecaster that ``spec`` describes.

    Parameters
    ----------
    spec
        a name, with settings or without (``"ridge"``, ``"lightgbm(n_estimators=50)"``,
        ``"xgboost"``, ``"mlforecast(model='lightgbm')"``); a scikit-learn regressor or pipeline; an
        `mlforecast.MLForecast`; an object with ``fit_shared``, ``name`` and ``warm_up`` as
        `mlma.ports.SharedForecaster` describes them, which is returned as it is.
    mode
        ``day_ahead`` or ``one_step``; an object of the port has its own.

    Raises
    ------
    SettingsError
        A name or setting is unknown, the model cannot be shared, or ``spec`` is something else.
    MissingExtraError
        The model needs a library that is not installed.

    >>> shared_from("ridge(alpha=1)").name
    'ridge'
    """
    if isinstance(spec, str):
        return _from_text(spec, mode)
    if not isinstance(spec, type):
        if _is_mlforecast(spec):
            return _given(spec, mode)
        if _is_of_the_port(spec):
            return cast("SharedForecaster", spec)
        if isinstance(spec, SklearnForecaster):
            return _shared(spec)
        if isinstance(spec, BaseEstimator) and is_regressor(spec):
            return SharedSklearn(spec, mode)
    raise _not_shared(spec)


def _from_text(text: str, mode: Mode) -> SharedForecaster:
    name, settings = parse_call(text, "shared model")
    if name == "mlforecast":
        known = [*inspect.signature(mlforecast).parameters]
        for setting in settings:
            if setting not in known:
                raise unknown_name("setting of `mlforecast`", setting, known)
        return mlforecast(**{"mode": mode, **settings})
    if name in NO_SHARED:
        raise SettingsError(
            f"Model `{name}` learns from one stream alone and cannot be shared. "
            f"Expected one of {', '.join(_known())}. Hint: use it as the model of every stream."
        )
    if name not in MODELS:
        raise unknown_name("shared model", name, _known())
    return _shared(_regressor(text, mode))


def _known() -> list[str]:
    return sorted({*MODELS, "mlforecast"} - {*NO_SHARED})


def _regressor(spec: object, mode: Mode = "day_ahead") -> SklearnForecaster:
    """Return what stands around the regressor that ``spec`` describes."""
    made = forecaster_from(spec, mode)
    if not isinstance(made, SklearnForecaster):
        raise SettingsError(
            f"The model `{made.name}` is no regressor that streams can share. Expected one of "
            f"{', '.join(_known())}, or a scikit-learn regressor."
        )
    return made


def _shared(one: SklearnForecaster) -> SharedSklearn:
    return SharedSklearn(one.estimator, one.mode, one.name, fill=one.features.fill)


def _given(recipe: object, mode: Mode) -> MLForecastShared:
    if mode != "day_ahead":
        mlforecast(mode=mode)  # says why
    return MLForecastShared(recipe)


def _lags(lags: object) -> tuple[int, ...] | None:
    if lags is None:
        return None
    made = tuple(lags) if isinstance(lags, tuple | list) else ()
    if not made or not all(type(lag) is int and lag > 0 for lag in made):
        raise SettingsError(
            f"`lags` of `mlforecast` must be whole numbers of slots above 0. Got {lags!r}. "
            f"Hint: lags=(24, 168)."
        )
    return made


def _names(features: object) -> tuple[str, ...] | None:
    if features is None:
        return None
    made = tuple(features) if isinstance(features, tuple | list) else (0,)
    if not all(isinstance(one, str) for one in made):
        raise SettingsError(
            f"`date_features` of `mlforecast` must be names of pandas dates. Got {features!r}. "
            f"Hint: date_features=('hour', 'dayofweek')."
        )
    return cast("tuple[str, ...]", made)


def _is_mlforecast(spec: object) -> bool:
    """Whether it is an `MLForecast`; whoever has one has loaded the library."""
    library = sys.modules.get("mlforecast")
    return library is not None and isinstance(spec, library.MLForecast)


def _is_of_the_port(spec: object) -> bool:
    complete = hasattr(spec, "name") and hasattr(spec, "warm_up")
    return complete and callable(getattr(spec, "fit_shared", None))


def _not_shared(spec: object) -> SettingsError:
    got = f"the class `{spec.__name__}`" if isinstance(spec, type) else f"`{spec!r:.60}`"
    hint = " Hint: hand in an instance, with brackets." if isinstance(spec, type) else ""
    return SettingsError(
        f"A shared model must be one of {', '.join(_known())} (as text, with settings or without), "
        f"a scikit-learn regressor, an `mlforecast.MLForecast`, or an object with `fit_shared`, "
        f"`name` and `warm_up`. Got {got}.{hint}"
    )
