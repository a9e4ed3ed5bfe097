"""The charts of the Fleet page: its key metrics over time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from mlma.domain.labour import Labour
from mlma.web.charts import Bars, Bins, Layer, Limit, Line, Scale, bins_of, plot, stacked
from mlma.web.pages.course import VERDICTS, Course
from mlma.web.pages.words import day, number, percent, words

Floats = NDArray[np.float64]
Legend = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, what it means in a sentence, and its numbers as a table."""

    title: str
    note: str
    svg: Markup
    legend: Legend
    heads: list[str]
    rows: Sequence[tuple[str, ...]]


def fleet_charts(
    course: Course,
    weekly: Sequence[tuple[np.datetime64, Labour]],
    budget: int | None,
    benchmark: str,
) -> list[Chart]:
    """Return the charts of a course."""
    bins = bins_of(len(course))
    days = [day(one.item()) for one in bins.first(course.times)]
    return [
        _losses(course, bins, days, benchmark),
        _unwell(course, bins, days),
        _verdicts(course, bins, days),
        _retrainings(course, bins, days, budget),
        _false(course, bins, days),
        _work(weekly),
        _age(course, bins, days),
        _complete(course, bins, days),
        _alarms(course, bins, days),
    ]


def _losses(course: Course, bins: Bins, days: list[str], benchmark: str) -> Chart:
    above, beyond = bins.mean(course.above_reference), bins.mean(course.above_benchmark)
    name = "against seasonal naive" if benchmark == "seasonal_naive" else "against the benchmark"
    layers, legend = [Line(above)], [("line", "against the references")]
    rows = _rows(days, percent_of(above))
    heads = ["Batch", "Against the references"]
    if np.isfinite(beyond).any():
        layers.append(Line(beyond, "second"))
        legend.append(("line second", name))
        rows, heads = (
            _rows(days, percent_of(above), percent_of(beyond)),
            [*heads, name.capitalize()],
        )
    told = "By how much the mean loss of the fleet exceeds its reference, and the benchmark."
    svg = plot(
        "Loss of the fleet",
        told,
        bins.first(course.times),
        layers,
        scale=Scale(zero=True, percent=True, signed=True),
        tips=[" · ".join(row) for row in rows],
    )
    note = "Mean loss of all streams. At zero the fleet is as good as its references promise."
    return Chart("Loss", note, svg, legend, heads, rows)


def _unwell(course: Course, bins: Bins, days: list[str]) -> Chart:
    shares = {name: bins.mean(course.share(name)) for name in ("degraded", "improved")}
    rows = _rows(days, *(percent_of(one) for one in shares.values()))
    svg = plot(
        "Degraded streams",
        "Shares of the streams whose loss rose above its reference, and fell below it.",
        bins.first(course.times),
        stacked(shares),
        scale=Scale(zero=True, percent=True),
        tips=[_tip(row, list(shares)) for row in rows],
        bars=True,
    )
    note = "Share of streams whose loss rose above the reference, and fell below it."
    legend = [(name, words(name)) for name in shares]
    return Chart("Degraded", note, svg, legend, ["Batch", "Degraded", "Improved"], rows)


def _verdicts(course: Course, bins: Bins, days: list[str]) -> Chart:
    shares = {name: bins.mean(course.share(name)) for name in VERDICTS}
    rows = _rows(days, *(percent_of(one) for one in shares.values()))
    svg = plot(
        "Streams per verdict",
        "Shares of the streams by their verdict, batch by batch.",
        bins.first(course.times),
        stacked(shares),
        scale=Scale(zero=True, percent=True, highest=1.0),
        tips=[_tip(row, list(shares)) for row in rows],
        bars=True,
    )
    note = "Share of streams by verdict. Unclear: the reference is too small to tell."
    legend = [(name, words(name)) for name in shares]
    return Chart("Verdicts", note, svg, legend, ["Batch", *map(str.capitalize, shares)], rows)


def _retrainings(course: Course, bins: Bins, days: list[str], budget: int | None) -> Chart:
    asked, waiting = (bins.mean(course.decisions(one)) for one in ("retrain", "defer"))
    layers: list[Layer] = [Bars(asked), Bars(np.nan_to_num(waiting), "third", np.nan_to_num(asked))]
    legend = [("bar", "asked for"), ("bar third", "deferred by the budget")]
    if budget is not None:
        layers.append(Limit(float(budget), f"budget {budget:,}"))
    rows = _rows(days, numbers_of(asked), numbers_of(waiting))
    svg = plot(
        "Re-trainings",
        "Re-trainings that were asked for and that wait for the budget, batch by batch.",
        bins.first(course.times),
        layers,
        scale=Scale(zero=True),
        tips=[_tip(row, ["asked for", "deferred"]) for row in rows],
        bars=True,
    )
    each = "" if bins.size == 1 else f", means of {bins.size} batches"
    note = f"Per batch{each}: asked for, and wanted but waiting for the budget."
    return Chart("Re-trainings", note, svg, legend, ["Batch", "Asked for", "Deferred"], rows)


