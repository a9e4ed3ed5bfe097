"""The figures at the top of the Fleet page, each with a sentence that says what it means."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlma.domain.incidents import Incident
from mlma.domain.labour import Labour
from mlma.web.pages.course import Course, last_known
from mlma.web.pages.words import NOTHING, counted, missing, number, percent


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, what it is called, and what it means; ``tone``: good, bad, warn or none."""

    name: str
    value: str
    note: str
    tone: str = ""
    href: str = ""


def fleet_figures(
    course: Course,
    labour: Labour,
    incidents: Sequence[Incident],
    budget: int | None,
    requests: int,
) -> list[Figure]:
    """Return the key figures of a course."""
    return [
        _reference(course),
        _benchmark(course),
        _degraded(course),
        _incidents(incidents),
        _labour(labour),
        _retrainings(course, budget),
        _waiting(requests),
        _false(course),
        _complete(course),
        _staleness(course),
    ]


def _reference(course: Course) -> Figure:
    excess = last_known(course.above_reference)
    note = "Mean loss of the last batch, against what the references of the streams expect."
    tone = "bad" if excess > 0.2 else ""
    return Figure("Loss against reference", percent(excess, signed=True), note, tone)


def _benchmark(course: Course) -> Figure:
    excess = last_known(course.above_benchmark)
    if missing(excess):
        note = "No benchmark is told: set it in [agent] of mlma.toml, or push its forecasts."
        return Figure("Loss against benchmark", NOTHING, note)
    note = "The same against the benchmark that would be used instead; below zero, the models win."
    tone = "good" if excess < 0 else "bad"
    return Figure("Loss against benchmark", percent(excess, signed=True), note, tone)


def _degraded(course: Course) -> Figure:
    share = course.share("degraded")[-1]
    count = int(course.heads[-1].summary.get("verdicts", {}).get("degraded", 0))
    note = f"{counted(count, 'stream')} lost more than the reference in the last batch."
    return Figure("Degraded", percent(share), note, href="/streams?verdict=degraded")


def _incidents(incidents: Sequence[Incident]) -> Figure:
    opened = sum(one.state == "open" for one in incidents)
    seen = len(incidents) - opened
    more = f"; {seen:,} more acknowledged" if seen else ""
    note = f"Causes that wait for a person{more}."
    return Figure("Open incidents", number(opened), note, "bad" if opened else "good", "/incidents")


def _labour(labour: Labour) -> Figure:
    minutes = labour.minutes_per_1000_week
    rate = number(labour.incidents_per_1000_week, 2)
    note = f"Minutes of a person per 1,000 streams and week, at {rate} incidents; the target is 1."
    return Figure("Labour", f"{number(minutes, 2)} min", note)


def _retrainings(course: Course, budget: int | None) -> Figure:
    asked = float(np.nansum(course.decisions("retrain")))
    rate = number(course.per_1000_week(asked), 2)
    limit = f"Budget: {budget:,} per batch." if budget is not None else "No budget is set."
    note = f"Asked for in this range: {rate} per 1,000 streams and week. {limit}"
    return Figure("Re-trainings", number(asked), note, href="/models")


def _waiting(requests: int) -> Figure:
    note = "Re-trainings that were asked for and that nobody has answered yet."
    return Figure("Waiting re-trainings", number(requests), note, href="/models")


def _false(course: Course) -> Figure:
    expected = course.per_1000_week(float(np.nansum(course.audited("expected_alarms"))))
    realised = course.per_1000_week(float(np.nansum(course.audited("mirror_alarms"))))
    note = (
        f"Per 1,000 streams and week, counted where no break can be; {number(expected, 2)} were "
        f"expected."
    )
    tone = "warn" if expected > 0 and realised > 2 * expected else ""
    return Figure("False re-trainings", number(realised, 2), note, tone)


def _complete(course: Course) -> Figure:
    share = last_known(course.complete)
    note = "Batches whose actuals were there when the last one was judged."
    return Figure("Completeness", percent(share), note, "warn" if share < 0.95 else "")


def _staleness(course: Course) -> Figure:
    age = last_known(course.age)
    note = "Median age of the live versions: batches since they were trained."
    return Figure("Age of models", NOTHING if missing(age) else f"{number(age)}", note)
