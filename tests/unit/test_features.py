"""The design matrix against values computed by hand."""

import numpy as np
import pytest

from mlma.adapters.models.calendar_terms import calendar_columns, calendar_names
from mlma.adapters.models.features import Features, training_rows
from mlma.adapters.models.memo import Memo
from mlma.adapters.models.rhythm import carried, day_slots, week_slots
from mlma.domain.errors import SettingsError
from mlma.domain.streams import Grid, Series

MONDAY = np.datetime64("2024-01-01", "us")


def grid(seconds: int, slots: int, n_batches: int) -> Grid:
    return Grid(MONDAY, np.timedelta64(seconds * 10**6, "us"), slots, n_batches)


def series(on: Grid, y: np.ndarray | None = None, exogenous: np.ndarray | None = None) -> Series:
    shape = (on.n_batches, on.slots)
    values = np.arange(float(on.n_batches * on.slots)) if y is None else y
    columns = np.empty((*shape, 0)) if exogenous is None else exogenous
    return Series("a", on, values.reshape(shape), columns)


@pytest.mark.parametrize(
    ("on", "day", "week", "lags"),
    [
        (grid(900, 96, 30), 96, 672, tuple(96 * k for k in (1, 2, 3, 4, 5, 6, 7, 14))),
        (grid(3600, 24, 30), 24, 168, tuple(24 * k for k in (1, 2, 3, 4, 5, 6, 7, 14))),
        (grid(3600, 6, 120), 24, 168, tuple(24 * k for k in (1, 2, 3, 4, 5, 6, 7, 14))),
        (grid(3600, 48, 30), 24, 168, tuple(24 * k for k in (2, 3, 4, 5, 6, 7, 14, 21))),
        (grid(86400, 1, 30), 1, 7, (1, 2, 3, 4, 5, 6, 7, 14)),
        (grid(86400, 7, 30), 1, 7, (7, 14, 21, 28)),
        (grid(86400, 35, 30), 1, 7, (35,)),
        (grid(7 * 3600, 4, 30), 4, 24, (4, 8, 12, 16, 20, 24, 28, 56)),
        (grid(7 * 86400, 1, 60), 1, 1, (1, 2, 3, 4, 5, 6, 7, 14)),
        (grid(11 * 86400, 2, 60), 1, 0, (2, 3, 4, 5, 6, 7, 14, 21)),
    ],
)
def test_every_grid_has_its_day_its_week_and_its_lags(
    on: Grid, day: int, week: int, lags: tuple[int, ...]
) -> None:
    assert (day_slots(on), week_slots(on), Features().lags(on)) == (day, week, lags)


def test_one_step_adds_the_three_slots_before() -> None:
    lags = Features("one_step").lags(grid(3600, 24, 30))
    assert lags == (1, 2, 3, 24, 48, 72, 96, 120, 144, 168, 336)
    assert Features("one_step").lags(grid(86400, 7, 30)) == (1, 2, 3, 4, 5, 6, 7, 14)


def test_daily_row_is_what_one_computes_by_hand() -> None:
    day = grid(86400, 1, 30)
    row = Features().matrix(series(day), 20, 21)[0]  # y = 0, 1, 2, ...; a Sunday
    lags = [19, 18, 17, 16, 15, 14, 13, 6]
    levels = [19, 16]  # yesterday; mean of 13 to 19
    calendar = [0, 0, 0, 0, 0, 0, 1, 1]
    assert row.tolist() == [*lags, *levels, *calendar]
    names = Features().names(day)
    assert names[:2] == ("lag1", "lag2")
    assert names[8:11] == ("last_batch", "last_week", "monday")
    assert len(names) == len(row)


def test_six_hour_batch_knows_the_batch_before_and_the_same_one_yesterday() -> None:
    on = grid(3600, 6, 120)
    names = Features().names(on)
    row = dict(zip(names, Features().matrix(series(on), 64, 65)[2], strict=True))
    slot = 64 * 6 + 2  # Wednesday, 2:00
    assert row["lag24"] == slot - 24
    assert row["last_batch"] == np.mean(np.arange(63 * 6, 64 * 6))
    assert row["same_batch_yesterday"] == row["last_batch"] - 24
    assert row["last_week"] == np.mean(np.arange(36 * 6, 64 * 6))
    assert row["wednesday*lag24"] == slot - 24
    assert row["tuesday*lag24"] == 0
    assert row["sin1"] == pytest.approx(np.sin(2 * np.pi * 2 / 24))


