"""`mlma.ForecastPool`: forecasts that people bring become one."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mlma import DataError, ForecastPool, SettingsError, StateError

START = datetime(2024, 1, 1)


def day_of(number, streams=("a", "b"), seed=0):
    """Return one hourly day: `early` is right until noon, `late` after it."""
    rng = np.random.default_rng((seed, number))
    rows = []
    for name in streams:
        for hour in range(24):
            y = 100.0 + 10 * hour + rng.normal()
            good, bad = y + rng.normal(), y + 20 + rng.normal()
            early, late = (good, bad) if hour < 12 else (bad, good)
            ds = START + timedelta(days=number, hours=hour)
            rows.append((name, ds, early, late, y))
    return pl.DataFrame(rows, schema=["unique_id", "ds", "early", "late", "y"], orient="row")


def trained(days=20, **settings):
    pool = ForecastPool(**settings)
    for number in range(days):
        pool.update(day_of(number))
    return pool


def mae(pool, frame):
    made = pool.combine(frame.drop("y"))
    return float((made["y_hat"] - frame["y"]).abs().mean())


def test_weights_differ_by_time_of_day_and_beat_both_members():
    pool, frame = trained(), day_of(21)
    best = min(float((frame[name] - frame["y"]).abs().mean()) for name in ("early", "late"))
    assert mae(pool, frame) < 0.2 * best
    weights = pool.weights().filter(unique_id="a", weekend=False, from_hour=6, model="early")
    assert weights["weight"][0] > 0.9
    sums = pool.weights().group_by("unique_id", "weekend", "from_hour").agg(pl.col("weight").sum())
    np.testing.assert_allclose(sums["weight"], 1.0, rtol=1e-5)


def test_the_first_forecast_is_the_plain_mean():
    frame = day_of(0)
    made = ForecastPool().combine(frame)
    expected = (frame["early"] + frame["late"]) / 2
    np.testing.assert_allclose(made["y_hat"], expected, rtol=1e-6)


def test_the_answer_has_the_kind_and_the_rows_of_the_frame():
    frame = day_of(0).with_columns(cutoff=pl.lit(START)).to_pandas()
    frame["early-lo-90"] = 0.0
    made = ForecastPool().combine(frame)
    assert isinstance(made, pd.DataFrame)
    assert list(made.columns) == ["unique_id", "ds", "cutoff", "y_hat"]
    assert len(made) == len(frame)


def test_a_model_that_comes_later_starts_with_the_mean_weight():
    pool = trained()
    frame = day_of(21).with_columns(new=pl.col("y"))
    pool.combine(frame.drop("y"))
    weights = pool.weights().filter(unique_id="a", weekend=False, from_hour=6)
    assert weights.filter(model="new")["weight"][0] == pytest.approx(1 / 3, abs=1e-5)


def test_a_model_without_a_forecast_is_asleep_and_its_weight_goes_to_the_others():
    pool, frame = trained(), day_of(21)
    alone = frame.with_columns(early=pl.lit(None, dtype=pl.Float64))
    made = pool.combine(alone)
    np.testing.assert_allclose(made["y_hat"], frame["late"], rtol=1e-6)
    assert mae(pool, frame.drop("early")) > 5


def test_rows_without_any_forecast_are_null_and_counted():
    frame = day_of(0).with_columns(early=None, late=None).cast({"early": float, "late": float})
    pool = ForecastPool()
    made = pool.combine(frame)
    assert made["y_hat"].is_null().all()
    assert pool.left_out[0].reason == "no forecast of any model"
    assert pool.left_out[0].count == 48


def test_rows_without_an_actual_teach_nothing_and_are_counted():
    pool, twin = trained(), trained()
    pool.update(day_of(21).with_columns(y=pl.lit(float("nan"))))
    assert pool.left_out[0].reason == "missing y"
    assert pool.weights().equals(twin.weights())


def test_streams_do_not_touch_each_other():
    both, alone = ForecastPool(), ForecastPool()
    for number in range(5):
        frame = day_of(number)
        both.update(frame)
        alone.update(frame.filter(unique_id="b"))
    own = both.weights().filter(unique_id="b")
    assert own.equals(alone.weights())


@pytest.mark.parametrize("rule", ["fixed_share", "exponential", "select", "mean"])
def test_a_pool_comes_back_from_its_file_the_same(tmp_path, rule):
    pool = trained(5, combine=rule)
    pool.save(tmp_path / "pool.npz")
    again = ForecastPool.load(tmp_path / "pool.npz")
    assert again.weights().equals(pool.weights())
    frame = day_of(9)
    pool.update(frame)
    again.update(frame)
    assert again.combine(day_of(10)).equals(pool.combine(day_of(10)))


def test_a_damaged_file_is_a_clear_error(tmp_path):
    path = tmp_path / "pool.npz"
    trained(2).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(StateError, match="is not a saved pool, or it is damaged"):
        ForecastPool.load(path)
    with pytest.raises(StateError, match="There is no saved pool"):
        ForecastPool.load(tmp_path / "other.npz")


def test_a_loss_of_ones_own_cannot_be_saved(tmp_path):
    pool = ForecastPool(loss=lambda y, y_hat: np.abs(y - y_hat))
    with pytest.raises(StateError, match="Python function"):
        pool.save(tmp_path / "pool.npz")


def test_bad_input_is_a_clear_error():
    with pytest.raises(SettingsError, match="needs the scale of a history"):
        ForecastPool(loss="mase")
    with pytest.raises(SettingsError, match="rule of combination"):
        ForecastPool("best")
    with pytest.raises(DataError, match="There is no forecast"):
        ForecastPool().combine(day_of(0).select("unique_id", "ds"))
    with pytest.raises(DataError, match="medium"):
        ForecastPool().combine(day_of(0), models=["early", "medium"])
    with pytest.raises(DataError, match="rows have no `unique_id` or `ds`"):
        ForecastPool().combine(day_of(0).with_columns(ds=pl.lit(None, dtype=pl.Datetime)))
    with pytest.raises(DataError, match="`y`"):
        ForecastPool().update(day_of(0).drop("y"))
