"""The simulated platform keeps its promises: statistics, ground truth, bad settings."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

import mlma.library.simulate as library
from mlma.adapters.platform.profiles import STEPS, daily_tables, week_factors
from mlma.domain.errors import MlmaError, SettingsError
from mlma.library.simulate import Platform, simulate

PLAIN = {
    "together": 0.0,
    "yearly": 0.0,
    "shocks_per_year": 0.0,
    "births": 0.0,
    "deaths": 0.0,
    "zero_inflated": 0.0,
    "dead": 0.0,
    "missing": 0.0,
    "breaks": 0.0,
    "group_breaks": 0.0,
    "holidays": (),
}


def plain(streams, days, slot="1h", seed=0, **settings):
    return simulate(streams, days, slot=slot, seed=seed, **{**PLAIN, **settings})


def cube(made):
    """All actuals, ``(n_streams, days, slots)``."""
    return np.stack([day.y for day in made.batches()], axis=1).astype(float)


def expected(made, n):
    """Mean demand of a plain platform by the words of its settings: level x week x profile."""
    traits = made.world.block(0)[0]
    kind, phase, minutes = traits.area_type[:n], traits.phase[:n], 5 * made.world.rhythm.steps
    begin = (np.arange(made.slots) * minutes)[None, :] // 5 - phase[:, None]
    days = []
    for day in range(made.world.days):
        weekday = day % 7  # the first day is a Monday
        profile = daily_tables(minutes // 5)[int(weekday >= 5)]
        level = traits.mean[:n] * week_factors(weekday, False)[kind]
        days.append(level[:, None] * profile[kind[:, None], begin % STEPS])
    return np.stack(days, axis=1)


def ratio_around(y, start, weeks):
    """Mean of the weeks after a slot over the mean of the weeks before it."""
    flat, length = y.reshape(len(y), -1), weeks * 7 * y.shape[2]
    after, before = flat[:, start : start + length], flat[:, start - length : start]
    return np.nanmean(after, axis=1) / np.nanmean(before, axis=1)


def slot_of(made, time):
    first = made.world.start_of(0).astype("datetime64[us]").item()
    return int((time - first) / timedelta(days=1) * made.slots + 0.5)


def truths(made):
    """Ground truth with the row of its stream and its first and last slot."""
    rows = {name: row for row, name in enumerate(made.streams["unique_id"])}
    for name, kind, start, end, size in made.truth.iter_rows():
        stop = None if end is None else slot_of(made, end)
        yield rows[name], kind, slot_of(made, start), stop, size


@pytest.mark.parametrize("slot", ["1h", "15m"])
def test_demand_has_the_mean_of_its_level_week_and_profile(slot):
    made = plain(200, 21, slot)
    y, mean = cube(made), expected(made, 200)
    for axis in ((0, 1), (1, 2), (0, 2)):
        spread = np.sqrt((mean + 0.05 * mean**2).sum(axis=axis))
        z = (y - mean).sum(axis=axis) / spread
        assert np.abs(z).max() < 5
        assert 0.4 < np.mean(z**2) < 1.8


def test_the_variance_of_counts_is_poisson_plus_gamma():
    made = plain(200, 21, overdispersion=0.2, demand=20.0)
    y, mean = cube(made), expected(made, 200)
    excess = ((y - mean) ** 2 - mean).sum(axis=(1, 2)) / (mean**2).sum(axis=(1, 2))
    error = excess.std() / np.sqrt(len(excess))
    assert abs(excess.mean() - 0.2) < 4 * error
    assert error < 0.01


def test_without_overdispersion_counts_are_poisson():
    made = plain(100, 14, overdispersion=0.0)
    y, mean = cube(made), expected(made, 100)
    index = ((y - mean) ** 2).sum() / mean.sum()
    assert abs(index - 1) < 4 * np.sqrt((2 + 1 / mean.mean()) / mean.size)


def residual_correlation(made, which):
    """Mean correlation of what is left of working days without level, week and profile."""
    y, mean = cube(made), expected(made, len(made.streams))
    working = np.arange(made.world.days) % 7 < 5
    away = (y - mean)[:, working].reshape(len(y), -1)
    return np.corrcoef(away)[which(made.streams) & ~np.eye(len(y), dtype=bool)].mean()


def same(*tags):
    """Whether two streams share labels, ``(n_streams, n_streams)``."""

    def pairs(streams):
        labels = [streams[tag].to_numpy() for tag in tags]
        alike = np.ones((len(streams), len(streams)), dtype=bool)
        for label in labels:
            alike &= label[:, None] == label
        return alike

    return pairs


def test_streams_of_a_city_correlate_at_077_when_asked():
    # Shocks of this size have heavy tails: one history strays by .05, the mean of five does not.
    settings = {"together": 0.77, "demand": 40.0, "spread": 0.3, "city_share": 1.0, "cities": 2}
    histories = [plain(60, 60, seed=seed, **settings) for seed in range(5)]
    alike = same("city", "area_type")
    assert abs(np.mean([residual_correlation(made, alike) for made in histories]) - 0.77) < 0.06
    strangers = [residual_correlation(made, lambda s: ~same("city")(s)) for made in histories[:3]]
    assert abs(np.mean(strangers)) < 0.06


def test_cities_move_together_by_the_share_of_the_fleet():
    settings = {"together": 0.5, "demand": 40.0, "spread": 0.3, "city_share": 0.4, "cities": 2}
    made = plain(60, 120, **settings)
    other = residual_correlation(made, lambda s: same("area_type")(s) & ~same("city")(s))
    own = residual_correlation(made, same("area_type", "city"))
    assert abs(other / own - 0.6) < 0.12


def test_without_common_shocks_streams_do_not_correlate():
    made = plain(60, 60)
    assert abs(residual_correlation(made, same())) < 0.01


def test_common_shocks_do_not_change_the_mean():
    made = plain(40, 180, together=0.6, city_share=1.0, cities=40, demand=20.0)
    y, mean = cube(made), expected(made, 40)
    by_stream = y.sum(axis=(1, 2)) / mean.sum(axis=(1, 2))
    assert abs(by_stream.mean() - 1) < 4 * by_stream.std() / np.sqrt(40 / 3)


def test_zero_inflated_streams_have_their_share_of_zeros():
    made = plain(60, 14, zero_inflated=0.5, zero_probability=0.7, demand=500.0, spread=0.1)
    marked = made.streams["zero_inflated"].to_numpy()
    zeros = cube(made) == 0
    n = zeros[marked].size
    assert abs(marked.mean() - 0.5) < 4 * 0.5 / np.sqrt(60)
    assert abs(zeros[marked].mean() - 0.7) < 4 * np.sqrt(0.7 * 0.3 / n)
    assert zeros[~marked].mean() < 1e-3


def test_dead_streams_report_zeros_and_have_no_breaks():
    made = simulate(300, 180, dead=0.2, breaks=1.0, group_breaks=1.0)
    dead = made.streams.filter(pl.col("dead"))["unique_id"]
    assert 30 < len(dead) < 90
    y = made.batch(100).y[made.streams["dead"].to_numpy()]
    assert np.nansum(y) == 0
    assert np.isfinite(y).mean() > 0.8
    assert not made.truth["unique_id"].is_in(dead.to_list()).any()


def test_area_types_have_profiles_and_weeks_of_their_own():
    made = plain(400, 14, demand=40.0)
    y = cube(made)
    kind = made.streams["area_type"].to_numpy()
    office, leisure = y[kind == "business"], y[kind == "leisure"]
    assert office[:, 5:7].mean() < 0.6 * office[:, :5].mean()
    assert leisure[:, 5:7].mean() > 1.2 * leisure[:, :5].mean()
    assert office[:, :5].mean(axis=(0, 1)).argmax() < 12 < leisure[:, :5].mean(axis=(0, 1)).argmax()


def test_a_holiday_looks_like_a_sunday_and_is_an_event():
    made = plain(400, 14, holidays=("01-10",), demand=40.0)
    office = cube(made)[made.streams["area_type"].to_numpy() == "business"].mean(axis=(0, 2))
    assert office[9] < 0.5 * office[8]  # 10 January is the tenth day
    told = made.events.row(0, named=True)
    assert (told["kind"], told["scope"], told["start"].day) == ("holiday", "fleet", 10)


def test_the_year_is_highest_in_july():
    made = plain(200, 200, yearly=0.2)
    july, january = (
        sum(made.batch(day).y.sum() for day in range(first, first + 7)) for first in (189, 7)
    )
    assert 1.4 < july / january < 1.6


def test_a_shock_moves_exactly_the_streams_of_its_scope():
    made = plain(500, 60, shocks_per_year=24.0, shock_size=0.4, cities=4, demand=40.0)
    calm = plain(500, 60, cities=4, demand=40.0)
    shaken, usual = (cube(each).sum(axis=2) for each in (made, calm))
    city = made.streams["city"].to_numpy()
    factor = {name: np.ones(60) for name in np.unique(city)}
    for kind, scope, start, end, size in made.events.iter_rows():
        assert kind == "shock"
        for name in factor if scope == "fleet" else [scope]:
            factor[name][slot_of(made, start) // 24 : slot_of(made, end) // 24] *= 1 + size
    assert len(made.events) > 8
    for name, asked in factor.items():
        day = shaken[city == name].sum(axis=0) / usual[city == name].sum(axis=0)
        assert np.abs(day / asked - 1).max() < 0.06


def test_a_level_break_changes_the_level_by_its_size():
    made = plain(60, 142, breaks=1.0, break_every=100, kinds=("level",), quiet_days=42, demand=40.0)
    y, seen = cube(made), set()
    for row, kind, start, stop, size in truths(made):
        assert (kind, stop) == ("level", None)
        if start < (142 - 21) * 24:
            seen.add(size)
            assert abs(ratio_around(y[[row]], start, 3)[0] / (1 + size) - 1) < 0.1
    assert seen == {0.5, -0.4, 0.2}
    assert len(made.truth) == 60


def test_a_shape_break_moves_the_profile_by_two_hours():
    made = plain(
        40, 70, "15m", breaks=1.0, break_every=28, kinds=("shape",), quiet_days=28, demand=200.0
    )
    y, checked = cube(made), 0
    working = np.arange(70) % 7 < 5
    for row, _, start, _, size in truths(made):
        if not 28 <= start // 96 < 49:
            continue  # a second break of the stream, or too little after it
        checked += 1
        before, after = working.copy(), working.copy()
        before[28:], after[: start // 96 + 1], after[56:] = False, False, False
        early, late = y[row, before].mean(axis=0), y[row, after].mean(axis=0)
        fit = [np.corrcoef(np.roll(early, lag), late)[0, 1] for lag in range(96)]
        assert abs(int(np.argmax(fit)) - 8) <= 1
        assert size == 2.0
    assert checked > 10


def test_a_variance_break_multiplies_the_overdispersion():
    made = plain(
        100, 84, breaks=1.0, break_every=42, quiet_days=42, kinds=("variance",), demand=40.0
    )
    y, mean = cube(made).reshape(100, -1), expected(made, 100).reshape(100, -1)
    excess, square = (y - mean) ** 2 - mean, mean**2
    after = np.zeros_like(y, dtype=bool)
    for row, _, start, _, size in truths(made):
        after[row, start:] = True
        assert size == 3.0
    assert abs(excess[after].sum() / square[after].sum() - 0.2) < 0.02
    assert abs(excess[~after].sum() / square[~after].sum() - 0.05) < 0.005


def test_a_drift_doubles_the_level_in_its_hundred_days_and_stays():
    made = plain(60, 175, breaks=1.0, break_every=150, quiet_days=21, kinds=("drift",), demand=40.0)
    y, checked = cube(made), 0
    for row, _, start, stop, size in truths(made):
        assert (stop - start, size) == (100 * 24, 1.0)
        if stop > (175 - 14) * 24:
            continue
        checked += 1
        flat = y[row].reshape(-1)
        before = flat[start - 14 * 24 : start].mean()
        middle = flat[(start + stop) // 2 - 7 * 24 : (start + stop) // 2 + 7 * 24].mean()
        assert abs(middle / before - 1.5) < 0.2
        assert abs(flat[stop : stop + 14 * 24].mean() / before - 2.0) < 0.25
    assert checked >= 10


@pytest.mark.parametrize("kind", ["stuck", "zero"])
def test_a_faulty_sensor_shows_one_value_from_start_to_end(kind):
    made = plain(80, 90, breaks=1.0, break_every=60, quiet_days=30, kinds=(kind,), demand=40.0)
    y = cube(made).reshape(80, -1)
    for row, told, start, stop, size in truths(made):
        assert told == kind
        assert (size == 0) == (kind == "zero")
        assert 1 <= stop - start <= 10.5 * 24
        assert set(y[row, start:stop]) == {size}
        assert y[row, start - 24 : start].std() > 0


def test_half_of_a_city_breaks_together_in_a_group_shock():
    made = plain(900, 100, group_breaks=0.5, cities=6, demand=40.0)
    groups = made.events.filter(pl.col("kind") == "group")
    city = made.streams.select("unique_id", "city")
    truth = made.truth.join(city, on="unique_id")
    y = cube(made)
    assert 1 <= len(groups) < 6
    for scope, start in groups.select("scope", "start").iter_rows():
        hit = truth.filter((pl.col("city") == scope) & (pl.col("start") == start))
        n = int((city["city"] == scope).sum())
        assert abs(len(hit) / n - 0.5) < 4 * 0.5 / np.sqrt(n)
        rows = city["unique_id"].is_in(hit["unique_id"].to_list()).to_numpy()
        others = (city["city"] == scope).to_numpy() & ~rows
        at = slot_of(made, start)
        weeks = min(2, (100 * 24 - at) // 168)
        if weeks:
            assert abs(np.median(ratio_around(y[rows], at, weeks)) - 0.6) < 0.03
            assert abs(np.median(ratio_around(y[others], at, weeks)) - 1.0) < 0.03


def test_streams_are_born_and_die_on_the_days_they_say():
    made = simulate(400, 120, births=0.4, deaths=0.5, missing=0.0)
    alive = np.isfinite(cube(made)).all(axis=2)
    told = made.streams.select("born", "died").rows()
    for row, (born, died) in enumerate(told):
        first, last = slot_of(made, born) // 24, 120 if died is None else slot_of(made, died) // 24
        assert alive[row, first:last].all()
        assert not alive[row, :first].any()
        assert not alive[row, last:].any()
    late = sum(born > told[0][0].replace(month=1, day=1) for born, _ in told) / 400
    died = np.mean([end is not None for _, end in told])
    assert abs(late - 0.4) < 4 * np.sqrt(0.24 / 400)
    assert 0.05 < died < 0.35


def test_no_break_is_planted_outside_the_life_of_its_stream_or_the_horizon():
    made = simulate(1000, 300, births=0.5, deaths=0.6, breaks=1.0, group_breaks=1.0)
    truth = made.truth.join(made.streams, on="unique_id")
    assert len(truth) > 500
    assert (truth["start"] >= truth["born"]).all()
    assert (truth["start"] < truth["died"]).fill_null(True).all()
    assert truth["start"].to_numpy().max() < made.world.start_of(300)


def test_actuals_come_late_and_a_share_of_days_much_later():
    made = plain(500, 10, delay_minutes=10.0, late=0.1, late_hours=20.0, missing=0.05)
    days = list(made.batches())
    y, delay = (
        np.concatenate([getattr(day, name) for day in days]) for name in ("y", "delay_seconds")
    )
    assert np.array_equal(np.isnan(y), np.isnan(delay))
    assert abs(np.isnan(y).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / y.size)
    assert np.nanmin(delay) >= 0
    least = np.nanmin(delay, axis=1)  # of a stream-day: its common part shows
    assert abs((least > 3600).mean() - 0.1 * np.exp(-1 / 20)) < 4 * np.sqrt(0.09 / len(least))
    assert 400 < np.nanmedian(delay) < 550


def test_the_long_frame_holds_the_batches():
    made = simulate(20, 5, births=0.3, missing=0.1)
    frame, days = made.to_df(arrivals=True), list(made.batches())
    assert frame.columns == [
        "unique_id",
        "ds",
        "y",
        "arrived_at",
        "city",
        "area",
        "area_type",
        "vehicle",
    ]
    assert len(frame) == sum(int(np.isfinite(day.y).sum()) for day in days)
    third = days[3]
    mine = frame.filter((pl.col("unique_id") == third.ids[7]) & (pl.col("ds") >= third.start))
    told = mine.filter(pl.col("ds") < third.start + np.timedelta64(1, "D"))
    kept = np.isfinite(third.y[7])
    assert told["y"].to_list() == third.y[7][kept].tolist()
    waited = (told["arrived_at"] - told["ds"]).dt.total_microseconds() / 1e6 - 3600
    assert np.allclose(waited.to_numpy(), third.delay_seconds[7][kept], atol=1e-3)
    assert made.to_df().columns == [name for name in frame.columns if name != "arrived_at"]


def test_other_seeds_make_other_platforms():
    one, two = simulate(200, 180, seed=1, breaks=1.0), simulate(200, 180, seed=2, breaks=1.0)
    assert not one.streams["city"].equals(two.streams["city"])
    assert not one.truth["start"].equals(two.truth["start"])
    y = [plain(200, 14, seed=seed, spread=0.0).batch(3).y for seed in (1, 2)]
    assert abs(np.corrcoef(y[0].ravel() - y[0].mean(), y[1].ravel())[0, 1]) < 0.9
    assert not np.array_equal(y[0], y[1])


def test_a_quarter_of_an_hour_is_a_quarter_of_the_hourly_demand():
    hour, quarter = plain(200, 7), plain(200, 7, "15m")
    assert quarter.batch(0).y.shape == (200, 96)
    assert abs(cube(quarter).sum() / cube(hour).sum() - 1) < 0.02


def test_a_platform_is_written_as_record_or_text_or_settings():
    y = simulate(5, 5, together=0.5, cities=2).batch(2).y
    for made in (
        simulate(5, 5, platform=Platform(together=0.5, cities=2)),
        simulate(5, 5, platform="platform(together=0.5, cities=2)"),
        simulate(5, 5, platform=Platform(cities=2), together=0.5),
    ):
        assert np.array_equal(made.batch(2).y, y, equal_nan=True)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"streams": 0}, "streams"),
        ({"streams": 1.5}, "streams"),
        ({"days": 0}, "days"),
        ({"days": True}, "days"),
        ({"seed": -1}, "seed"),
        ({"slot": "7m"}, "slot"),
        ({"slot": "1m"}, "slot"),
        ({"slot": "2d"}, "slot"),
        ({"slot": "hour"}, "slot"),
        ({"together": 1.1}, "together"),
        ({"together": "much"}, "together"),
        ({"cities": 0}, "cities"),
        ({"cities": 2.5}, "cities"),
        ({"demand": 0.0}, "demand"),
        ({"demand": float("nan")}, "demand"),
        ({"shock_size": 1.0}, "shock_size"),
        ({"group_size": -1.0}, "group_size"),
        ({"shift_hours": 30.0}, "shift_hours"),
        ({"level_sizes": ()}, "level_sizes"),
        ({"level_sizes": (-2.0,)}, "level_sizes"),
        ({"kinds": ()}, "kinds"),
        ({"kinds": "level"}, "kinds"),
        ({"kinds": ("levels",)}, "did you mean `level`"),
        ({"holidays": ("13-01",)}, "holidays"),
        ({"start": "yesterday"}, "start"),
        ({"start": "0001-01-01"}, "start"),
        ({"break_every": 0}, "break_every"),
        ({"togther": 0.5}, "did you mean `together`"),
        ({"platform": "city(demand=1)"}, "platform"),
        ({"platform": 3}, "platform"),
    ],
)
def test_a_bad_setting_is_named(settings, named):
    with pytest.raises(SettingsError, match=named):
        simulate(**settings)


def test_days_and_parts_out_of_range_are_told_at_once():
    made = simulate(10, 5)
    for wrong in ((5, None), (-1, None), (3, 3), (0, 6)):
        with pytest.raises(SettingsError, match="days"):
            made.batches(*wrong)
    with pytest.raises(SettingsError, match="streams_per_batch"):
        made.batches(streams_per_batch=0)
    with pytest.raises(SettingsError, match="streams"):
        made.batch(0, 4, 11)


def test_a_frame_too_large_to_hold_is_refused():
    with pytest.raises(MlmaError, match=r"batches\(\)"):
        simulate(1_000_000, 180).to_df()


def test_the_public_records_are_named():
    assert set(library.__all__) >= {"Platform", "Simulated", "simulate"}
    assert repr(simulate(3, 2)) == "Simulated(3 streams, 2 days of 24 slots, seed 0)"
