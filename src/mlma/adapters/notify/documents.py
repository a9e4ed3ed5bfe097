"""Requests for re-training as JSON, and back.

Takes requests, gives documents of plain values, the body of a message, ids. Next is a webhook or a
queue.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mlma.domain.requests import RetrainingRequest, compact, digest, request_id

__all__ = [
    "as_document",
    "batch_id",
    "compact",
    "digest",
    "from_document",
    "message",
    "portions",
    "read_time",
    "request_id",
    "utc_now",
    "written_time",
]

KIND = "retraining_requested"

_FIELDS = ("id", "unique_id", "reason", "version", "cycle")


def utc_now() -> datetime:
    """Return the time now, in UTC: the clock where none is handed in."""
    return datetime.now(UTC)


def written_time(moment: datetime) -> str:
    """Return a moment as text in UTC, to the microsecond.

    >>> written_time(datetime(2024, 1, 1, 12, tzinfo=UTC))
    '2024-01-01T12:00:00.000000Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def read_time(text: str) -> datetime:
    """Return the moment that `written_time` wrote."""
    return datetime.fromisoformat(text).astimezone(UTC)


def batch_id(batch: Sequence[RetrainingRequest]) -> str:
    """Return the id of a message: the same requests have the same, however often they are sent."""
    return digest(request.id for request in batch)


def as_document(request: RetrainingRequest) -> dict[str, Any]:
    """Return a request in plain values."""
    plain = {name: getattr(request, name) for name in _FIELDS}
    return plain | {
        "asked_at": written_time(request.asked_at),
        "evidence": dict(request.evidence),
    }


def from_document(document: Mapping[str, Any]) -> RetrainingRequest:
    """Return the request that `as_document` wrote; further names are passed over.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is none.
    """
    return RetrainingRequest(
        id=str(document["id"]),
        unique_id=str(document["unique_id"]),
        reason=str(document["reason"]),
        version=int(document["version"]),
        cycle=int(document["cycle"]),
        asked_at=read_time(document["asked_at"]),
        evidence=dict(document["evidence"]),
    )


def message(batch: Sequence[RetrainingRequest], sent_at: datetime) -> bytes:
    """Return the body of a message about some requests: one JSON document."""
    document = {
        "id": batch_id(batch),
        "kind": KIND,
        "sent_at": written_time(sent_at),
        "requests": [as_document(request) for request in batch],
    }
    return compact(document).encode()


def portions(
    requests: Sequence[RetrainingRequest], max_requests: int, max_bytes: int
) -> list[tuple[RetrainingRequest, ...]]:
    """Return requests in portions whose `message` is not too long, in their order.

    A request that is too long by itself has a portion of its own.
    """
    empty = len(message((), utc_now()))
    made: list[tuple[RetrainingRequest, ...]] = []
    portion: list[RetrainingRequest] = []
    size = empty
    for request in requests:
        more = len(compact(as_document(request))) + 1
        if portion and (len(portion) == max_requests or size + more > max_bytes):
            made.append(tuple(portion))
            portion, size = [], empty
        portion.append(request)
        size += more
    return [*made, tuple(portion)] if portion else made
