"""MLForecast as a shared model: what it forecasts is what MLForecast forecasts."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor
from sklearn.linear_model import LinearRegression, Ridge

from mlma.adapters.models import mlforecast as adapter
from mlma.adapters.models.mlforecast import MLForecastShared
from mlma.adapters.models.mlforecast_recipe import FromGrid, direct, lookback
from mlma.adapters.models.shared_contract import check_shared_forecaster
from mlma.domain.errors import MissingExtraError, ModelError, SettingsError
from mlma.domain.streams import Grid, Series

mlforecast = pytest.importorskip("mlforecast")

from mlforecast.lag_transforms import (  # noqa: E402
    ExpandingMean,
    ExponentiallyWeightedMean,
    Offset,
    RollingMean,
    RollingStd,
    SeasonalRollingMean,
)
from mlforecast.target_transforms import Differences, LocalStandardScaler  # noqa: E402

FIRST, LAST, N = 21, 49, 56
HOUR = np.timedelta64(3600 * 10**6, "us")
GRID = Grid(np.datetime64("2024-01-01", "us"), HOUR, 24, N)
DIRECT = {"lags": [24, 48, 168], "lag_transforms": {24: [RollingMean(24), RollingStd(48)]}}
RECURSIVE = {"lags": [1, 24], "lag_transforms": {1: [RollingMean(6)]}}
TREES = LGBMRegressor(n_estimators=15, verbosity=-1, deterministic=True, force_row_wise=True)


def stream(name, seed, size=1.0, exogenous=0):
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(N, 24, exogenous))
    day = 50.0 + 40.0 * np.sin(2 * np.pi * (np.arange(24) - 8) / 24)
    y = size * (day * rng.gamma(20.0, 1 / 20.0, size=(N, 24)) + 20 * columns.sum(axis=2))
    return Series(name, GRID, y, columns)


def members(exogenous=0):
    # Not in the order of their names, which is the order in which MLForecast answers.
    sizes = {"m": 1.0, "z": 30.0, "a": 0.2}
    return [stream(name, k, size, exogenous) for k, (name, size) in enumerate(sizes.items())]


def recipe(model=None, **settings):
    models = {"model": Ridge() if model is None else model}
    return mlforecast.MLForecast(
        models, freq="h", date_features=["hour", "dayofweek"], **{**DIRECT, **settings}
    )


def frame(streams, start, stop):
    """Rows of some slots in the form that MLForecast reads."""
    made = []
    for series in streams:
        times = GRID.slot_times()[start:stop].astype("datetime64[ns]")
        rows = pd.DataFrame({"unique_id": series.unique_id, "ds": times})
        rows["y"] = series.y.ravel()[start:stop]
        for column in range(series.exogenous.shape[-1]):
            rows[f"x{column + 1}"] = series.exogenous[:, :, column].ravel()[start:stop]
        made.append(rows)
    return pd.concat(made)


def nixtla(made, streams):
    """Forecasts of the first batch after the window by MLForecast's own `fit` and `predict`.

    It is given as much before the window as its features read: these rows it leaves out.
    """
    made.fit(frame(streams, FIRST * 24 - lookback(made.ts), LAST * 24), static_features=[])
    known = frame(streams, LAST * 24, (LAST + 1) * 24).drop(columns="y")
    answer = made.predict(24, X_df=known if known.shape[1] > 2 else None)
    wide = answer.pivot_table(index="unique_id", columns="ds", values="model")
    return wide.loc[[series.unique_id for series in streams]].to_numpy()


@pytest.mark.parametrize("model", [Ridge(), TREES], ids=["ridge", "trees"])
@pytest.mark.parametrize("settings", [DIRECT, RECURSIVE], ids=["direct", "recursive"])
@pytest.mark.parametrize("exogenous", [0, 1])
def test_it_forecasts_what_mlforecast_forecasts(model, settings, exogenous):
    streams = members(exogenous)
    fitted = MLForecastShared(recipe(model, **settings)).fit_shared(streams, FIRST, LAST, 1)
    made = fitted.predict_many(streams, LAST, LAST + 1)[:, 0]
    assert made == pytest.approx(nixtla(recipe(seeded(model), **settings), streams), rel=1e-9)


def seeded(model):
    return model.set_params(random_state=1, n_jobs=1) if model is TREES else model


def test_transforms_of_the_target_are_those_of_mlforecast():
    settings = {"target_transforms": [Differences([24]), LocalStandardScaler()], "lags": [24]}
    streams = members()
    fitted = MLForecastShared(recipe(**settings)).fit_shared(streams, FIRST, LAST, 1)
    made = fitted.predict_many(streams, LAST, LAST + 1)[:, 0]
    assert made == pytest.approx(nixtla(recipe(**settings), streams), rel=1e-9)


@pytest.mark.parametrize("model", [Ridge(), TREES], ids=["ridge", "trees"])
@pytest.mark.parametrize("units", [False, True])
def test_many_cutoffs_at_once_are_forecast_as_one_after_the_other(model, units, monkeypatch):
    streams = [*members(exogenous=1)]
    streams[1].y[30:40] = np.nan
    streams[2].y[: LAST - 2] = np.nan
    everyone = [*streams, stream("stranger", 9, 5.0, exogenous=1)]
    sizes = {"size": {"m": 1.0, "z": 3.0, "a": 2.0, "stranger": 1.5}}
    shared = MLForecastShared(recipe(model), units=units, statics=sizes)
    fitted = shared.fit_shared(streams, FIRST, LAST, 1)
    assert direct(fitted.blank, 24)
    fast = fitted.predict_many(everyone, LAST, N)
    monkeypatch.setattr(adapter, "direct", lambda ts, slots: False)
    assert fast == pytest.approx(fitted.predict_many(everyone, LAST, N), rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, True),
        ({"lags": [24], "lag_transforms": {24: [SeasonalRollingMean(24, 2)]}}, True),
        ({"lags": None, "lag_transforms": None}, True),
        ({"lags": [23]}, False),
        ({"lag_transforms": {1: [RollingMean(24)]}}, False),
        ({"lag_transforms": {24: [ExpandingMean()]}}, False),
        ({"lag_transforms": {24: [ExponentiallyWeightedMean(0.5)]}}, False),
        ({"lag_transforms": {24: [Offset(RollingMean(24), -20)]}}, False),
        ({"target_transforms": [Differences([24])]}, False),
    ],
)
def test_cutoffs_share_a_pass_only_where_all_is_known_at_the_cutoff(settings, expected):
    assert direct(recipe(**settings).ts, 24) is expected


def test_what_features_read_is_known_in_slots():
    assert lookback(recipe().ts) == 168
    assert lookback(recipe(lags=[1], lag_transforms={24: [RollingMean(24)]}).ts) == 47
    assert (
        lookback(recipe(lags=[24], target_transforms=[Differences([24, 168])]).ts) == 24 + 71 + 168
    )
    assert lookback(recipe(lags=None, lag_transforms={48: [ExpandingMean()]}).ts) == 49


class Counting(LinearRegression):
    """Linear regression that tells what it was trained on."""

    def fit(self, X, y):
        self.targets_ = np.asarray(y)
        return super().fit(X, y)


def test_a_slot_that_was_not_observed_is_no_target():
    streams = members()
    streams[0].y[25:30] = np.nan
    fitted = MLForecastShared(recipe(Counting())).fit_shared(streams, FIRST, LAST, 1)
    expected = np.concatenate([series.y[FIRST:LAST].ravel() for series in streams])
    made = fitted.fitted.models_["model"].targets_
    assert np.array_equal(made, expected[np.isfinite(expected)])


def test_rows_of_a_young_stream_count_once_its_features_are_complete():
    streams = members()
    streams[0].y[: LAST - 20] = np.nan  # 20 batches, of which 7 have no lag of a week
    streams[1].y[: LAST - 8] = np.nan  # 8 batches: too few remain, so all are taken
    fitted = MLForecastShared(recipe(Counting())).fit_shared(streams[:2], FIRST, LAST, 1)
    expected = [streams[0].y[LAST - 13 : LAST], streams[1].y[LAST - 8 : LAST]]
    made = fitted.fitted.models_["model"].targets_
    assert np.array_equal(made, np.concatenate(expected).ravel())


def test_features_of_all_of_the_past_leave_out_rows_that_lack_some():
    streams = members()
    streams[0].y[: LAST - 8] = np.nan
    settings = {"lags": [168], "lag_transforms": {1: [ExpandingMean()]}}
    shared = MLForecastShared(recipe(Counting(), **settings))
    fitted = shared.fit_shared(streams[:1], FIRST, LAST, 1)
    assert np.array_equal(fitted.fitted.models_["model"].targets_, streams[0].y[LAST - 1])
    streams[0].y[: LAST - 7] = np.nan
    with pytest.raises(ModelError, match=r"features read 168 slots. Hint: a longer window"):
        shared.fit_shared(streams[:1], FIRST, LAST, 1)


def test_texts_among_statics_become_categories_that_trees_understand():
    cities = {"city": {"m": "Ghent", "z": "Namur", "a": "Ghent"}}
    streams = members()
    shared = MLForecastShared(recipe(TREES), statics=cities)
    fitted = shared.fit_shared(streams, FIRST, LAST, 1)
    assert "city" in fitted.fitted.models_["model"].feature_name_
    everyone = [*streams, stream("stranger", 9)]
    made = fitted.predict_many(everyone, LAST, N)
    alone = [fitted.predict(series, LAST, N) for series in everyone]
    assert made == pytest.approx(np.stack(alone), rel=1e-9)


def test_a_function_may_make_the_recipe_for_the_grid():
    shared = MLForecastShared(lambda grid: recipe(lags=[grid.slots]), name="mine")
    fitted = shared.fit_shared(members(), FIRST, LAST, 1)
    assert fitted.blank.lags == [24]
    assert shared.name == "mine"


@pytest.mark.parametrize(
    ("minutes", "slots", "lags", "calendar"),
    [
        (15, 96, [96, 192], ["hour", "minute", "dayofweek"]),
        (60, 6, [24, 48], ["hour", "dayofweek"]),
        (1440, 7, [7, 14], ["dayofweek"]),
        (7 * 1440, 1, [1, 2], []),
    ],
)
def test_features_follow_the_grid(minutes, slots, lags, calendar):
    step = np.timedelta64(minutes * 60 * 10**6, "us")
    grid = Grid(np.datetime64("2024-01-01", "us"), step, slots, 60)
    made = FromGrid(Ridge())(grid)
    assert made.ts.lags[:2] == lags
    assert made.ts.date_features == calendar
    y = np.random.default_rng(1).gamma(5.0, size=(60, slots))
    streams = [Series(name, grid, y, np.empty((60, slots, 0))) for name in ("a", "b")]
    fitted = MLForecastShared(FromGrid(Ridge())).fit_shared(streams, 20, 55, 1)
    assert np.isfinite(fitted.predict_many(streams, 55, 60)).all()


def test_a_model_version_carries_no_history():
    short, long = (
        len(pickle.dumps(MLForecastShared(recipe()).fit_shared(members(), first, LAST, 1)))
        for first in (LAST - 14, 7)
    )
    assert abs(long - short) < 500


def test_forecasting_leaves_the_model_as_it_was():
    fitted = MLForecastShared(recipe(**RECURSIVE)).fit_shared(members(), FIRST, LAST, 1)
    before = pickle.dumps(fitted)
    fitted.predict_many(members(), LAST, N)
    assert pickle.dumps(fitted) == before


def test_the_recipe_of_the_user_is_left_alone():
    mine = recipe(TREES)
    before = pickle.dumps(mine)
    MLForecastShared(mine).fit_shared(members(), FIRST, LAST, 1)
    assert pickle.dumps(mine) == before


def test_one_of_several_models_is_named():
    several = mlforecast.MLForecast({"a": Ridge(), "b": LinearRegression()}, freq="h", lags=[24])
    fitted = MLForecastShared(several, model="b").fit_shared(members(), FIRST, LAST, 1)
    assert [*fitted.fitted.models_] == ["b"]
    with pytest.raises(SettingsError, match=r"must have one model. Got 2: a, b"):
        MLForecastShared(several)
    with pytest.raises(SettingsError, match=r"Unknown model of MLForecast `c`. Known: a, b"):
        MLForecastShared(several, model="c")
    assert [*several.models] == ["a", "b"]


@pytest.mark.parametrize("kind", [{"global_": True}, {"groupby": ["city"]}])
def test_transforms_over_several_streams_are_refused(kind):
    with pytest.raises(SettingsError, match="must look at one stream each"):
        MLForecastShared(recipe(lag_transforms={24: [RollingMean(24, **kind)]}))


@pytest.mark.parametrize("freq", ["D", "30min", 1, "W-SUN"])
def test_the_frequency_must_be_the_slot_of_the_grid(freq):
    shared = MLForecastShared(mlforecast.MLForecast(Ridge(), freq=freq, lags=[24]))
    with pytest.raises(SettingsError, match=r"must be the length of a slot, h, .* Got "):
        shared.fit_shared(members(), FIRST, LAST, 1)


def test_something_else_than_a_recipe_is_refused():
    with pytest.raises(SettingsError, match="or a function that makes one"):
        MLForecastShared(Ridge())


def test_exogenous_columns_have_as_many_names_as_there_are():
    named = MLForecastShared(recipe(), exogenous=("temperature",))
    fitted = named.fit_shared(members(exogenous=1), FIRST, LAST, 1)
    assert "temperature" in fitted.fitted.ts.features_order_
    with pytest.raises(ModelError, match=r"must name the 2 exogenous columns.*temperature"):
        named.fit_shared(members(exogenous=2), FIRST, LAST, 1)


def test_members_of_which_nothing_is_known_are_refused():
    unknown = [replace(series, y=np.full((N, 24), np.nan)) for series in members()]
    with pytest.raises(ModelError, match="No usable row for shared model `mlforecast` of 3"):
        MLForecastShared(recipe()).fit_shared(unknown, FIRST, LAST, 1)


def test_a_library_that_is_not_installed_names_its_extra(monkeypatch):
    monkeypatch.setattr(adapter, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"mlma\[mlforecast\]"):
        MLForecastShared(FromGrid(Ridge()))


def test_a_recipe_with_young_and_silent_members_keeps_the_promises_of_the_port():
    check_shared_forecaster(MLForecastShared(recipe(TREES)))
