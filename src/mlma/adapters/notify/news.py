"""The agent's frames, read for requests: which streams are to be re-trained, and on what evidence.

Takes a frame that `Agent.observe` returned, of any library; gives plain rows, and requests of
them. Next is the book of requests.
"""

from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any

from mlma.adapters.notify.documents import request_id
from mlma.domain.errors import DataError
from mlma.domain.verdicts import Decision
from mlma.ports import RetrainingRequest

Plain = float | int | str | bool | None

_NEEDED = ("decision", "reason", "version", "age")


@dataclass(frozen=True, slots=True)
class Asked:
    """A stream that is to be re-trained.

    version, age
        of the version that was live when the frame was made; ``age`` in batches.
    evidence
        the other columns of the frame; None = not known, or not finite.
    """

    unique_id: str
    reason: str
    version: int
    age: int
    evidence: dict[str, Plain]


def asked_in(news: Any, id_column: str) -> list[Asked]:
    """Return the rows of a frame whose decision is to re-train, in its order.

    Raises
    ------
    DataError
        It is not a frame of the agent.
    """
    import narwhals as nw

    try:
        frame = nw.from_native(news, eager_only=True)
    except TypeError:
        raise _no_news(f"Got {type(news).__name__}") from None
    missing = [name for name in (id_column, *_NEEDED) if name not in frame.columns]
    if missing:
        raise _no_news(f"Got a frame without {', '.join(f'`{name}`' for name in missing)}")
    wanted = frame.filter(nw.col("decision") == Decision.RETRAIN.label)
    rows = wanted.rows(named=True)
    return [_asked(row, id_column) for row in rows]


def request_of(asked: Asked, cycle: int, now: datetime) -> RetrainingRequest:
    """Return the request for a stream that asked in this cycle of its own."""
    loss = asked.evidence.get("loss")
    key = request_id(
        asked.unique_id, asked.version, cycle, loss if isinstance(loss, float) else None
    )
    return RetrainingRequest(
        id=key,
        unique_id=asked.unique_id,
        reason=asked.reason,
        version=asked.version,
        cycle=cycle,
        asked_at=now,
        evidence=asked.evidence,
    )


def _no_news(got: str) -> DataError:
    return DataError(
        f"`request` expected the frame that `Agent.observe` or `Agent.observe_losses` returned. "
        f"{got}."
    )


def _asked(row: dict[str, Any], id_column: str) -> Asked:
    others = {name: value for name, value in row.items() if name not in (id_column, *_NEEDED)}
    return Asked(
        unique_id=str(row[id_column]),
        reason=str(row["reason"]),
        version=int(row["version"]),
        age=int(row["age"]),
        evidence={name: plain(value) for name, value in others.items()},
    )


def plain(value: Any) -> Plain:
    """Return a value as JSON knows it; None = missing or not finite.

    >>> plain(float("nan")), plain(2), plain("healthy")
    (None, 2, 'healthy')
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    single = value.item() if hasattr(value, "item") else value
    if isinstance(single, float):
        return single if isfinite(single) else None
    return single if isinstance(single, (bool, int)) else str(single)
