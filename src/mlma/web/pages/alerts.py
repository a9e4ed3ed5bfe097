"""`/alerts`: who is told of incidents, and whether it arrives; with a button to try it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import polars as pl
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from mlma.domain.ledger import Delivery
from mlma.service.alerts import PREFIX
from mlma.service.entries import AlertTable
from mlma.service.outbox import LaneFacts
from mlma.service.quiet import QuietHours
from mlma.web.face import AtDesk, Desk
from mlma.web.forms import CheckedForm
from mlma.web.pages.addresses import address
from mlma.web.pages.environment import page
from mlma.web.pages.sheets import csv_of
from mlma.web.people import AtPerson, check_may
from mlma.web.routes.alerts import sent_test

router = APIRouter(include_in_schema=False)

SHOWN, READ = 200, 5_000
LEFT_OUT = "left out: "

_SCHEMA: dict[str, Any] = {
    "event": pl.String,
    "kind": pl.String,
    "alert": pl.String,
    "status": pl.String,
    "attempts": pl.Int64,
    "at": pl.Datetime("us", "UTC"),
    "next_at": pl.Datetime("us", "UTC"),
    "error": pl.String,
}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as the page shows it; nothing of its address.

    quiet_until
        None = it is not quiet now.
    """

    name: str
    asks: str
    quiet: str
    quiet_until: datetime | None
    facts: LaneFacts
    waiting: int


@router.get("/alerts")
def alerts(
    request: Request,
    at: AtDesk,
    who: AtPerson,
    *,
    sent: str = "",
    log: Literal["sent", "all"] = "sent",
    format: Literal["html", "csv"] = "html",
) -> Response:
    """Show the alerts and what became of their messages."""
    check_may(who, "admin")
    found = _deliveries(at, left_out=log == "all")
    if format == "csv":
        return csv_of(_frame(found), "alerts")
    waiting = [one for one in found if one.status == "waiting"]
    return page(
        request,
        "alerts.html",
        alerts=[_alert(at, table, waiting) for table in at.service.settings.alerts],
        deliveries=[(_name(one), one) for one in found[:SHOWN]],
        more=len(found) > SHOWN,
        sent=[one for one in found if one.event.id == sent],
        asked=sent,
        log=log,
    )


@router.post("/alerts")
def tried(at: AtDesk, who: AtPerson, form: CheckedForm) -> Response:
    """Send a test message, then show the page again."""
    check_may(who, "admin")
    names = [one for one in form.getlist("name") if one]
    made = sent_test(at, names, who.who)
    return RedirectResponse(address("/alerts", sent=made.event), status_code=303)


def _deliveries(at: Desk, *, left_out: bool) -> list[Delivery]:
    """Return the newest messages of alerts; those that were not sent only where asked for."""
    return [
        one
        for one in at.room.store.deliveries(limit=READ)
        if one.target.startswith(PREFIX) and (left_out or not one.error.startswith(LEFT_OUT))
    ]


def _alert(at: Desk, table: AlertTable, waiting: Sequence[Delivery]) -> Alert:
    zone = table.timezone or at.service.settings.agent.timezone
    quiet = QuietHours.of(table.quiet, zone)
    return Alert(
        name=table.name,
        asks=_asks(table),
        quiet="" if quiet is None else f"{table.quiet} ({quiet.zone})",
        quiet_until=None if quiet is None else quiet.over_at(datetime.now(UTC)),
        facts=at.service.outbox.facts.get(table.target, LaneFacts()),
        waiting=sum(one.target == table.target for one in waiting),
    )


def _asks(table: AlertTable) -> str:
    """Return what an alert is told, in words.

    >>> _asks(AlertTable(name="a", url="json://desk.example", when="digest", tags=["city=Ghent"]))
    'a digest per cycle; city=Ghent'
    """
    told = {
        "incident": "each incident",
        "digest": "a digest per cycle",
        "both": "each incident, a digest per cycle",
    }
    parts = [told[table.when], *table.tags]
    if len(table.kinds) < len(AlertTable.model_fields["kinds"].default):
        parts.append(f"only {', '.join(table.kinds)}")
    if table.least_stake:
        parts.append(f"from a stake of {table.least_stake:g}")
    if table.urgent:
        parts.append("the fleet's at any hour")
    return "; ".join(parts)


def _frame(deliveries: Sequence[Delivery]) -> pl.DataFrame:
    rows = [
        (
            *(one.event.id, one.event.kind, _name(one), one.status, one.attempts),
            *(one.event.at, one.next_at, one.error),
        )
        for one in deliveries
    ]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _name(one: Delivery) -> str:
    return one.target.removeprefix(PREFIX)
