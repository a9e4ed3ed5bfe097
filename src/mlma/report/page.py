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
from mlma.report.metrics import metric_table, request_table
from mlma.report.timelines import (
    FleetTimeline,
    fleet_timeline,
    played_span,
    script_json,
    stream_data,
)
from mlma.report.weights import WeightTimeline, mean_weights, weight_timeline

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
    weights = weight_timeline(replayed, shown)
    watching = [other for other in replayed.runs if other.evidence is not None]
    budget = min(STREAM_BYTES, MOST_BYTES - _RESERVE - len(library.encode()))
    return {
        "replayed": replayed,
        "verdict": words.verdict_sentence(replayed),
        "period": _period(replayed),
        "tiles": [] if run is None else _tiles(replayed, run),
        "rows": rows,
        "labour": any(np.isfinite(row.minutes) for row in rows),
        "run": shown,
        "watches": shown.evidence is not None,
        "metrics": metric_table(replayed, (watching or [shown])[:_MOST_COMPARED]),
        "requests": request_table(replayed, watching[:_MOST_COMPARED]),
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
        "charts": _charts(replayed, rows, shown, fleet, weights),
        "pooled": weights is not None,
        "dark": script_json(json.dumps(style.COLOURS)),
        "streams": stream_data(replayed, max(budget, 0)),
        "alt": _alternatives(replayed, rows, shown),
    }


def _charts(
    replayed: Replayed,
    rows: list[SummaryRow],
    run: PolicyRun,
    fleet: FleetTimeline,
    weights: WeightTimeline | None,
) -> str:
    figures = {
        "frontier": charts.frontier(rows, run.label, width=charts.WIDE),
        "frontier-narrow": charts.frontier(rows, run.label, width=charts.NARROW),
        "distribution": charts.distribution(replayed, rows),
        "fleet": timecharts.fleet_chart(fleet, watches=run.evidence is not None),
        "stream": timecharts.stream_chart(replayed),
    }
    if weights is not None:
        figures["pool"] = timecharts.weight_chart(weights)
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
        "pool": _pool_in_words(run),
    }


def _pool_in_words(run: PolicyRun) -> str:
    weights = mean_weights(run)
    if weights is None:
        return ""
    told = ", ".join(f"{name} {words.percent(weight)}" for name, weight in weights.items())
    return f"Mean weights in the pools of the fleet, over the whole time: {told}."
