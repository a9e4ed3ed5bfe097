"""What the answers hold, for the description of the interface; all names as in the frames.

Null = there was nothing to tell, or it cannot be told.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mlma.domain.incidents import IncidentKind, IncidentState


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
    """Alarms with a common cause."""

    id: str
    kind: IncidentKind
    scope: str = Field(description="`fleet`, tag=value, the name of a stream, or `37 streams`.")
    state: IncidentState
    opened_cycle: int
    opened_at: str
    updated_cycle: int = Field(description="The last cycle in which its cause was seen.")
    closed_cycle: int | None
    closed_at: str | None
    closed_by: str = Field(description="`agent` = the loss recovered by itself.")
    snoozed_until: str | None
    streams: int
    stake: float = Field(description="Loss at stake in the newest batch.")
    effect: float | None
    cause: str
    done: str
    advice: str
    suggests: list[str] = Field(description="Kinds of orders, the best first.")
    changed: int = Field(description="Number of the last action on it; 0 = none.")
    told: bool | None = Field(description="Whether an engineer said that the alarm was right.")


class IncidentDetail(IncidentRow):
    """An incident with its streams and what is behind its sentences."""

    members: list[str] = Field(description="Names of its streams; of very many the first.")
    evidence: dict[str, Any]


class ActionRow(Row):
    """Something that was done, by a person, a trainer or a plan."""

    number: int
    kind: str
    at: str
    by: str
    why: str
    cycle: int | None = Field(description="Carried out before this cycle; null = not yet.")
    undone: bool
    streams: int = Field(description="Streams that are named with it.")
    selector: str | None = Field(description="Whom it was about, in words.")
    order: dict[str, Any] = Field(description="The order, without its selector.")


class ActionDetail(ActionRow):
    """An action with all that was written down with it."""

    payload: dict[str, Any]


class ChangeRow(Row):
    """One thing that an order changes."""

    unique_id: str = Field(description="Empty = the whole fleet, an event or an incident.")
    cycle: int | None
    what: str
    before: str
    after: str


class SpanRow(Row):
    """A span that is left out of training."""

    begins: str
    ends: str = Field(description="The first moment after it.")


class ExclusionRow(Row):
    """What a stream's models should not be trained on."""

    unique_id: str
    train_from: str | None = Field(description="Before it the stream was another one.")
    spans: list[SpanRow]


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
    kind: Literal["retrain", "restore"]
    exclude: list[tuple[str, str]] = Field(description="Spans that are not to be trained on.")
    train_from: str | None = Field(description="Before it the stream was another one.")
    restores: int | None = Field(description="The former version that is to be live again.")
    artefact: str = Field(description="What whoever trained it called its model.")
    by: str = Field(description="Who asked; empty = the agent.")


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
    """Incidents, the newest first."""

    rows: list[IncidentRow]
    next: str | None = _NEXT


class ActionPage(BaseModel):
    """Actions, by number."""

    rows: list[ActionRow]
    next: str | None = _NEXT


class ExclusionPage(BaseModel):
    """Streams of which something is left out."""

    rows: list[ExclusionRow]
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