def test_weekly_batches_of_days_have_the_mean_of_four_batches() -> None:
    on = grid(86400, 7, 12)
    row = dict(zip(Features().names(on), Features().matrix(series(on), 8, 9)[3], strict=True))
    assert row["lag7"] == 8 * 7 + 3 - 7
    assert row["last_batch"] == np.arange(49, 56).mean()
    assert row["last_four_batches"] == np.arange(28, 56).mean()


def test_fifteen_minute_calendar_turns_once_a_day() -> None:
    on = grid(900, 96, 8)
    columns = calendar_columns(on, 0, 8 * 96)
    names = calendar_names(on)
    assert columns.shape == (768, 24)
    cosine = columns[:, names.index("cos1")]
    assert np.flatnonzero(cosine > 1 - 1e-12).tolist() == list(range(0, 768, 96))
    saturday = columns[:, names.index("saturday")]
    assert np.flatnonzero(saturday).tolist() == list(range(5 * 96, 6 * 96))
    weekend = columns[:, names.index("weekend")] == 1
    assert np.all(columns[~weekend, names.index("weekend*cos1")] == 0)
    assert np.array_equal(columns[weekend, names.index("weekend*cos1")], cosine[weekend])


def test_calendar_follows_the_start_of_the_grid() -> None:
    shifted = Grid(
        np.datetime64("2023-12-30T18:00", "us"), np.timedelta64(3600 * 10**6, "us"), 6, 9
    )
    names = calendar_names(shifted)
    columns = calendar_columns(shifted, 0, 12)
    assert columns[:, names.index("saturday")].tolist() == [1] * 6 + [0] * 6
    assert columns[:, names.index("sunday")].tolist() == [0] * 6 + [1] * 6


def test_slots_of_whole_weeks_have_no_calendar() -> None:
    assert calendar_columns(grid(7 * 86400, 1, 20), 3, 5).shape == (2, 0)


def test_a_calendar_too_long_to_keep_equals_the_kept_one() -> None:
    odd = Grid(MONDAY, np.timedelta64(999_999, "us"), 100, 10)  # its week never closes
    columns = calendar_columns(odd, 0, 5)
    assert np.allclose(columns, calendar_columns(grid(1, 100, 10), 0, 5), atol=1e-6)


def test_gap_takes_the_slot_of_the_week_then_of_the_day_then_the_last_value_then_zero() -> None:
    on = grid(12 * 3600, 2, 16)  # two slots a day
    y = np.full(32, np.nan)
    y[3] = 3.0
    expected = np.zeros(32)
    expected[3:] = 3.0
    assert np.array_equal(carried(y, on), expected)
    y[4] = 4.0
    filled = carried(y, on)
    assert filled[5] == 3.0  # the same slot of the day
    assert filled[6] == 4.0
    assert filled[3 + 14] == 3.0
    y[10] = 10.0
    filled = carried(y, on)
    assert filled[12] == 10.0  # never seen at this slot of the week: of the day
    assert filled[18] == 4.0  # one week after slot 4
    assert filled[24] == 10.0


def test_values_without_gaps_are_carried_as_they_are() -> None:
    y = np.arange(10.0)
    assert carried(y, grid(3600, 5, 2)) is y


def test_missing_lags_stay_nan_where_they_are_asked_to() -> None:
    on = grid(86400, 1, 30)
    y = np.arange(30.0)
    y[18] = np.nan
    row = Features(fill=False).matrix(series(on, y), 20, 21)[0]
    assert np.flatnonzero(np.isnan(row)).tolist() == [1]
    early = Features(fill=False).matrix(series(on, y), 5, 6)[0]
    assert np.flatnonzero(np.isnan(early)).tolist() == [5, 6, 7]
    assert np.isfinite(Features().matrix(series(on, y), 0, 30)).all()


