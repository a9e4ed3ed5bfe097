"""The learners of other libraries: settings, threads, gaps, exogenous columns, missing extras."""

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMRegressor
from sklearn.ensemble import BaggingRegressor, RandomForestRegressor, VotingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBRegressor

from mlma.adapters.models import river, statsforecast, xgboost
from mlma.adapters.models.callables import callables
from mlma.adapters.models.contract import check_forecaster
from mlma.adapters.models.frame_callables import FrameForecaster
from mlma.adapters.models.guard import checked_fit, checked_predict
from mlma.adapters.models.registry import forecaster_from
from mlma.adapters.models.sklearn import SklearnForecaster
from mlma.domain.errors import MissingExtraError, ModelError, SettingsError
from mlma.domain.streams import Grid, Series


def stream(n_batches: int = 60) -> Series:
    """Daily batches of 24 hours; half of the variance is that of an exogenous column."""
    grid = Grid(
        np.datetime64("2024-01-01", "us"), np.timedelta64(3600 * 10**6, "us"), 24, n_batches
    )
    rng = np.random.default_rng(3)
    known = rng.normal(size=(n_batches, 24))
    noise = 0.1 * rng.normal(size=(n_batches, 24))
    columns = np.stack([np.ones_like(known), known], axis=2)
    return Series("a", grid, 20.0 + 5.0 * known + noise, columns)


