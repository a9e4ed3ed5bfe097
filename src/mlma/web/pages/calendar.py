"""`/calendar`: events, planned re-trainings and labels, by month."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mlma.web.face import AtDesk
from mlma.web.pages.addresses import address
from mlma.web.pages.environment import page
from mlma.web.pages.happenings import frame_of, happenings
from mlma.web.pages.links import order_link
from mlma.web.pages.months import month_grid, month_of, start_of
from mlma.web.pages.order_filling import zone_of
from mlma.web.pages.sheets import csv_of

router = APIRouter(include_in_schema=False)

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@router.get("/calendar")
def calendar(
    request: Request,
    at: AtDesk,
    month: Annotated[str, Query(max_length=7)] = "",
    format: Literal["html", "csv"] = "html",
) -> Response:
    """Show a month; as CSV what touches it."""
    now, zone = at.service.clock.now(), zone_of(at)
    today = now.astimezone(zone).date()
    first = month_of(month, today)
    empty = month_grid(first, (), today, zone)
    back = address("/calendar", month=f"{first:%Y-%m}")
    span = (start_of(empty.begins, zone), start_of(empty.ends, zone))
    found = happenings(at.service.engineering.standing(), *span, back)
    if format == "csv":
        return csv_of(frame_of(found), f"calendar-{first:%Y-%m}")
    return page(
        request,
        "calendar.html",
        now=now,
        month=month_grid(first, found, today, zone),
        found=found,
        days=DAYS,
        zone=zone,
        zone_name=at.settings.periods.zone or "UTC",
        back=back,
        this_month=f"{today:%Y-%m}",
        order_link=order_link,
    )
