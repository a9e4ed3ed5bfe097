"""The page: one HTML file that asks nothing of the network and opens from a disk or a mail.

Takes the record of a replay, gives the text of the page, or the file. The engineer who ran the
replay reads it, and forwards it.
"""

import json
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from mlma.domain.runs import PolicyRun, Replayed
from mlma.report import charts, style, timecharts, words
from mlma.report.figures import (
    GAIN_WINDOW,
    KeyMetrics,
    SummaryRow,
    headline,
    key_metrics,
    matched_loss,
    mean_of_finite,
    relative_loss_of,
    summary_row,
    summary_rows,
    worst_streams,
)
from mlma.report.findings import finding_rows
from mlma.report.timelines import (
    FleetTimeline,
    fleet_timeline,
    played_span,
    script_json,
    stream_data,
)

MOST_BYTES = 6_000_000
STREAM_BYTES = 800_000
_RESERVE = 300_000  # text, tables and the fleet's charts
_MOST_LISTED = 50
_MOST_COMPARED = 4


def save_html(replayed: Replayed, path: str | Path) -> Path:
    """Write the page and return its path; a reader never meets a half-written file.

    The text goes to a temporary file in the same folder, which then takes the place of the old
    one. An interruption leaves the old file as it was, and no temporary file behind.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = render_page(replayed)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def render_page(replayed: Replayed) -> str:
    """Return the page as one self-contained HTML text of at most 6 MB."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mlma.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    helpers: dict[str, Callable[..., str]] = {
        "percent": words.percent,
        "excess": words.excess,
        "number": words.number,
        "counted": words.counted,
    }
    environment.filters.update(helpers)
    environment.filters |= {"tied": _tied, "breakable": _breakable}
    return environment.get_template("report.html.j2").render(_context(replayed))


