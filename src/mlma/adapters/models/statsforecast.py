"""Local statistical models (statsforecast) as a forecaster; needs the extra ``statsforecast``.

Takes the name of a model or an instance, gives a recipe that estimates it on a window. A fitted one
is applied to later values with its parameters as they are. Next is the guard.
"""

from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import isclass, signature
from sys import modules
from typing import Any, Literal
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.models.rhythm import carried, day_slots, week_slots
from mlma.domain.errors import MissingExtraError, ModelError, SettingsError, unknown_name
from mlma.domain.streams import Grid, Series

Floats = NDArray[np.float64]
Season = Literal["day", "week"] | int | None

DEFAULT = "AutoETS"
MEMORYLESS = (
    "CrostonClassic",
    "CrostonSBA",
    "HistoricAverage",
    "RandomWalkWithDrift",
    "SeasonalExponentialSmoothing",
    "SeasonalWindowAverage",
    "SimpleExponentialSmoothing",
    "TSB",
    "WindowAverage",
)
"""Models without estimated parameters: their ``forecast`` only applies what was set."""

_SEVERAL_SEASONS = ("MSTL",)


class StatsForecaster:
    """A model of statsforecast: parameters from the window, forecasts from each batch's cutoff.

    The values from the start of the training window to the cutoff are filtered with the parameters
    of the fit (``forward``); nothing is estimated in between. Gaps are filled causally (`carried`).
    Exogenous columns go to the models that read them (ARIMA and its kin), without those that are
    constant in the window.

    Parameters
    ----------
    model
        the name of a model, whose ``settings`` follow; or an instance, taken as it is.
    season
        season of a model by name: ``day``, ``week``, a number of slots, or None: the day where
        slots lie within one, else the week; both for `MSTL`.
    name
        for tables; default: the alias of the model.

    Raises
    ------
    SettingsError
        ``model`` cannot be applied to later values without a new fit, or is no model of
        statsforecast; or a name or setting is unknown.
    MissingExtraError
        statsforecast is not installed.
    """

    mode = "day_ahead"
    warm_up = 0

    def __init__(
        self,
        model: Any = DEFAULT,
        *,
        season: Season = None,
        name: str | None = None,
        **settings: Any,
    ) -> None:
        if find_spec("statsforecast") is None:
            raise MissingExtraError("The model `statsforecast`", "statsforecast")
        _check_season(season)
        if isinstance(model, str):
            _check_named(model, settings)
        elif not is_statsforecast_model(model) or settings or season is not None:
            raise SettingsError(
                f"`model` of `statsforecast` must be the name of a model, with `season` and "
                f"settings, or an instance, without. Got {model!r:.60} with "
                f"{', '.join(settings) or 'no'} settings, season {season!r}."
            )
        kind = model if isinstance(model, str) else type(model).__name__
        _check_applicable(kind)
        self._model, self._settings, self._season = model, settings, season
        self.name = name or (kind if isinstance(model, str) else str(model.alias))

    def __repr__(self) -> str:
        return f"StatsForecaster({self.name}, season={self._season!r})"

    def fit(self, series: Series, first: int, last: int, seed: int) -> "FittedStats":
        """Return the model estimated on batches ``first`` to ``last - 1``.

        Raises
        ------
        ModelError
            No value is observed in the window.
        """
        if not np.isfinite(series.y[first:last]).any():
            raise ModelError(
                f"No usable row for stream `{series.unique_id}` in batches {first} to {last - 1}. "
                f"Expected at least one observed value. Hint: a longer window."
            )
        model = self._built(series.grid)
        columns = _moving_columns(series, first, last) if model.uses_exog else ()
        past = _Past(columns, first)
        with catch_warnings():
            simplefilter("ignore")
            fitted = model.fit(y=past.y(series, last), X=past.X(series, first, last))
        return FittedStats(fitted, past)

    def _built(self, grid: Grid) -> Any:
        """Return a model that was not fitted, with the season of this grid."""
        if not isinstance(self._model, str):
            return deepcopy(self._model)
        kind = _models()[self._model]
        settings = dict(self._settings)
        if "season_length" in signature(kind.__init__).parameters:
            settings.setdefault("season_length", _seasons(self._model, self._season, grid))
        return kind(**settings)


