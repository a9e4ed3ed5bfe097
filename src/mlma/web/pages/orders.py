"""`/orders/{kind}`: the form of an order, what it would change, and its carrying out.

Takes what was typed, asks the desk of the engineer. A form that cannot be carried out comes back as
it was typed, with what is wrong at its field; one that was carried out leads back to where its
author came from, which tells the number of the action.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from mlma.domain.errors import ConflictError, MlmaError, StoreError
from mlma.domain.ledger import Action
from mlma.domain.orders import ORDERS, Declare, Order, Selecting
from mlma.service.engineering import Rehearsal
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk, Desk
from mlma.web.forms import CheckedForm
from mlma.web.ids import incident_named
from mlma.web.pages.environment import page
from mlma.web.pages.links import local, with_done
from mlma.web.pages.order_elsewhere import command_of, request_of
from mlma.web.pages.order_fields import FORMS, SELECTOR_FIELDS, OrderForm
from mlma.web.pages.order_filling import filled, hidden_pairs, left_out, revisions, zone_of
from mlma.web.pages.order_reading import (
    FieldError,
    Typed,
    blamed,
    count_of,
    fields_of,
    first,
    order_of,
    why_of,
)
from mlma.web.pages.order_words import Told, told, who
from mlma.web.people import AtPerson, Person, check_may, check_order
from mlma.web.undone import undone_by

router = APIRouter(include_in_schema=False)

_BACK = {"event": "/calendar", "cancel_event": "/calendar", "plan": "/calendar"}
_MOST_CONFLICTS = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page of an order shows beside what was typed.

    errors
        message by field; that of "" concerns the whole.
    rehearsal
        what it would change; None = not asked for, or it cannot be.
    asks
        field that has to be ticked before it is carried out: ``everything`` or ``overlap``.
    before
        what others did in the meantime.
    """

    typed: Typed
    status: int = 200
    errors: dict[str, str] = field(default_factory=dict)
    rehearsal: Rehearsal | None = None
    asks: str = ""
    before: Sequence[Told] = ()


@router.get("/orders/{kind}")
def form(request: Request, kind: str, at: AtDesk, person: AtPerson) -> Response:
    """Show the form of an order, filled in as the address says."""
    _check(kind, person)
    given = fields_of(request.query_params.multi_items())
    typed = filled(at, kind, given)
    complete = _complete(kind, typed)
    typed.pop("everything", None)  # an address does not confirm: whoever reads the page does
    if complete:
        return _page(request, at, kind, _previewed(at, kind, typed, person))
    return _page(request, at, kind, Shown(typed))


@router.post("/orders/{kind}")
def posted(
    request: Request, kind: str, at: AtDesk, person: AtPerson, sent: CheckedForm
) -> Response:
    """Show what an order would change, or carry it out."""
    _check(kind, person)
    typed = fields_of(sent.multi_items())
    if first(typed, "step") != "apply":
        return _page(request, at, kind, _previewed(at, kind, typed, person))
    try:
        number = _carried_out(at, kind, typed, person)
    except FieldError as error:
        return _page(request, at, kind, _refused(at, kind, typed, person, error))
    back = local(first(typed, "next"), _back(kind, typed))
    # A fragment of its own: else a browser keeps that of the form.
    return RedirectResponse(f"{with_done(back, number)}#main", status_code=303)


def _check(kind: str, person: Person) -> None:
    if kind not in FORMS:
        raise RefusedError(404, "There is no such order.")
    check_may(person, "engineer")


def _complete(kind: str, typed: Typed) -> bool:
    """Return whether an address says all that it takes, so that nothing is left to be typed."""
    form = FORMS[kind]
    if form.on_incident:
        return False
    needed = [one for one in form.fields if one.type not in {"hidden", "check"}]
    told = all(first(typed, one.name) for one in needed)
    if form.selecting:
        return told and any(first(typed, name) for name in (*SELECTOR_FIELDS, "incident"))
    return told and any(first(typed, one.name) for one in form.fields)


def _order(at: Desk, kind: str, typed: Typed, person: Person) -> Order:
    """Return the order that was typed, if its author may give it."""
    order = order_of(kind, typed, zone_of(at))
    try:
        check_order(person, order, undone_by(at.service.engineering, order, person.who))
    except RefusedError as error:
        raise FieldError("", f"This concerns the whole fleet. {error}") from error
    return order


def _previewed(at: Desk, kind: str, typed: Typed, person: Person) -> Shown:
    """Return what an order would change; what confirms it is asked for afterwards."""
    typed = dict(typed)
    if fresh := revisions(at, kind, typed):
        seen = {text.partition(":")[0]: text for text in typed.get("revision", ())}
        typed["revision"] = [seen.get(text.partition(":")[0], text) for text in fresh]
    try:
        order = _order(at, kind, typed, person)
        rehearsal = at.service.engineering.rehearse(_confirmed(order), person.who)
    except FieldError as error:
        forbidden = isinstance(error.__cause__, RefusedError)
        return Shown(typed, 403 if forbidden else 422, {error.field: error.message})
    except ConflictError as error:
        return _conflicted(at, kind, typed, error)
    except StoreError:
        raise
    except MlmaError as error:
        wrong = blamed(error, kind)
        return Shown(typed, 422, {wrong.field: wrong.message})
    typed["after"] = [str(rehearsal.after)]
    return Shown(typed, rehearsal=rehearsal, asks=_asks(at, order, rehearsal))


