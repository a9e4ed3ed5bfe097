"""What may be handed in as a shared model, and what is said where it may not."""

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlma.adapters.models import mlforecast as adapter
from mlma.adapters.models.mlforecast import MLForecastShared
from mlma.adapters.models.shared import SharedSklearn
from mlma.adapters.models.shared_registry import NO_SHARED, shared_from
from mlma.adapters.models.solo import Solo
from mlma.adapters.models.xgboost import XGBoostForecaster
from mlma.domain.errors import MissingExtraError, SettingsError
from mlma.domain.streams import Grid, Series


@pytest.mark.parametrize(
    ("text", "name", "fill"),
    [
        ("ridge", "ridge", True),
        ("lasso(alpha=0.1)", "lasso", True),
        ("lightgbm(n_estimators=50)", "lightgbm", False),
        ("xgboost", "xgboost", False),
    ],
)
def test_a_text_names_a_regressor_that_streams_share(text, name, fill):
    made = shared_from(text, mode="one_step")
    assert isinstance(made, SharedSklearn)
    assert (made.name, made.features.fill, made.mode) == (name, fill, "one_step")


def test_settings_in_the_text_reach_the_estimator():
    made = shared_from("lightgbm(n_estimators=50)")
    assert isinstance(made, SharedSklearn)
    assert made.estimator.n_estimators == 50


def test_a_regressor_a_forecaster_of_one_and_an_object_of_the_port_are_taken():
    pipeline = make_pipeline(StandardScaler(), Ridge())
    made = shared_from(pipeline)
    assert isinstance(made, SharedSklearn)
    assert made.estimator is pipeline
    boosted = shared_from(XGBoostForecaster(n_estimators=7))
    assert isinstance(boosted, SharedSklearn)
    assert (boosted.name, boosted.features.fill) == ("xgboost", False)
    assert shared_from(made) is made


def test_an_mlforecast_is_taken_as_it_is():
    mlforecast = pytest.importorskip("mlforecast")
    made = shared_from(mlforecast.MLForecast(Ridge(), freq="h", lags=[24]))
    assert isinstance(made, MLForecastShared)
    assert not made.units


def test_the_text_of_an_mlforecast_may_name_model_lags_and_calendar():
    text = "mlforecast(model='lightgbm(n_estimators=7)', lags=(24, 168), date_features=('hour',))"
    made = shared_from(text)
    grid = Grid(np.datetime64("2024-01-01", "us"), np.timedelta64(3600, "s"), 24, 30)
    recipe = made.recipe(grid)
    assert recipe.models["model"].n_estimators == 7
    assert (recipe.ts.lags, recipe.ts.date_features) == ([24, 168], ["hour"])
    assert made.units
    assert not shared_from("mlforecast(model='ridge', units=False)").units


@dataclass(frozen=True)
class OfOneStream:
    name: str = "one"
    warm_up: int = 0

    def fit(self, series, first, last, seed):
        return self


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rigde", "Unknown shared model `rigde`.*did you mean `ridge`"),
        ("ridge(alhpa=1)", "Unknown setting of `ridge` `alhpa`"),
        ("ridge(alpha=0)", "`alpha` of `ridge` must be above 0"),
        ("ridge(1)", "The shared model `ridge.1.` cannot be read"),
        ("mlforecast(lag=(24,))", "Unknown setting of `mlforecast` `lag`.*mean `lags`"),
        ("mlforecast(lags=(0,))", r"`lags` .* above 0. Got \(0,\)"),
        ("mlforecast(lags=24)", "Got 24. Hint"),
        ("mlforecast(lags=())", r"Got \(\)"),
        ("mlforecast(date_features='hour')", "must be names of pandas dates. Got 'hour'"),
        ("mlforecast(date_features=(1,))", r"Got \(1,\)"),
        ("mlforecast(model='seasonal_naive')", "`seasonal_naive` is no regressor"),
        ("mlforecast(model=3)", "A model must be one of"),
        (Ridge, "Got the class `Ridge`. Hint: hand in an instance"),
        (OfOneStream(), "an object with `fit_shared`, `name` and `warm_up`. Got `OfOneStream"),
        (StandardScaler(), "Got `StandardScaler"),
        (7, "Got `7`"),
        (None, "Got `None`"),
    ],
)
def test_what_is_no_shared_model_is_named_with_a_hint(spec, message):
    with pytest.raises(SettingsError, match=message):
        shared_from(spec)


@pytest.mark.parametrize("name", NO_SHARED)
def test_a_model_that_learns_from_one_stream_alone_cannot_be_shared(name):
    with pytest.raises(SettingsError, match=f"`{name}` learns from one stream alone"):
        shared_from(name)


def test_mlforecast_forecasts_whole_batches_only():
    mlforecast = pytest.importorskip("mlforecast")
    for spec in ("mlforecast", mlforecast.MLForecast(Ridge(), freq="h", lags=[24])):
        with pytest.raises(SettingsError, match=r"must be day_ahead. Got 'one_step'"):
            shared_from(spec, mode="one_step")


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(adapter, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"mlma\[mlforecast\]"):
        shared_from("mlforecast(model='ridge')")


def test_naming_a_model_loads_no_heavy_library():
    code = (
        "import sys; from mlma.adapters.models.shared_registry import shared_from; "
        "shared_from('ridge'); "
        "sys.exit(bool({'mlforecast', 'lightgbm', 'xgboost'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_shared_recipe_used_alone_is_that_of_one_member():
    grid = Grid(np.datetime64("2024-01-01", "us"), np.timedelta64(1, "D"), 7, 30)
    y = np.random.default_rng(0).gamma(5.0, size=(30, 7))
    series = Series("a", grid, y, np.empty((30, 7, 0)))
    recipe = shared_from("ridge", mode="one_step")
    alone = Solo(recipe)
    assert (alone.name, alone.warm_up, alone.mode) == ("solo ridge", 14, "one_step")
    expected = recipe.fit_shared([series], 4, 25, 1).predict(series, 25, 30)
    assert np.array_equal(alone.fit(series, 4, 25, 1).predict(series, 25, 30), expected)
