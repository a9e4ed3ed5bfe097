"""Requests for re-training: what the agent asks of whoever trains the models."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


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
    """

    id: str
    unique_id: str
    reason: str
    version: int
    cycle: int
    asked_at: datetime
    evidence: Mapping[str, float | int | str | bool | None]
