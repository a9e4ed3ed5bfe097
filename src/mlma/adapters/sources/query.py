"""Forecasts or actuals in a table: a query of any database that SQLAlchemy knows.

Takes an address and a query with ``:start`` and ``:end``, gives the rows of the slots that are
asked for, in pieces. Next is the door, which checks them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mlma.adapters.sources.columns import columns_of
from mlma.adapters.sources.windows import SHIFT, Window, is_plain, moment, readable, tidied
from mlma.domain.errors import MissingExtraError, SettingsError, SourceError
from mlma.domain.inbox import Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection

PIECE = 200_000
"""Rows that are fetched at a time."""


class QuerySource:
    """Rows of a query, read in a transaction that cannot write.

    name
        for messages.
    kind
        what the rows are.
    url
        address in the form of SQLAlchemy, such as ``postgresql://user:password@host/base``.
    query
        a SELECT with ``:start`` and ``:end``: the slots in ``[start, end)``. Later rows overrule
        earlier ones: say ORDER BY where that matters.
    columns
        what ``unique_id``, ``ds``, ``y``, ``y_hat`` and ``cutoff`` are called there.
    stamp_query
        a SELECT of one row that changes whenever the rows may have changed, such as
        ``SELECT count(*), max(updated_at)``; it may use ``:start`` and ``:end``.
    look_again
        without a ``stamp_query`` rows count as changed once in so long.
    timeout
        so long a statement may take.
    zone
        time zone of the grid, if it has one: see `mlma.adapters.sources.windows`.

    SQLite gets the window as text, ``2024-03-31 00:00:00``, other databases as times.
    PostgreSQL is asked in the zone of the grid, or in UTC; other databases are asked for a day more
    on both sides where the grid has a zone, and what is outside is dropped. Each call opens a
    connection and closes it.

    Raises
    ------
    SettingsError
        The address is none, the query lacks ``:start`` or ``:end`` or has other parameters.
    MissingExtraError
        SQLAlchemy or the driver of the database is not installed.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        url: str,
        query: str,
        columns: Mapping[str, str] | None = None,
        *,
        stamp_query: str | None = None,
        look_again: timedelta = timedelta(minutes=15),
        timeout: timedelta = timedelta(minutes=10),
        zone: str | None = None,
        piece: int = PIECE,
        now: Callable[[], float] = time,
    ) -> None:
        self._name, self._columns = name, columns_of(kind, columns)
        self._query, self._stamp_query = query, stamp_query
        self._look_again, self._timeout = look_again, timeout
        self._zone, self._piece, self._now = zone, piece, now
        self._url, self._engine = _engine(name, url)
        _check_parameters(name, "query", query, needed=True)
        if stamp_query:
            _check_parameters(name, "stamp_query", stamp_query, needed=False)

    @property
    def name(self) -> str:
        """Name for messages."""
        return self._name

    @property
    def kind(self) -> Kind:
        """What its rows are."""
        return self._columns.kind

    def frames(self, start: np.datetime64, end: np.datetime64) -> Iterator[pl.DataFrame]:
        """Yield the rows of slots in ``[start, end)``, as the query gives them.

        Rows outside are dropped, should the query give any. Those whose time is text that cannot
        be read stay, their ``ds`` null, to be counted.

        Raises
        ------
        SourceError
            The database cannot be reached, refuses or is too slow, or a column is missing.
        """
        window = Window(start, end, self._zone)
        with self._connected() as connection:
            streamed = connection.execution_options(stream_results=True, yield_per=self._piece)
            with closing(streamed.execute(self._statement(self._query, window))) as rows:
                names = list(rows.keys())
                found = self._columns.found(names, f"the query of `{self._name}`")
                for part in rows.partitions(self._piece):
                    kept = self._read(part, names, found, window)
                    if kept.height:
                        yield kept

    def stamp(self, start: np.datetime64, end: np.datetime64) -> str:
        """Return the answer of ``stamp_query``; without one, a text that changes by itself.

        Raises
        ------
        SourceError
            The database cannot be reached, refuses, or gives no row.
        """
        if not self._stamp_query:
            return f"look again {int(self._now() // self._look_again.total_seconds())}"
        window = Window(start, end, self._zone)
        with self._connected() as connection:
            row = connection.execute(self._statement(self._stamp_query, window)).first()
        if row is None:
            raise SourceError(
                f"`stamp_query` of `{self._name}` must give one row. Got none. "
                f"Hint: SELECT count(*), max(...) gives a row for an empty table too.",
            )
        return "|".join(str(value) for value in row)

    def _statement(self, query: str, window: Window) -> Any:
        from sqlalchemy import DateTime, String, bindparam, text

        backend = self._url.get_backend_name()
        zoned = window.zone is not None and backend == "postgresql"
        start, end = _asked(window, backend)
        statement = text(query)
        given = statement.compile().params
        for name, at in (("start", start), ("end", end)):
            if name in given:
                value = at.replace(tzinfo=UTC) if zoned else at
                bound = str(value) if backend == "sqlite" else value
                kind = String() if backend == "sqlite" else DateTime(timezone=zoned)
                statement = statement.bindparams(bindparam(name, bound, type_=kind))
        return statement

    def _read(
        self, rows: Sequence[Any], names: list[str], found: Mapping[str, str], window: Window
    ) -> pl.DataFrame:
        # Databases without strict types mix whole numbers, others and text in one column.
        given = pl.DataFrame(
            rows, schema=names, orient="row", infer_schema_length=None, strict=False
        )
        frame = given.select(pl.col(name).alias(role) for role, name in found.items())
        where = f"the query of `{self._name}`"
        times = readable(frame["ds"], self._zone, where)
        kept = frame.with_columns(times).filter(window.inside(times))
        return tidied(kept, self._columns.value, self._zone, where)

    @contextmanager
    def _connected(self) -> Iterator["Connection"]:
        from sqlalchemy.exc import SQLAlchemyError

        self._refuse_absent_file()
        try:
            with self._engine.connect() as connection:
                _restrict(connection, self._timeout, self._zone or "UTC")
                yield connection
                connection.rollback()
        except SQLAlchemyError as error:
            raise self._unreadable(error) from None  # its text holds parameters and addresses

    def _refuse_absent_file(self) -> None:
        """Raise where SQLite would make an empty file."""
        file = self._url.database if self._url.get_backend_name() == "sqlite" else None
        if file and file != ":memory:" and not file.startswith("file:") and not Path(file).exists():
            raise SourceError(
                f"The database `{file}` of `{self._name}` does not exist. "
                f"Hint: relative paths start at {Path.cwd()}.",
            )

    def _unreadable(self, error: Exception) -> SourceError:
        said = " ".join(str(getattr(error, "orig", None) or error).split()).rstrip(".")
        for word in (self._url.password, self._url.query.get("password")):
            if isinstance(word, str) and word:
                said = said.replace(word, "***")
        where = self._url.set(query={}).render_as_string(hide_password=True)
        return SourceError(
            f"The query of `{self._name}` at {where} cannot be read. Got: {said}. "
            f"Hint: does the same query run elsewhere, and within {self._timeout}?",
        )