def _confirmed(order: Order) -> Order:
    """Return an order with all that it asks for confirmed, to see what it would change."""
    confirmations = {one.name for one in fields(order)} & {"everything", "overlap"}
    return replace(order, **dict.fromkeys(confirmations, True))


def _asks(at: Desk, order: Order, rehearsal: Rehearsal) -> str:
    if isinstance(order, Declare):
        return "overlap" if any("overlap" in one for one in rehearsal.warnings) else ""
    if not isinstance(order, Selecting):
        return ""
    alone = len(rehearsal.streams) == 1 and not order.selector.everything
    whole = len(rehearsal.streams) == len(at.room.names())
    return "everything" if whole and not alone else ""


def _carried_out(at: Desk, kind: str, typed: Typed, person: Person) -> int:
    """Carry an order out.

    Raises
    ------
    FieldError
        It cannot be; ``__cause__`` says why.
    """
    why, after = why_of(typed), count_of(first(typed, "after"))
    try:
        order = _order(at, kind, typed, person)
        return at.service.engineering.carry_out(order, person.who, why, after=after)
    except ConflictError as error:
        raise FieldError("conflict", str(error)) from error
    except StoreError:
        raise
    except MlmaError as error:
        raise blamed(error, kind) from error


def _refused(at: Desk, kind: str, typed: Typed, person: Person, error: FieldError) -> Shown:
    """Return the form as it was typed, what is wrong, and what the order would change now."""
    if isinstance(error.__cause__, ConflictError):
        return _conflicted(at, kind, typed, error.__cause__)
    if FORMS[kind].on_incident:
        return Shown(typed, 422, {error.field: error.message})
    seen = _previewed(at, kind, typed, person)
    return replace(seen, status=422, errors={**seen.errors, error.field: error.message})


def _conflicted(at: Desk, kind: str, typed: Typed, error: ConflictError) -> Shown:
    """Return the form as it was typed and what others did; sent once more it counts."""
    since = first(typed, "seen") if FORMS[kind].on_incident else first(typed, "after")
    incident = first(typed, "incident") if FORMS[kind].on_incident else ""
    number = count_of(since)
    before = _meanwhile(at, number or 0, incident) if number is not None or incident else []
    renewed = {name: list(values) for name, values in typed.items()}
    for name in ("after", "revision"):
        renewed.pop(name, None)
    if FORMS[kind].on_incident:
        about = incident_named(at.room.store, incident)
        renewed["seen"] = [str(about.changed)] if about else []
    elif fresh := revisions(at, kind, renewed):
        renewed["revision"] = fresh
    return Shown(renewed, 409, {"": str(error)}, before=before)


def _meanwhile(at: Desk, since: int, incident: str) -> list[Told]:
    """Return the last actions of engineers after a number; of an incident only its own."""
    found: list[Action] = at.room.store.actions(kind=list(ORDERS), start=since + 1)
    own = [told(one, zone_of(at)) for one in found]
    return [one for one in own if not incident or one.incident == incident][-_MOST_CONFLICTS:]


def _back(kind: str, typed: Typed) -> str:
    incident = first(typed, "incident")
    if incident and not FORMS[kind].on_incident:
        return f"/incidents/{incident}"
    return "/incidents" if FORMS[kind].on_incident else _BACK.get(kind, "/audit")


def _page(request: Request, at: Desk, kind: str, shown: Shown) -> Response:
    about = _form_of(at, kind, shown.typed)
    errors = shown.errors
    return page(
        request,
        "order.html",
        status=shown.status,
        form=about,
        choices=_choices(at, about),
        value=lambda name: first(shown.typed, name),
        lines=lambda name: "\n".join(shown.typed.get(name, ())),
        hidden=hidden_pairs(kind, shown.typed),
        error=lambda name: errors.get(name, ""),
        problem=next(iter(errors.values()), ""),
        shown=shown,
        zone=at.settings.periods.zone or "UTC",
        back=local(first(shown.typed, "next"), _back(kind, shown.typed)),
        who=who,
        note=left_out(at, kind, shown.typed),
        also=_also(shown),
    )


def _form_of(at: Desk, kind: str, typed: Typed) -> OrderForm:
    form = FORMS[kind]
    if kind == "event" and first(typed, "id") in at.service.engineering.standing().events:
        return replace(form, title="Change the event", verb="Change")
    return form


def _also(shown: Shown) -> tuple[str, str]:
    """Return the request and the command that do the same; empty while the order is not known."""
    if shown.rehearsal is None:
        return "", ""
    order = shown.rehearsal.order
    return request_of(order), command_of(order)


def _choices(at: Desk, about: OrderForm) -> dict[str, list[tuple[str, str]]]:
    made = {one.name: list(one.choices) for one in about.fields if one.type == "choice"}
    if about.kind == "cancel_event":
        events = at.service.engineering.standing().events.values()
        newest = sorted(events, key=lambda one: one.begins, reverse=True)
        made["event"] = [(one.id, f"{one.name}, {one.begins:%Y-%m-%d}") for one in newest]
    return made
