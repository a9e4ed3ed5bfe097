"""What every source of forecasts and actuals keeps to, wherever the rows lie."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from mlma.adapters.sources.folder import FolderSource
from mlma.adapters.sources.query import QuerySource
from mlma.domain.errors import SourceError
from mlma.ports.sources import Source
from postgres import database

Row = tuple[str, datetime, float]
DAY = datetime(2025, 3, 1)
HOURS = [DAY + timedelta(hours=hour) for hour in range(72)]
ROWS: list[Row] = [(f"0{s}", at, s + at.hour / 4) for at in HOURS for s in range(3)]
QUERY = "SELECT store, at, sold FROM sales WHERE {at} >= :start AND {at} < :end ORDER BY written"
STAMP = "SELECT count(*), max(written) FROM sales WHERE {at} >= :start AND {at} < :end"
COLUMNS = {"unique_id": "store", "ds": "at", "y": "sold"}


class Place:
    """Where the rows of a test lie: they can be written to, and read through a source."""

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows, later than those that are there."""
        raise NotImplementedError

    def source(self, columns: Mapping[str, str] = COLUMNS, **beside: Any) -> Source:
        """Return a source of the rows."""
        raise NotImplementedError


class Folder(Place):
    def __init__(self, path: Path, suffix: str) -> None:
        self.path, self.suffix, self.written = path, suffix, 0

    def write(self, rows: Sequence[Row]) -> None:
        self.written += 1
        file = self.path / f"{self.written:03d}.{self.suffix}"
        frame = frame_of(rows)
        if self.suffix == "csv":
            frame.write_csv(file)
        else:
            frame.write_parquet(file, row_group_size=50)

    def source(self, columns: Mapping[str, str] = COLUMNS, **beside: Any) -> Source:
        return FolderSource("sales", "actuals", self.path, columns, **beside)


@dataclass
class Table(Place):
    url: str
    at: str
    written: int = 0

    def __post_init__(self) -> None:
        self._tell("CREATE TABLE sales (store TEXT, at TIMESTAMP, sold FLOAT, written INTEGER)")

    def write(self, rows: Sequence[Row]) -> None:
        named = [
            {
                "store": store,
                "at": at if "postgresql" in self.url else str(at),
                "sold": sold,
                "written": self.written + place,
            }
            for place, (store, at, sold) in enumerate(rows)
        ]
        self.written += len(rows)
        if named:
            self._tell("INSERT INTO sales VALUES (:store, :at, :sold, :written)", named)

    def source(self, columns: Mapping[str, str] = COLUMNS, **beside: Any) -> Source:
        query, stamp = QUERY.format(at=self.at), STAMP.format(at=self.at)
        return QuerySource(
            "sales", "actuals", self.url, query, columns, stamp_query=stamp, **beside
        )

    def _tell(self, statement: str, rows: Sequence[dict[str, Any]] | None = None) -> None:
        url = self.url.replace("postgresql://", "postgresql+psycopg://")
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text(statement), rows)


def frame_of(rows: Sequence[Row]) -> pl.DataFrame:
    stores, times, sold = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {"store": stores, "at": times, "sold": sold, "weather": ["fine"] * len(rows)}
    kinds = {"store": pl.String, "at": pl.Datetime("us"), "sold": pl.Float64, "weather": pl.String}
    return pl.DataFrame(columns, schema=kinds)