def _tied(text: str) -> str:
    """Return text in which a number and its percent sign stay on one line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _breakable(label: str) -> Markup:
    """Return the label of a policy, which may break after a bracket."""
    return Markup("(<wbr>").join(label.split("("))


def _context(replayed: Replayed) -> dict[str, Any]:
    from plotly.offline import get_plotlyjs

    library = get_plotlyjs()
    run = headline(replayed)
    shown = run or replayed.always
    rows, fleet = summary_rows(replayed), fleet_timeline(replayed, shown)
    watching = [other for other in replayed.runs if other.evidence is not None]
    budget = min(STREAM_BYTES, MOST_BYTES - _RESERVE - len(library.encode()))
    return {
        "replayed": replayed,
        "verdict": words.verdict_sentence(replayed),
        "period": _period(replayed),
        "tiles": [] if run is None else _tiles(replayed, run),
        "rows": rows,
        "run": shown,
        "watches": shown.evidence is not None,
        "metrics": _metrics(replayed, (watching or [shown])[:_MOST_COMPARED]),
        "worst": worst_streams(replayed, shown),
        "findings": finding_rows(replayed, shown),
        "found": sum(one.state == "opened" for _, one in shown.findings),
        "without_ratio": _without_ratio(replayed, shown),
        "failures": list(replayed.failures.items())[:_MOST_LISTED],
        "gain_window": GAIN_WINDOW,
        "every_batch": words.every_batch(replayed.grid),
        "batch_span": words.batch_span(replayed.grid),
        "block_span": words.batch_span(replayed.grid, fleet.batches),
        "version": _version(),
        "library": library,
        "charts": _charts(replayed, rows, shown, fleet),
        "dark": script_json(json.dumps(style.COLOURS)),
        "streams": stream_data(replayed, max(budget, 0)),
        "alt": _alternatives(replayed, rows, shown),
    }


def _charts(
    replayed: Replayed, rows: list[SummaryRow], run: PolicyRun, fleet: FleetTimeline
) -> str:
    figures = {
        "frontier": charts.frontier(rows, run.label, width=charts.WIDE),
        "frontier-narrow": charts.frontier(rows, run.label, width=charts.NARROW),
        "distribution": charts.distribution(replayed, rows),
        "fleet": timecharts.fleet_chart(fleet, watches=run.evidence is not None),
        "stream": timecharts.stream_chart(replayed),
    }
    members = [f'"{name}":{style.chart_json(figure)}' for name, figure in figures.items()]
    return f"{{{','.join(members)}}}"


def _version() -> str:
    try:
        return version("mlma")
    except PackageNotFoundError:
        return "not installed"


def _period(replayed: Replayed) -> str:
    first, last = played_span(replayed)
    span = words.batch_span(replayed.grid)
    if last == first:
        return f"No batch of {span} has a loss."
    starts = replayed.grid.batch_starts()
    begin, end = _date(starts[first]), _date(starts[last - 1])
    return f"{begin} to {end}: {words.counted(last - first, 'batch')} of {span}"


def _date(time: Any) -> str:
    day = time.astype("datetime64[D]").item()
    return f"{day.day} {day:%b %Y}"


def _tiles(replayed: Replayed, run: PolicyRun) -> list[tuple[str, str, str]]:
    """Return name, value and remark of the few numbers that come first."""
    row, metrics = summary_row(replayed, run), key_metrics(replayed, run)
    never = mean_of_finite(relative_loss_of(replayed, "never"))
    tiles = [
        ("Loss against always", words.excess(row.loss), f"median {words.excess(row.median)}"),
        (
            "Training runs of always",
            words.percent(row.fits_share),
            f"{words.number(row.fits)} per stream",
        ),
        ("Never re-training", words.excess(never), "loss against always"),
        ("Worst stream", words.excess(row.worst), style.shortened(row.worst_stream, 28)),
    ]
    if run.evidence is not None:
        alarms = words.number(metrics.alarms_per_1000_streams_per_week)
        tiles.append(("Alarms", alarms, "per 1,000 streams and week"))
    else:
        tiles.append(("Re-trainings", words.number(row.retrainings), "per stream"))
    blind = words.excess(matched_loss(replayed, run))
    if blind != words.NOTHING:
        return [*tiles, ("As many, without watching", blind, "loss against always")]
    gain = f"loss {words.excess(1 - metrics.mean_gain)} on average"
    helped = words.percent(metrics.helped_share)
    tiles.append(
        ("Re-trainings that helped", helped, gain if helped != words.NOTHING else "none measured")
    )
    return tiles


def _metrics(replayed: Replayed, runs: list[PolicyRun]) -> dict[str, Any]:
    """Return the key metrics as a table: labels of the runs, and rows of name, note and values."""
    found = [key_metrics(replayed, run) for run in runs]
    rows = [
        (name, note, [value(metrics) for metrics in found])
        for name, note, value in _metric_rows(replayed, watches=runs[0].evidence is not None)
    ]
    return {"labels": [metrics.label for metrics in found], "rows": rows}


MetricRow = tuple[str, str, Callable[[KeyMetrics], str]]


def _metric_rows(replayed: Replayed, *, watches: bool) -> list[MetricRow]:
    seen: list[MetricRow] = [
        (
            "Batches judged",
            "healthy, degraded or improved",
            lambda m: words.number(m.batches_judged),
        ),
        ("Verdicts", "share of the complete batches", _verdicts),
        ("Alarms", "the evidence of degraded batches added up", lambda m: words.number(m.alarms)),
        (
            "Alarms per 1,000 streams and week",
            "",
            lambda m: words.number(m.alarms_per_1000_streams_per_week),
        ),
    ]
    always: list[MetricRow] = [
        ("Re-trainings", "by reason, the first model of a stream not counted", _retrainings),
        (
            "Re-trainings per 1,000 streams and week",
            "",
            lambda m: words.number(m.retrainings_per_1000_streams_per_week),
        ),
        (
            "Re-trainings that helped",
            f"loss relative to always, {GAIN_WINDOW} batches after against {GAIN_WINDOW} before",
            lambda m: f"{words.percent(m.helped_share)} of {m.gains_measured:,} measurable",
        ),
        (
            "Change of the loss by a re-training",
            "same measure, geometric mean",
            lambda m: words.excess(1 - m.mean_gain),
        ),
        (
            "Age of the deployed model",
            "mean over streams and batches",
            lambda m: words.batches_in_words(m.mean_age_batches, replayed.grid),
        ),
    ]
    return seen + always if watches else always


def _verdicts(metrics: KeyMetrics) -> str:
    shares = sorted(metrics.verdict_shares.items(), key=lambda item: -item[1])
    told = [f"{verdict.label} {words.percent(share)}" for verdict, share in shares if share]
    return ", ".join(told) or words.NOTHING


def _retrainings(metrics: KeyMetrics) -> str:
    reasons = metrics.retrainings_by_reason.items()
    named = [f"{style.reason_style(reason)[0]} {words.number(count)}" for reason, count in reasons]
    held = (
        f"; {words.number(metrics.held)} not made: gate or failed training kept the old version"
        if metrics.held
        else ""
    )
    return f"{words.number(metrics.retrainings)}{': ' if named else ''}{', '.join(named)}{held}"


def _without_ratio(replayed: Replayed, run: PolicyRun) -> str:
    """Return which streams have no ratio, in words; empty without any."""
    relative = replayed.relative_loss(run)
    names = [replayed.ids[row] for row in np.flatnonzero(np.isnan(relative))]
    if not names:
        return ""
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{words.counted(len(names), 'stream')} ({listed})"


def _alternatives(replayed: Replayed, rows: list[SummaryRow], run: PolicyRun) -> dict[str, str]:
    """Return the charts in words, for those who do not see them."""
    points = ", ".join(
        f"{row.label} {words.excess(row.loss)} at {words.percent(row.fits_share)}"
        for row in rows[:12]
    )
    return {
        "frontier": f"Loss above always at a share of its training runs: {points}.",
        "distribution": "Loss of each stream relative to always, one box per policy; "
        "the numbers stand in the table of policies.",
        "fleet": f"Weeks of the fleet under {run.label}: loss relative to always, "
        "share of streams alarmed, number of re-trainings by reason.",
    }