def _false(course: Course, bins: Bins, days: list[str]) -> Chart:
    expected, realised = (
        np.cumsum(np.nan_to_num(course.audited(name)))
        for name in ("expected_alarms", "mirror_alarms")
    )
    at = np.minimum(bins.starts + bins.size - 1, max(len(course) - 1, 0))
    rows = _rows(days, numbers_of(expected[at]), numbers_of(realised[at]))
    svg = plot(
        "False re-trainings",
        "False re-trainings added up since the start of the range: expected and realised.",
        bins.first(course.times),
        [Line(expected[at], "third"), Line(realised[at])],
        scale=Scale(zero=True),
        tips=[_tip(row, ["expected", "realised"]) for row in rows],
    )
    note = "Added up over the range. Realised: alarms on the side on which no break can be."
    legend = [("line", "realised"), ("line third", "expected")]
    return Chart("False re-trainings", note, svg, legend, ["Batch", "Expected", "Realised"], rows)


def _work(weekly: Sequence[tuple[np.datetime64, Labour]]) -> Chart:
    times = np.array([time for time, _ in weekly], dtype="datetime64[us]")
    minutes, incidents = (
        np.array([getattr(one, name) for _, one in weekly], dtype=np.float64)
        for name in ("minutes_per_1000_week", "incidents_per_1000_week")
    )
    days = [day(one.item()) for one in times]
    rows = _rows(days, numbers_of(minutes), numbers_of(incidents))
    svg = plot(
        "Labour",
        "Minutes of work and incidents per 1,000 streams, week by week.",
        times,
        [Bars(minutes), Line(incidents, "second")],
        scale=Scale(zero=True),
        tips=[_tip(row, ["minutes", "incidents"]) for row in rows],
        bars=True,
    )
    note = "Per 1,000 streams and week. Minutes are counted by the model of [labour] in mlma.toml."
    legend = [("bar", "minutes"), ("line second", "incidents")]
    return Chart("Labour", note, svg, legend, ["Week of", "Minutes", "Incidents"], rows)


def _age(course: Course, bins: Bins, days: list[str]) -> Chart:
    age = bins.mean(course.age)
    rows = _rows(days, numbers_of(age))
    svg = plot(
        "Age of the models",
        "Median age of the live versions in batches.",
        bins.first(course.times),
        [Line(age)],
        scale=Scale(zero=True),
        tips=[_tip(row, ["median age"]) for row in rows],
    )
    note = "Median age of the live versions in batches: what is never re-trained grows old."
    return Chart("Age of models", note, svg, [], ["Batch", "Median age"], rows)


def _complete(course: Course, bins: Bins, days: list[str]) -> Chart:
    share = bins.mean(course.complete)
    rows = _rows(days, percent_of(share))
    known = share[np.isfinite(share)]
    lowest = 0.9 if len(known) and known.min() >= 0.9 else 0.0
    svg = plot(
        "Completeness",
        "Share of the batches whose actuals were there when they were judged.",
        bins.first(course.times),
        [Line(share)],
        scale=Scale(percent=True, lowest=lowest, highest=1.0),
        tips=[_tip(row, ["complete"]) for row in rows],
    )
    note = "Batches whose actuals were there in time; the others waited for the time-out."
    return Chart("Completeness", note, svg, [], ["Batch", "Complete"], rows)


def _alarms(course: Course, bins: Bins, days: list[str]) -> Chart:
    alarms, escalated = bins.mean(course.alarms), bins.mean(course.decisions("escalate"))
    rows = _rows(days, numbers_of(alarms), numbers_of(escalated))
    svg = plot(
        "Alarms",
        "Streams that alarm, and streams that a person has to look at, batch by batch.",
        bins.first(course.times),
        [Bars(alarms), Line(escalated, "second")],
        scale=Scale(zero=True),
        tips=[_tip(row, ["alarms", "escalated"]) for row in rows],
        bars=True,
    )
    note = "Streams whose evidence called for a re-training, and those that it does not help."
    legend = [("bar", "alarms"), ("line second", "escalated")]
    return Chart("Alarms", note, svg, legend, ["Batch", "Alarms", "Escalated"], rows)


def percent_of(values: Floats) -> list[str]:
    """Return numbers as percentages."""
    return [percent(float(one)) for one in values]


def numbers_of(values: Floats) -> list[str]:
    """Return numbers as people write them."""
    return [number(float(one)) for one in values]


def _rows(days: list[str], *columns: list[str]) -> list[tuple[str, ...]]:
    return list(zip(days, *columns, strict=True))


def _tip(row: tuple[str, ...], names: Sequence[str]) -> str:
    told = ", ".join(f"{name} {value}" for name, value in zip(names, row[1:], strict=True))
    return f"{row[0]}: {told}"