def settings_of(forecaster: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    assert isinstance(forecaster, SklearnForecaster)
    return tuple(forecaster.estimator.get_params()[name] for name in names)


def test_settings_written_as_text_reach_every_learner() -> None:
    boosted = forecaster_from("XGBoost(n_estimators=50, subsample=0.5)", mode="one_step")
    assert settings_of(boosted, ("n_estimators", "subsample", "n_jobs")) == (50, 0.5, 1)
    assert (boosted.name, boosted.mode) == ("xgboost", "one_step")
    assert settings_of(forecaster_from("lasso(alpha=1, max_iter=99)"), ("alpha", "max_iter")) == (
        1.0,
        99,
    )
    forest = forecaster_from("random_forest(max_depth=3)")
    assert settings_of(forest, ("max_depth", "n_estimators")) == (3, 50)
    assert forecaster_from("river(model='LinearRegression', l2=0.5)").model.l2 == 0.5


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("xgboost(n_estimator=5)", "Unknown setting of `xgboost`.*did you mean `n_estimators`"),
        ("xgboost(n_jobs=4)", "Unknown setting of `xgboost` `n_jobs`"),
        ("xgboost(random_state=4)", "Unknown setting of `xgboost` `random_state`"),
        ("random_forest(depth=3)", "Unknown setting of `random_forest` `depth`"),
        ("lasso(alpha=0)", "`alpha` of `lasso` must be above 0. Got 0"),
        ("lasso(alhpa=1)", "did you mean `alpha`"),
        ("river(model='LinearRegresion')", "Unknown model of `river`.*`LinearRegression`"),
        ("river(model='PARegressor', c=1)", "Unknown setting of `PARegressor` `c`"),
        ("river(model='BaggingRegressor')", "river model `BaggingRegressor` cannot be built"),
        ("river(model=3)", "must be a river regressor.*Got 3"),
        ("statsforecast(model='AutoEST')", "Unknown model of `statsforecast`.*`AutoETS`"),
        ("statsforecast(alpha=1)", "Unknown setting of `AutoETS` `alpha`"),
        ("statsforecast(model='WindowAverage')", "cannot be built.*window_size"),
        ("statsforecast(model='AutoTBATS')", "cannot be applied to later values without a new"),
        ("statsforecast(model='CrostonOptimized')", "cannot be applied to later values"),
        ("statsforecast(season='month')", "`season` of `statsforecast` must be .* Got 'month'"),
        ("statsforecast(season=0)", "Got 0"),
        ("statsforecast(season=True)", "Got True"),
    ],
)
def test_what_a_learner_cannot_do_is_explained(spec: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        forecaster_from(spec)


def test_models_of_statsforecast_forecast_whole_batches_only() -> None:
    from statsforecast.models import Naive

    for spec in ("statsforecast", Naive()):
        with pytest.raises(SettingsError, match=r"`mode` must be day_ahead. Got 'one_step'"):
            forecaster_from(spec, mode="one_step")


@pytest.mark.parametrize("module", [xgboost, river, statsforecast])
def test_a_library_that_is_not_installed_names_its_extra(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = module.__name__.rpartition(".")[-1]
    monkeypatch.setattr(module, "find_spec", lambda wanted: None)
    with pytest.raises(MissingExtraError, match=rf"model `{name}`.*mlma\[{name}\]"):
        forecaster_from(name)


def all_settings(estimator: Any) -> Iterator[tuple[str, Any]]:
    """Yield the settings of a fitted estimator and of all that were fitted inside it."""
    yield from estimator.get_params().items()
    for name, step in getattr(estimator, "named_steps", {}).items():
        yield from ((f"{name}__{key}", value) for key, value in all_settings(step))
    for place, inner in enumerate(getattr(estimator, "estimators_", [])):
        yield from ((f"{place}__{key}", value) for key, value in all_settings(inner))


def test_a_pipeline_of_ensembles_runs_on_one_thread_after_a_journey() -> None:
    members = [
        ("forest", RandomForestRegressor(n_estimators=2, n_jobs=2)),
        ("trees", LGBMRegressor(n_estimators=2, num_threads=2, verbosity=-1)),
        ("boosted", XGBRegressor(n_estimators=2, nthread=2)),
        ("bag", BaggingRegressor(LinearRegression(n_jobs=-1), n_estimators=2, n_jobs=2)),
    ]
    estimator = make_pipeline(StandardScaler(), VotingRegressor(members, n_jobs=-1))
    fitted = forecaster_from(estimator).fit(stream(), 14, 50, seed=1)
    arrived = pickle.loads(pickle.dumps(fitted)).estimator
    threads = {
        key: value
        for key, value in all_settings(arrived)
        if key.split("__")[-1] in ("n_jobs", "num_threads", "nthread")
    }
    assert len(threads) > 10
    assert set(threads.values()) == {1}


@pytest.mark.parametrize("spec", ["xgboost(n_estimators=3)", XGBRegressor(n_estimators=3)])
def test_xgboost_runs_on_one_thread_after_a_journey(spec: Any) -> None:
    fitted = forecaster_from(spec).fit(stream(), 14, 50, seed=1)
    model = pickle.loads(pickle.dumps(fitted)).estimator
    booster = model.get_booster() if isinstance(model, XGBRegressor) else model.booster
    assert json.loads(booster.save_config())["learner"]["generic_param"]["nthread"] == "1"


def test_lightgbm_runs_on_one_thread_after_a_journey(monkeypatch: pytest.MonkeyPatch) -> None:
    series = stream()
    fitted = forecaster_from("lightgbm(n_estimators=3)").fit(series, 14, 50, seed=1)
    trees = pickle.loads(pickle.dumps(fitted)).estimator
    asked: list[int] = []
    predict = type(trees.booster).predict

    def heard(booster: Any, X: Any, **settings: Any) -> Any:
        asked.append(settings["num_threads"])
        return predict(booster, X, **settings)

    monkeypatch.setattr(type(trees.booster), "predict", heard)
    replace(fitted, estimator=trees).predict(series, 50, 52)
    assert asked == [1]


@pytest.mark.parametrize("model", ["xgboost(n_estimators=5)", "lightgbm(n_estimators=5)"])
def test_gaps_reach_trees_as_gaps(model: str) -> None:
    series = stream()
    series.y[30:44] = np.nan
    forecaster = forecaster_from(model)
    assert np.isnan(forecaster.features.matrix(series, 44, 50)).any()
    checked_predict(checked_fit(forecaster, series, 14, 50, 1), series, 50, 60)


def slope(series: Series, first: int, last: int, seed: int) -> np.ndarray:
    X = series.exogenous[first:last].reshape(-1, 2)
    return np.linalg.lstsq(X, series.y[first:last].ravel(), rcond=None)[0]


def on_the_line(model: np.ndarray, series: Series, first: int, last: int) -> np.ndarray:
    return series.exogenous[first:last] @ model


READERS = {
    "ridge": "ridge",
    "lasso": "lasso",
    "random_forest": "random_forest(n_estimators=20, max_features=1.0)",
    "lightgbm": "lightgbm",
    "xgboost": "xgboost",
    "pipeline": make_pipeline(StandardScaler(), LinearRegression()),
    "river": "river",
    "arima": "statsforecast(model='ARIMA', order=(0, 0, 0))",
    "callables": callables(slope, on_the_line),
    "frames": FrameForecaster(
        lambda train: np.polyfit(train["known"], train["y"], 1),
        lambda model, history, future: np.polyval(model, future["known"]),
        exogenous=("one", "known"),
    ),
}


@pytest.mark.parametrize("spec", READERS.values(), ids=list(READERS))
def test_an_exogenous_column_is_read_slot_by_slot(spec: Any) -> None:
    series = stream()
    fitted = checked_fit(forecaster_from(spec), series, 14, 50, 1)
    off = np.abs(checked_predict(fitted, series, 50, 60) - series.y[50:]).mean()
    assert off < 1.5
    turned = replace(series, exogenous=series.exogenous * np.array([1.0, -1.0]))
    answer = checked_predict(fitted, turned, 50, 60) - 20.0
    assert np.corrcoef(answer.ravel(), series.y[50:].ravel() - 20.0)[0, 1] < -0.9


def test_a_river_pipeline_and_a_wrapped_river_model_are_forecasters() -> None:
    from river import compose, linear_model, preprocessing

    line = linear_model.PARegressor()
    for model in (line, preprocessing.TargetStandardScaler(line), compose.Pipeline(line)):
        assert isinstance(forecaster_from(model), river.RiverForecaster)
    with pytest.raises(SettingsError, match="a river regressor"):
        forecaster_from(linear_model.LogisticRegression())
    with pytest.raises(SettingsError, match=r"Settings of `river` go with a model by name. Got l2"):
        river.RiverForecaster(line, l2=0.1)


def test_an_online_learner_that_tells_nothing_is_a_model_error() -> None:
    from river.base import Regressor

    class Silent(Regressor):
        def learn_one(self, x: Any, y: Any) -> None:
            pass

        def predict_one(self, x: Any) -> Any:
            return None

    fitted = checked_fit(forecaster_from(Silent()), stream(), 14, 50, 1)
    with pytest.raises(ModelError, match=r"`Silent` for stream `a`.*NaN for 48 of 48 slots"):
        checked_predict(fitted, stream(), 50, 52, "Silent")


def test_a_forest_of_river_is_seeded_wherever_it_is() -> None:
    from river import forest, preprocessing

    model = preprocessing.StandardScaler() | forest.ARFRegressor(n_models=2)
    series = stream(40)
    one, again, other = (
        forecaster_from(model).fit(series, 28, 38, seed).predict(series, 38, 40)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_contract_is_kept_by_an_instance_of_xgboost() -> None:
    check_forecaster(forecaster_from(XGBRegressor(n_estimators=3)))
