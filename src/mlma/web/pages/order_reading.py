"""Reading of order forms: what was typed becomes an order, or says at which field it cannot be.

Takes the fields of a form or of an address as they were typed, gives the order. Times without a
zone are on the clock of the fleet. Next is the desk of the engineer.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any
from uuid import uuid4

from mlma.domain.errors import MlmaError, SettingsError
from mlma.domain.orders import Order, order_from
from mlma.domain.selectors import Selector
from mlma.web.pages.order_fields import FORMS, FormField

Typed = Mapping[str, Sequence[str]]
"""What was typed, by field: a field may come more than once."""

_YEARS = (1990, 2199)
_MOST_DIGITS = 9
_LONGEST, LONGEST_WHY = 4_000, 2_000
_MOST_TAGS, _LONGEST_PART = 20, 300
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_QUOTED = re.compile(r"^`(\w+)`")
_PARTS = {"tags": "tag", "unique_ids": "unique_id", "revisions": "begins"}
_TOLD = {
    " must end after it begins": "ends",
    "of the named streams are not known": "unique_id",
    "No stream has ": "tag",
    " is about all ": "everything",
    "Hint: overlap = true": "overlap",
}
"""What messages say that name no field, and the field that they speak of."""
_NAMING = {"policy": "policy", "cancel_event": "event"}
"""The field of a kind that names something: what is unknown stands there."""


class FieldError(Exception):
    """What was typed cannot be an order; ``field`` is empty where no single one is to blame."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


def order_of(kind: str, typed: Typed, zone: tzinfo) -> Order:
    """Return the order of a kind that was typed.

    Raises
    ------
    FieldError
        Something is missing, or is not what it must be.
    """
    form = FORMS[kind]
    values = {field.name: _value(field, typed, zone) for field in form.fields}
    try:
        payload = _payload(kind, values)
        if form.selecting and kind != "event":
            payload["selector"] = selector_of(typed)
            payload["everything"] = bool(first(typed, "everything"))
        elif kind == "event":
            payload = _event(values, selector_of(typed))
        return order_from(kind, payload)
    except MlmaError as error:
        raise blamed(error, kind) from error


def blamed(error: MlmaError, kind: str) -> FieldError:
    """Return an error with the field of the form that it speaks of.

    >>> from mlma.domain.errors import DataError
    >>> blamed(DataError("`version` of shop 3 is not there."), "roll_back").field
    'version'
    """
    found = _QUOTED.match(str(error))
    name = _PARTS.get(found[1], found[1]) if found else ""
    known = {field.name for field in FORMS[kind].fields if field.type != "hidden"}
    known |= {"tag", "search", "unique_id", "everything"} if FORMS[kind].selecting else set()
    name = next((field for text, field in _TOLD.items() if text in str(error)), name)
    if kind in _NAMING and isinstance(error, SettingsError):
        name = _NAMING[kind]
    return FieldError(name if name in known else "", str(error))


def selector_of(typed: Typed) -> Selector:
    """Return the selector that was typed: tags and names may stand one per line."""
    tags, search = _lines(typed, "tag"), first(typed, "search").strip()
    if len(tags) > _MOST_TAGS:
        raise FieldError("tag", f"A selector may have {_MOST_TAGS} tags. Got {len(tags):,}.")
    told = {"tag": max(tags, key=len, default=""), "search": search}
    for field, text in told.items():
        if len(text) > _LONGEST_PART:
            raise FieldError(field, f"`{field}` may have {_LONGEST_PART} letters.")
        _check_prints(text, field)
    return Selector(tags=tags, search=search, unique_ids=_lines(typed, "unique_id"))


def fields_of(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[str]]:
    """Return the fields of a form or an address, each with all that was typed into it."""
    made: dict[str, list[str]] = {}
    for name, value in pairs:
        made.setdefault(name, []).append(str(value))
    return made


def first(typed: Typed, name: str) -> str:
    """Return what was typed into a field; empty = nothing."""
    return next(iter(typed.get(name, ())), "")


def moment(text: str, field: str, zone: tzinfo) -> datetime:
    """Return a time that was typed; without a zone it is on the clock of the fleet.

    >>> moment("2025-03-01T12:00", "at", UTC).isoformat()
    '2025-03-01T12:00:00+00:00'
    """
    try:
        made = datetime.fromisoformat(text.strip())
    except ValueError:
        made = None
    if made is not None and made.tzinfo is None:
        made = made.replace(tzinfo=zone)
    if made is None or not _in_reach(made):
        raise FieldError(
            field,
            f"`{field}` must be a time of the years {_YEARS[0]} to {_YEARS[1]}. "
            f"Got {text[:80]!r}. Hint: 2025-03-01T12:00.",
        )
    return made


def _in_reach(made: datetime) -> bool:
    """Return whether a time is of the years that there are, here and in UTC."""
    first, last = _YEARS
    here = first <= made.year <= last  # else it may be none in UTC
    return here and first <= made.astimezone(UTC).year <= last