@pytest.fixture(params=["folder of Parquet", "folder of CSV", "SQLite", "PostgreSQL"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        if request.param == "SQLite":
            yield Table(f"sqlite:///{tmp_path / 'sales.db'}", "datetime(at)")
        elif request.param == "PostgreSQL":
            yield Table(stack.enter_context(database()), "at")
        else:
            yield Folder(tmp_path, "csv" if "CSV" in request.param else "parquet")


def at(hours: float) -> np.datetime64:
    return np.datetime64(DAY + timedelta(hours=hours), "us")


def read(source: Source, start: float, end: float) -> list[Row]:
    """Return the rows of a source, hours counted from the first day."""
    return [row for frame in source.frames(at(start), at(end)) for row in frame.iter_rows()]


def final(rows: Sequence[Row]) -> dict[tuple[str, datetime], float]:
    return {(stream, time): value for stream, time, value in rows}


def test_the_rows_of_a_window_are_those_that_were_written(place: Place) -> None:
    place.write(ROWS)
    assert sorted(read(place.source(), 24, 48)) == sorted(ROWS[72:144])


def test_columns_bear_the_names_that_the_door_knows(place: Place) -> None:
    place.write(ROWS)
    (frame,) = place.source().frames(at(0), at(72))
    assert frame.columns == ["unique_id", "ds", "y"]
    assert frame.schema["y"] == pl.Float64
    assert frame["unique_id"].unique().sort().to_list() == ["00", "01", "02"]


def test_rows_are_the_same_whatever_the_pieces(place: Place) -> None:
    place.write(ROWS[:100])
    place.write(ROWS[100:])
    whole = read(place.source(), 0, 72)
    pieces = list(place.source(piece=7).frames(at(0), at(72)))
    assert max(len(piece) for piece in pieces) <= 7
    assert [row for piece in pieces for row in piece.iter_rows()] == whole
    assert sorted(whole) == sorted(ROWS)


@pytest.mark.parametrize("width", [0.5, 3, 12])
def test_windows_side_by_side_hold_each_row_once(place: Place, width: float) -> None:
    place.write(ROWS[:36])
    source, found = place.source(), []
    for step in range(int(12 / width)):
        found += read(source, step * width, (step + 1) * width)
    assert sorted(found) == sorted(ROWS[:36])


def test_a_window_holds_its_start_and_not_its_end(place: Place) -> None:
    place.write(ROWS)
    times = {time for _, time, _ in read(place.source(), 5, 7)}
    assert times == {HOURS[5], HOURS[6]}


def test_a_window_without_rows_gives_nothing(place: Place) -> None:
    place.write(ROWS)
    assert read(place.source(), 72, 96) == []
    assert read(place.source(), 5, 5) == []


def test_a_place_without_rows_gives_nothing(place: Place) -> None:
    place.write([])
    assert read(place.source(), 0, 24) == []
    assert place.source().stamp(at(0), at(24)) == place.source().stamp(at(0), at(24))


def test_rows_that_were_written_later_come_later(place: Place) -> None:
    place.write([*ROWS[:6], ("00", HOURS[0], 99.0)])
    place.write([("01", HOURS[0], 98.0)])
    seen = final(read(place.source(), 0, 1))
    assert seen == {("00", HOURS[0]): 99.0, ("01", HOURS[0]): 98.0, ("02", HOURS[0]): 2.0}


def test_a_stamp_stays_while_nothing_is_written(place: Place) -> None:
    place.write(ROWS)
    source = place.source()
    first = source.stamp(at(0), at(24))
    read(source, 0, 24)
    assert source.stamp(at(0), at(24)) == first
    assert place.source().stamp(at(0), at(24)) == first


def test_a_stamp_changes_with_a_row_of_its_window_and_frames_show_the_row(place: Place) -> None:
    place.write(ROWS)
    source = place.source()
    stamps = [source.stamp(at(24 * day), at(24 * day + 24)) for day in range(3)]
    place.write([("01", HOURS[30], 77.0)])
    again = [source.stamp(at(24 * day), at(24 * day + 24)) for day in range(3)]
    assert [old != new for old, new in zip(stamps, again, strict=True)] == [False, True, False]
    assert final(read(source, 24, 48))["01", HOURS[30]] == 77.0


def test_a_grid_with_a_zone_reads_times_without_one_off_the_wall(place: Place) -> None:
    place.write(ROWS)
    source = place.source(zone="Asia/Tokyo")  # nine hours ahead, all year
    assert {time for _, time, _ in read(source, 0, 2)} == {HOURS[9], HOURS[10]}


def test_the_hour_that_a_clock_shows_twice_is_in_one_window(place: Place) -> None:
    midnight = datetime(2025, 10, 26)
    times = [midnight + timedelta(minutes=30 * step) for step in range(10)]
    place.write([("00", time, 1.0) for time in times])
    source, day = place.source(zone="Europe/Berlin"), np.datetime64("2025-10-25T22:00", "us")
    hours = [np.timedelta64(60 * hour, "m") for hour in range(7)]
    found = [
        [row for frame in source.frames(day + one, day + two) for row in frame["ds"]]
        for one, two in pairwise(hours)
    ]
    # Half past two is shown at 0:30 and at 1:30 in UTC: the first is meant.
    assert found == [times[0:2], times[2:4], times[4:6], [], times[6:8], times[8:10]]


def test_a_missing_column_is_named_with_the_nearest(place: Place) -> None:
    place.write(ROWS)
    source = place.source(columns=COLUMNS | {"y": "solt"})
    with pytest.raises(SourceError, match=r"Column `solt` \(y\) is missing.*did you mean `sold`"):
        read(source, 0, 24)


def test_a_source_may_be_left_in_the_middle(place: Place) -> None:
    place.write(ROWS)
    frames = place.source(piece=5).frames(at(0), at(72))
    assert len(next(iter(frames))) == 5
    del frames
    assert len(read(place.source(), 0, 72)) == len(ROWS)
