"""`FileQueue`: requests for re-training as lines of JSON in a file that only grows.

Takes requests, appends one line each; a trainer appends what it claimed and what became of it. Next
is `ExternalModels.collect`, which reads what became of them.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from os import PathLike, fspath
from typing import Any

from mlma.adapters.notify.documents import (
    as_document,
    compact,
    from_document,
    read_time,
    utc_now,
    written_time,
)
from mlma.adapters.notify.locks import locked
from mlma.adapters.notify.rows import (
    Outcome,
    QueueRow,
    check_known,
    checked_limit,
    expired_before,
    id_list,
)
from mlma.domain.errors import StateError
from mlma.ports import DeliveryError, RetrainingRequest


class FileQueue:
    """A file of JSON lines, which your own trainer consumes, here or by reading the file.

    Each line is one event: ``{"event": "requested", "id": ..., "unique_id": ..., ...}``, later
    ``claimed``, ``done`` or ``failed`` with the ``id`` of the request. Lines are appended under a
    lock and forced to the disk before a call returns.

    Parameters
    ----------
    path
        the file; made where there is none.
    clock
        tells the time, with a time zone.

    A line that was cut off by a crash is passed over and counted in ``damaged``: who wrote it was
    not told that it arrived, and sends again.

    Raises
    ------
    StateError
        The file cannot be opened.
    """

    def __init__(
        self, path: str | PathLike[str], *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self.path = fspath(path)
        self.damaged = 0
        self._clock = clock
        self._rows: dict[str, QueueRow] = {}
        self._read_up_to = 0
        with self._opened(StateError):
            pass

    def batches(self, requests: Sequence[RetrainingRequest]) -> list[tuple[RetrainingRequest, ...]]:
        """Return all requests in one portion: one write."""
        return [tuple(requests)] if requests else []

    def send(self, batch: Sequence[RetrainingRequest]) -> None:
        """Append the requests; those that are there already are passed over.

        Raises
        ------
        DeliveryError
            The file cannot be written.
        """
        with self._opened(DeliveryError) as file:
            new = {one.id: one for one in batch if one.id not in self._rows}
            self._append(file, [_event("requested", as_document(one)) for one in new.values()])

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
        with self._opened(StateError) as file:
            free = [row.request for row in self._rows.values() if row.free(before)][:limit]
            at = written_time(now)
            told = [_event("claimed", {"id": one.id, "by": by, "at": at}) for one in free]
            self._append(file, told)
        return free

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
        with self._opened(StateError):
            rows = {key: self._rows[key] for key in ids if key in self._rows}
        return {key: row.status for key, row in rows.items() if row.status in {"done", "failed"}}

    def rows(self) -> list[dict[str, Any]]:
        """Return all requests and what became of them, in the order of their arrival."""
        with self._opened(StateError):
            return [row.shown() for row in self._rows.values()]

    def __repr__(self) -> str:
        return f"FileQueue({self.path!r})"

    def _finish(
        self, ids: Iterable[str] | str | RetrainingRequest, outcome: Outcome, error: str
    ) -> None:
        named, now = id_list(ids), self._clock()
        with self._opened(StateError) as file:
            check_known(named, self._rows)
            told = []
            for key in named:
                if self._rows[key].finished(outcome, error, now) != self._rows[key]:
                    about = {"id": key, "error": error, "at": written_time(now)}
                    told.append(_event(outcome, about))
            self._append(file, told)

    @contextmanager
    def _opened(self, failure: type[StateError] | type[DeliveryError]) -> Iterator[int]:
        """Open and lock the file, and take in what others appended meanwhile."""
        try:
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                with locked(file):
                    self._catch_up(file)
                    yield file
            finally:
                os.close(file)
        except OSError as error:
            raise failure(f"The queue {self.path} cannot be used: {error}.") from error

    def _append(self, file: int, lines: Sequence[str]) -> None:
        if not lines:
            return
        start = os.fstat(file).st_size
        torn = start > self._read_up_to  # a line that a crash cut off
        content = ("\n" * torn + "".join(line + "\n" for line in lines)).encode("ascii")
        try:
            while content:
                content = content[os.write(file, content) :]
            os.fsync(file)
        except OSError:
            os.ftruncate(file, start)
            raise
        self._catch_up(file)

    def _catch_up(self, file: int) -> None:
        """Take in the whole lines after the place that was read up to."""
        size = os.fstat(file).st_size
        if size < self._read_up_to:  # somebody put another file in its place
            self._rows, self._read_up_to, self.damaged = {}, 0, 0
        os.lseek(file, self._read_up_to, os.SEEK_SET)
        content = b""
        while part := os.read(file, 1 << 20):
            content += part
        whole = content[: content.rfind(b"\n") + 1]
        for line in whole.splitlines():
            self._take(line)
        self._read_up_to += len(whole)

    def _take(self, line: bytes) -> None:
        try:
            told = json.loads(line)
            key = told["id"]
            self._rows[key] = _after(self._rows.get(key), told)
        except (ValueError, TypeError, KeyError):
            self.damaged += 1


def _event(kind: str, about: dict[str, Any]) -> str:
    return compact({"event": kind} | about)


def _after(row: QueueRow | None, told: dict[str, Any]) -> QueueRow:
    """Return a row after an event; a request that is there already stays as it is."""
    kind = told["event"]
    if kind == "requested":
        return row or QueueRow(from_document(told))
    if row is None:
        raise KeyError(told["id"])
    if kind == "claimed":
        return row.claimed(str(told["by"]), read_time(told["at"]))
    if kind not in {"done", "failed"}:
        raise ValueError(kind)
    if row.status in {"done", "failed"}:
        return row
    return row.finished(kind, str(told.get("error", "")), read_time(told["at"]))
