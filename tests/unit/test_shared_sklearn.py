"""One regressor for many streams: what is stacked, in which units, and who is left out."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge

from mlma.adapters.models import shared
from mlma.adapters.models.features import Features, training_rows
from mlma.adapters.models.scaling import training_window
from mlma.adapters.models.shared import SharedSklearn, seeded
from mlma.adapters.models.shared_features import Statics, Units, unit_of
from mlma.adapters.models.sklearn import SklearnForecaster
from mlma.domain.errors import ModelError, SettingsError
from mlma.domain.streams import Grid, Series

FIRST, LAST, N = 21, 49, 56
GRID = Grid(np.datetime64("2024-01-01", "us"), np.timedelta64(3600 * 10**6, "us"), 24, N)


def stream(name, seed, size=1.0, exogenous=0):
    rng = np.random.default_rng(seed)
    day = 50.0 + 40.0 * np.sin(2 * np.pi * (np.arange(24) - 8) / 24)
    y = size * day * rng.gamma(20.0, 1 / 20.0, size=(N, 24))
    return Series(name, GRID, y, rng.normal(size=(N, 24, exogenous)))


@pytest.fixture
def members():
    return [stream("a", 1), stream("b", 2, 100.0), stream("c", 3, 0.01)]


def ridge(**settings):
    return SharedSklearn(Ridge(alpha=10.0), **settings)


def test_rows_of_all_members_are_stacked_each_in_its_unit(members):
    members[1].y[30:35] = np.nan
    X, y = [], []
    for series in members:
        features = Features()
        used = training_rows(series, features, FIRST, LAST)
        unit = training_window(features, series, FIRST, LAST).unit
        rows = features.matrix(series, FIRST, LAST)[used].copy()
        rows[:, : features.n_own(GRID)] /= unit
        X += rows.tolist()
        y += (series.y[FIRST:LAST].ravel()[used] / unit).tolist()
    expected = Ridge(alpha=10.0).fit(X, y)
    made = ridge().fit_shared(members, FIRST, LAST, seed=1).estimator
    assert made.coef_ == pytest.approx(expected.coef_, rel=1e-9, abs=1e-12)
    assert made.intercept_ == pytest.approx(expected.intercept_, rel=1e-9)


def test_one_member_alone_is_forecast_as_by_a_model_of_its_own(members):
    own = SklearnForecaster(Ridge(alpha=10.0)).fit(members[0], FIRST, LAST, 1)
    alone = ridge().fit_shared(members[:1], FIRST, LAST, 1)
    expected = own.predict(members[0], LAST, N)
    assert alone.predict(members[0], LAST, N) == pytest.approx(expected, rel=1e-9)


def test_the_unit_is_that_of_a_training_window(members):
    for series in members:
        window = training_window(Features(), series, FIRST, LAST)
        assert unit_of(series.y[FIRST:LAST]) == pytest.approx(window.unit, rel=1e-12)


def test_the_size_of_a_stream_changes_its_own_forecasts_in_proportion_and_no_others(members):
    larger = [members[0], replace(members[1], y=1000 * members[1].y), members[2]]
    before, after = (
        ridge().fit_shared(m, FIRST, LAST, 1).predict_many(m, LAST, N) for m in (members, larger)
    )
    assert after[1] == pytest.approx(1000 * before[1], rel=1e-9)
    assert after[[0, 2]] == pytest.approx(before[[0, 2]], rel=1e-9)


def test_a_member_of_zeros_teaches_nothing_and_is_forecast_as_zero(members):
    dead = replace(members[0], unique_id="dead", y=np.zeros((N, 24)))
    model = ridge().fit_shared([*members, dead], FIRST, LAST, 1)
    without = ridge().fit_shared(members, FIRST, LAST, 1)
    expected = without.predict_many(members, LAST, N)
    assert np.array_equal(model.predict_many(members, LAST, N), expected)
    assert np.array_equal(model.predict(dead, LAST, N), np.zeros((N - LAST, 24)))


def test_a_member_that_wakes_is_forecast_in_its_own_unit(members):
    asleep = replace(members[1], unique_id="late", y=members[1].y.copy())
    asleep.y[:LAST] = 0.0
    model = ridge().fit_shared([*members, asleep], FIRST, LAST, 1)
    woken = model.predict(asleep, N - 1, N)
    assert 0.3 < woken.mean() / asleep.y[N - 1].mean() < 2.0


def test_a_fleet_of_zeros_is_forecast_as_zero(members):
    dead = [replace(series, y=np.zeros((N, 24))) for series in members]
    model = ridge().fit_shared(dead, FIRST, LAST, 1)
    assert np.abs(model.predict_many(dead, LAST, N)).max() == 0.0


def test_a_stranger_takes_the_unit_of_the_window_before_each_cutoff(members):
    stranger = stream("new", 9, 5.0)
    stranger.y[LAST + 2 :] *= 40.0
    units = ridge().fit_shared(members, FIRST, LAST, 1).scale.units.of(stranger, LAST, N)
    window = LAST - FIRST
    expected = [unit_of(stranger.y[b - window : b]) for b in range(LAST, N)]
    assert units.tolist() == expected
    assert units[3] > units[0]


def test_a_unit_lost_in_a_long_hole_is_that_of_all_that_was_seen():
    silent = stream("silent", 4)
    silent.y[10:] = np.nan
    assert Units({}, 28).of(silent, 50, 51)[0] == unit_of(silent.y[:10])
    assert Units({}, 28).of(silent, 0, 1)[0] == 0.0


def test_a_member_without_a_usable_row_is_forecast_all_the_same(members):
    hidden = replace(members[2], unique_id="hidden", y=members[2].y.copy())
    hidden.y[FIRST:LAST] = np.nan
    model = ridge().fit_shared([*members, hidden], FIRST, LAST, 1)
    assert "hidden" not in model.scale.units.known
    error = np.abs(model.predict(hidden, N - 3, N) - hidden.y[N - 3 :]).mean()
    assert error < 0.5 * hidden.y[N - 3 :].mean()


def test_exogenous_columns_have_one_unit_for_all():
    rare, often = stream("rare", 1, exogenous=1), stream("often", 2, exogenous=1)
    for series, days in ((rare, (30,)), (often, range(22, 48, 2))):
        series.exogenous[:] = 0.0
        series.exogenous[list(days)] = 1.0
    model = SharedSklearn(LinearRegression()).fit_shared([rare, often], FIRST, LAST, 1)
    own = Features().n_own(GRID)
    flags = [model.scale.matrix([s], day, day + 1)[0, own] for s, day in ((rare, 30), (often, 22))]
    assert flags[0] == flags[1] > 0


def test_statics_tell_streams_apart_that_look_alike():
    def steps(name, up):
        y = np.repeat(np.arange(N) % 7 == (0 if up else 3), 24).reshape(N, 24) * 1.0
        return Series(name, GRID, y, np.empty((N, 24, 0)))

    pair = [steps("up", True), steps("down", False)]
    kind = {"kind": {"up": "early", "down": "late"}}
    model = ridge(statics=kind).fit_shared(pair, FIRST, LAST, 1)
    assert model.scale.matrix(pair, LAST, LAST + 1)[[0, 24], -2:].tolist() == [[1, 0], [0, 1]]
    assert np.isfinite(model.predict(stream("new", 3), LAST, N)).all()


def test_numbers_among_statics_are_in_units_and_unknown_ones_in_the_middle():
    statics = Statics({"size": {"a": 10.0, "b": 30.0}})
    assert statics.encoded(["a", "b", "c"]).ravel().tolist() == [-1.0, 1.0, 0.0]
    assert Statics({"size": {"a": 5.0}}).encoded(["a"]).tolist() == [[0.0]]
    assert Statics({}).encoded(["a", "b"]).shape == (2, 0)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({}, "Got nothing"),
        ({"a": 1.0, "b": "Ghent"}, "Got a mixture of both"),
        ({"a": 1.0, "b": float("nan")}, "Got others for streams b"),
    ],
)
def test_a_static_column_must_be_of_one_kind(column, message):
    with pytest.raises(SettingsError, match=message):
        ridge(statics={"city": column})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda m: [], "at least one member"),
        (lambda m: [m[0], m[1], m[0]], "Got more than one of a"),
        (lambda m: [m[0], stream("x", 1, exogenous=2)], "2 columns for stream `x`"),
        (lambda m: [m[0], replace(m[1], grid=replace(GRID, n_batches=9))], "one grid"),
    ],
)
def test_members_must_fit_together(members, changed, message):
    with pytest.raises(ModelError, match=message):
        ridge().fit_shared(changed(members), FIRST, LAST, 1)


def test_members_of_which_nothing_is_known_are_refused_by_name(members):
    unknown = [replace(series, y=np.full((N, 24), np.nan)) for series in members]
    with pytest.raises(ModelError, match=r"No usable row for shared model `Ridge` of 3 .*a, b, c"):
        ridge().fit_shared(unknown, FIRST, LAST, 1)


def test_members_are_forecast_in_blocks_with_the_same_result(members, monkeypatch):
    model = ridge().fit_shared(members, FIRST, LAST, 1)
    whole = model.predict_many(members, LAST, N)
    monkeypatch.setattr(shared, "MOST_ROWS", 1)
    assert model.predict_many(members, LAST, N) == pytest.approx(whole, rel=1e-12)


def test_chance_and_threads_are_set_and_the_estimator_is_left_alone():
    forest = RandomForestRegressor(n_estimators=3, n_jobs=2)
    made = seeded(forest, 2**40 + 7)
    assert (made.random_state, made.n_jobs) == (7, 1)
    assert (forest.random_state, forest.n_jobs) == (None, 2)


def test_a_model_remembers_a_name_and_a_number_per_member(members):
    many = [replace(members[k % 3], unique_id=f"stream {k:04}") for k in range(300)]
    few, more = (
        len(pickle.dumps(ridge().fit_shared(many[:n], FIRST, LAST, 1))) for n in (100, 300)
    )
    assert more - few < 200 * 40