def test_exogenous_columns_stand_at_their_own_slot() -> None:
    on = grid(86400, 1, 10)
    known = np.stack([np.arange(10.0), 10 - np.arange(10.0)], axis=1)[:, None, :]
    known[4, 0, 0] = np.nan
    stream = series(on, exogenous=known)
    names = Features().names(on, ("price", "promotion"))
    column = names.index("price")
    rows = Features().matrix(stream, 3, 7)
    assert rows[:, column].tolist() == [3, 3, 5, 6]
    assert rows[:, column + 1].tolist() == [7, 6, 5, 4]
    assert np.isnan(Features(fill=False).matrix(stream, 4, 5)[0, column])


@pytest.mark.parametrize("on", [grid(900, 96, 40), grid(3600, 6, 160), grid(86400, 7, 40)])
@pytest.mark.parametrize("mode", ["day_ahead", "one_step"])
@pytest.mark.parametrize("fill", [True, False])
def test_features_of_a_batch_do_not_depend_on_later_values(on: Grid, mode: str, fill: bool) -> None:
    rng = np.random.default_rng(3)
    y = rng.gamma(2.0, size=(on.n_batches, on.slots))
    y[rng.random(y.shape) < 0.05] = np.nan
    features = Features(mode, fill)  # type: ignore[arg-type]  # one of the two modes
    batch = on.n_batches - 6
    before = features.matrix(series(on, y), 0, on.n_batches)
    for slot in (0, on.slots - 1):
        later = y.copy()
        later.reshape(-1)[batch * on.slots + slot :] = rng.normal(size=6 * on.slots - slot)
        after = features.matrix(series(on, later), 0, on.n_batches)
        end = (batch + 1) * on.slots if mode == "day_ahead" else batch * on.slots + slot + 1
        assert np.array_equal(before[:end], after[:end], equal_nan=True)
    assert not np.array_equal(before, after, equal_nan=True)


def test_rows_are_the_same_to_the_bit_alone_and_with_others() -> None:
    on = grid(3600, 24, 60)
    y = np.random.default_rng(5).gamma(2.0, size=(60, 24))
    stream, features = series(on, y), Features()
    alone = features.matrix(stream, 40, 42)  # the first request computes its rows only
    assert alone.flags.writeable
    for _ in range(30):
        whole = features.matrix(stream, 0, 60)
    assert not whole.flags.writeable  # asked for often: it comes from the memory now
    assert np.array_equal(whole[40 * 24 : 42 * 24], alone)


def test_values_changed_in_place_are_noticed() -> None:
    on = grid(86400, 1, 30)
    stream, features = series(on), Features()
    for _ in range(30):
        features.matrix(stream, 20, 21)
    stream.y[19] = 100.0
    assert features.matrix(stream, 20, 21)[0, 0] == 100.0
    assert features.matrix(stream, 20, 21)[0, 0] == 100.0


def test_memo_stays_within_its_bytes() -> None:
    memo = Memo(max_bytes=2000, max_entries=3, worthwhile=1)
    streams = [series(grid(86400, 1, 30), np.full(30, float(k))) for k in range(5)]
    kept = []
    for stream in streams:
        for _ in range(2):
            answer = memo.matrix("features", stream, 800, lambda: np.zeros(100))
        kept.append(answer)
        assert memo.nbytes <= 2000
    assert all(answer is not None for answer in kept)
    assert memo.matrix("features", streams[0], 2001, lambda: np.zeros(251)) is None


def test_rows_from_before_the_first_value_are_not_trained_on() -> None:
    on = grid(86400, 1, 60)
    y = np.arange(60.0)
    y[:10] = np.nan
    y[40] = np.nan
    rows = training_rows(series(on, y), Features(), 20, 58)
    assert np.flatnonzero(~rows).tolist() == [0, 1, 2, 3, 20]
    short = training_rows(series(on, y), Features(), 12, 30)
    assert short.all()  # dropping rows up to 24 would leave less than half


def test_unknown_mode_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="day_ahead, one_step"):
        Features("weekly")  # type: ignore[arg-type]  # the point of the test
