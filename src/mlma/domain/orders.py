"""Orders: what an engineer tells the agent to do, ahead or afterwards.

Takes what a page, a request or a command gives, checked here; gives the payload of an `Action`, and
reads it back. All orders are recorded with who, when and why, and can be undone.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, Literal, get_args

from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.errors import DataError, unknown_name
from mlma.domain.selectors import Selector

LabelName = Literal["one_off", "real_shift", "broken", "none"]
LABELS: tuple[LabelName, ...] = get_args(LabelName)
Told = Literal["healthy", "degraded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Base of all orders.

    facet
        what of a stream it changes: later orders on the same facet of the same streams depend on
        it.
    """

    kind: ClassVar[str]
    facet: ClassVar[str] = ""

    def payload(self) -> dict[str, Any]:
        """Return it in plain values."""
        return {spec.name: _plain(getattr(self, spec.name)) for spec in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selecting(Order):
    """Base of orders about streams.

    selector
        which streams; what fits when it is applied is written down.
    everything
        confirms that every stream is meant, where the selector leaves nobody out.
    """

    selector: Selector
    everything: bool = False


# Ahead.


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrain(Selecting):
    """Ask for a re-training now."""

    kind: ClassVar[str] = "retrain"
    facet: ClassVar[str] = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Selecting):
    """Ask for a re-training at a time."""

    kind: ClassVar[str] = "plan"
    facet: ClassVar[str] = "plan"
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze(Selecting):
    """Re-train nothing until `Unfreeze`, or until a time; the losses are watched on."""

    kind: ClassVar[str] = "freeze"
    facet: ClassVar[str] = "freeze"
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfreeze(Selecting):
    """Let the agent re-train again."""

    kind: ClassVar[str] = "unfreeze"
    facet: ClassVar[str] = "freeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBudget(Order):
    """Ask for at most so many re-trainings per cycle, the worst losses first; None = no limit."""

    kind: ClassVar[str] = "budget"
    facet: ClassVar[str] = "budget"
    per_cycle: int | None

    def __post_init__(self) -> None:
        limit = self.per_cycle
        whole = isinstance(limit, int) and not isinstance(limit, bool)
        if limit is not None and not (whole and limit >= 0):
            raise DataError(
                f"`per_cycle` of a budget must be a whole number of re-trainings, 0 or more, or "
                f"none. Got {limit!r}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Declare(Order):
    """Put an event into the calendar, or change the one of the same id.

    overlap
        confirms that it may overlap another event of the same streams.
    """

    kind: ClassVar[str] = "event"
    facet: ClassVar[str] = "event"
    event: CalendarEvent
    overlap: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelEvent(Order):
    """Take an event out of the calendar."""

    kind: ClassVar[str] = "cancel_event"
    facet: ClassVar[str] = "event"
    event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin(Selecting):
    """Keep the version that is live: no re-training of any cause until `Unpin`."""

    kind: ClassVar[str] = "pin"
    facet: ClassVar[str] = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpin(Selecting):
    """Give a pinned version free."""

    kind: ClassVar[str] = "unpin"
    facet: ClassVar[str] = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchPolicy(Selecting):
    """Decide by another policy: of these streams, or of the fleet where every stream is meant.

    policy
        as in mlma.toml; empty = that of the fleet again, or that of mlma.toml for the fleet.
    """

    kind: ClassVar[str] = "policy"
    facet: ClassVar[str] = "policy"
    policy: str


# Afterwards.


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack(Selecting):
    """Go back to a former version, model and reference together; None = the one before."""

    kind: ClassVar[str] = "roll_back"
    facet: ClassVar[str] = "model"
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelBatches(Selecting):
    """Say what batches were: ``begins`` to ``ends`` (exclusive), moments with a zone.

    label
        ``one_off`` and ``broken``: they leave reference and training, and what followed is judged
        anew (broken ones also leave the fleet's loss); ``real_shift``: the first of them is the new
        normal, the reference starts there; ``none``: takes a label off.
    revisions
        revision of each cycle that was seen, by cycle; empty = whatever there is.
    """

    kind: ClassVar[str] = "label"
    facet: ClassVar[str] = "batches"
    begins: datetime
    ends: datetime
    label: LabelName
    revisions: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.label not in LABELS:
            raise unknown_name("label", str(self.label), LABELS)
        _ordered(self.begins, self.ends, "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrule(Selecting):
    """Say what a batch of a cycle was, against the verdict of the agent."""

    kind: ClassVar[str] = "overrule"
    facet: ClassVar[str] = "batches"
    cycle: int
    verdict: Told
    revision: int | None = None

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Told):
            raise unknown_name("verdict", str(self.verdict), get_args(Told))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejudge(Order):
    """Open the batches of a cycle again: it is judged from the rows that are there now."""

    kind: ClassVar[str] = "rejudge"
    facet: ClassVar[str] = "batches"
    cycle: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo(Order):
    """Take an action back."""

    kind: ClassVar[str] = "undo"
    action: int


# Incidents.


@dataclass(frozen=True, slots=True, kw_only=True)
class OnIncident(Order):
    """Base of orders about an incident; ``seen`` is its ``changed`` when it was looked at."""

    facet: ClassVar[str] = "incident"
    incident: str
    seen: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge(OnIncident):
    """Somebody is at it."""

    kind: ClassVar[str] = "acknowledge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snooze(OnIncident):
    """Put it aside until a time."""

    kind: ClassVar[str] = "snooze"
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve(OnIncident):
    """It is done with."""

    kind: ClassVar[str] = "resolve"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReopenIncident(OnIncident):
    """It is not done with."""

    kind: ClassVar[str] = "reopen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm(OnIncident):
    """The alarm was right."""

    kind: ClassVar[str] = "confirm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny(OnIncident):
    """The alarm was false."""

    kind: ClassVar[str] = "deny"


AHEAD: tuple[type[Order], ...] = (
    *(Retrain, Plan, Freeze, Unfreeze, SetBudget, Declare, CancelEvent, Pin, Unpin, SwitchPolicy),
)
AFTERWARDS: tuple[type[Order], ...] = (RollBack, LabelBatches, Overrule, Rejudge, Undo)
ON_INCIDENTS: tuple[type[Order], ...] = (
    *(Acknowledge, Snooze, Resolve, ReopenIncident, Confirm, Deny),
)
ORDERS: dict[str, type[Order]] = {one.kind: one for one in (*AHEAD, *AFTERWARDS, *ON_INCIDENTS)}

_MOMENTS = ("at", "until", "begins", "ends")


def order_from(kind: str, payload: Mapping[str, Any]) -> Order:
    """Return the order that `Order.payload` wrote, or that a request tells in plain values.

    Raises
    ------
    DataError, SettingsError
        The kind or a field is unknown, or a value is not what it must be.
    """
    if kind not in ORDERS:
        raise unknown_name("order", kind, ORDERS)
    made = ORDERS[kind]
    known = {spec.name: spec for spec in fields(made)}
    for name in payload:
        if name not in known:
            raise unknown_name(f"field of `{kind}`", name, known)
    missing = [
        name
        for name, spec in known.items()
        if name not in payload and spec.default is MISSING and spec.default_factory is MISSING
    ]
    if missing:
        raise DataError(f"`{missing[0]}` of `{kind}` is missing.")
    return made(**{name: _read(kind, name, value) for name, value in payload.items()})


def _read(kind: str, name: str, value: Any) -> Any:
    if name == "selector" and isinstance(value, Mapping):
        return Selector.of(value)
    if name == "event" and isinstance(value, Mapping):
        return CalendarEvent.of(dict(value))
    if name in _MOMENTS and isinstance(value, str):
        return _moment(kind, name, value)
    return value


def _moment(kind: str, name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise DataError(
            f"`{name}` of `{kind}` must be a time with its zone. Got {text[:80]!r}. "
            f"Hint: 2025-03-01T12:00:00+00:00."
        )
    return moment


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Selector | CalendarEvent):
        return value.plain()
    return dict(value) if isinstance(value, Mapping) else value


def _ordered(begins: datetime, ends: datetime, what: str) -> None:
    if begins.tzinfo is None or ends.tzinfo is None:
        raise DataError(f"`begins` and `ends` of a {what} must have a time zone.")
    if ends <= begins:
        raise DataError(
            f"A {what} must end after it begins. Got {begins.isoformat()} to {ends.isoformat()}."
        )
