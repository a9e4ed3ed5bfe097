"""Bodies of orders: what `POST /api/v1/actions` takes, a model per kind.

Takes documents, refuses what is not as it must be, gives orders. Next is the desk.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
)

from mlma.domain.calendar_events import EventType
from mlma.domain.orders import LabelName, Order, Told, order_from
from mlma.domain.requests import digest
from mlma.web.routes.models import StreamName

MOST_NAMES = 1_000_000
_HIGHEST = 2**31 - 1
_PRINTS = r"^[^\x00-\x1f\x7f]*$"
_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"


_YEARS = (1990, 2199)


def _in_reach(moment: datetime) -> datetime:
    first, last = _YEARS
    here = first <= moment.year <= last  # else it may be none in UTC
    if not here or not first <= moment.astimezone(UTC).year <= last:
        raise ValueError(f"the year must be between {first} and {last}, in UTC too")
    return moment


def _told(value: Any) -> Any:
    if not isinstance(value, str | datetime):
        raise ValueError("a time is told as text, such as 2025-03-01T12:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_told), AfterValidator(_in_reach)]
Tag = Annotated[str, Field(max_length=300, pattern=r"^[^=\x00-\x1f\x7f]+=[^\x00-\x1f\x7f]+$")]
Search = Annotated[str, Field(max_length=200, pattern=_PRINTS)]
Words = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Cycle = Annotated[StrictInt, Field(ge=1, le=_HIGHEST)]
Number = Annotated[StrictInt, Field(ge=0, le=_HIGHEST)]
CycleName = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]


class Body(BaseModel):
    """Base of all bodies: what it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class SelectorBody(Body):
    """Streams that fit all of this; what says nothing selects every stream."""

    tags: list[Tag] = Field([], max_length=20, description="`name=value`; a stream has all.")
    search: Search = Field("", description="Part of the name.")
    unique_ids: list[StreamName] = Field(
        [], max_length=MOST_NAMES, description="One of these streams; empty = any."
    )


def _everybody() -> SelectorBody:
    return SelectorBody.model_validate({})


class EventBody(Body):
    """An event of the calendar."""

    id: Words | None = Field(
        None, description="Names it; declared again it is edited. Absent = made of name and begin."
    )
    name: Words
    type: EventType = "other"
    begins: Moment
    ends: Moment = Field(description="The first moment after it.")
    selector: SelectorBody = Field(default_factory=_everybody)
    exclude: StrictBool = Field(
        True, description="Its batches count for no reference and no training."
    )
    mute: StrictBool = Field(True, description="No re-training and no incident while it lasts.")
    matched: StrictBool = Field(
        False, description="Compared with the last event of the same name; not with `exclude`."
    )


class Given(Body):
    """What goes with every order, and is no part of it."""

    why: str = Field("", max_length=10_000, pattern=_LINES, description="For the record.")
    dry_run: StrictBool = Field(False, description="Tell what would change; write nothing.")
    after: Number | None = Field(
        None, description="`after` of the dry run: refused where what it touches changed since."
    )


class OrderBody(Given):
    """Base of the bodies of orders."""

    def order(self) -> Order:
        """Return the order.

        Raises
        ------
        DataError, SettingsError
            Its fields do not go together.
        """
        given = set(Given.model_fields)
        plain = self.model_dump(exclude={"kind", *given}, exclude_none=True)
        return order_from(str(self.kind), self._read(plain))  # type: ignore[attr-defined]

    def _read(self, plain: dict[str, Any]) -> dict[str, Any]:
        return plain


class SelectingBody(OrderBody):
    """Base of the bodies of orders about streams."""

    selector: SelectorBody = Field(default_factory=_everybody)
    everything: StrictBool = Field(
        False,
        description="Confirms that all streams are meant, where the selector leaves none out.",
    )


class RetrainBody(SelectingBody):
    """Ask for re-trainings now."""

    kind: Literal["retrain"]


class PlanBody(SelectingBody):
    """Ask for re-trainings at a time."""

    kind: Literal["plan"]
    at: Moment


class FreezeBody(SelectingBody):
    """Re-train nothing, until a time or an `unfreeze`."""

    kind: Literal["freeze"]
    until: Moment | None = None


