"""An online learner goes on learning, and no caller can tell in which order it was asked."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from river import dummy, linear_model, stats

from mlma.adapters.models.guard import checked_fit
from mlma.adapters.models.registry import forecaster_from
from mlma.domain.errors import ModelError
from mlma.domain.streams import Grid, Series

FADING = 0.3


def stream(n_batches: int = 50, slots: int = 4) -> Series:
    step = np.timedelta64(86_400 * 10**6 // slots, "us")
    grid = Grid(np.datetime64("2024-01-01", "us"), step, slots, n_batches)
    y = 10.0 + np.random.default_rng(5).gamma(4.0, size=(n_batches, slots))
    y[33, 1:3] = np.nan
    return Series("a", grid, y, np.empty((n_batches, slots, 0)))


def level(mode: Any = "day_ahead") -> Any:
    """The exponentially weighted mean of all values so far."""
    return forecaster_from(dummy.StatisticRegressor(stats.EWMean(FADING)), mode=mode)


def slow_levels(y: np.ndarray, first: int, mode: str) -> np.ndarray:
    """The forecasts of `level` by a loop: NaN before the first value was seen."""
    out, mean = np.full(y.shape, np.nan), np.nan
    for batch in range(first, len(y)):
        frozen = mean
        for slot, value in enumerate(y[batch]):
            out[batch, slot] = frozen if mode == "day_ahead" else mean
            if np.isfinite(value):
                mean = value if np.isnan(mean) else FADING * value + (1 - FADING) * mean
    return out


@pytest.mark.parametrize("mode", ["day_ahead", "one_step"])
def test_a_batch_is_forecast_by_a_learner_of_all_batches_before_it(mode: str) -> None:
    series = stream()
    fitted = level(mode).fit(series, 14, 30, seed=1)
    expected = slow_levels(series.y, 14, mode)
    assert fitted.predict(series, 30, 50) == pytest.approx(expected[30:], rel=1e-9)
    assert fitted.held_out(series, 20, 30) == pytest.approx(expected[20:30], rel=1e-9)


def test_any_order_and_any_chunks_give_the_same_bits() -> None:
    series = stream()
    fitted = forecaster_from("river").fit(series, 14, 30, seed=1)
    whole = fitted.predict(series, 30, 50)
    for first, last in [
        (49, 50),
        (30, 31),
        (40, 45),
        (42, 50),
        (31, 40),
        *[(b, b + 1) for b in range(30, 50)],
    ]:
        assert np.array_equal(fitted.predict(series, first, last), whole[first - 30 : last - 30])
    arrived = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(arrived.predict(series, 47, 50), whole[17:])


def test_what_was_learnt_of_another_past_is_not_remembered() -> None:
    series, recipe = stream(), forecaster_from("river")
    fitted = recipe.fit(series, 14, 30, seed=1)
    before = fitted.predict(series, 40, 50)
    y = series.y.copy()
    y[35] += 5.0
    changed = replace(series, y=y)
    fresh = recipe.fit(series, 14, 30, seed=1).predict(changed, 40, 50)
    assert np.array_equal(fitted.predict(changed, 40, 50), fresh)
    assert not np.array_equal(before, fresh)
    assert np.array_equal(fitted.predict(series, 40, 50), before)


def test_what_was_learnt_on_the_way_does_not_travel() -> None:
    series = stream()
    fitted = forecaster_from("river").fit(series, 14, 30, seed=1)
    size = len(pickle.dumps(fitted))
    for batch in range(30, 50):
        fitted.predict(series, batch, batch + 1)
    assert len(pickle.dumps(fitted)) == size


def test_it_follows_a_level_that_moves_after_its_window() -> None:
    series = stream(80)
    series.y[35:] += 30.0
    fitted = forecaster_from("river(model='LinearRegression')").fit(series, 14, 30, seed=1)
    off = np.abs(fitted.predict(series, 30, 80) - series.y[30:]).mean(axis=1)
    assert off[5:8].mean() > 15.0
    assert off[-7:].mean() < 8.0


def test_inside_its_window_a_learner_stands_still() -> None:
    series = stream()
    fitted = level().fit(series, 14, 30, seed=1)
    whole = fitted.predict(series, 25, 32)
    assert np.unique(whole[:5].round(9)).size == 1
    assert np.array_equal(whole[5:], fitted.predict(series, 30, 32))


def test_held_out_covers_the_window_only() -> None:
    series = stream()
    fitted = level().fit(series, 14, 30, seed=1)
    with pytest.raises(ModelError, match=r"batches 14 to 29. Got 28 to 30"):
        fitted.held_out(series, 28, 31)


def test_the_model_that_was_handed_in_learns_nothing() -> None:
    model = linear_model.LinearRegression()
    forecaster_from(model).fit(stream(), 14, 30, seed=1).predict(stream(), 30, 40)
    assert not model.weights
    assert model.intercept == 0.0


def test_a_window_without_a_value_names_stream_and_window() -> None:
    series = stream()
    series.y[14:30] = np.nan
    with pytest.raises(ModelError, match=r"stream `a`, batches 14 to 29.*observed value"):
        checked_fit(forecaster_from("river"), series, 14, 30, 1)
