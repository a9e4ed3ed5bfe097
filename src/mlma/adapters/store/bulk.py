"""Many rows in one statement, and many names in one question.

SQLite takes rows one after the other in C; a server takes them as one stream, which for large bytes
is twenty times faster than values of a statement.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import DBAPIError

NAMES_A_QUERY = 10_000
_TYPES = {"BIGINT": "int8", "TEXT": "text", "BYTEA": "bytea", "DOUBLE PRECISION": "float8"}


def insert_all(connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]]) -> None:
    """Insert rows whose columns are sequences of one length."""
    if not len(next(iter(columns.values()))):
        return
    names = ", ".join(f'"{name}"' for name in columns)
    rows = zip(*columns.values(), strict=True)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"
        connection.exec_driver_sql(statement, list(rows))
        return
    types = [_TYPES[str(table.c[name].type.compile(connection.dialect))] for name in columns]
    _copy(connection, f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)", types, rows)


def _copy(
    connection: Connection, statement: str, types: list[str], rows: Iterator[tuple[Any, ...]]
) -> None:
    """Stream rows to a server; what the driver raises becomes an error of SQLAlchemy."""
    import psycopg

    raw: Any = connection.connection.driver_connection
    try:
        with raw.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        if raw.closed:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, dialect=connection.dialect
        ) from error
    except struct.error as error:
        raise OverflowError(str(error)) from error


def put(connection: Connection, table: Table, name: str, value: str) -> None:
    """Write a name and its value, whatever was there before."""
    statement = text(
        f"INSERT INTO {table.name} (name, value) VALUES (:name, :value) "
        f"ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )
    connection.execute(statement, {"name": name, "value": value})


def slices(names: Sequence[Any], size: int = NAMES_A_QUERY) -> Iterator[list[Any]]:
    """Yield values in pieces that fit into one question."""
    for start in range(0, len(names), size):
        yield list(names[start : start + size])
