"""Local statistical models: season of the grid, parameters of the window, no estimates later."""

import numpy as np
import pytest
from statsforecast.models import AutoETS, HistoricAverage, HoltWinters

from mlma.adapters.models.guard import checked_fit, checked_predict
from mlma.adapters.models.registry import forecaster_from
from mlma.adapters.models.rhythm import carried
from mlma.adapters.models.statsforecast import MEMORYLESS, StatsForecaster
from mlma.domain.errors import ModelError, SettingsError
from mlma.domain.streams import Grid, Series


def stream(minutes: int = 360, slots: int = 4, n_batches: int = 40) -> Series:
    grid = Grid(
        np.datetime64("2024-01-01", "us"),
        np.timedelta64(minutes * 60 * 10**6, "us"),
        slots,
        n_batches,
    )
    rng = np.random.default_rng(4)
    y = 20.0 + 5.0 * np.sin(np.arange(slots)) + rng.gamma(4.0, size=(n_batches, slots))
    return Series("a", grid, y, np.empty((n_batches, slots, 0)))


@pytest.mark.parametrize(
    ("minutes", "slots", "settings", "season"),
    [
        (60, 24, "", 24),
        (60, 24, ", season='week'", 168),
        (60, 24, ", season=12", 12),
        (60, 24, ", season_length=6", 6),
        (360, 4, "", 4),
        (1440, 1, "", 7),
        (1440, 7, "", 7),
        (1440, 7, ", season='day'", 1),
        (420, 4, "", 4),
    ],
)
def test_the_season_is_that_of_the_grid(
    minutes: int, slots: int, settings: str, season: int
) -> None:
    text = f"statsforecast(model='SeasonalNaive'{settings})"
    fitted = forecaster_from(text).fit(stream(minutes, slots), 4, 36, seed=1)
    assert fitted.model.season_length == season


@pytest.mark.parametrize(("minutes", "slots", "seasons"), [(360, 4, [4, 28]), (1440, 1, [7])])
def test_mstl_takes_the_day_and_the_week(minutes: int, slots: int, seasons: list[int]) -> None:
    fitted = forecaster_from("statsforecast(model='MSTL')").fit(
        stream(minutes, slots), 0, 36, seed=1
    )
    assert list(fitted.model.season_length) == seasons


def test_nothing_is_estimated_after_the_fit() -> None:
    series = stream()
    fitted = forecaster_from("statsforecast(model='AutoETS')").fit(series, 4, 30, seed=1)
    parameters = fitted.model.model_["par"].copy()
    states = fitted.model.model_["states"].copy()
    forecasts = fitted.predict(series, 30, 40)
    assert np.array_equal(fitted.model.model_["par"], parameters, equal_nan=True)
    assert np.array_equal(fitted.model.model_["states"], states, equal_nan=True)
    for batch in (30, 37):
        past = series.y[4:batch].ravel()
        expected = fitted.model.forward(y=past, h=4)["mean"]
        assert np.array_equal(forecasts[batch - 30], expected)
    assert np.array_equal(forecasts[0], fitted.model.predict(h=4)["mean"])


def test_an_instance_keeps_its_season_and_is_not_changed() -> None:
    model = AutoETS(season_length=4, model="ANA", alias="mine")
    forecaster = forecaster_from(model)
    fitted = forecaster.fit(stream(), 4, 36, seed=1)
    assert forecaster.name == "mine"
    assert fitted.model.season_length == 4
    assert not hasattr(model, "model_")


def test_gaps_are_filled_from_the_past() -> None:
    series = stream()
    series.y[20:22] = np.nan
    series.y[34, 1] = np.nan
    fitted = checked_fit(forecaster_from(HoltWinters(4)), series, 4, 30, 1)
    known = carried(series.y[:35].ravel(), series.grid)[16:]
    expected = fitted.model.forward(y=known, h=4)["mean"]
    assert np.array_equal(checked_predict(fitted, series, 35, 36)[0], expected)


def test_a_memoryless_model_reads_from_its_window_to_the_cutoff() -> None:
    series = stream()
    fitted = forecaster_from(HistoricAverage()).fit(series, 4, 30, seed=1)
    expected = np.full(4, series.y[4:37].mean())
    assert fitted.predict(series, 37, 38)[0] == pytest.approx(expected, rel=1e-6)


EXTRA = {
    "SeasonalExponentialSmoothing": {"alpha": 0.3},
    "SimpleExponentialSmoothing": {"alpha": 0.3},
    "SeasonalWindowAverage": {"window_size": 2},
    "WindowAverage": {"window_size": 3},
    "TSB": {"alpha_d": 0.1, "alpha_p": 0.1},
}


@pytest.mark.parametrize("name", MEMORYLESS)
def test_a_memoryless_model_moves_with_the_values(name: str) -> None:
    series = stream()
    fitted = checked_fit(StatsForecaster(name, **EXTRA.get(name, {})), series, 4, 30, 1)
    before, after = checked_predict(fitted, series, 30, 32)
    assert not np.array_equal(before, after)


def test_a_batch_before_its_window_cannot_be_forecast() -> None:
    fitted = forecaster_from("statsforecast(model='Naive')").fit(stream(), 4, 30, seed=1)
    with pytest.raises(ModelError, match=r"stream `a`.*Expected batch 5 or later. Got 4"):
        fitted.predict(stream(), 4, 6)


def test_a_window_without_a_value_names_stream_and_window() -> None:
    series = stream()
    series.y[4:30] = np.nan
    with pytest.raises(ModelError, match=r"stream `a`, batches 4 to 29.*observed value"):
        checked_fit(forecaster_from(HoltWinters(4)), series, 4, 30, 1)


def test_a_window_that_the_model_finds_too_short_is_a_model_error() -> None:
    with pytest.raises(ModelError, match=r"model `MSTL` for stream `a`, batches 0 to 0"):
        checked_fit(forecaster_from("statsforecast(model='MSTL')"), stream(), 0, 1, 1)


def test_an_instance_takes_neither_settings_nor_a_season() -> None:
    with pytest.raises(SettingsError, match=r"or an instance, without"):
        StatsForecaster(HoltWinters(4), season=4)
    with pytest.raises(SettingsError, match=r"Got <class 'statsforecast"):
        StatsForecaster(HoltWinters)
