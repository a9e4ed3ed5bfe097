"""Calendar events: spans of time in which streams are not as usual, declared ahead or afterwards.

Takes what an engineer declares, gives which batches it touches.
"""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from mlma.domain.errors import DataError, unknown_name
from mlma.domain.selectors import Selector

EventType = Literal["holiday", "promotion", "outage", "other"]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """An event of the calendar.

    id
        names it; an event that is declared again under its id is edited.
    begins, ends
        moments with a time zone; ``ends`` is exclusive. A batch that it touches is in it.
    selector
        whom it concerns: evaluated anew in each batch, so that new streams are in it.
    exclude
        its batches count neither as evidence nor for references nor for training.
    mute
        no re-training and no incident while it lasts.
    matched
        its batches are compared with those of the last event of the same name.
    """

    id: str
    name: str
    type: EventType
    begins: datetime
    ends: datetime
    selector: Selector = field(default_factory=Selector)
    exclude: bool = True
    mute: bool = True
    matched: bool = False

    def __post_init__(self) -> None:
        if self.type not in EVENT_TYPES:
            raise unknown_name("type of an event", str(self.type), EVENT_TYPES)
        for name in ("begins", "ends"):
            if getattr(self, name).tzinfo is None:
                raise DataError(f"`{name}` of the event {self.name!r} must have a time zone.")
        if self.ends <= self.begins:
            raise DataError(
                f"The event {self.name!r} must end after it begins. Got {self.begins.isoformat()} "
                f"to {self.ends.isoformat()}. Hint: `ends` is the first moment after it."
            )
        if self.matched and self.exclude:
            raise DataError(
                f"The event {self.name!r} can be excluded or matched, not both: a batch that "
                f"counts for nothing is compared with nothing."
            )

    def overlaps(self, other: "CalendarEvent") -> bool:
        """Return whether both have a moment in common."""
        return self.begins < other.ends and other.begins < self.ends

    def plain(self) -> dict[str, Any]:
        """Return it in plain values."""
        return asdict(self) | {
            "begins": self.begins.isoformat(),
            "ends": self.ends.isoformat(),
            "selector": self.selector.plain(),
        }

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "CalendarEvent":
        """Return the event that `plain` wrote."""
        return cls(
            **plain
            | {
                "begins": datetime.fromisoformat(plain["begins"]),
                "ends": datetime.fromisoformat(plain["ends"]),
                "selector": Selector.of(plain["selector"]),
            }
        )
