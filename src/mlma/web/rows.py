"""What the answers hold, for the description of the interface; all names as in the frames.

Null = there was nothing to tell, or it cannot be told.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Row(BaseModel):
    """Base of the rows of listings."""

    model_config = ConfigDict(extra="forbid")


class StreamRow(Row):
    """A stream, as of the newest cycle; null where it was not in it."""

    row: int = Field(description="Row of the registry.")
    unique_id: str
    verdict: str | None
    decision: str | None
    loss: float | None
    effect: float | None
    version: int | None
    age: int | None = Field(description="Cycles since its version went live.")
    tags: dict[str, str | None] = {}


class ModelRow(Row):
    """The version of a stream that is live, and the request for a new one."""

    row: int
    unique_id: str
    version: int | None
    age: int | None
    request: str | None = Field(description="Id of the request that is open.")
    request_status: str | None
    reason: str | None = Field(description="Why a new version is asked for.")


class EvidenceRow(Row):
    """What was seen and decided about a stream in a cycle."""

    cycle: int
    revision: int
    ds: str = Field(description="Start of the batch.")
    unique_id: str
    verdict: str
    decision: str
    reason: str
    p_value: float | None
    p_adjusted: float | None
    effect: float | None
    loss: float | None
    reference_loss: float | None
    n: int
    effect_low: float | None
    effect_high: float | None
    detectable: float | None
    statistic: float | None
    score: float | None
    common: float | None
    evidence: float | None
    drift: float | None
    p_evidence: float | None
    alarm: bool
    forecasts: int
    benchmark: float | None
    version: int
    age: int


class DecisionRow(Row):
    """A verdict or decision that somebody may want to see."""

    number: int
    cycle: int
    revision: int
    ds: str | None = Field(description="Start of the batch.")
    unique_id: str
    verdict: str
    decision: str
    reason: str
    loss: float | None
    effect: float | None
    p_value: float | None
    before: str = Field(description="Verdict and decision of the revision before, if any.")


class IncidentRow(Row):
    """What is open: a finding about a group, or a stream that alarms or escalates."""

    kind: Literal["finding", "stream"]
    scope: str = Field(description="`fleet`, tag=value, or the name of the stream.")
    state: str
    cycle: int
    since: int | None = Field(description="Cycle in which the finding was opened.")
    streams: int
    alarmed: int
    effect: float | None
    p_value: float | None
    evidence: float | None
    reason: str | None


class CycleRow(Row):
    """The head of a cycle."""

    cycle: int
    revision: int
    ds: str
    judged_at: str
    closed: str
    streams: int
    through: int
    policy: str
    seed: int
    summary: dict[str, Any]


class RequestRow(Row):
    """A request for a re-training and what became of it."""

    number: int
    id: str
    unique_id: str
    reason: str
    version: int
    cycle: int
    asked_at: str
    status: str
    attempts: int
    error: str
    evidence: dict[str, Any]


class DeliveryRow(Row):
    """A message on its way to a target."""

    id: str
    kind: str
    target: str
    status: str
    attempts: int
    at: str
    next_at: str | None
    error: str


_NEXT = Field(description="`cursor` of the next page; null = this was the last.")


class StreamPage(BaseModel):
    """Streams, by row."""

    rows: list[StreamRow]
    next: str | None = _NEXT


class ModelPage(BaseModel):
    """Versions, by row of their stream."""

    rows: list[ModelRow]
    next: str | None = _NEXT


class EvidencePage(BaseModel):
    """Evidence of a cycle by stream, or of a stream by cycle."""

    rows: list[EvidenceRow]
    next: str | None = _NEXT


class DecisionPage(BaseModel):
    """Decisions, by number."""

    rows: list[DecisionRow]
    next: str | None = _NEXT


class IncidentPage(BaseModel):
    """What is open after the newest cycle; findings first."""

    rows: list[IncidentRow]
    next: str | None = _NEXT


class CyclePage(BaseModel):
    """Heads of cycles."""

    rows: list[CycleRow]
    next: str | None = _NEXT


class RequestPage(BaseModel):
    """Requests, by number."""

    rows: list[RequestRow]
    next: str | None = _NEXT


class DeliveryPage(BaseModel):
    """Deliveries, newest first."""

    rows: list[DeliveryRow]
    next: str | None = _NEXT