class UnfreezeBody(SelectingBody):
    """Let the agent re-train again."""

    kind: Literal["unfreeze"]


class BudgetBody(OrderBody):
    """Ask for at most so many re-trainings per cycle."""

    kind: Literal["budget"]
    per_cycle: Annotated[StrictInt, Field(ge=0, le=10**9)] | None = Field(
        description="null = no limit."
    )

    def _read(self, plain: dict[str, Any]) -> dict[str, Any]:
        return {"per_cycle": self.per_cycle}


class DeclareBody(OrderBody):
    """Put an event into the calendar, or change the one of the same id."""

    kind: Literal["event"]
    event: EventBody
    overlap: StrictBool = Field(
        False, description="Confirms that it may overlap another event of the same streams."
    )

    def _read(self, plain: dict[str, Any]) -> dict[str, Any]:
        event = self.event
        told = plain["event"] | {
            "id": event.id or digest([event.name, event.begins.isoformat()])[:12],
            "begins": event.begins.isoformat(),
            "ends": event.ends.isoformat(),
        }
        return plain | {"event": told}


class CancelEventBody(OrderBody):
    """Take an event out of the calendar."""

    kind: Literal["cancel_event"]
    event: Words = Field(description="Its id.")


class PinBody(SelectingBody):
    """Keep the version that is live, until an `unpin`."""

    kind: Literal["pin"]


class UnpinBody(SelectingBody):
    """Give a pinned version free."""

    kind: Literal["unpin"]


class PolicyBody(SelectingBody):
    """Decide by another policy."""

    kind: Literal["policy"]
    policy: str = Field(
        max_length=1_000,
        pattern=_PRINTS,
        description="As in mlma.toml; empty = that of the fleet again, for the fleet that of "
        "mlma.toml.",
    )


class RollBackBody(SelectingBody):
    """Go back to a former version, model and reference together."""

    kind: Literal["roll_back"]
    version: Cycle | None = Field(None, description="null = the one before.")


class LabelBody(SelectingBody):
    """Say what batches were; what followed is judged anew."""

    kind: Literal["label"]
    begins: Moment
    ends: Moment = Field(description="The first moment after them.")
    label: LabelName
    revisions: dict[CycleName, Number] = Field(
        {}, max_length=1_000, description="Revision of each cycle that was seen, by cycle."
    )


class OverruleBody(SelectingBody):
    """Say what the batches of a cycle were, against the verdict of the agent."""

    kind: Literal["overrule"]
    cycle: Cycle
    verdict: Told
    revision: Number | None = Field(None, description="The revision that was seen.")


class RejudgeBody(OrderBody):
    """Open the batches of a cycle again."""

    kind: Literal["rejudge"]
    cycle: Cycle


class UndoBody(OrderBody):
    """Take an action back."""

    kind: Literal["undo"]
    action: Cycle


class IncidentBody(OrderBody):
    """Base of the bodies of orders about an incident."""

    incident: Words = Field(description="Its id.")
    seen: Number | None = Field(
        None, description="`changed` of the incident when it was looked at; else 409."
    )


class AcknowledgeBody(IncidentBody):
    """Somebody is at it."""

    kind: Literal["acknowledge"]


class SnoozeBody(IncidentBody):
    """Put it aside until a time."""

    kind: Literal["snooze"]
    until: Moment


class ResolveBody(IncidentBody):
    """It is done with."""

    kind: Literal["resolve"]


class ReopenBody(IncidentBody):
    """It is not done with."""

    kind: Literal["reopen"]


class ConfirmBody(IncidentBody):
    """The alarm was right."""

    kind: Literal["confirm"]


class DenyBody(IncidentBody):
    """The alarm was false."""

    kind: Literal["deny"]


AnyOrder = Annotated[
    RetrainBody
    | PlanBody
    | FreezeBody
    | UnfreezeBody
    | BudgetBody
    | DeclareBody
    | CancelEventBody
    | PinBody
    | UnpinBody
    | PolicyBody
    | RollBackBody
    | LabelBody
    | OverruleBody
    | RejudgeBody
    | UndoBody
    | AcknowledgeBody
    | SnoozeBody
    | ResolveBody
    | ReopenBody
    | ConfirmBody
    | DenyBody,
    Field(discriminator="kind"),
]
