"""Markdown tables of the detection benchmark.

Takes the figures, gives text. A dash is what was not measured; "never" an infinite delay.
"""

from collections.abc import Sequence
from math import isinf, isnan

from quality.measure import Figures
from quality.truth import KINDS

TARGETS = {
    **dict.fromkeys(("level +50 %", "level -40 %", "shape", "variance"), 2),
    "level +20 %": 10,
    "drift": 20,
}
"""Batches in which half of the breaks should be found at the common false-alarm rate."""


def cell(value: float | None, form: str = ".2f") -> str:
    """Return a number as it stands in a table."""
    if value is None or isnan(value):
        return "-"
    return "never" if isinf(value) else format(value, form)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def levels_table(figures: Figures, worlds: Sequence[str], detector: str) -> str:
    """Return realised levels of the test of one batch, a row per break-free world."""
    levels = ("level 0.05", "level 0.01", "level 0.001")
    rows = [
        [one, *(cell(figures.get(detector, level, one), ".4f") for level in levels)]
        for one in worlds
    ]
    return table(["break-free streams", "0.05", "0.01", "0.001"], rows)


def retrainings_table(figures: Figures, worlds: Sequence[str]) -> str:
    """Return false re-trainings per 1,000 streams and week, a row per detector."""
    rows = [
        [one, *(cell(figures.get(one, "false re-trainings", world), ".1f") for world in worlds)]
        for one in figures.detectors
    ]
    return table(["detector", *worlds], rows)


def truth_table(figures: Figures, where: str) -> str:
    """Return what is planted, a row per kind."""
    rows = []
    for kind in KINDS:
        at = f"{where}, {kind}"
        planted, events = (figures.get("truth", one, at) for one in ("planted", "events"))
        rise, of_all = (figures.get("truth", one, at) for one in ("loss rise", "loss rise of all"))
        numbers = (cell(planted, ".0f"), cell(events, ".0f"), cell(of_all), cell(rise))
        rows.append([kind, *numbers, cell(TARGETS.get(kind), "d")])
    rises = ("median loss rise, all", "events")
    return table(["kind", "planted", "events", *rises, "target delay"], rows)


def events_table(figures: Figures, where: str, detectors: Sequence[str]) -> str:
    """Return event-level scores, a row per detector."""
    columns = ("streams", "events", "false re-trainings", "precision", "recall", "f1")
    forms = (".0f", ".0f", ".1f", ".2f", ".2f", ".2f")
    rows = [
        [
            one,
            *(
                cell(figures.get(one, name, where), form)
                for name, form in zip(columns, forms, strict=True)
            ),
        ]
        for one in detectors
    ]
    return table(["detector", *columns], rows)


def delays_table(figures: Figures, where: str, detectors: Sequence[str]) -> str:
    """Return median delay and share found, a row per detector and a column per kind."""
    rows = []
    for one in detectors:
        row = [one]
        for kind in KINDS:
            at = f"{where}, {kind}"
            delay, found = figures.get(one, "median delay", at), figures.get(one, "found", at)
            row.append("-" if delay is None else f"{cell(delay, '.0f')} ({cell(found)})")
        rows.append(row)
    return table(["detector", *KINDS], rows)


def common_table(figures: Figures, where: str) -> str:
    """Return what becomes of one kind of common event, a row per detector."""
    columns = ("as one", "reported", "alone", "alarmed")
    rows = [
        [one, *(cell(figures.get(one, name, where)) for name in columns)]
        for one in figures.detectors
        if figures.get(one, "alone", where) is not None
    ]
    return table(
        ["detector", "as one finding", "reported", "streams alarmed alone", "streams alarmed"], rows
    )


def seconds_table(figures: Figures) -> str:
    """Return the seconds that each detector took in all."""
    rows = [[name, cell(seconds, ".1f")] for name, seconds in figures.seconds.items()]
    return table(["detector", "seconds"], rows)