def count_of(text: str) -> int | None:
    """Return a small whole number; None = it is none.

    >>> count_of("12"), count_of("²"), count_of("9" * 5000)
    (12, None, None)
    """
    plain = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if plain else None


def why_of(typed: Typed) -> str:
    """Return the reason that was typed.

    Raises
    ------
    FieldError
        It is too long, or holds what no text holds.
    """
    why = first(typed, "why").strip()
    if len(why) > LONGEST_WHY:
        raise FieldError("why", f"`Why` must have at most {LONGEST_WHY} letters. Got {len(why)}.")
    _check_prints(why, "why")
    return why


def _check_prints(text: str, field: str) -> None:
    if _CONTROL.search(text):
        raise FieldError(field, f"`{field}` may hold no control characters.")


def _lines(typed: Typed, name: str) -> tuple[str, ...]:
    told = (line.strip() for text in typed.get(name, ()) for line in text.splitlines())
    return tuple(dict.fromkeys(line for line in told if line))


def _value(field: FormField, typed: Typed, zone: tzinfo) -> Any:
    text = first(typed, field.name)
    if field.type == "check":
        return bool(text)
    if field.name == "revision":
        return _revisions(typed.get(field.name, ()))
    if not text.strip():
        if field.required:
            raise FieldError(field.name, f"`{field.label}` is missing.")
        return "" if field.type in {"text", "choice", "hidden"} else None
    if field.type == "moment":
        return moment(text, field.name, zone)
    if field.type == "number":
        return _number(text, field)
    if len(text) > _LONGEST:
        raise FieldError(field.name, f"`{field.label}` may have {_LONGEST} letters.")
    _check_prints(text, field.name)
    return text.strip()


def _number(text: str, field: FormField) -> int:
    made = count_of(text.strip().removeprefix("+"))
    if made is None:
        raise FieldError(
            field.name, f"`{field.label}` must be a whole number, 0 or more. Got {text[:80]!r}."
        )
    return made


def _revisions(told: Sequence[str]) -> dict[str, int]:
    """Return the revision of each cycle that was seen, out of ``cycle:revision``."""
    pairs = [[count_of(part) for part in text.partition(":")[::2]] for text in told]
    return {str(cycle): seen for cycle, seen in pairs if cycle is not None and seen is not None}


def _payload(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an order out of those of its form."""
    match kind:
        case "budget":
            unlimited = values.pop("unlimited")
            if unlimited == (values["per_cycle"] is not None):
                raise FieldError("per_cycle", "Give a number of re-trainings, or tick “No limit”.")
        case "label":
            values["revisions"] = values.pop("revision")
        case "overrule":
            values["revision"] = values["revision"].get(str(values["cycle"]))
        case _ if FORMS[kind].on_incident:
            values["seen"] = count_of(str(values["seen"]))
            if not values["incident"]:
                raise FieldError("", "The incident is missing.")
    return values


def _event(values: dict[str, Any], selector: Selector) -> dict[str, Any]:
    if not values["name"]:
        raise FieldError("name", "`Name` is missing.")
    counts = values.pop("counts")
    overlap = values.pop("overlap")
    plain = values | {
        "id": values["id"] or uuid4().hex,
        "begins": values["begins"].isoformat(),
        "ends": values["ends"].isoformat(),
        "exclude": counts == "excluded",
        "matched": counts == "matched",
        "selector": selector.plain(),
    }
    return {"event": plain, "overlap": overlap}


def typed_of(order: Order, zone: tzinfo = UTC) -> dict[str, list[str]]:
    """Return what would be typed for an order: how the form of an event is filled in to edit it."""
    made: dict[str, list[str]] = {}
    for name, value in order.payload().items():
        if name == "selector":
            made |= typed_selector(Selector.of(value))
        elif name == "event" and isinstance(value, dict):
            made |= _typed_event(value, zone)
        elif value not in (None, False):
            made[name] = [str(value)]
    return made


def typed_selector(selector: Selector) -> dict[str, list[str]]:
    """Return what would be typed for a selector."""
    told = {
        "tag": ["\n".join(selector.tags)],
        "search": [selector.search],
        "unique_id": ["\n".join(selector.unique_ids)],
    }
    return {name: value for name, value in told.items() if value[0]}


def on_the_clock(at: datetime, zone: tzinfo) -> str:
    """Return a time as its field shows it.

    >>> on_the_clock(datetime(2025, 3, 1, 12, tzinfo=UTC), UTC)
    '2025-03-01T12:00'
    """
    return at.astimezone(zone).strftime("%Y-%m-%dT%H:%M")


def _typed_event(plain: dict[str, Any], zone: tzinfo) -> dict[str, list[str]]:
    counts = "excluded" if plain["exclude"] else "matched" if plain["matched"] else "usual"
    told = {name: [str(plain[name])] for name in ("id", "name", "type")}
    for name in ("begins", "ends"):
        told[name] = [on_the_clock(datetime.fromisoformat(plain[name]), zone)]
    mute = ["1"] if plain["mute"] else [""]
    return (
        told | {"counts": [counts], "mute": mute} | typed_selector(Selector.of(plain["selector"]))
    )
