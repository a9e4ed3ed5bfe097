"""Filling in of order forms: what an address or an incident says already need not be typed.

Takes what was typed and what the store knows, gives what the fields of the form show. Next is the
page of the order.
"""

from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.incidents import Incident
from mlma.domain.ledger import CycleInfo
from mlma.domain.orders import Declare
from mlma.domain.periods import moment_of
from mlma.domain.selectors import Selector
from mlma.web.face import Desk
from mlma.web.ids import incident_named
from mlma.web.pages.order_fields import FORMS, SELECTOR_FIELDS
from mlma.web.pages.order_reading import (
    FieldError,
    Typed,
    first,
    moment,
    on_the_clock,
    typed_of,
    typed_selector,
)

_RECENT_CYCLES = 1_000
_SPANS = {"label": ("begins", "ends"), "event": ("begins", "ends")}


def zone_of(at: Desk) -> tzinfo:
    """Return the clock of the fleet: that on which its batches are cut, else UTC."""
    return ZoneInfo(at.settings.periods.zone or "UTC")


def filled(at: Desk, kind: str, typed: Typed) -> dict[str, list[str]]:
    """Return what the form shows at first: what the address says, then what follows from it."""
    form = FORMS[kind]
    made = {name: list(values) for name, values in typed.items()}
    about = _incident(at, first(typed, "incident"))
    if about is not None:
        made = _from_incident(at, kind, about) | made
    event = _event(at, first(typed, "id") or first(typed, "event"))
    if kind == "event" and event is not None:
        made = typed_of(Declare(event=event), zone_of(at)) | made
    if kind in _SPANS and _small(cycle := first(typed, "cycle")):
        made = _span_of_cycles(at, _SPANS[kind], int(cycle), int(cycle)) | made
    for field in form.fields:
        if field.type == "moment" and field.name in made:
            made[field.name] = [_local(at, text) for text in made[field.name]]
    return {field.name: [field.default] for field in form.fields if field.default} | made


def _local(at: Desk, text: str) -> str:
    """Return a moment with a zone as the fleet's clock shows it; other text as it is."""
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if told.tzinfo is None else on_the_clock(told, zone_of(at))


def _incident(at: Desk, id: str) -> Incident | None:
    return incident_named(at.room.store, id)


def _event(at: Desk, id: str) -> CalendarEvent | None:
    return at.service.engineering.standing().events.get(id) if id else None


def incident_selector(at: Desk, about: Incident) -> Selector:
    """Return the streams that an incident is about: its tag where it has one, else its members."""
    if about.scope == "fleet":
        return Selector()
    tag, equals, value = about.scope.partition("=")
    if equals and value in set(at.room.tags().get(tag, {}).values()):
        return Selector(tags=(about.scope,))
    names = at.room.names()
    return Selector(unique_ids=tuple(names.gather([*about.members]).to_list()))


def left_out(at: Desk, kind: str, typed: Typed) -> str:
    """Return a warning where an incident names fewer streams than it has; empty = it does not."""
    about = _incident(at, first(typed, "incident")) if FORMS[kind].selecting else None
    if about is None or about.streams <= len(about.members) or not first(typed, "unique_id"):
        return ""
    return (
        f"These are the {len(about.members):,} largest of the {about.streams:,} streams of the "
        f"incident: a tag or a part of the name may fit the others too."
    )


def _from_incident(at: Desk, kind: str, about: Incident) -> dict[str, list[str]]:
    if FORMS[kind].on_incident:
        return {"seen": [str(about.changed)]}
    made: dict[str, list[str]] = {"why": [about.cause]} if about.cause else {}
    if FORMS[kind].selecting:
        made |= typed_selector(incident_selector(at, about))
    if kind in _SPANS:
        made |= _span_of_cycles(at, _SPANS[kind], about.opened_cycle, about.updated_cycle)
    if kind in {"overrule", "rejudge"}:
        made["cycle"] = [str(about.opened_cycle)]
    return made


def _span_of_cycles(
    at: Desk, names: tuple[str, str], first_cycle: int, last_cycle: int
) -> dict[str, list[str]]:
    """Return beginning and end of the batches of some cycles, as they would be typed."""
    heads = at.room.store.cycles(first=first_cycle, last=last_cycle)
    if not heads:
        return {}
    begins, ends = span(at, heads[0])[0], span(at, heads[-1])[1]
    zone = zone_of(at)
    return {names[0]: [on_the_clock(begins, zone)], names[1]: [on_the_clock(ends, zone)]}


def span(at: Desk, info: CycleInfo) -> tuple[datetime, datetime]:
    """Return the first moment of the batches of a cycle, and the first one after them."""
    periods = at.settings.periods
    begins = moment_of(periods.start(info.period))
    return begins, moment_of(periods.end(info.period))


def revisions(at: Desk, kind: str, typed: Typed) -> list[str]:
    """Return ``cycle:revision`` of the cycles that an order speaks of, as they are now."""
    store = at.room.store
    if kind == "overrule":
        cycle = first(typed, "cycle")
        told = store.cycles(first=int(cycle), last=int(cycle)) if _small(cycle) else []
        return [f"{info.cycle}:{info.revision}" for info in told]
    if kind != "label":
        return []
    try:
        zone = zone_of(at)
        begins = moment(first(typed, "begins"), "begins", zone)
        ends = moment(first(typed, "ends"), "ends", zone)
    except FieldError:
        return []
    recent = store.cycles(newest_first=True, limit=_RECENT_CYCLES)
    touched = [info for info in recent if _touches(span(at, info), begins, ends)]
    return [f"{info.cycle}:{info.revision}" for info in reversed(touched)]


def _small(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _touches(own: tuple[datetime, datetime], begins: datetime, ends: datetime) -> bool:
    return own[0] < ends and begins < own[1]


def hidden_pairs(kind: str, typed: Typed) -> list[tuple[str, str]]:
    """Return the fields that the form carries along without showing them."""
    names = [field.name for field in FORMS[kind].fields if field.type == "hidden"]
    shown = {field.name for field in FORMS[kind].fields if field.type != "hidden"}
    shown |= {*SELECTOR_FIELDS} if FORMS[kind].selecting else set()
    carried = [name for name in (*names, "incident", "next") if name not in shown]
    return [
        (name, value) for name in dict.fromkeys(carried) for value in typed.get(name, ()) if value
    ]


def mornings(now: datetime, zone: tzinfo) -> dict[str, datetime]:
    """Return until when an incident can be put aside with one click: a day, or Monday at six."""
    here = now.astimezone(zone)
    monday = here + timedelta(days=7 - here.weekday())
    return {
        "for a day": now + timedelta(days=1),
        "until Monday": monday.replace(hour=6, minute=0, second=0, microsecond=0),
    }
