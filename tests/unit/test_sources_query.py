"""Queries: what they must say, what may not happen to the database, and when it cannot be read."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mlma.adapters.sources.query import QuerySource
from mlma.domain.errors import MissingExtraError, SettingsError, SourceError
from postgres import database, tell

START, END = np.datetime64("2025-03-01", "us"), np.datetime64("2025-03-02", "us")
WINDOW = "WHERE ds >= :start AND ds < :end"
QUERY = f"SELECT * FROM sales {WINDOW}"
NOON = datetime(2025, 3, 1, 12)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "sales.db"
    with closing(sqlite3.connect(made)) as connection:
        connection.execute("CREATE TABLE sales (unique_id, ds, y)")
        connection.execute("INSERT INTO sales VALUES (7, '2025-03-01 12:00:00', 1)")
        connection.commit()
    return made


@pytest.fixture
def server() -> Iterator[str]:
    with database() as url:
        yield url


def told(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def source(url: Path | str, query: str = QUERY, **beside: object) -> QuerySource:
    address = f"sqlite:///{url}" if isinstance(url, Path) else url
    return QuerySource("sales", "actuals", address, query, **beside)  # type: ignore[arg-type]


def rows(asked: QuerySource) -> list[tuple[object, ...]]:
    return [row for frame in asked.frames(START, END) for row in frame.iter_rows()]


def test_a_query_must_have_a_start_and_an_end(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"`query` of the source `sales` must have.*Got none"):
        source(file, "SELECT * FROM sales")
    with pytest.raises(SettingsError, match="Got :from, :start"):
        source(file, "SELECT * FROM sales WHERE ds >= :start AND ds < :from")
    with pytest.raises(SettingsError, match=r"`stamp_query`.*or none. Got :day"):
        source(file, stamp_query="SELECT max(ds) FROM sales WHERE ds = :day")


def test_colons_in_text_are_no_parameters(file: Path) -> None:
    query = f"SELECT unique_id, ds, y, '\\:x' AS why FROM sales {WINDOW}"
    assert rows(source(file, query)) == [(7, NOON, 1)]


def test_an_address_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError, match="`url` of the source `sales`") as refused:
        source("user:secret@host")
    assert "secret" not in str(refused.value)
    with pytest.raises(SettingsError, match="nosuchbase"):
        source("nosuchbase://host")
    with pytest.raises(SettingsError, match="driver of the source `sales` is not installed"):
        source("mysql+pymysql://host/base")


def test_a_missing_driver_of_postgresql_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"mlma\[postgres\]"):
        source("postgresql://host/base")


def test_numbers_of_several_types_in_one_column_are_numbers(file: Path) -> None:
    told(
        file,
        "INSERT INTO sales VALUES ('a', '2025-03-01 13:00', 2.5)",
        "INSERT INTO sales VALUES ('a', '2025-03-01', '3.5')",
        "INSERT INTO sales VALUES ('a', '2025-03-01 14:00', NULL)",
    )
    (frame,) = source(file, QUERY.replace("ds >=", "datetime(ds) >=")).frames(START, END)
    assert frame["unique_id"].to_list() == ["7", "a", "a", "a"]
    assert frame["y"].to_list() == [1, 2.5, 3.5, None]


def test_rows_that_a_query_gives_beyond_the_window_are_dropped(file: Path) -> None:
    told(file, "INSERT INTO sales VALUES ('a', '2025-03-02 00:00:00', 2)")
    loose = "SELECT * FROM sales WHERE :start < :end"
    assert rows(source(file, loose)) == [("7", NOON, 1)]


def test_a_query_cannot_write(file: Path) -> None:
    query = f"DELETE FROM sales {WINDOW} RETURNING *"
    with pytest.raises(SourceError, match="attempt to write a readonly database"):
        rows(source(file, query))
    assert rows(source(file)) == [(7, NOON, 1)]


def test_a_missing_file_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none.db` of `sales` does not exist"):
        rows(source(tmp_path / "none.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_query_that_the_database_refuses_shows_what_it_says(file: Path) -> None:
    with pytest.raises(SourceError, match=r"query of `sales` at sqlite.*no such column: at") as got:
        rows(source(file, QUERY.replace("ds", "at")))
    assert "2025-03-01" not in str(got.value)


def test_a_query_that_takes_too_long_is_given_up(file: Path) -> None:
    endless = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
        f"SELECT max(x) AS y, 'a' AS unique_id, :start AS ds FROM n {WINDOW.replace('ds', 'x')}"
    )
    with pytest.raises(SourceError, match="interrupted"):
        rows(source(file, endless, timeout=timedelta(milliseconds=50)))


def test_without_a_stamp_query_rows_count_as_changed_once_in_a_while(file: Path) -> None:
    now = 1_000_000.0
    asked = source(file, look_again=timedelta(seconds=100), now=lambda: now)
    first = asked.stamp(START, END)
    now += 99
    assert asked.stamp(START, END) == first
    now += 1
    assert asked.stamp(START, END) != first


def test_a_stamp_query_need_not_have_a_window_but_must_have_a_row(file: Path) -> None:
    asked = source(file, stamp_query="SELECT count(*), max(ds) FROM sales")
    assert asked.stamp(START, END) == "1|2025-03-01 12:00:00"
    none = source(file, stamp_query="SELECT ds FROM sales WHERE y = 17")
    with pytest.raises(SourceError, match=r"`stamp_query` of `sales` must give one row. Got none"):
        none.stamp(START, END)


def test_text_in_utc_is_found_on_a_grid_with_a_zone(file: Path) -> None:
    told(file, "DELETE FROM sales", "INSERT INTO sales VALUES ('a', '2025-02-28T23:30:00Z', 2)")
    day = START - np.timedelta64(1, "h"), END - np.timedelta64(1, "h")
    (frame,) = source(file, zone="Europe/Berlin").frames(*day)
    assert frame["ds"].to_list() == [datetime(2025, 2, 28, 23, 30, tzinfo=UTC)]


def test_postgresql_is_read_in_the_zone_of_the_grid(server: str) -> None:
    tell(server, "CREATE TABLE sales (unique_id int, ds timestamptz, wall timestamp, y numeric)")
    tell(server, "INSERT INTO sales VALUES (7, '2025-03-01 00:30+01', '2025-03-01 00:30', 1.5)")
    tell(server, "INSERT INTO sales VALUES (8, '2025-03-01 00:30Z', '2025-03-01 01:30', 2.5)")
    tell(server, "INSERT INTO sales VALUES (9, '2025-03-02 00:30+01', '2025-03-02 00:30', 3.5)")
    assert [row[0] for row in rows(source(server))] == [8, 9]
    day = START - np.timedelta64(1, "h"), END - np.timedelta64(1, "h")
    for column in ("ds", "wall"):
        query = f"SELECT * FROM sales WHERE {column} >= :start AND {column} < :end"
        zoned = source(server, query, columns={"ds": column}, zone="Europe/Berlin")
        (frame,) = zoned.frames(*day)
        assert frame["unique_id"].to_list() == [7, 8]
        assert frame["y"].to_list() == [1.5, 2.5]


def test_postgresql_is_never_written_to(server: str) -> None:
    tell(server, "CREATE TABLE sales (unique_id int, ds timestamp, y float)")
    tell(
        server,
        "CREATE FUNCTION told() RETURNS float LANGUAGE sql AS "
        "'INSERT INTO sales VALUES (1, now(), 1) RETURNING y'",
    )
    query = "SELECT told() AS y, 1 AS unique_id, :start AS ds WHERE :start < :end"
    with pytest.raises(SourceError, match="read-only transaction"):
        rows(source(server, query))
    assert tell(server, "SELECT count(*) FROM sales") == [(0,)]


def test_postgresql_gives_up_what_takes_too_long(server: str) -> None:
    query = "SELECT pg_sleep(5), 1 AS unique_id, 1 AS y, :start AS ds WHERE :start < :end"
    with pytest.raises(SourceError, match="statement timeout"):
        rows(source(server, query, timeout=timedelta(milliseconds=50)))


def test_a_password_is_in_no_message() -> None:
    asked = source("postgresql://agent:hunter2@127.0.0.1:1/base")
    with pytest.raises(SourceError, match=r"agent:\*\*\*@127.0.0.1:1/base") as got:
        rows(asked)
    assert "hunter2" not in str(got.value)
    assert got.value.__cause__ is None
    assert got.value.__suppress_context__


def test_pieces_come_while_the_database_still_reads(server: str) -> None:
    tell(
        server,
        "CREATE VIEW sales AS SELECT n AS unique_id, timestamp '2025-03-01' AS ds, 1.0 AS y "
        "FROM generate_series(1, 200000) AS n",
    )
    frames = source(server, piece=1000).frames(START, END)
    assert [len(next(frames)) for _ in range(3)] == [1000, 1000, 1000]
    frames.close()  # type: ignore[attr-defined]
    # The connection went back: nobody is in the database any more but the one who asks.
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    assert tell(server, others) == [(1,)]
