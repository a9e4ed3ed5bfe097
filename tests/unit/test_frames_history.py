"""What `read_history` makes of good data, and of data with the usual faults."""

import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlma.adapters.frames.grids import Rows, usual_step
from mlma.adapters.frames.history import Columns, History, read_history
from mlma.domain.errors import SettingsError

START = datetime(2024, 1, 1)
BERLIN = ZoneInfo("Europe/Berlin")


def hourly(ids: tuple[str, ...] = ("A", "B"), days: int = 3) -> pl.DataFrame:
    slots = [START + timedelta(hours=hour) for hour in range(24 * days)]
    return pl.concat(
        pl.DataFrame({"unique_id": name, "ds": slots, "y": np.arange(24.0 * days) + 1000 * place})
        for place, name in enumerate(ids)
    )


def counts(history: History) -> dict[str, int]:
    return {entry.reason: entry.count for entry in history.left_out}


def berlin(first: datetime, hours: int) -> pl.DataFrame:
    instants = [first.astimezone(UTC) + timedelta(hours=hour) for hour in range(hours)]
    ds = pl.Series("ds", instants).dt.convert_time_zone("Europe/Berlin")
    return pl.DataFrame({"unique_id": "A", "ds": ds, "y": np.arange(float(hours))})


# --- any frame -----------------------------------------------------------------------------------

