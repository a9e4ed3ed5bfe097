"""Folders of files: which are read, what is wrong with the others, and what is skipped."""

import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mlma.adapters.frames.rows import Door, named_rows
from mlma.adapters.sources.folder import FolderSource
from mlma.domain.errors import SettingsError, SourceError
from mlma.domain.periods import Periods

START, END = np.datetime64("2025-03-01", "us"), np.datetime64("2025-03-02", "us")
NOON = datetime(2025, 3, 1, 12)


def rows(value: float, at: datetime = NOON, stream: str = "a") -> pl.DataFrame:
    return pl.DataFrame({"unique_id": [stream], "ds": [at], "y": [value]})


def source(path: Path | str, **beside: object) -> FolderSource:
    return FolderSource("sales", "actuals", path, **beside)  # type: ignore[arg-type]


def values(path: Path | str, **beside: object) -> list[float]:
    frames = source(path, **beside).frames(START, END)
    return [value for frame in frames for value in frame["y"]]


def put(frame: pl.DataFrame, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(file)


def test_files_are_read_in_the_order_of_their_places(tmp_path: Path) -> None:
    for value, place in enumerate(["b.parquet", "a/z.parquet", "c/b.parquet", "c/a.parquet"]):
        put(rows(value), tmp_path / place)
    assert values(tmp_path) == [1, 0, 3, 2]


def test_one_file_a_folder_and_a_pattern_can_be_read(tmp_path: Path) -> None:
    for value, place in enumerate(["x/day-1.parquet", "x/day-2.parquet", "x/other.parquet"]):
        put(rows(value), tmp_path / place)
    assert values(tmp_path / "x" / "day-2.parquet") == [1]
    assert values(tmp_path) == [0, 1, 2]
    assert values(tmp_path / "x" / "day-*.parquet") == [0, 1]
    assert values(tmp_path / "*") == [0, 1, 2]
    assert values(tmp_path / "**" / "*.parquet") == [0, 1, 2]


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path: Path) -> None:
    put(rows(1), tmp_path / "out[1]" / "a.parquet")
    assert values(tmp_path / "out[1]") == [1]


@pytest.mark.parametrize(
    "place",
    [
        ".a.parquet",
        "_a.parquet",
        "_temporary/0/a.parquet",
        ".git/a.parquet",
        "a.parquet.tmp",
        "a.parquet.crc",
        "_SUCCESS",
        "_delta_log/0.parquet",
        "a.parquet.part",
    ],
)
def test_files_that_are_not_meant_are_left_alone(tmp_path: Path, place: str) -> None:
    put(rows(1), tmp_path / "good.parquet")
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(b"PAR1 half a fi")
    assert values(tmp_path) == [1]
    (tmp_path / "good.parquet").unlink()
    assert values(tmp_path) == []


def test_an_empty_folder_gives_nothing_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    assert values(tmp_path) == []
    assert source(tmp_path).stamp(START, END) == source(tmp_path).stamp(START, END)
    with pytest.raises(SourceError, match=r"nowhere` does not exist.*is the disk there"):
        values(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="does not exist"):
        source(tmp_path / "nowhere" / "*.parquet").stamp(START, END)


def test_a_folder_of_other_files_only_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(b"")
    with pytest.raises(SourceError, match=r"holds no .parquet or .csv file. Got `a.csv.gz`"):
        values(tmp_path)


@pytest.mark.parametrize("cut", [0, 3, 200, -1])
def test_a_file_that_is_not_written_to_its_end_is_named(tmp_path: Path, cut: int) -> None:
    put(rows(1), tmp_path / "1.parquet")
    whole = (tmp_path / "1.parquet").read_bytes()
    (tmp_path / "2.parquet").write_bytes(whole[:cut])
    put(rows(3), tmp_path / "3.parquet")
    for asked in (lambda: values(tmp_path), lambda: source(tmp_path).stamp(START, END)):
        with pytest.raises(SourceError, match=r"2.parquet` cannot be read as Parquet.*rename"):
            asked()
    (tmp_path / "2.parquet").write_bytes(whole)
    assert values(tmp_path) == [1, 1, 3]


