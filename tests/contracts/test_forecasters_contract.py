"""Every forecaster keeps the promises of its port, and a forecaster that breaks one is found."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
from river import preprocessing, tree
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlma.adapters.models.callables import callables
from mlma.adapters.models.contract import check_forecaster
from mlma.adapters.models.frame_callables import FrameForecaster
from mlma.adapters.models.guard import checked_fit, checked_predict
from mlma.adapters.models.registry import forecaster_from
from mlma.domain.errors import ModelError
from mlma.domain.streams import Grid, Series
from mlma.ports import FittedForecaster, Forecaster

MODELS = {
    "ridge": "ridge",
    "forest": RandomForestRegressor(n_estimators=5, max_depth=6),
    "pipeline": make_pipeline(StandardScaler(), LinearRegression(n_jobs=2)),
    "lightgbm": "lightgbm(n_estimators=10)",
    "seasonal_naive": "seasonal_naive",
    "lasso": "lasso",
    "random_forest": "random_forest(n_estimators=3)",
    "xgboost": "xgboost(n_estimators=10)",
    "river": "river",
    "river_sgd": "river(model='LinearRegression')",
}


def mean_per_slot(series: Series, first: int, last: int, seed: int) -> np.ndarray:
    window = series.y[first:last]
    seen = np.isfinite(window)
    return np.where(seen, window, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)


def the_same_every_batch(mean: np.ndarray, series: Series, first: int, last: int) -> np.ndarray:
    return np.tile(mean, (last - first, 1))


def nothing(train: pl.DataFrame) -> None:
    return None


def mean_of_history(model: None, history: pl.DataFrame, future: pl.DataFrame) -> pl.DataFrame:
    mean = history["y"].tail(7 * future.height).mean()
    return future.select("ds", y_hat=pl.lit(mean))


DAY_AHEAD = {
    "river_tree": preprocessing.StandardScaler() | tree.HoeffdingTreeRegressor(),
    "holt_winters": "statsforecast(model='HoltWinters')",
    "arima": "statsforecast(model='ARIMA', order=(1, 0, 0))",
    "theta": "statsforecast(model='Theta')",
    "ses": "statsforecast(model='SeasonalExponentialSmoothing', alpha=0.3)",
    "callables": callables(mean_per_slot, the_same_every_batch),
    "frames": FrameForecaster(nothing, mean_of_history, warm_up=7, gaps="carry"),
}
ALL = [(model, mode) for model in MODELS for mode in ("day_ahead", "one_step")]
ALL += [(model, "day_ahead") for model in DAY_AHEAD]


@pytest.fixture(params=ALL, ids=str)
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    model, mode = request.param
    return forecaster_from((MODELS | DAY_AHEAD)[model], mode=mode)


def stream(step_minutes: int, slots: int, n_batches: int) -> Series:
    step = np.timedelta64(step_minutes * 60 * 10**6, "us")
    grid = Grid(np.datetime64("2024-01-01", "us"), step, slots, n_batches)
    rng = np.random.default_rng(6)
    y = rng.gamma(5.0, size=(n_batches, slots))
    return Series("a", grid, y, rng.normal(size=(n_batches, slots, 2)))


def test_it_keeps_the_promises_of_the_port(forecaster: Forecaster) -> None:
    check_forecaster(forecaster)


@pytest.mark.parametrize(
    ("step_minutes", "slots", "n_batches"),
    [(15, 96, 30), (60, 6, 120), (1440, 1, 90), (1440, 7, 30)],
)
def test_it_forecasts_on_every_grid(
    forecaster: Forecaster, step_minutes: int, slots: int, n_batches: int
) -> None:
    series = stream(step_minutes, slots, n_batches)
    fitted = checked_fit(forecaster, series, n_batches // 4, n_batches - 3, 1)
    assert checked_predict(fitted, series, n_batches - 3, n_batches).shape == (3, slots)


def test_a_hole_of_a_month_does_not_stop_it(forecaster: Forecaster) -> None:
    series = stream(60, 24, 90)
    series.y[30:60] = np.nan
    fitted = checked_fit(forecaster, series, 14, 84, 1)
    checked_predict(fitted, series, 84, 90)
    in_the_hole = checked_fit(forecaster, series, 14, 50, 1)
    checked_predict(in_the_hole, series, 50, 60)


def test_a_stream_of_zeros_is_forecast_as_zero(forecaster: Forecaster) -> None:
    series = stream(60, 24, 60)
    silent = replace(series, y=np.zeros_like(series.y))
    fitted = checked_fit(forecaster, silent, 14, 50, 1)
    assert np.abs(checked_predict(fitted, silent, 50, 60)).max() < 1e-9


def test_a_constant_stream_is_forecast_as_its_constant(forecaster: Forecaster) -> None:
    series = stream(60, 24, 60)
    flat = replace(series, y=np.full_like(series.y, 0.1))
    fitted = checked_fit(forecaster, flat, 14, 50, 1)
    assert checked_predict(fitted, flat, 50, 60) == pytest.approx(np.full((10, 24), 0.1), rel=1e-6)


def test_the_seed_decides_a_random_model() -> None:
    series = stream(60, 24, 60)
    forest = forecaster_from(RandomForestRegressor(n_estimators=3, max_depth=4, n_jobs=2))
    first, again, other = (
        forest.fit(series, 14, 50, seed).predict(series, 50, 51) for seed in (1, 1, 2**40)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@dataclass(frozen=True)
class Faulty:
    """A seasonal-naive model with one fault."""

    fault: str = ""
    name: str = "faulty"
    warm_up: int = 7
    seen: float = 0.0

    def fit(self, series: Series, first: int, last: int, seed: int) -> FittedForecaster:
        if self.fault == "changes":
            series.y[first] = 0.0
        if self.fault == "changes columns":
            series.exogenous[first] = 0.0
        if self.fault == "fit reads on":
            return replace(self, seen=float(np.nansum(series.y[last:])))
        if self.fault == "random":
            return replace(self, seen=float(np.random.default_rng().normal()))
        if self.fault == "lambda":
            return replace(self, seen=_Unpicklable(1.0))
        if self.fault == "garbage at first" and last < self.warm_up:
            return replace(self, seen=1e12)
        return self

    def predict(self, series: Series, first: int, last: int) -> np.ndarray:
        if first < self.warm_up and not self.seen:
            raise ModelError(f"needs {self.warm_up} batches")
        lag = 0 if self.fault == "reads the answer" or first < 7 else 7
        out = np.nan_to_num(series.y[first - lag : last - lag]) + self.seen
        if self.fault == "yesterday at once":
            out = np.nan_to_num(series.y[first:last, :1]) + out
        if self.fault == "NaN":
            out[0, 0] = np.nan
        if self.fault == "chunks":
            out += last - first
        return out[0] if self.fault == "shape" else out

    def held_out(self, series: Series, first: int, last: int) -> np.ndarray | None:
        return np.zeros(3) if self.fault == "held out" else None


class _Unpicklable(float):
    def __reduce__(self) -> str:
        raise TypeError("cannot be pickled")


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("changes", AssertionError, "changes the series"),
        ("changes columns", AssertionError, "changes the series"),
        ("chunks", AssertionError, "when it is asked for alone"),
        ("garbage at first", AssertionError, r"1e\+12 from a history of 1 batches"),
        ("fit reads on", AssertionError, "the end of the window"),
        ("random", AssertionError, "same seed"),
        ("reads the answer", AssertionError, "at or after the cutoff"),
        ("yesterday at once", AssertionError, "at or after the cutoff"),
        ("NaN", ModelError, "returned NaN for 1 of 24 slots"),
        ("shape", ModelError, r"shape \(1, 24\). Got shape \(24,\)"),
        ("held out", ModelError, "held_out"),
        (
            "lambda",
            AssertionError,
            "Forecaster `faulty` fits a model that cannot be pickled.*TypeError: cannot be pickled",
        ),
    ],
)
def test_a_faulty_forecaster_is_found(fault: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_forecaster(Faulty(fault))


def test_the_same_forecaster_without_a_fault_passes() -> None:
    check_forecaster(Faulty())


@pytest.mark.parametrize("forecaster", [replace(Faulty(), name=""), replace(Faulty(), warm_up=-1)])
def test_a_forecaster_needs_a_name_and_a_warm_up(forecaster: Faulty) -> None:
    with pytest.raises(AssertionError, match=r"name|warm_up"):
        check_forecaster(forecaster)


def test_one_step_models_are_caught_where_they_claim_to_be_day_ahead() -> None:
    one_step = forecaster_from(Ridge(), mode="one_step")
    check_forecaster(one_step)
    with pytest.raises(AssertionError, match="mode day_ahead"):
        check_forecaster(one_step, mode="day_ahead")
