"""Every shared forecaster keeps the promises of its port; one that breaks a promise is found."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlma.adapters.models.contract import check_forecaster
from mlma.adapters.models.mlforecast import MLForecastShared
from mlma.adapters.models.shared_contract import check_shared_forecaster
from mlma.adapters.models.shared_guard import GuardedShared
from mlma.adapters.models.shared_registry import shared_from
from mlma.adapters.models.solo import Solo
from mlma.domain.errors import ModelError
from mlma.domain.streams import Series
from mlma.ports import SharedForecaster

MODELS = {
    "ridge": "ridge",
    "forest": RandomForestRegressor(n_estimators=3, max_depth=5, n_jobs=2),
    "pipeline": make_pipeline(StandardScaler(), LinearRegression(n_jobs=2)),
    "lightgbm": "lightgbm(n_estimators=10)",
    "xgboost": "xgboost(n_estimators=10)",
}


@pytest.mark.parametrize("mode", ["day_ahead", "one_step"])
@pytest.mark.parametrize("model", MODELS)
def test_it_keeps_the_promises_of_the_port(model: str, mode: Any) -> None:
    check_shared_forecaster(shared_from(MODELS[model], mode))


@pytest.mark.parametrize("model", ["ridge", "lightgbm(n_estimators=10)"])
def test_mlforecast_keeps_the_promises_of_the_port(model: str) -> None:
    pytest.importorskip("mlforecast")
    check_shared_forecaster(shared_from(f"mlforecast(model={model!r})"))


def test_mlforecast_that_reads_its_own_forecasts_keeps_the_promises_of_the_port() -> None:
    mlforecast = pytest.importorskip("mlforecast")
    from mlforecast.lag_transforms import ExpandingMean
    from mlforecast.target_transforms import Differences, LocalStandardScaler

    recipe = mlforecast.MLForecast(
        Ridge(),
        freq="h",
        lags=[1, 24],
        lag_transforms={1: [ExpandingMean()]},
        date_features=["hour"],
        target_transforms=[Differences([24]), LocalStandardScaler()],
    )
    check_shared_forecaster(MLForecastShared(recipe))


@pytest.mark.parametrize("model", ["ridge", "mlforecast(model='ridge')"])
def test_a_shared_recipe_serves_one_stream_alone(model: str) -> None:
    check_forecaster(Solo(shared_from(model)))


def test_a_guarded_model_keeps_the_promises_of_the_port() -> None:
    check_shared_forecaster(GuardedShared(shared_from("ridge")))


@dataclass(frozen=True)
class Faulty:
    """The value of a week ago for every member, with one fault."""

    fault: str = ""
    name: str = "faulty"
    warm_up: int = 7
    seen: float = 0.0
    trained: tuple[str, ...] = ()

    def fit_shared(
        self, members: Sequence[Series], first: int, last: int, seed: int
    ) -> "Faulty | Unpicklable":
        if self.fault == "changes":
            members[1].y[first] = 0.0
        if self.fault == "changes columns":
            members[0].exogenous[first] = 0.0
        if self.fault == "refuses nothing":
            return self
        if not any(np.isfinite(one.y[first:last]).any() for one in members):
            raise ModelError("nothing to learn")
        made = replace(self, trained=tuple(one.unique_id for one in members))
        if self.fault == "fit reads on":
            return replace(made, seen=float(np.nansum(members[2].y[last:])))
        if self.fault == "random":
            return replace(made, seen=float(np.random.default_rng().normal()))
        return Unpicklable(made) if self.fault == "unpicklable" else made

    def predict(self, series: Series, first: int, last: int) -> np.ndarray:
        if self.fault == "knows no stranger" and series.unique_id not in self.trained:
            raise KeyError(series.unique_id)
        if self.fault == "dead" and not np.nansum(series.y[:first]):
            return np.full((last - first, series.y.shape[1]), np.nan)
        lag = 0 if self.fault == "reads the answer" else 7
        out = np.nan_to_num(series.y[first - lag : last - lag]) + self.seen
        if self.fault == "yesterday at once":
            out = np.nan_to_num(series.y[first:last, :1]) + out
        return out * (last - first) if self.fault == "chunks" else out

    def predict_many(self, members: Sequence[Series], first: int, last: int) -> np.ndarray:
        out = np.stack([self.predict(one, first, last) for one in members])
        if self.fault == "others":
            return out - out.mean(axis=0)
        return out[:, 0] if self.fault == "shape" else out

    def held_out(self, series: Series, first: int, last: int) -> np.ndarray | None:
        return np.zeros(3) if self.fault == "held out" else None


class Unpicklable:
    def __init__(self, inner: Faulty) -> None:
        self.predict, self.predict_many = inner.predict, inner.predict_many
        self.held_out = inner.held_out
        self.line = (_ for _ in ())


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("changes", AssertionError, "changes stream `middle`"),
        ("changes columns", AssertionError, "changes the exogenous columns"),
        ("fit reads on", AssertionError, "the end of the window"),
        ("random", AssertionError, "same seed"),
        ("reads the answer", AssertionError, "at or after the cutoff"),
        ("yesterday at once", AssertionError, "at or after the cutoff"),
        ("others", AssertionError, "`small` differently alone than with others"),
        ("chunks", AssertionError, "asked for alone"),
        ("refuses nothing", AssertionError, "no member has a usable row"),
        ("unpicklable", AssertionError, "cannot be pickled"),
        ("knows no stranger", ModelError, "Streams that fail by themselves: stranger"),
        ("dead", ModelError, "returned NaN for 48 of 192 slots, of streams dead, unborn"),
        ("shape", ModelError, r"shape \(8, 1, 24\). Got shape \(8, 24\)"),
        ("held out", ModelError, "held_out"),
    ],
)
def test_a_faulty_forecaster_is_found(fault: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_shared_forecaster(_port(Faulty(fault)))


def test_the_same_forecaster_without_a_fault_passes() -> None:
    check_shared_forecaster(_port(Faulty()))


@pytest.mark.parametrize("forecaster", [Faulty(name=""), Faulty(warm_up=-1)])
def test_a_shared_forecaster_needs_a_name_and_a_warm_up(forecaster: Faulty) -> None:
    with pytest.raises(AssertionError, match=r"name|warm_up"):
        check_shared_forecaster(_port(forecaster))


def test_one_step_models_are_caught_where_they_claim_to_be_day_ahead() -> None:
    with pytest.raises(AssertionError, match="mode day_ahead"):
        check_shared_forecaster(shared_from("ridge", "one_step"), mode="day_ahead")


def _port(faulty: Faulty) -> SharedForecaster:
    return faulty  # type: ignore[return-value]
