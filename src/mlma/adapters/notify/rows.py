"""Rows of a queue: a request and what became of it.

Takes what a trainer reports (claimed, done, failed), gives the row after it. Next is the file or
the table that keeps it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from mlma.adapters.notify.documents import as_document, from_document, read_time, written_time
from mlma.domain.durations import duration
from mlma.domain.errors import DataError, SettingsError, StateError, first_three
from mlma.ports import RetrainingRequest

Status = Literal["open", "claimed", "done", "failed"]
Outcome = Literal["done", "failed"]


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A request in a queue; times are None until they are known."""

    request: RetrainingRequest
    status: Status = "open"
    by: str = ""
    claimed_at: datetime | None = None
    finished_at: datetime | None = None
    error: str = ""

    def claimed(self, by: str, now: datetime) -> "QueueRow":
        """Return the row after somebody took it."""
        return replace(self, status="claimed", by=by, claimed_at=now)

    def finished(self, outcome: Outcome, error: str, now: datetime) -> "QueueRow":
        """Return the row after it came to an end; the same end again changes nothing.

        Raises
        ------
        StateError
            It came to the other end before.
        """
        if self.status == outcome:
            return self
        if self.status in {"done", "failed"}:
            raise StateError(
                f"The request {self.request.id} of stream {self.request.unique_id} is "
                f"{self.status} already. It cannot become {outcome}."
            )
        return replace(self, status=outcome, error=error, finished_at=now)

    def free(self, before: datetime | None) -> bool:
        """Return whether it may be claimed: open, or claimed earlier than ``before``."""
        if self.status == "claimed" and before is not None and self.claimed_at is not None:
            return self.claimed_at < before
        return self.status == "open"

    def shown(self) -> dict[str, Any]:
        """Return the row in plain values."""
        return as_document(self.request) | {
            "status": self.status,
            "by": self.by,
            "claimed_at": None if self.claimed_at is None else written_time(self.claimed_at),
            "finished_at": None if self.finished_at is None else written_time(self.finished_at),
            "error": self.error,
        }


def row_of(shown: Mapping[str, Any]) -> QueueRow:
    """Return the row that `QueueRow.shown` wrote.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is none.
    """
    return QueueRow(
        request=from_document(shown),
        status=shown["status"],
        by=str(shown["by"]),
        claimed_at=_optional_time(shown["claimed_at"]),
        finished_at=_optional_time(shown["finished_at"]),
        error=str(shown["error"]),
    )


def _optional_time(text: str | None) -> datetime | None:
    """Return the moment that was written; None = none was."""
    return None if text is None else read_time(text)


def expired_before(lease: Any, now: datetime) -> datetime | None:
    """Return the time before which a claim is void; None = claims last.

    Raises
    ------
    SettingsError
        ``lease`` is not a length of time.
    """
    if lease is None:
        return None
    earlier: datetime = now - duration(lease, "lease").astype(object)
    return earlier


def checked_limit(limit: int | None) -> int:
    """Return how many rows may be claimed; None = all.

    Raises
    ------
    SettingsError
        It is below 1.
    """
    if limit is None:
        return 2**62
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise SettingsError(f"`limit` of `claim` must be a whole number from 1. Got {limit!r}.")
    return limit


def id_list(
    ids: Iterable[str] | str | RetrainingRequest | Iterable[RetrainingRequest],
) -> list[str]:
    """Return the ids that a call names: one or many, as text or as requests; each once."""
    many = [ids] if isinstance(ids, (str, RetrainingRequest)) else list(ids)
    named = [one.id if isinstance(one, RetrainingRequest) else str(one) for one in many]
    return list(dict.fromkeys(named))


def check_known(ids: Iterable[str], known: Iterable[str]) -> None:
    """Check that requests are in the queue.

    Raises
    ------
    DataError
        One is not.
    """
    there = set(known)
    missing = [one for one in ids if one not in there]
    if missing:
        raise DataError(
            f"{len(missing)} requests are not in the queue: {first_three(missing)}. "
            f"Expected ids that `claim` gave."
        )