FRAMES = {
    "polars": lambda frame: frame,
    "polars lazy": lambda frame: frame.lazy(),
    "pandas": lambda frame: frame.to_pandas(),
    "pandas, id in the index": lambda frame: frame.to_pandas().set_index("unique_id"),
    "pandas, id and ds in the index": lambda f: f.to_pandas().set_index(["unique_id", "ds"]),
    "pandas, odd row numbers": lambda frame: frame.to_pandas().set_index(np.arange(144) * 3),
    "pandas, id as category": lambda f: f.to_pandas().astype({"unique_id": "category"}),
    "pandas, ds in nanoseconds": lambda f: f.to_pandas().astype({"ds": "datetime64[ns]"}),
    "pandas, ds as text": lambda f: f.to_pandas().assign(ds=lambda d: d["ds"].astype(str)),
    "pandas, all objects": lambda frame: frame.to_pandas().astype(object),
    "pyarrow": lambda frame: frame.to_arrow(),
    "narwhals": nw.from_native,
    "ids as category": lambda frame: frame.with_columns(pl.col("unique_id").cast(pl.Categorical)),
    "y as text": lambda frame: frame.with_columns(pl.col("y").cast(pl.String)),
    "y as integers": lambda frame: frame.with_columns(pl.col("y").cast(pl.Int16)),
    "y as decimals": lambda frame: frame.with_columns(pl.col("y").cast(pl.Decimal(10, 2))),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_every_kind_of_frame_gives_the_same_panel(kind: str) -> None:
    expected = read_history(hourly()).panel
    history = read_history(FRAMES[kind](hourly()))
    assert history.panel.ids == ("A", "B")
    assert history.panel.grid == expected.grid
    np.testing.assert_array_equal(history.panel.y, expected.y)
    assert history.left_out == ()


@pytest.mark.parametrize("as_text", [False, True])
def test_files_give_the_same_panel_as_the_frame(tmp_path: Path, as_text: bool) -> None:
    frame = hourly()
    frame.write_parquet(tmp_path / "h.parquet")
    frame.write_csv(tmp_path / "h.csv")
    (tmp_path / "parts [1]" / "deep").mkdir(parents=True)
    frame.head(100).write_parquet(tmp_path / "parts [1]" / "a.parquet")
    frame.tail(44).write_parquet(tmp_path / "parts [1]" / "deep" / "b.parquet")
    (tmp_path / "parts [1]" / "_SUCCESS").touch()
    for name in ("h.parquet", "h.csv", "parts [1]"):
        path = tmp_path / name
        panel = read_history(str(path) if as_text else path).panel
        np.testing.assert_array_equal(panel.y, read_history(frame).panel.y)


def test_a_folder_partitioned_by_stream_is_read_with_its_partition_column(tmp_path: Path) -> None:
    for name in ("A", "B"):
        (tmp_path / f"unique_id={name}").mkdir()
        part = hourly().filter(pl.col("unique_id") == name).drop("unique_id")
        part.write_parquet(tmp_path / f"unique_id={name}" / "0.parquet")
    assert read_history(tmp_path).panel.ids == ("A", "B")


def test_reading_a_file_imports_neither_pandas_nor_pyarrow(tmp_path: Path) -> None:
    hourly().write_parquet(tmp_path / "h.parquet")
    program = (
        "import sys; from mlma.adapters.frames.history import read_history;"
        f"read_history({str(tmp_path / 'h.parquet')!r});"
        "print(sorted({'pandas', 'pyarrow'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_columns_may_have_other_names() -> None:
    names = Columns(unique_id="shop", ds="when", y="sales")
    frame = hourly().rename({"unique_id": "shop", "ds": "when", "y": "sales"})
    history = read_history(frame, columns=names)
    assert history.columns == names
    np.testing.assert_array_equal(history.panel.y, read_history(hourly()).panel.y)


def test_two_roles_of_one_column_are_refused() -> None:
    with pytest.raises(SettingsError, match="three different columns"):
        Columns(unique_id="ds")


def test_integer_ids_become_text_and_csv_ids_keep_leading_zeros(tmp_path: Path) -> None:
    frame = hourly(("7", "10"))
    whole = frame.with_columns(pl.col("unique_id").cast(pl.Int64))
    assert read_history(whole).panel.ids == ("10", "7")
    with_null = whole.to_pandas().astype({"unique_id": float})
    with_null.loc[0, "unique_id"] = np.nan
    assert read_history(with_null).panel.ids == ("10", "7")
    (tmp_path / "z.csv").write_text("unique_id,ds,y\n007,2024-01-01,1\n007,2024-01-02,2\n")
    assert read_history(tmp_path / "z.csv").panel.ids == ("007",)


# --- the grid ------------------------------------------------------------------------------------


def test_the_grid_starts_at_midnight_and_ends_with_the_last_partial_batch() -> None:
    frame = hourly(("A",)).slice(10, 40)  # 10:00 of the first day to 01:00 of the third
    panel = read_history(frame).panel
    assert panel.grid.start == np.datetime64("2024-01-01T00:00")
    assert panel.y.shape == (1, 3, 24)
    assert np.isnan(panel.y[0, 0, :10]).all()
    np.testing.assert_array_equal(panel.y.ravel()[10:50], np.arange(10.0, 50.0))
    assert np.isnan(panel.y[0, 2, 2:]).all()


def test_batches_shorter_than_a_day_are_aligned_to_midnight() -> None:
    panel = read_history(hourly(("A",)).slice(10), batch="6h").panel
    assert panel.grid.start == np.datetime64("2024-01-01T00:00")
    assert panel.y.shape == (1, 12, 6)


def test_weekly_batches_start_on_a_monday() -> None:
    days = [date(2024, 1, 4) + timedelta(days=day) for day in range(14)]  # a Thursday
    frame = pl.DataFrame({"unique_id": "A", "ds": days, "y": np.arange(14.0)})
    panel = read_history(frame, batch="7d").panel
    assert panel.grid.start == np.datetime64("2024-01-01T00:00")
    assert panel.y.shape == (1, 3, 7)
    assert panel.grid.step == np.timedelta64(1, "D")


def test_weekly_slots_keep_the_weekday_of_the_data() -> None:
    sundays = [date(2024, 1, 7) + timedelta(weeks=week) for week in range(5)]
    frame = pl.DataFrame({"unique_id": "A", "ds": sundays, "y": np.arange(5.0)})
    history = read_history(frame, batch="1w")
    np.testing.assert_array_equal(history.panel.y.ravel(), np.arange(5.0))
    assert history.left_out == ()


def test_dates_before_1970_lie_on_the_grid_too() -> None:
    days = [date(1969, 12, 25) + timedelta(days=day) for day in range(14)]
    frame = pl.DataFrame({"unique_id": "A", "ds": days, "y": np.arange(14.0)})
    panel = read_history(frame, batch="7d").panel
    assert panel.grid.start == np.datetime64("1969-12-22")
    np.testing.assert_array_equal(panel.y.ravel()[3:17], np.arange(14.0))


def test_the_slot_is_the_most_frequent_distance() -> None:
    frame = hourly(("A",)).gather_every(1).filter(pl.col("ds").dt.hour() != 3)
    assert read_history(frame).panel.grid.step == np.timedelta64(1, "h")


def test_the_slot_is_found_in_any_order_and_over_any_span() -> None:
    frame = pl.concat([hourly(tuple("ABC")), hourly(("Z",))]).sample(fraction=1, shuffle=True)
    assert read_history(frame).panel.grid.step == np.timedelta64(1, "h")
    day = 86_400_000_000
    wide = np.tile(np.array([0, 1, 45_000]) * day, 4000)  # too wide for one 64-bit sort key
    rows = Rows(tuple(map(str, range(4000))), np.repeat(np.arange(4000), 3)[::-1], wide, wide)
    assert usual_step(rows, "the frame") == day


def test_a_given_step_overrides_the_inferred_one() -> None:
    panel = read_history(hourly(("A",)), step="30m").panel
    assert panel.y.shape == (1, 3, 48)
    assert np.isnan(panel.y[..., 1::2]).all()


def test_a_batch_that_is_no_multiple_of_the_slot_is_refused_with_a_proposal() -> None:
    weeks = [date(2024, 1, 1) + timedelta(weeks=week) for week in range(5)]
    frame = pl.DataFrame({"unique_id": "A", "ds": weeks, "y": 1.0})
    message = r'Got batch=\'1d\' and a slot length of 7d \(found in the data\).*batch="7d"'
    with pytest.raises(SettingsError, match=message):
        read_history(frame)
    with pytest.raises(SettingsError, match=r"90m|1h30m"):
        read_history(hourly(), batch="90m")


def test_the_panel_of_many_streams_fills_quickly() -> None:
    n_streams, n_slots = 500, 96 * 30
    slots = np.datetime64("2024-01-01", "us") + np.timedelta64(15, "m") * np.arange(n_slots)
    frame = pl.DataFrame(
        {
            "unique_id": np.repeat([f"s{row:04}" for row in range(n_streams)], n_slots),
            "ds": np.tile(slots, n_streams),
            "y": np.arange(float(n_streams * n_slots)),
        }
    )
    began = time.perf_counter()
    panel = read_history(frame).panel
    assert time.perf_counter() - began < 10  # a second or less; the bound allows a busy machine
    np.testing.assert_array_equal(panel.y.ravel(), frame["y"].to_numpy())


# --- streams are born, pause and end -------------------------------------------------------------


def test_streams_born_late_ended_early_and_dead_share_one_grid() -> None:
    whole = hourly(("A",), days=10)
    late = hourly(("late",), days=10).filter(pl.col("ds") >= datetime(2024, 1, 6))
    early = hourly(("early",), days=10).filter(pl.col("ds") < datetime(2024, 1, 3))
    dead = hourly(("dead",), days=10).with_columns(y=pl.lit(0.0))
    lone = hourly(("lone",), days=1).head(1)
    history = read_history(pl.concat([whole, late, early, dead, lone]))
    panel = history.panel
    assert panel.ids == ("A", "dead", "early", "late", "lone")
    seen = np.isfinite(panel.y).sum(axis=(1, 2))
    np.testing.assert_array_equal(seen, [240, 240, 48, 120, 1])
    assert not panel.y[1].any()
    assert history.left_out == ()


def test_a_hole_of_a_month_stays_missing() -> None:
    frame = hourly(("A",), days=60)
    hole = (pl.col("ds") >= datetime(2024, 1, 11)) & (pl.col("ds") < datetime(2024, 2, 10))
    panel = read_history(frame.filter(~hole)).panel
    assert panel.y.shape == (1, 60, 24)
    assert np.isnan(panel.y[0, 10:40]).all()
    assert np.isfinite(np.delete(panel.y[0], np.s_[10:40], axis=0)).all()


# --- rows with faults ----------------------------------------------------------------------------


def test_rows_without_id_or_time_are_left_out_and_counted() -> None:
    frame = hourly(("A",)).with_columns(
        unique_id=pl.when(pl.int_range(pl.len()) != 5).then("unique_id"),
        ds=pl.when(~pl.int_range(pl.len()).is_in([7, 8])).then("ds"),
    )
    history = read_history(frame)
    assert counts(history) == {"null unique_id": 1, "null ds": 2}
    assert history.left_out[0].examples == ("row 6",)
    assert np.isnan(history.panel.y.ravel()[[5, 7, 8]]).all()


def test_of_duplicates_the_last_row_is_kept() -> None:
    again = hourly(("A",)).slice(4, 2).with_columns(y=pl.lit(-7.0))
    history = read_history(pl.concat([hourly(("A",)), again, again.with_columns(y=pl.lit(99.0))]))
    assert counts(history) == {"duplicate (stream, slot)": 4}
    assert history.left_out[0].examples[0] == "A 2024-01-01 04:00:00"
    np.testing.assert_array_equal(history.panel.y.ravel()[3:7], [3.0, 99.0, 99.0, 6.0])


def test_rows_off_the_slot_grid_are_left_out_and_counted() -> None:
    stray = pl.DataFrame({"unique_id": "A", "ds": [datetime(2024, 1, 1, 10, 7, 31)], "y": [5.0]})
    history = read_history(pl.concat([hourly(("A",)), stray]))
    assert counts(history) == {"off the slot grid": 1}
    assert history.left_out[0].examples == ("A 2024-01-01 10:07:31",)
    np.testing.assert_array_equal(history.panel.y.ravel(), np.arange(72.0))


def test_missing_infinite_and_negative_values_are_counted_and_missing() -> None:
    y = np.arange(72.0)
    y[[1, 2, 3, 4, 5]] = np.nan, np.inf, -np.inf, -1.0, 0.0
    frame = hourly(("A",)).with_columns(y=pl.Series(y))
    frame = pl.concat([frame, frame.head(1).with_columns(y=pl.lit(None))], how="diagonal_relaxed")
    history = read_history(frame, forbid_negative=True)
    expected = {"duplicate (stream, slot)": 1, "missing y": 2, "infinite y": 2, "negative y": 1}
    assert counts(history) == expected
    assert np.isnan(history.panel.y.ravel()[:5]).all()
    allowed = read_history(frame)
    assert "negative y" not in counts(allowed)
    assert allowed.panel.y.ravel()[4] == -1.0


def test_missing_words_in_a_csv_are_missing_values(tmp_path: Path) -> None:
    lines = ["unique_id,ds,y", "NA,2024-01-01,1.5", "NA,2024-01-02,NA", "NA,2024-01-03,"]
    (tmp_path / "na.csv").write_text("\n".join([*lines, "NA,2024-01-04, 2.5"]))
    history = read_history(tmp_path / "na.csv")
    assert history.panel.ids == ("NA",)
    np.testing.assert_array_equal(history.panel.y.ravel(), [1.5, np.nan, np.nan, 2.5])
    assert counts(history) == {"missing y": 2}


# --- daylight saving -----------------------------------------------------------------------------


def test_the_hour_that_a_25_hour_day_has_twice_gives_its_mean() -> None:
    frame = berlin(datetime(2024, 10, 26, tzinfo=BERLIN), 24 + 25 + 24)
    history = read_history(frame)
    reason = "repeated wall-clock slot (daylight saving)"
    assert counts(history) == {reason: 1}
    assert history.left_out[0].examples == ("A 2024-10-27 02:00:00",)
    assert history.panel.y.shape == (1, 3, 24)
    np.testing.assert_array_equal(history.panel.y[0, 1, :4], [24.0, 25.0, (26 + 27) / 2, 28.0])
    np.testing.assert_array_equal(history.panel.y[0, 2], np.arange(49.0, 73.0))


def test_the_mean_of_a_repeated_hour_skips_a_missing_value() -> None:
    frame = berlin(datetime(2024, 10, 27, tzinfo=BERLIN), 25)
    one = frame.with_columns(y=pl.when(pl.int_range(pl.len()) != 2).then("y"))
    assert read_history(one).panel.y[0, 0, 2] == 3.0
    none = frame.with_columns(y=pl.when(~pl.int_range(pl.len()).is_in([2, 3])).then("y"))
    assert np.isnan(read_history(none).panel.y[0, 0, 2])


def test_a_duplicate_inside_the_repeated_hour_is_told_from_it() -> None:
    frame = berlin(datetime(2024, 10, 27, tzinfo=BERLIN), 25)
    again = frame.slice(3, 1).with_columns(y=pl.lit(10.0))
    history = read_history(pl.concat([frame, again]))
    reason = "repeated wall-clock slot (daylight saving)"
    assert counts(history) == {"duplicate (stream, slot)": 1, reason: 1}
    assert history.panel.y[0, 0, 2] == (2 + 10) / 2


def test_a_23_hour_day_leaves_its_missing_hour_missing() -> None:
    history = read_history(berlin(datetime(2024, 3, 30, tzinfo=BERLIN), 24 + 23 + 24))
    assert history.left_out == ()
    assert np.isnan(history.panel.y[0, 1, 2])
    assert np.isnan(history.panel.y).sum() == 1
    np.testing.assert_array_equal(history.panel.y[0, 2], np.arange(47.0, 71.0))


def test_daily_local_midnights_stay_daily_across_the_change_of_clocks() -> None:
    days = [datetime(2024, 3, 28) + timedelta(days=day) for day in range(7)]
    ds = pl.Series(days).dt.replace_time_zone("Europe/Berlin")
    history = read_history(pl.DataFrame({"unique_id": "A", "ds": ds, "y": np.arange(7.0)}))
    np.testing.assert_array_equal(history.panel.y.ravel(), np.arange(7.0))
    assert history.left_out == ()


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_a_zone_is_kept_on_the_way_from_other_libraries(library: str) -> None:
    frame = berlin(datetime(2024, 10, 27, tzinfo=BERLIN), 25)
    native = frame.to_pandas() if library == "pandas" else frame.to_arrow()
    np.testing.assert_array_equal(read_history(native).panel.y, read_history(frame).panel.y)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2024-01-01T00:00:00+01:00", "2024-01-01T01:00:00+01:00"),
        ("2024-01-01 00:00+0100", "2024-01-01T01:00:00.000+01"),
        ("2024-01-01 00:00Z", "2024-01-01T01:00:00+00:00"),
        ("2024-01-01", "2024-01-01 01:00"),
        ("2024-01-01T00:00", "2024-01-01T01:00:00.000000"),
    ],
)
def test_text_with_one_offset_or_none_is_read_as_its_wall_clock(first: str, second: str) -> None:
    frame = pl.DataFrame({"unique_id": "A", "ds": [first, second], "y": [1.0, 2.0]})
    panel = read_history(frame).panel
    assert panel.grid.start == np.datetime64("2024-01-01")
    np.testing.assert_array_equal(panel.y.ravel()[:2], [1.0, 2.0])


