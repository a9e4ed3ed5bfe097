"""Ridge forecasts and held-out forecasts against plain fits of scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from mlma.adapters.models.features import Features
from mlma.adapters.models.registry import forecaster_from
from mlma.adapters.models.ridge import FittedRidge
from mlma.adapters.models.scaling import training_window
from mlma.adapters.models.sklearn import SklearnForecaster
from mlma.domain.errors import ModelError
from mlma.domain.streams import Grid, Series


def stream(seconds: int, slots: int, n_batches: int, *, level: float = 5.0) -> Series:
    step = np.timedelta64(seconds * 10**6, "us")
    grid = Grid(np.datetime64("2024-01-01", "us"), step, slots, n_batches)
    rng = np.random.default_rng(4)
    y = level + rng.gamma(2.0, size=(n_batches, slots)) * (1 + np.sin(np.arange(slots)))
    y[rng.random(y.shape) < 0.05] = np.nan
    y[n_batches // 2] = np.nan
    exogenous = rng.normal(300.0, 2.0, size=(n_batches, slots, 1))
    return Series("a", grid, y, exogenous)


GRIDS = [(3600, 24, 60), (900, 96, 40), (3600, 6, 160), (86400, 1, 80), (86400, 7, 30)]


@pytest.mark.parametrize(("seconds", "slots", "n_batches"), GRIDS)
@pytest.mark.parametrize(("level", "alpha"), [(5.0, 10.0), (1e5, 0.3)])
def test_held_out_equals_a_refit_without_the_batch(
    seconds: int, slots: int, n_batches: int, level: float, alpha: float
) -> None:
    series = stream(seconds, slots, n_batches, level=level)
    first, last = n_batches // 4, n_batches - 2
    fitted = SklearnForecaster(Ridge(alpha=alpha)).fit(series, first, last, seed=0)
    got = fitted.held_out(series, first, last)
    window = training_window(Features(), series, first, last)
    X = Features().matrix(series, first, last) / window.columns
    y = series.y[first:last].ravel() / window.unit
    batch = np.repeat(np.arange(first, last), slots)
    assert got is not None
    for left_out in (first, first + 1, n_batches // 2, last - 1):
        kept = window.rows & (batch != left_out)
        oracle = Ridge(alpha=alpha, solver="svd").fit(X[kept], y[kept])
        expected = oracle.predict(X[batch == left_out]) * window.unit
        assert got[left_out - first] == pytest.approx(expected, rel=1e-8)


def test_held_out_of_a_part_equals_that_part_of_all() -> None:
    series = stream(3600, 24, 60)
    fitted = forecaster_from("ridge").fit(series, 20, 50, seed=0)
    some, every = fitted.held_out(series, 35, 40), fitted.held_out(series, 20, 50)
    assert some is not None
    assert every is not None
    assert some == pytest.approx(every[15:20], rel=1e-12)


def test_held_out_says_nothing_where_no_row_remains() -> None:
    series = stream(3600, 24, 60)
    fitted = forecaster_from("ridge").fit(series, 20, 21, seed=0)
    held_out = fitted.held_out(series, 20, 21)
    assert held_out is not None
    assert np.isnan(held_out).all()


def test_held_out_outside_the_training_window_is_an_error() -> None:
    series = stream(3600, 24, 60)
    fitted = forecaster_from("ridge").fit(series, 20, 40, seed=0)
    with pytest.raises(ModelError, match="batches 20 to 39"):
        fitted.held_out(series, 30, 41)


@pytest.mark.parametrize(
    "estimator",
    [
        Ridge(alpha=0.0),
        Ridge(fit_intercept=False),
        Ridge(positive=True),
        Ridge(solver="lsqr"),
        Ridge(alpha=np.array([1.0])),
    ],
)
def test_other_kinds_of_ridge_have_no_closed_form_here(estimator: Ridge) -> None:
    series = stream(86400, 1, 80)
    fitted = SklearnForecaster(estimator).fit(series, 20, 78, seed=0)
    assert not isinstance(fitted, FittedRidge)
    assert fitted.held_out(series, 20, 78) is None


@pytest.mark.parametrize(("seconds", "slots", "n_batches"), GRIDS)
def test_ridge_forecasts_equal_those_of_scikit_learn(
    seconds: int, slots: int, n_batches: int
) -> None:
    series = stream(seconds, slots, n_batches)
    first, last = n_batches // 4, n_batches - 2
    fitted = forecaster_from("ridge(alpha=2)").fit(series, first, last, seed=0)
    window = training_window(Features(), series, first, last)
    oracle = Ridge(alpha=2.0, solver="svd").fit(window.X, window.y)
    X = Features().matrix(series, last, n_batches) / window.columns
    expected = oracle.predict(X) * window.unit
    assert fitted.predict(series, last, n_batches).ravel() == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("factor", [1e-9, 8.0, 1e6])
def test_scaling_the_stream_scales_the_forecasts(factor: float) -> None:
    series = stream(3600, 24, 60)
    scaled = Series("a", series.grid, series.y * factor, series.exogenous * 3.0)
    ridge = forecaster_from("ridge")
    expected = ridge.fit(series, 20, 50, seed=0).predict(series, 50, 60)
    got = ridge.fit(scaled, 20, 50, seed=0).predict(scaled, 50, 60)
    assert got / factor == pytest.approx(expected, rel=1e-9)