def test_a_file_with_a_damaged_inside_is_named_among_its_neighbours(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        frame = pl.DataFrame({"y": np.random.default_rng(0).normal(size=5000)})
        frame = frame.with_columns(unique_id=pl.lit("a"), ds=pl.lit(NOON))
        put(frame, tmp_path / f"{name}.parquet")
    bad = bytearray((tmp_path / "2.parquet").read_bytes())
    bad[4:4000] = bytes(3996)
    (tmp_path / "2.parquet").write_bytes(bad)
    with pytest.raises(SourceError, match=r"2.parquet` cannot be read"):
        values(tmp_path)


def test_partitions_are_columns_and_keep_their_leading_zeros(tmp_path: Path) -> None:
    for stream in ("007", "1e3"):
        place = tmp_path / f"unique_id={stream}" / "_year=2025" / "a.parquet"
        put(rows(int(stream[0])).drop("unique_id"), place)
    frames = list(source(tmp_path).frames(START, END))
    assert [frame["unique_id"].to_list() for frame in frames] == [["007", "1e3"]]
    assert source(tmp_path).stamp(START, END) != source(tmp_path).stamp(END, END + 1)


def test_a_partition_can_be_the_time(tmp_path: Path) -> None:
    for day in (1, 2):
        put(rows(day).drop("ds"), tmp_path / f"ds=2025-03-0{day}" / "a.parquet")
    assert values(tmp_path) == [1]


def test_csv_files_may_lie_in_partitions_too(tmp_path: Path) -> None:
    file = tmp_path / "unique_id=007" / "a.csv"
    file.parent.mkdir()
    rows(1).drop("unique_id").write_csv(file)
    (frame,) = source(tmp_path).frames(START, END)
    assert frame.rows() == [("007", NOON, 1.0)]


def test_files_of_different_layouts_are_read_side_by_side(tmp_path: Path) -> None:
    put(rows(1), tmp_path / "1.parquet")
    put(rows(2).with_columns(pl.col("y").cast(pl.Int32), more=pl.lit(0)), tmp_path / "2.parquet")
    put(rows(3).select("y", "ds", "unique_id"), tmp_path / "3.parquet")
    put(rows(4).with_columns(pl.col("ds").dt.replace_time_zone("UTC")), tmp_path / "4.parquet")
    rows(5).write_csv(tmp_path / "5.csv")
    put(rows(6).with_columns(pl.col("ds").dt.to_string()), tmp_path / "6.parquet")
    assert values(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_times_of_any_unit_and_zone_are_compared_as_they_are(
    tmp_path: Path, unit: str, zone: str | None
) -> None:
    frame = pl.DataFrame({"y": np.arange(48.0)}).with_columns(
        unique_id=pl.lit("a"),
        ds=pl.datetime_range(
            datetime(2025, 2, 28, 12), datetime(2025, 3, 2, 11), "1h", eager=True
        ).cast(pl.Datetime(unit)),  # type: ignore[arg-type]
    )
    if zone:
        utc = pl.col("ds").dt.replace_time_zone("UTC")
        frame = frame.with_columns(utc.dt.convert_time_zone(zone))
    put(frame, tmp_path / "a.parquet")
    assert values(tmp_path) == list(range(12, 36))
    assert values(tmp_path, zone="UTC") == list(range(12, 36))


def test_dates_are_midnights(tmp_path: Path) -> None:
    days = [date(2025, 2, 28), date(2025, 3, 1), date(2025, 3, 2)]
    put(pl.DataFrame({"unique_id": "a", "ds": days, "y": [0.0, 1.0, 2.0]}), tmp_path / "a.parquet")
    assert values(tmp_path) == [1]
    later = source(tmp_path).frames(START + np.timedelta64(1, "s"), END + np.timedelta64(1, "s"))
    assert [frame["y"].to_list() for frame in later] == [[2]]


def test_text_may_carry_more_than_one_offset(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "unique_id,ds,y\na,2025-03-01T00:30+01:00,1\na,2025-03-01 01:30 +0200,2\n"
        "a,2025-03-01T01:30:00+01:00,3\na,2025-03-01T00:00:00Z,4\na,2025-03-01,5\n".replace(
            " +", "+"
        )
    )
    (frame,) = source(tmp_path).frames(START, END)
    midnight = datetime(2025, 3, 1, tzinfo=UTC)
    assert frame["y"].to_list() == [3, 4, 5]
    assert frame["ds"].to_list() == [midnight + timedelta(minutes=30), midnight, midnight]


def test_rows_whose_text_is_no_time_or_number_arrive_at_the_door_to_be_counted(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.csv").write_text(
        "unique_id,ds,y\n007,2025-03-01 12:00,1.5\n007,yesterday,2\n008,2025-03-01 13:00,many\n"
    )
    (frame,) = source(tmp_path).frames(START, END)
    door = Door(Periods(np.timedelta64(1, "D"), np.timedelta64(1, "h")), END)
    named = named_rows(frame, "actuals", door, strict=False)
    assert named.ids == ("007",)
    assert named.value.tolist() == [1.5]
    assert sum(entry.count for entry in named.left_out) == 2


def test_cutoffs_are_read_where_there_are_any(tmp_path: Path) -> None:
    made = pl.DataFrame({"unique_id": ["a"], "ds": [NOON], "y_hat": [1.0], "cutoff": [NOON]})
    put(made, tmp_path / "1.parquet")
    put(made.drop("cutoff"), tmp_path / "2.parquet")
    made.write_csv(tmp_path / "3.csv")
    frames = list(FolderSource("f", "forecasts", tmp_path).frames(START, END))
    columns = [frame.columns for frame in frames]
    assert [len(names) for names in columns] == [4, 3, 4]
    assert frames[2]["cutoff"].to_list() == [NOON]
    told = FolderSource("f", "forecasts", tmp_path, {"cutoff": "made_at"})
    with pytest.raises(SourceError, match=r"Column `made_at` \(cutoff\) is missing in .*1.parquet"):
        list(told.frames(START, END))


def test_a_stamp_looks_at_the_files_that_reach_into_its_window(tmp_path: Path) -> None:
    put(rows(1), tmp_path / "1.parquet")
    one = source(tmp_path)
    before = one.stamp(START, END)
    put(rows(2, NOON + timedelta(days=1)), tmp_path / "2.parquet")
    assert one.stamp(START, END) == before
    put(rows(3), tmp_path / "3.parquet")
    late = one.stamp(START, END)
    assert late != before
    (tmp_path / "3.parquet").unlink()
    assert one.stamp(START, END) == before
    os.utime(tmp_path / "1.parquet", ns=(1, 1))
    assert one.stamp(START, END) not in (before, late)


def test_a_rewritten_file_is_read_anew(tmp_path: Path) -> None:
    put(rows(1), tmp_path / "1.parquet")
    one = source(tmp_path)
    one.stamp(START, END)
    put(rows(7, NOON + timedelta(days=1)), tmp_path / "1.parquet")
    one.stamp(START, END)
    assert list(one.frames(START, END)) == []
    put(rows(8), tmp_path / "1.parquet")
    assert [frame["y"].to_list() for frame in one.frames(START, END)] == [[8]]


def test_a_file_outside_the_window_is_not_opened_again(tmp_path: Path) -> None:
    put(rows(1), tmp_path / "1.parquet")
    put(rows(2, NOON + timedelta(days=1)), tmp_path / "2.parquet")
    one = source(tmp_path)
    one.stamp(START, END)
    status = (tmp_path / "2.parquet").stat()
    (tmp_path / "2.parquet").write_bytes(b"x" * status.st_size)
    os.utime(tmp_path / "2.parquet", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [frame["y"].to_list() for frame in one.frames(START, END)] == [[1]]


def test_a_folder_that_goes_away_meanwhile_is_an_error(tmp_path: Path) -> None:
    put(rows(1), tmp_path / "x" / "1.parquet")
    one = source(tmp_path / "x")
    frames = one.frames(START, END)
    shutil.rmtree(tmp_path / "x")
    with pytest.raises(SourceError, match="does not exist"):
        next(frames)


def test_csv_with_another_separator_or_without_a_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("unique_id;ds;y\na;2025-03-01;1\n")
    with pytest.raises(SourceError, match=r"a.csv` must be separated by commas"):
        values(tmp_path)
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(SourceError, match=r"a.csv` cannot be read as CSV"):
        values(tmp_path)


def test_times_that_are_numbers_are_refused(tmp_path: Path) -> None:
    put(pl.DataFrame({"unique_id": ["a"], "ds": [17], "y": [1.0]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"`ds` of .*a.parquet` must hold dates, times or ISO"):
        values(tmp_path)


def test_columns_that_nobody_knows_are_refused() -> None:
    with pytest.raises(SettingsError, match="Unknown column of a source `id`"):
        source(".", columns={"id": "store"})
    with pytest.raises(SettingsError, match="must name different columns"):
        source(".", columns={"y": "ds"})
    with pytest.raises(SettingsError, match=r"Unknown kind of rows `actual`.*`actuals`"):
        FolderSource("a", "actual", ".")  # type: ignore[arg-type]


def test_hundreds_of_small_files_come_as_one_frame(tmp_path: Path) -> None:
    put(rows(1), tmp_path / "0000.parquet")
    whole = (tmp_path / "0000.parquet").read_bytes()
    for number in range(1, 300):
        (tmp_path / f"{number:04d}.parquet").write_bytes(whole)
    one = source(tmp_path)
    one.stamp(START, END)
    assert [len(frame) for frame in one.frames(START, END)] == [300]
