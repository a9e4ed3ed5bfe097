"""Copies of a store: one moment of it in a new SQLite file.

A file of SQLite is copied page by page by SQLite itself; a server table by table.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, select

from mlma.adapters.store import versions
from mlma.adapters.store.bulk import insert_all
from mlma.adapters.store.engine import Database
from mlma.adapters.store.schema import METADATA
from mlma.domain.errors import StoreError

_BATCH_BYTES = 32 * 1024 * 1024
_ROWS_A_FETCH = 64


def copied(database: Database, to: Path) -> int:
    """Copy a store into a new file; return its bytes. The file appears when it is whole.

    Raises
    ------
    StoreError
        The file is there already, or cannot be written; or the store cannot be read.
    """
    if to.exists():
        raise StoreError(f"The backup would overwrite {to}. Hint: name a file that is not there.")
    unfinished = to.with_name(f"{to.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        if database.kind == "postgresql":
            _copy_tables(database, unfinished)
        else:
            _copy_pages(database, unfinished)
        _settle(unfinished)
        unfinished.rename(to)
        _flush(to.parent)
        return to.stat().st_size
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"The backup cannot be written to {to}: {reason}.") from error
    finally:
        for rest in ("", "-wal", "-shm", "-journal"):
            unfinished.with_name(unfinished.name + rest).unlink(missing_ok=True)


def _copy_pages(database: Database, to: Path) -> None:
    with database.raw() as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def _copy_tables(database: Database, to: Path) -> None:
    with closing(Database(f"sqlite:///{to}")) as target, database.read() as source:
        versions.check_current(source, database.address.shown)
        with target.write() as connection:
            versions.upgrade(connection)
            for table in METADATA.sorted_tables:
                connection.execute(delete(table))  # what a new store begins with
                for rows in _batches(source, table):
                    columns = zip(*rows, strict=True)
                    names = table.columns.keys()
                    insert_all(connection, table, dict(zip(names, columns, strict=True)))


def _batches(source: Connection, table: Table) -> Iterator[Sequence[Any]]:
    """Yield rows of a table, so many at a time as memory bears."""
    rows: list[Any] = []
    size = 0
    streaming = source.execution_options(yield_per=_ROWS_A_FETCH)
    for row in streaming.execute(select(table)):
        rows.append(tuple(row))
        size += sum(len(value) if isinstance(value, bytes | str) else 8 for value in row)
        if size > _BATCH_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _settle(path: Path) -> None:
    """Make one file of a copy, without a log beside it, and write it out to the disk."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA journal_mode = WAL")
    _flush(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
