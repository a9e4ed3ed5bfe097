"""Requests for re-training: what the agent asks of whoever trains the models, and their ids."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Span = tuple[datetime, datetime]
"""First moment, and the first one after it."""


@dataclass(frozen=True, slots=True)
class RetrainingRequest:
    """What the agent asks of a trainer that lives elsewhere: a new version of one stream's model.

    id
        the same for the same stream, version, cycle and loss, whoever computes it: a receiver that
        has seen it need not act again.
    unique_id, reason
        the stream, and why a new version is wanted, in words.
    version, cycle
        number of the version that is live, and of the stream's cycle in which it was asked.
    asked_at
        when it was asked, with a time zone.
    evidence
        what the agent saw, by the names of its frame: numbers, words, truths; None = not known.
    kind
        ``retrain``; or ``restore``: the former version ``restores`` is to be live again, and its
        model is ``artefact``, as whoever trained it called it.
    exclude, train_from
        spans that an engineer excluded from training, and the moment before which the stream was
        another one; None = none.
    by
        who asked; empty = the agent.
    """

    id: str
    unique_id: str
    reason: str
    version: int
    cycle: int
    asked_at: datetime
    evidence: Mapping[str, float | int | str | bool | None]
    kind: Literal["retrain", "restore"] = "retrain"
    exclude: tuple[Span, ...] = ()
    train_from: datetime | None = None
    restores: int | None = None
    artefact: str = ""
    by: str = ""


def compact(document: Any) -> str:
    """Return JSON in one line of ASCII.

    Raises
    ------
    ValueError
        It holds a number that is not finite: JSON has none.
    """
    return json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def digest(parts: Iterable[Any]) -> str:
    """Return 32 hexadecimal digits that stand for some plain values.

    >>> digest(["a", 1])
    '135f17a475a61afdeeaf3759ad2e45ad'
    """
    return hashlib.sha256(compact(list(parts)).encode()).hexdigest()[:32]


def request_id(unique_id: str, version: int, cycle: int, loss: float | None) -> str:
    """Return the id of a request; ``loss`` tells streams of one name and two histories apart."""
    return digest([unique_id, version, cycle, None if loss is None else repr(float(loss))])