# --- tags and exogenous features -----------------------------------------------------------------


def rich() -> pl.DataFrame:
    city = pl.when(pl.col("unique_id") == "A").then(pl.lit("Berlin")).otherwise(pl.lit("Rome"))
    return hourly().with_columns(
        city=city,
        opened=pl.lit(date(2020, 1, 1)),
        warm=pl.col("y") * 2,
        open=pl.col("ds").dt.hour() > 8,
        note=pl.col("ds").dt.to_string(),
        empty=pl.lit(None),
    )


def test_constant_text_becomes_tags_and_numbers_become_features() -> None:
    history = read_history(rich())
    panel = history.panel
    assert panel.tags == {"city": ("Berlin", "Rome"), "opened": ("2020-01-01",) * 2}
    assert panel.exogenous_names == ("warm", "open")
    assert panel.exogenous.shape == (2, 3, 24, 2)
    np.testing.assert_array_equal(panel.exogenous[..., 0], panel.y * 2)
    np.testing.assert_array_equal(panel.exogenous[0, 0, :, 1], np.arange(24) > 8)
    (entry,) = history.left_out
    assert str(entry) == "2 columns: neither numeric nor constant within each stream (note, empty)"


def test_wishes_for_tags_and_features_override_the_types() -> None:
    frame = rich().with_columns(zone=pl.when(pl.col("unique_id") == "A").then(1).otherwise(2))
    history = read_history(frame, tags=["zone"], exogenous=["warm"])
    assert history.panel.tags == {"zone": ("1", "2")}
    assert history.panel.exogenous_names == ("warm",)
    assert history.left_out == ()
    nothing = read_history(frame, tags=[], exogenous=[])
    assert nothing.panel.tags == {}
    assert nothing.panel.exogenous.shape == (2, 3, 24, 0)


