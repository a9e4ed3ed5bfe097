"""`SQLQueue`: requests for re-training as rows of a SQLite table.

Takes requests, keeps one row each until a trainer claims it and reports done or failed. Next is
`ExternalModels.collect`, which reads what became of them.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from os import PathLike, fspath
from typing import Any

from mlma.adapters.notify.documents import compact, utc_now, written_time
from mlma.adapters.notify.rows import (
    Outcome,
    QueueRow,
    check_known,
    checked_limit,
    expired_before,
    id_list,
    row_of,
)
from mlma.domain.errors import SettingsError, StateError
from mlma.ports import DeliveryError, RetrainingRequest

TABLE = "retraining_requests"

_COLUMNS = (
    *("id", "unique_id", "reason", "version", "cycle", "asked_at", "evidence"),
    *("status", "claimed_by", "claimed_at", "finished_at", "error"),
)
_CREATE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    unique_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    version INTEGER NOT NULL,
    cycle INTEGER NOT NULL,
    asked_at TEXT NOT NULL,
    evidence TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'claimed', 'done', 'failed')),
    claimed_by TEXT NOT NULL,
    claimed_at TEXT,
    finished_at TEXT,
    error TEXT NOT NULL
)"""
_INDEX = f"CREATE INDEX IF NOT EXISTS {TABLE}_status ON {TABLE} (status, place)"
_INSERT = (
    f"INSERT OR IGNORE INTO {TABLE} ({', '.join(_COLUMNS)}) "
    f"VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_UPDATE = (
    f"UPDATE {TABLE} SET status = ?, claimed_by = ?, claimed_at = ?, finished_at = ?, error = ? "
    f"WHERE id = ?"
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM {TABLE}"
_IDS_A_QUERY = 500


class SQLQueue:
    """A table ``retraining_requests`` in a SQLite file, which your own trainer consumes.

    Parameters
    ----------
    path
        the file; made where there is none. It may hold other tables. Not ``:memory:``.
    clock
        tells the time, with a time zone.
    timeout
        seconds to wait for another process that writes.

    Rows go ``open``, ``claimed``, then ``done`` or ``failed``. A request that arrives again changes
    nothing. Several trainers may claim at once: each row goes to one of them. The file is in WAL
    mode, so it belongs on a local disk.

    Raises
    ------
    StateError
        The file cannot be opened, or is not a SQLite database.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        clock: Callable[[], datetime] = utc_now,
        timeout: float = 30.0,
    ) -> None:
        self.path = fspath(path)
        if self.path in {"", ":memory:"}:
            raise SettingsError(
                f"`path` of `SQLQueue` must be a file, because a trainer opens it too. "
                f"Got {self.path!r}."
            )
        self._clock, self._timeout = clock, timeout
        with self._writing(StateError) as database:
            database.execute(_CREATE)
            database.execute(_INDEX)

    def batches(self, requests: Sequence[RetrainingRequest]) -> list[tuple[RetrainingRequest, ...]]:
        """Return all requests in one portion: one transaction."""
        return [tuple(requests)] if requests else []

    def send(self, batch: Sequence[RetrainingRequest]) -> None:
        """Write the rows, all or none; those that are there already stay as they are.

        Raises
        ------
        DeliveryError
            The file cannot be written.
        """
        with self._writing(DeliveryError) as database:
            database.executemany(_INSERT, [_values(QueueRow(request)) for request in batch])

    def claim(
        self, limit: int | None = None, *, by: str = "", lease: Any = None
    ) -> list[RetrainingRequest]:
        """Take requests that nobody works on, oldest first; None = all of them.

        ``by`` names the trainer. With ``lease`` (such as ``"2h"``) also those are taken whose claim
        is older: their trainer is given up.

        Raises
        ------
        StateError
            The file cannot be read or written.
        """
        limit, now = checked_limit(limit), self._clock()
        before = expired_before(lease, now)
        free = "status = 'open'"
        asked: list[Any] = []
        if before is not None:
            free += " OR (status = 'claimed' AND claimed_at < ?)"
            asked = [written_time(before)]
        query = f"{_SELECT} WHERE {free} ORDER BY place LIMIT ?"
        with self._writing(StateError) as database:
            found = database.execute(query, [*asked, limit]).fetchall()
            rows = [_row(values).claimed(by, now) for values in found]
            database.executemany(_UPDATE, [_changed(row) for row in rows])
        return [row.request for row in rows]

    def done(self, ids: Iterable[str] | str | RetrainingRequest) -> None:
        """Report that new versions are live; said twice it is the same.

        Raises
        ------
        DataError
            A request is not in the queue.
        StateError
            One has failed already, or the file cannot be written.
        """
        self._finish(ids, "done", "")

    def failed(self, ids: Iterable[str] | str | RetrainingRequest, error: str = "") -> None:
        """Report that trainings failed, and why. Errors as for `done`."""
        self._finish(ids, "failed", str(error))

    def outcomes(self, ids: Sequence[str]) -> dict[str, str]:
        """Return which of the requests are ``done`` or ``failed``."""
        with self._reading() as database:
            found = _selected(database, ids)
        return {key: row.status for key, row in found.items() if row.status in {"done", "failed"}}

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows in plain values, in the order of their arrival."""
        with self._reading() as database:
            found = database.execute(f"{_SELECT} ORDER BY place").fetchall()
        return [_row(values).shown() for values in found]

    def __repr__(self) -> str:
        return f"SQLQueue({self.path!r})"

    def _finish(
        self, ids: Iterable[str] | str | RetrainingRequest, outcome: Outcome, error: str
    ) -> None:
        named, now = id_list(ids), self._clock()
        with self._writing(StateError) as database:
            found = _selected(database, named)
            check_known(named, found)
            rows = [found[key].finished(outcome, error, now) for key in named]
            database.executemany(_UPDATE, [_changed(row) for row in rows])

    @contextmanager
    def _writing(
        self, failure: type[StateError] | type[DeliveryError]
    ) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction that is written as a whole or not at all."""
        with self._opened(failure) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._opened(StateError) as database:
            yield database

    @contextmanager
    def _opened(
        self, failure: type[StateError] | type[DeliveryError]
    ) -> Iterator[sqlite3.Connection]:
        try:
            with closing(
                sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None)
            ) as database:
                yield database
        except (sqlite3.Error, OSError) as error:
            raise failure(f"The queue {self.path} cannot be used: {error}.") from error
        except (ValueError, TypeError, KeyError) as error:
            raise failure(f"The queue {self.path} has a row that is none: {error}.") from error


def _selected(database: sqlite3.Connection, ids: Sequence[str]) -> dict[str, QueueRow]:
    found: dict[str, QueueRow] = {}
    for first in range(0, len(ids), _IDS_A_QUERY):
        some = ids[first : first + _IDS_A_QUERY]
        query = f"{_SELECT} WHERE id IN ({', '.join('?' * len(some))})"
        found |= {values[0]: _row(values) for values in database.execute(query, list(some))}
    return found


def _values(row: QueueRow) -> tuple[Any, ...]:
    shown = row.shown()
    shown["evidence"], shown["claimed_by"] = compact(shown["evidence"]), shown["by"]
    return tuple(shown[name] for name in _COLUMNS)


def _changed(row: QueueRow) -> tuple[Any, ...]:
    """Return what may have changed of a row, and its id."""
    shown = row.shown()
    names = ("status", "by", "claimed_at", "finished_at", "error", "id")
    return tuple(shown[name] for name in names)


def _row(values: Sequence[Any]) -> QueueRow:
    named = dict(zip(_COLUMNS, values, strict=True))
    return row_of(named | {"evidence": json.loads(named["evidence"]), "by": named["claimed_by"]})