def _engine(name: str, url: str) -> tuple[Any, Any]:
    try:
        from sqlalchemy import NullPool, create_engine, make_url
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    except ImportError as error:
        raise MissingExtraError("Reading from a database", "serve") from error
    try:
        address = make_url(url)
        if address.drivername in ("postgresql", "postgres"):
            address = address.set(drivername="postgresql+psycopg")
        options = {"connect_timeout" if "psycopg" in address.drivername else "timeout": 10}
        known = address.get_backend_name() in ("postgresql", "sqlite")
        # A connection is made for each call: calls are minutes apart, and none is stale then.
        engine = create_engine(address, poolclass=NullPool, connect_args=options if known else {})
    except ArgumentError as error:
        said = f" Got: {error}." if isinstance(error, NoSuchModuleError) else ""
        raise SettingsError(
            f"`url` of the source `{name}` must be an address such as "
            f"postgresql://user:password@host:5432/base or sqlite:///file.db.{said}",
        ) from None
    except ImportError as error:
        if "psycopg" in str(error):
            raise MissingExtraError("Reading from PostgreSQL", "postgres") from error
        raise SettingsError(
            f"The driver of the source `{name}` is not installed: {error}. "
            f"Hint: install it beside mlma.",
        ) from error
    return address, engine


def _asked(window: Window, backend: str) -> tuple[datetime, datetime]:
    """Return the window that a database is asked for; what is outside is dropped afterwards."""
    start, end, zone = moment(window.start), moment(window.end), window.zone
    if zone is None:
        return start, end
    if backend != "postgresql":
        # Nobody knows whether times without a zone are those of a wall.
        return start - timedelta(days=1), end + timedelta(days=1)
    # Of an hour that the clock shows twice, PostgreSQL means the second.
    return (
        start if is_plain(window.start, zone) else start - SHIFT,
        end if is_plain(window.end, zone) else end + SHIFT,
    )


def _check_parameters(name: str, setting: str, query: str, *, needed: bool) -> None:
    from sqlalchemy import text

    given = set(text(query).compile().params)
    missing = {"start", "end"} - given if needed else set()
    if missing or given - {"start", "end"}:
        shown = ", ".join(f":{one}" for one in sorted(given)) or "none"
        raise SettingsError(
            f"`{setting}` of the source `{name}` must have the parameters :start and :end"
            f"{'' if needed else ', or none'}. Got {shown}. "
            f"Hint: WHERE ds >= :start AND ds < :end; a colon in text is written \\:.",
        )


def _restrict(connection: "Connection", timeout: timedelta, zone: str) -> None:
    """Let a connection read only, in a time zone, and not for ever."""
    from sqlalchemy import text

    backend, milliseconds = connection.dialect.name, int(timeout.total_seconds() * 1000)
    if backend == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        connection.execute(text("SELECT set_config('TimeZone', :zone, true)"), {"zone": zone})
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
    elif backend == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
        until = time() + milliseconds / 1000
        raw: Any = connection.connection.dbapi_connection
        raw.set_progress_handler(lambda: time() > until, 100_000)