def test_one_name_may_be_plain_text() -> None:
    assert set(read_history(rich(), tags="city").panel.tags) == {"city"}


def test_tags_and_features_come_out_of_a_csv_as_of_a_frame(tmp_path: Path) -> None:
    rich().write_csv(tmp_path / "rich.csv")
    panel, expected = read_history(tmp_path / "rich.csv").panel, read_history(rich()).panel
    assert panel.tags == expected.tags
    assert panel.exogenous_names == expected.exogenous_names
    np.testing.assert_array_equal(panel.exogenous, expected.exogenous)


def test_a_missing_label_has_a_name_of_its_own() -> None:
    frame = hourly().with_columns(city=pl.when(pl.col("unique_id") == "A").then(pl.lit("Berlin")))
    assert read_history(frame).panel.tags == {"city": ("Berlin", "(missing)")}


def test_infinite_features_are_counted_and_missing() -> None:
    frame = hourly(("A",)).with_columns(x=pl.when(pl.int_range(pl.len()) == 3).then(np.inf))
    history = read_history(frame)
    assert counts(history) == {"infinite x": 1}
    assert np.isnan(history.panel.exogenous).all()


# --- real streams --------------------------------------------------------------------------------


@pytest.mark.shared_data
def test_the_bicycle_counts_of_a_city_keep_every_value(shared_data: Path) -> None:
    path = shared_data / "muenster_bikes_15min.parquet"
    history = read_history(path, forbid_negative=True)
    raw = pl.read_parquet(path)
    assert history.panel.y.shape == (23, 2790, 96)
    assert np.isfinite(history.panel.y).sum() == raw["y"].count()
    assert np.nansum(history.panel.y) == raw["y"].sum()
    assert history.left_out == ()


def test_an_arrow_table_with_encoded_ids_is_read() -> None:
    ids = pa.array(["A", "A"]).dictionary_encode()
    days = pa.array([date(2024, 1, 1), date(2024, 1, 2)])
    panel = read_history(pa.table({"unique_id": ids, "ds": days, "y": [1.0, 2.0]})).panel
    np.testing.assert_array_equal(panel.y.ravel(), [1.0, 2.0])


def test_a_pandas_frame_with_numbered_columns_beside_the_named_ones_is_read() -> None:
    frame = pd.DataFrame({"unique_id": ["A"] * 2, "ds": pd.date_range("2024", periods=2), "y": 1.0})
    frame[0] = [1.0, 2.0]
    assert read_history(frame).panel.exogenous_names == ("0",)