@dataclass(frozen=True, slots=True)
class FittedStats:
    """A fitted model of statsforecast of one stream."""

    model: Any
    past: "_Past"

    def predict(self, series: Series, first: int, last: int) -> Floats:
        """Return forecasts of batches ``first`` to ``last - 1``, ``(last - first, slots)``.

        Raises
        ------
        ModelError
            A batch lies at or before the start of the training window.
        """
        if first <= self.past.first:
            raise ModelError(
                f"Model `{self.model}` of stream `{series.unique_id}` forecasts batches after the "
                f"start of its window. Expected batch {self.past.first + 1} or later. Got {first}."
            )
        with catch_warnings():
            simplefilter("ignore")
            return np.stack([self._one(series, batch) for batch in range(first, last)])

    def held_out(self, series: Series, first: int, last: int) -> None:
        """Return None: it would take another fit."""
        return

    def _one(self, series: Series, batch: int) -> Floats:
        y = self.past.y(series, batch)
        X = self.past.X(series, self.past.first, batch)
        ahead = self.past.X(series, batch, batch + 1)
        apply = getattr(self.model, "forward", None) or self.model.forecast
        answer = apply(y=y, h=series.grid.slots, X=X, X_future=ahead)
        return np.asarray(answer["mean"], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Past:
    """What a model reads: values from the first batch of its window on, some exogenous columns."""

    columns: tuple[int, ...]
    first: int

    def y(self, series: Series, last: int) -> Floats:
        """Return the values before batch ``last`` without gaps, ``(n,)``, a copy."""
        known = carried(series.y[:last].ravel(), series.grid)
        return known[self.first * series.grid.slots :].copy()

    def X(self, series: Series, first: int, last: int) -> Floats | None:  # noqa: N802
        """Return exogenous columns of a range of batches, ``(n, p)``; None without any."""
        if not self.columns:
            return None
        slots = series.grid.slots
        filled = [
            carried(series.exogenous[:last, :, column].ravel(), series.grid)[first * slots :]
            for column in self.columns
        ]
        return np.stack(filled, axis=1)


def is_statsforecast_model(model: object) -> bool:
    """Return whether ``model`` is an instance of a model of statsforecast."""
    home = modules.get("statsforecast.models")
    return home is not None and isinstance(model, home._TS)


def _models() -> dict[str, Any]:
    from statsforecast import models

    return {
        name: kind
        for name, kind in vars(models).items()
        if isclass(kind) and issubclass(kind, models._TS) and not name.startswith("_")
    }


def _check_applicable(kind: str) -> None:
    known = _models().get(kind)
    if known is not None and not hasattr(known, "forward") and kind not in MEMORYLESS:
        raise SettingsError(
            f"The model `{kind}` of statsforecast cannot be applied to later values without a new "
            f"fit, so it has no versions to monitor. Hint: one with `forward`, such as AutoETS, "
            f"AutoTheta, AutoCES, AutoARIMA or MSTL."
        )


def _check_named(name: str, settings: dict[str, Any]) -> None:
    known = _models()
    if name not in known:
        raise unknown_name("model of `statsforecast`", name, known)
    parameters = set(signature(known[name].__init__).parameters) - {"self"}
    for setting in settings:
        if setting not in parameters:
            raise unknown_name(f"setting of `{name}`", setting, parameters)
    trial = {"season_length": 2} if "season_length" in parameters else {}
    try:
        known[name](**{**trial, **settings})
    except (TypeError, ValueError) as error:
        raise SettingsError(f"The model `{name}` cannot be built. Got {error}.") from error


def _check_season(season: object) -> None:
    whole = isinstance(season, int) and not isinstance(season, bool) and season >= 1
    if season is not None and season not in ("day", "week") and not whole:
        raise SettingsError(
            f"`season` of `statsforecast` must be `day`, `week`, a number of slots, or None. "
            f"Got {season!r}."
        )


def _seasons(name: str, season: Season, grid: Grid) -> int | list[int]:
    """Return the length of the season in slots, several for models that take several."""
    day, week = day_slots(grid), week_slots(grid) or day_slots(grid)
    if name in _SEVERAL_SEASONS and season is None:
        return sorted({day, week} - {1}) or 1
    if isinstance(season, int):
        return season
    return week if season == "week" or (season is None and day == 1) else day


def _moving_columns(series: Series, first: int, last: int) -> tuple[int, ...]:
    """Return the exogenous columns that are not constant in the window."""
    window = series.exogenous[first:last]
    every = range(window.shape[-1])
    moving = (np.unique(window[..., k][np.isfinite(window[..., k])]).size > 1 for k in every)
    return tuple(k for k, moves in zip(every, moving, strict=True) if moves)
