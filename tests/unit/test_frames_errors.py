"""Every way in which a source is not a history, and what the message says."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mlma.adapters.frames.history import Columns, read_history
from mlma.domain.errors import DataError, MissingExtraError, SettingsError


def hourly(rows: int = 48) -> pl.DataFrame:
    slots = [datetime(2024, 1, 1) + timedelta(hours=hour) for hour in range(rows)]
    return pl.DataFrame({"unique_id": "A", "ds": slots, "y": np.arange(float(rows))})


def message(source: Any, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_history(source, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("renamed", "near"),
    [
        ({"ds": "timestamp"}, "timestamp"),
        ({"ds": "DS"}, "DS"),
        ({"unique_id": "uniqe_id"}, "uniqe_id"),
        ({"unique_id": "item_id"}, "item_id"),
        ({"y": "target"}, "target"),
    ],
)
def test_a_missing_column_is_named_with_those_found_and_the_nearest(
    renamed: dict[str, str], near: str
) -> None:
    (wanted,) = renamed
    text = message(hourly().rename(renamed))
    assert text.startswith(f"Column `{wanted}` ({wanted}) is missing in the frame. Found: ")
    assert text.endswith(f"Hint: did you mean `{near}`?")


def test_a_missing_column_without_a_near_one_has_no_hint() -> None:
    text = message(hourly().rename({"y": "zzz"}))
    assert text.endswith("Found: unique_id, ds, zzz.")


def test_a_renamed_column_is_missing_by_its_new_name() -> None:
    assert "Column `when` (ds) is missing" in message(hourly(), columns=Columns(ds="when"))


def test_numbers_for_times_are_refused_with_the_first_values() -> None:
    text = message(hourly().with_columns(ds=pl.int_range(pl.len()) + 1_700_000_000))
    assert "`ds` of the frame must be dates or times. Got Int64 (first values: 1700000000" in text


def test_text_that_is_no_number_is_refused_with_its_rows() -> None:
    y = ["1", "x", "3", None, "1,5", "z", "w", *["2"] * 41]
    text = message(hourly().with_columns(y=pl.Series(y)))
    assert "`y` of the frame must be numbers. Got 4 other values" in text
    assert "row 2: 'x', row 5: '1,5', row 6: 'z'" in text


def test_dates_for_values_are_refused() -> None:
    assert "`y` of the frame must be numbers. Got Date" in message(
        hourly().with_columns(y=pl.lit(date(2024, 1, 1)))
    )


@pytest.mark.parametrize("bad", [1.5, True, date(2024, 1, 1)])
def test_ids_that_are_no_names_are_refused(bad: object) -> None:
    text = message(hourly().with_columns(unique_id=pl.lit(bad)))
    assert "`unique_id` of the frame must be text or whole numbers" in text


def test_times_that_cannot_be_read_are_shown_with_their_rows(tmp_path: Path) -> None:
    times = ["2024-01-01", "01.02.2024", "2024-02-30", "2024-01-02", "later", "soon"]
    lines = [f"A,{text},1" for text in times]
    (tmp_path / "t.csv").write_text("\n".join(["unique_id,ds,y", *lines]))
    text = message(tmp_path / "t.csv")
    assert "`ds` of `t.csv` must be ISO dates or times. Got 4 other values" in text
    assert "row 2: '01.02.2024', row 3: '2024-02-30', row 5: 'later'" in text


@pytest.mark.parametrize(
    "others",
    [
        ["2024-01-01 00:00+01:00", "2024-01-01 01:00"],
        ["2024-01-01 00:00+01:00", "2024-01-01 01:00+02:00"],
        ["2024-01-01 00:00", "2024-01-01 01:00Z"],
    ],
)
def test_text_with_mixed_offsets_is_refused_with_the_first_of_each(others: list[str]) -> None:
    frame = pl.DataFrame({"unique_id": "A", "ds": [others[0], *others], "y": 1.0})
    text = message(frame)
    assert "`ds` of the frame must have one offset from UTC, or none. Got 2 kinds mixed" in text
    assert f"row 1: '{others[0]}', row 3: '{others[1]}'" in text


def test_pandas_objects_of_mixed_zones_are_refused() -> None:
    moments = [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-01 01:00")]
    frame = pd.DataFrame({"unique_id": "A", "ds": pd.Series(moments, dtype=object), "y": 1.0})
    assert "`ds` of the frame must have one time zone. Got None, UTC" in message(frame)


def test_a_pandas_column_of_mixed_types_is_refused_by_name() -> None:
    frame = hourly().to_pandas()
    frame["unique_id"] = pd.Series([1, "A"] * 24, dtype=object)
    assert "The source cannot be read as a frame" in message(frame)


def test_two_columns_of_one_name_are_refused() -> None:
    frame = hourly().to_pandas()
    text = message(pd.concat([frame, frame[["y"]]], axis=1))
    assert "'y' 2 times" in text
    assert "Hint: column names differ" in text


@pytest.mark.parametrize("empty", [hourly().head(0), hourly().head(0).to_pandas()])
def test_a_frame_without_rows_is_refused(empty: Any) -> None:
    assert message(empty) == "Expected at least one row in the frame. Got none."


def test_a_frame_without_any_whole_key_is_refused() -> None:
    text = message(hourly().with_columns(ds=pl.lit(None)))
    assert "No row of the frame has both `unique_id` and `ds`" in text
    assert "Got 0 rows without the first, 48 without the second" in text


@pytest.mark.parametrize("source", [[1, 2], {"y": [1]}, 3, None, pl.Series([1])])
def test_what_is_no_frame_is_refused_by_its_type(source: Any) -> None:
    text = message(source)
    assert "The source cannot be read as a frame" in text
    assert type(source).__name__ in text


def test_a_lazy_frame_that_fails_is_a_data_error(tmp_path: Path) -> None:
    assert "cannot be read" in message(pl.scan_parquet(tmp_path / "gone.parquet"))


# --- files ---------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    text = message(tmp_path / "gone.parquet")
    assert "gone.parquet` does not exist. Expected a .parquet or .csv file" in text


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_parquet_file_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.parquet"
    hourly().write_parquet(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    text = message(path)
    assert "cut.parquet` cannot be read as parquet" in text
    assert "Hint: the file may be damaged" in text


def test_a_folder_without_parquet_and_one_of_unlike_files_are_refused(tmp_path: Path) -> None:
    assert "holds no .parquet file" in message(tmp_path)
    hourly().write_parquet(tmp_path / "a.parquet")
    hourly().with_columns(y=pl.lit("x")).write_parquet(tmp_path / "b.parquet")
    assert "cannot be read as Parquet" in message(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty. Expected a header"),
        (b"unique_id,ds,y\n", "Expected at least one row in `f.csv`"),
        (b"unique_id,ds,y\nA,2024-01-01,1,2,3\n", "cannot be read as csv"),
        (b"unique_id,ds,y\nA,2024-01-01,\xff\xfe\n", "cannot be read as csv"),
        (b"unique_id;ds;y\nA;2024-01-01;1,5\n", "must be separated by commas"),
    ],
)
def test_a_csv_file_that_cannot_be_used_says_why(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / "f.csv").write_bytes(content)
    assert expected in message(tmp_path / "f.csv")


def test_a_file_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.xlsx").write_bytes(b"PK")
    assert "is of an unknown kind. Expected .parquet, .csv" in message(tmp_path / "f.xlsx")


# --- the grid ------------------------------------------------------------------------------------


def test_a_date_far_off_is_named_instead_of_allocating_terabytes() -> None:
    far = pl.DataFrame({"unique_id": "B", "ds": [datetime(9999, 12, 31)], "y": [1.0]})
    text = message(pl.concat([hourly(), far]), step="1m")
    assert "Earliest: 2024-01-01 00:00:00 (A); latest: 9999-12-31 00:00:00 (B)" in text


@pytest.mark.parametrize("year", [1, 9999])
def test_a_date_that_means_never_is_refused_in_daily_data_too(year: int) -> None:
    days = [date(2024, 1, 1) + timedelta(days=day) for day in range(40)]
    frame = pl.DataFrame({"unique_id": "A", "ds": [*days, date(year, 1, 1)], "y": 1.0})
    assert f"{year:04}-01-01 00:00:00 (A)" in message(frame)


def test_a_sparse_but_possible_grid_is_allowed() -> None:
    far = pl.DataFrame({"unique_id": "B", "ds": [datetime(2064, 1, 1)], "y": [1.0]})
    assert read_history(pl.concat([hourly(), far])).panel.y.shape[0] == 2


def test_a_slot_length_that_cannot_be_told_asks_for_one() -> None:
    frame = pl.DataFrame({"unique_id": ["A", "B"], "ds": [date(2024, 1, 1)] * 2, "y": [1.0, 2.0]})
    assert 'Hint: set it, for example step="1h"' in message(frame)
    assert read_history(frame, step="1d").panel.y.shape == (2, 1, 1)


@pytest.mark.parametrize("every", ["1mo", "1q", "1y"])
def test_monthly_quarterly_and_yearly_data_are_refused_by_name(every: str) -> None:
    months = pl.date_range(date(2018, 1, 1), date(2024, 12, 1), every, eager=True)
    frame = pl.DataFrame({"unique_id": "A", "ds": months, "y": 1.0})
    assert "months, quarters and years are not supported" in message(frame)
    with pytest.raises(SettingsError, match="not supported"):
        read_history(frame, batch="1mo")


def test_data_that_all_lie_off_the_grid_are_refused_with_the_first_row() -> None:
    frame = hourly().with_columns(pl.col("ds").dt.offset_by("7m"))
    text = message(frame)
    assert "No row of the frame lies on the slot grid: slots of 1h from midnight" in text
    assert "A 2024-01-01 00:07:00" in text


# --- tags and features ---------------------------------------------------------------------------


def test_a_tag_that_varies_within_streams_names_them() -> None:
    frame = hourly().with_columns(tag=pl.col("ds").dt.to_string())
    text = message(frame, tags=["tag"])
    assert "Tag `tag` of the frame must be constant within each stream" in text
    assert "It varies within 1 streams: A" in text


def test_columns_that_make_no_label_are_counted_and_refused_as_tags() -> None:
    frame = hourly().with_columns(wait=pl.lit(timedelta(1)), both=pl.lit([1, 2]))
    (entry,) = read_history(frame).left_out
    assert entry.examples == ("wait", "both")
    assert "Tag `wait` of the frame must hold labels" in message(frame, tags=["wait"])


def test_a_tag_without_any_label_is_refused() -> None:
    frame = hourly().with_columns(tag=pl.lit(None))
    assert "Tag `tag` of the frame must hold labels. Got Null" in message(frame, tags=["tag"])


def test_wishes_for_columns_that_are_not_there_are_refused() -> None:
    assert "Column `city` (tag) is missing" in message(hourly(), tags=["city"])
    assert "Column `heat` (exogenous) is missing" in message(hourly(), exogenous=["heat"])


def test_a_feature_that_is_no_number_is_refused() -> None:
    frame = hourly().with_columns(note=pl.lit("rain"))
    assert "`note` of the frame must be numbers" in message(frame, exogenous=["note"])


def test_a_column_in_two_roles_is_refused() -> None:
    with pytest.raises(SettingsError, match="one role"):
        read_history(hourly().with_columns(x=1), tags=["x"], exogenous=["x"])
    with pytest.raises(SettingsError, match="one role"):
        read_history(hourly(), exogenous=["y"])


def test_a_pandas_frame_without_pyarrow_asks_for_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = hourly().to_pandas()

    def without_pyarrow(*_: Any, **__: Any) -> Any:
        raise ModuleNotFoundError("pyarrow is required")

    monkeypatch.setattr(pl, "from_pandas", without_pyarrow)
    with pytest.raises(MissingExtraError, match=r"mlma\[arrow\]"):
        read_history(frame)
