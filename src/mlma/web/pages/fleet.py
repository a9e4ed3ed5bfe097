"""`/fleet`: the key metrics of the fleet over time, what is on the desk, and the next batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mlma.domain.incidents import Incident
from mlma.domain.labour import Labour
from mlma.domain.ledger import CycleInfo
from mlma.domain.periods import Periods
from mlma.domain.verdicts import Decision
from mlma.service.labour import LabourRecord, read_labour
from mlma.web.face import AtDesk, Desk
from mlma.web.pages.course import WEEK, Course
from mlma.web.pages.environment import page
from mlma.web.pages.fleet_charts import fleet_charts
from mlma.web.pages.fleet_figures import fleet_figures
from mlma.web.pages.in_force import standing_now
from mlma.web.pages.sheets import csv_of
from mlma.web.reading import ReadingRoom

router = APIRouter(include_in_schema=False)

Range = Literal["4", "13", "all"]
RANGES = (("4", "4 weeks"), ("13", "13 weeks"), ("all", "All"))
MOST_CYCLES = 1_500
"""Cycles that one page tells of; of a longer history, the newest."""
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class NextBatch:
    """What is judged next, as the last look for batches found it; None and empty = not known."""

    begins: Any = None
    waits_for: str = ""
    complete: float | None = None
    late: timedelta | None = None
    leads: bool = True
    leader: str | None = None
    failures: int = 0


@router.get("/fleet")
def fleet(
    request: Request,
    at: AtDesk,
    weeks: Annotated[Range, Query()] = "4",
    format: Annotated[Literal["", "csv"], Query()] = "",
) -> Response:
    """Show how the fleet stands and how it came there."""
    course = Course(heads_of(at.room, weeks), at.settings.periods)
    if format == "csv":
        return csv_of(course.frame(), "fleet")
    if not len(course):
        return page(
            request,
            "fleet_empty.html",
            streams=len(at.room.names()),
            next=next_batch(at),
            base=str(request.base_url).rstrip("/"),
        )
    labour, weekly = _labour(at, course)
    open_ones = at.room.store.incidents(states=("open", "acknowledged"))
    budget, requests = standing_now(at).budget, len(at.room.open_requests())
    return page(
        request,
        "fleet.html",
        weeks=weeks,
        ranges=RANGES,
        newest=course.heads[-1],
        last=course.times[-1].item(),
        figures=fleet_figures(course, labour, open_ones, budget, requests),
        charts=fleet_charts(course, weekly, budget, at.settings.benchmark),
        desk=_worst(open_ones),
        open=len(open_ones),
        did={one.label: _count(course, one) for one in Decision},
        next=next_batch(at),
        requests=requests,
        cut=len(course) >= MOST_CYCLES,
        policy=course.heads[-1].policy,
    )


def heads_of(room: ReadingRoom, weeks: Range) -> list[CycleInfo]:
    """Return the heads of the cycles of the last weeks, oldest first."""
    if weeks == "all":
        return room.newest_heads(MOST_CYCLES)
    n_periods = max(int(int(weeks) * WEEK // room.periods.batch), 1)
    heads = room.newest_heads(min(n_periods, MOST_CYCLES))
    return [one for one in heads if one.period > heads[-1].period - n_periods]


def next_batch(at: Desk) -> NextBatch:
    """Return what is judged next."""
    facts = at.service.scheduler.facts
    status = facts.status
    if status is None:
        return NextBatch(failures=facts.failures)
    late = timedelta(seconds=at.meters.lag())
    return NextBatch(
        begins=status.next_period,
        waits_for=status.waits_for,
        complete=status.complete,
        late=late if late else None,
        leads=status.leads,
        leader=status.leader,
        failures=facts.failures,
    )


def _labour(at: Desk, course: Course) -> tuple[Labour, list[tuple[np.datetime64, Labour]]]:
    """Return the labour of these weeks, and of each of them by its first batch."""
    first, last = course.heads[0].cycle, course.heads[-1].cycle
    model = at.service.settings.labour.model()
    record: LabourRecord = read_labour(at.room.store, at.settings.periods, first=first, last=last)
    weekly = [
        (_monday(at.settings.periods, info.period), labour) for info, labour in record.weeks(model)
    ]
    return record.labour(first, last, model), weekly


def _count(course: Course, decision: Decision) -> int:
    counts: Mapping[str, int] = course.heads[-1].summary.get("decisions", {})
    return int(counts.get(decision.label, 0))


def _monday(periods: Periods, period: int) -> np.datetime64:
    """Return the start of the week of a period; weeks start on a Monday."""
    a_week = max(int(WEEK // periods.batch), 1)
    return periods.wall_start(period // a_week * a_week)


def _worst(incidents: list[Incident]) -> list[Incident]:
    """Return the incidents with the most at stake; those that nobody looks at come first."""
    ranked = sorted(incidents, key=lambda one: (one.state != "open", -one.stake, one.id))
    return ranked[:_SHOWN]
