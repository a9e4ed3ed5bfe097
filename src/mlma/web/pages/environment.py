"""The environment of the pages: templates, filters, and what every page shows.

Takes a request and the values of a page, gives the answer. No page holds a script or a style of its
own: the content security policy of the server forbids them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from mlma.domain.errors import MlmaError
from mlma.domain.ledger import Action
from mlma.web.face import desk
from mlma.web.forms import csrf_field
from mlma.web.pages import static, words
from mlma.web.pages.addresses import Here, address
from mlma.web.people import may, person_of

NAVIGATION = (
    *(("Fleet", "/fleet"), ("Incidents", "/incidents"), ("Streams", "/streams")),
    *(("Models", "/models"), ("Calendar", "/calendar"), ("Lab", "/lab"), ("Audit", "/audit")),
)
_BELOW = {"/stream": "/streams"}
_MOST_COUNTED = 100


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the navigation: its name, address, whether one is there, how many wait there."""

    name: str
    path: str
    here: bool
    count: int = 0


@cache
def environment() -> Environment:
    """Return the environment of the templates: everything is escaped, nothing is undefined."""
    made = Environment(
        loader=PackageLoader("mlma.web"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=words.number,
        percent=words.percent,
        moment=words.moment,
        day=words.day,
        duration=words.duration,
        counted=words.counted,
        words=words.words,
        as_heads=_heads,
    )
    made.globals.update(address=address, static=_static, nothing=words.NOTHING)
    return made


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    now: datetime | None = None,
    **context: Any,
) -> HTMLResponse:
    """Return a page.

    Beside ``context`` a template has ``here`` (`Here`), ``places``, ``person``, ``may(right)``,
    ``csrf`` (a hidden field for each form that posts), ``done`` (the action that was just
    recorded, or None), ``now`` and the filter ``ago``.
    """
    service = desk(request).service
    now = now or service.clock.now()
    if "done" not in context:
        context["done"] = _done(request)
    told = {
        "here": Here(request),
        "now": now,
        "ago": lambda value: words.ago(value, now),
        "places": places(request),
        **_who(request),
        **context,
    }
    return HTMLResponse(environment().get_template(template).render(told), status_code=status)


def places(request: Request) -> list[Place]:
    """Return the navigation, as it stands on the page that is looked at."""
    path = str(request.scope["path"])
    path = _BELOW.get(path, path)
    counts = {"/incidents": _open_incidents(request)}
    return [
        Place(name, at, path == at or path.startswith(f"{at}/"), counts.get(at, 0))
        for name, at in NAVIGATION
    ]


def _open_incidents(request: Request) -> int:
    """Return how many incidents are open; more than a hundred are not counted."""
    try:
        return len(desk(request).room.store.incidents(states=("open",), limit=_MOST_COUNTED) or ())
    except MlmaError:
        return 0  # a page that tells what is wrong is still to be shown


def _done(request: Request) -> Action | None:
    """Return the action that the address says was just recorded."""
    told = request.query_params.get("done", "")
    if not (told.isascii() and told.isdigit() and len(told) < 10):
        return None
    found = desk(request).room.store.actions(start=int(told), limit=1)
    return found[0] if found and found[0].number == int(told) else None


def _who(request: Request) -> Mapping[str, Any]:
    person = person_of(request)
    return {
        "person": person,
        "may": lambda right: may(person, right),
        "csrf": csrf_field(request),
    }


def _heads(titles: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return titles as heads of a table: a name first, then numbers."""
    return [(title, "number" if at else "", "") for at, title in enumerate(titles)]


def _static(name: str) -> str:
    """Return the address of a file of the pages."""
    return address(f"/static/{name}", v=static.mark(name))
