"""Actions in words: what was done, to whom, by whom.

Takes recorded actions, gives what the audit, the timeline of an incident and messages say of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.errors import MlmaError
from mlma.domain.ledger import Action
from mlma.domain.orders import ORDERS, order_from
from mlma.domain.selectors import Selector
from mlma.web.pages.order_fields import LABEL_WORDS

OF_TRAINERS = {
    "deployed": "New versions went live",
    "failed": "Re-trainings failed",
    "tags": "Tags were told",
}


@dataclass(frozen=True, slots=True)
class Told:
    """An action in words.

    what
        what was done.
    whom
        its selector in words, or its incident; empty = it is about no streams.
    streams
        how many streams fitted; None = it is about none.
    incident
        id of the incident that it is about; empty = none.
    undoes
        number of the action that it takes back; None = none.
    by_engineer
        whether it can be undone.
    """

    action: Action
    what: str
    whom: str = ""
    streams: int | None = None
    incident: str = ""
    undoes: int | None = None
    by_engineer: bool = False


def told(action: Action, zone: tzinfo) -> Told:
    """Return an action in words; one of another version of this program by its kind."""
    names = action.payload.get("unique_ids")
    count = len(names) if names is not None else None
    if action.kind not in ORDERS:
        what = OF_TRAINERS.get(action.kind, action.kind.replace("_", " ").capitalize())
        whom = "" if not names else names[0] if len(names) == 1 else f"{len(names)} named streams"
        return Told(action, what, whom, count)
    try:
        order = order_from(action.kind, action.payload["order"])
        what = _WORDS[action.kind](_Plain(order, zone))
    except (MlmaError, KeyError, TypeError, ValueError):
        return Told(action, action.kind.replace("_", " ").capitalize(), "", count)
    selector = getattr(order, "selector", None)
    if action.kind == "event":
        selector = getattr(order, "event").selector  # noqa: B009
    incident = str(getattr(order, "incident", ""))
    return Told(
        action,
        what,
        f"incident {incident[:8]}" if incident else selector.text if selector else "",
        count if selector is not None and names else None,
        incident,
        int(getattr(order, "action")) if action.kind == "undo" else None,  # noqa: B009
        by_engineer=True,
    )


def concerns(action: Action, unique_id: str) -> bool:
    """Return whether an action is about a stream."""
    if unique_id in action.payload.get("unique_ids", ()):
        return True
    return any(unique_id in own for own in action.payload.get("tags", {}).values())


def who(by: str) -> str:
    """Return who did something, as people say it.

    >>> who("user:ann"), who("key:trainer"), who("")
    ('ann', 'key trainer', 'the agent')
    """
    kind, colon, name = by.partition(":")
    if not by or by == "agent":
        return "the agent"
    return name if colon and kind == "user" else by.replace(":", " ", 1)


class _Plain:
    """Fields of an order, times on the clock of the fleet."""

    def __init__(self, order: Any, zone: tzinfo) -> None:
        self._order, self._zone = order, zone

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._order, name)
        return _time(value, self._zone) if isinstance(value, datetime) else value

    def event_words(self) -> str:
        event: CalendarEvent = self._order.event
        span = f"{_time(event.begins, self._zone)} to {_time(event.ends, self._zone)}"
        how = [event.type, *_handling(event)]
        return f"Event “{event.name}” declared, {span} ({', '.join(how)})"


def _handling(event: CalendarEvent) -> list[str]:
    told = {"excluded": event.exclude, "matched": event.matched, "muted": event.mute}
    return [word for word, true in told.items() if true] or ["counts as usual"]


def _time(at: datetime, zone: tzinfo) -> str:
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def _until(order: _Plain, what: str) -> str:
    return f"{what} until {order.until}" if order.until else what


_WORDS: Mapping[str, Callable[[_Plain], str]] = {
    "retrain": lambda one: "Re-training asked for",
    "plan": lambda one: f"Re-training planned for {one.at}",
    "freeze": lambda one: _until(one, "Frozen"),
    "unfreeze": lambda one: "Unfrozen",
    "budget": lambda one: (
        "No limit on re-trainings per cycle"
        if one.per_cycle is None
        else f"At most {one.per_cycle} re-trainings per cycle"
    ),
    "event": _Plain.event_words,
    "cancel_event": lambda one: f"Event {one.event[:12]} cancelled",
    "pin": lambda one: "Version pinned",
    "unpin": lambda one: "Unpinned",
    "policy": lambda one: f"Policy {one.policy}" if one.policy else "Policy of the fleet again",
    "roll_back": lambda one: (
        "Rolled back to the version before"
        if one.version is None
        else f"Rolled back to version {one.version}"
    ),
    "label": lambda one: (
        f"Batches from {one.begins} to {one.ends} labelled {LABEL_WORDS[one.label]}"
    ),
    "overrule": lambda one: f"Cycle {one.cycle} overruled: {one.verdict}",
    "rejudge": lambda one: f"Cycle {one.cycle} to be judged anew",
    "undo": lambda one: f"Action {one.action} undone",
    "acknowledge": lambda one: "Acknowledged",
    "snooze": lambda one: _until(one, "Snoozed"),
    "resolve": lambda one: "Resolved",
    "reopen": lambda one: "Opened again",
    "confirm": lambda one: "Confirmed: the alarm was right",
    "deny": lambda one: "Denied: the alarm was false",
}


def selector_words(selector: Selector, streams: int | None) -> str:
    """Return a selector with how many streams it fitted.

    >>> selector_words(Selector(tags=("city=Ghent",)), 12)
    'city=Ghent (12 streams)'
    """
    if streams is None or len(selector.unique_ids) == 1:
        return selector.text
    return f"{selector.text} ({streams:,} stream{'' if streams == 1 else 's'})"
