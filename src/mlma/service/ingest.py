"""Ingestion: rows that were pushed become durable, many submissions in one transaction.

Takes checked rows with names, gives a receipt once they are in the store. Whatever was submitted
while the last transaction ran goes into the next one. Next is the cycle, which reads the inbox.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from threading import Condition, Thread
from time import perf_counter
from typing import Literal

import numpy as np

from mlma.domain.errors import DataError, MlmaError, StoreError
from mlma.domain.inbox import Kind, NamedRows, Parcel, Rows, by_period, joined
from mlma.domain.periods import Periods
from mlma.ports import Store
from mlma.service.streams import Admitted, StreamRows, UnknownStreamsError

__all__ = ["BusyError", "Ingestor", "Receipt", "UnknownStreamsError", "unnamed"]

log = logging.getLogger(__name__)

_WAITING = 10_000
"""Most submissions that wait; memory is bounded by their rows."""


class BusyError(MlmaError):
    """More came in than can be stored; the same may be sent again a little later."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became durable.

    number
        a parcel of the store; all rows of this submission have this number or a lower one.
    """

    rows: int
    new_streams: int
    number: int


@dataclass(frozen=True, slots=True)
class IngestFacts:
    """How the ingestor stands; counts are since its start."""

    rows: int = 0
    submissions: int = 0
    transactions: int = 0
    refused: int = 0
    failed: int = 0
    busy: int = 0
    seconds: float = 0.0
    waiting_rows: int = 0
    last_error: str = ""


@dataclass(slots=True)
class _Submission:
    """Rows whose streams are still places in ``ids``, sorted into parcels."""

    ids: tuple[str, ...]
    parcels: list[Parcel]
    rows: int
    future: Future[Receipt]


class Ingestor:
    """Stores what is submitted, in one thread that starts with the first submission.

    Parameters
    ----------
    unknown, max_streams
        see `StreamRows`; not used where ``registry`` is given.
    registry
        the streams by name, shared with other writers of this process.
    queue_rows
        rows that may wait or be on their way to the store. One submission is taken whatever its
        size where nothing waits.
    stored
        called after each transaction, in the thread of the ingestor.
    """

    def __init__(
        self,
        store: Store,
        periods: Periods,
        *,
        unknown: Literal["register", "refuse"] = "register",
        max_streams: int = 1_000_000,
        registry: StreamRows | None = None,
        queue_rows: int = 20_000_000,
        stored: Callable[[], None] | None = None,
    ) -> None:
        self._store, self._periods, self._stored = store, periods, stored
        if registry is None:
            registry = StreamRows(store, unknown=unknown, max_streams=max_streams)
        self.registry = registry
        self._queue_rows = queue_rows
        self._waiting: list[_Submission] = []
        self._facts = IngestFacts()
        self._changed = Condition()
        self._thread: Thread | None = None
        self._closing = False

    @property
    def facts(self) -> IngestFacts:
        """How it stands."""
        return self._facts

    def submit(self, named: NamedRows, *, oldest: int | None = None) -> Future[Receipt]:
        """Take rows; the future has a receipt once they are durable, or the reason why not.

        Sorting the rows into periods happens here, in the caller's thread: a second for ten
        million rows. The future may raise ``UnknownStreamsError`` or ``StoreError``.

        Parameters
        ----------
        oldest
            number of the oldest period whose rows are taken; None = any.

        Raises
        ------
        BusyError
            Too much waits already, or the ingestor is closed.
        DataError
            A row is older than the oldest period.
        """
        self._reserve(len(named))
        try:
            parcels = unnamed(named, self._periods, oldest)
        except BaseException:
            self._count(waiting_rows=-len(named), refused=1)
            raise
        submission = _Submission(named.ids, parcels, len(named), Future())
        with self._changed:
            if self._closing:
                self._count(waiting_rows=-len(named), busy=1)
                raise _closed()
            self._waiting.append(submission)
            self._start()
            self._changed.notify_all()
        return submission.future

    def close(self, timeout: float | None = None) -> bool:
        """Store what waits, then end; nothing more is taken. False = that takes longer."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _reserve(self, rows: int) -> None:
        with self._changed:
            waiting = self._facts.waiting_rows
            full = waiting and waiting + rows > self._queue_rows
            if self._closing or full or len(self._waiting) >= _WAITING:
                self._count(busy=1)
                raise _closed() if self._closing else _full(waiting)
            self._count(waiting_rows=rows)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run, name="mlma-ingest", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while group := self._next_group():
            self._store_group([one for one in group if one.future.set_running_or_notify_cancel()])
            self._count(waiting_rows=-sum(one.rows for one in group))

    def _next_group(self) -> list[_Submission]:
        """Wait for submissions; empty = closed and all are stored."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            group, self._waiting = self._waiting, []
        return group

    def _store_group(self, group: list[_Submission]) -> None:
        begun = perf_counter()
        try:
            self._commit(group)
        except Exception as error:
            log.warning("%d submissions were not stored: %s", len(group), error)
            self._count(failed=len(group), last_error=str(error))
            for one in group:
                if not one.future.done():
                    one.future.set_exception(_failure(error))
        finally:
            self._count(seconds=perf_counter() - begun)

    def _commit(self, group: list[_Submission]) -> None:
        """Store the submissions that are not refused in one transaction, and answer all."""
        answers = self.registry.admit([one.ids for one in group])
        taken: list[tuple[_Submission, Admitted]] = []
        for one, answer in zip(group, answers, strict=True):
            if isinstance(answer, Admitted):
                taken.append((one, answer))
            else:
                self._count(refused=1)
                one.future.set_exception(answer)
        parcels = merged([named(one.parcels, answer.rows) for one, answer in taken])
        number = self._store.accept(parcels) if parcels else 0
        self._count(submissions=len(taken), rows=sum(one.rows for one, _ in taken), transactions=1)
        for one, answer in taken:
            one.future.set_result(Receipt(one.rows, answer.new, number))
        if self._stored is not None and parcels:
            self._stored()

    def _count(self, *, last_error: str | None = None, **more: float) -> None:
        with self._changed:
            facts = self._facts
            changes = {name: getattr(facts, name) + value for name, value in more.items()}
            if last_error is not None:
                changes["last_error"] = last_error
            self._facts = replace(facts, **changes)


def unnamed(rows: NamedRows, periods: Periods, oldest: int | None = None) -> list[Parcel]:
    """Return rows in parcels, a period each; their streams are still places in ``rows.ids``.

    Raises
    ------
    DataError
        A row is of a period before ``oldest``.
    """
    if not len(rows):
        return []
    period, place = periods.locate(rows.instant)
    if oldest is not None and (early := period < oldest).any():
        raise _too_old(rows, int(np.argmax(early)), int(early.sum()), periods.start(oldest))
    columns = Rows(rows.code, place.astype(np.int32), rows.value, rows.cutoff)
    return list(by_period(rows.kind, period, columns))


def named(
    parcels: Sequence[Parcel], rows: np.ndarray[tuple[int], np.dtype[np.int32]]
) -> list[Parcel]:
    """Return parcels whose streams are rows of the registry; ``rows`` has one per name."""
    return [replace(one, rows=replace(one.rows, stream=rows[one.rows.stream])) for one in parcels]


def merged(groups: Sequence[Sequence[Parcel]]) -> list[Parcel]:
    """Return one parcel per kind and period of several groups, their rows in order of arrival."""
    parts: dict[tuple[Kind, int], list[Rows]] = defaultdict(list)
    for parcel in (parcel for group in groups for parcel in group):
        parts[parcel.kind, parcel.period].append(parcel.rows)
    return [Parcel(kind, period, joined(rows)) for (kind, period), rows in parts.items()]


def _too_old(rows: NamedRows, at: int, count: int, since: np.datetime64) -> DataError:
    name, instant = rows.ids[rows.code[at]], np.datetime_as_string(rows.instant[at], "s")
    return DataError(
        f"{count} rows of the {rows.kind} are older than what is still kept. Expected `ds` from "
        f"{np.datetime_as_string(since, 's')} on. Got {instant} for {name} (row {at + 1}). "
        f"Hint: `rows` of `[retention]`."
    )


def _full(waiting: int) -> BusyError:
    return BusyError(
        f"{waiting} rows wait to be stored already; nothing of this was taken. "
        f"Hint: send it again in a few seconds."
    )


def _closed() -> BusyError:
    return BusyError("The agent is being stopped; nothing of this was taken. Hint: send it again.")


def _failure(error: Exception) -> StoreError:
    """Return the error of one submission; each gets its own, with its own traceback."""
    if isinstance(error, StoreError):
        made = type(error)(str(error))
    else:
        made = StoreError(f"The rows could not be stored: {type(error).__name__} {error}.")
    made.__cause__ = error
    return made
