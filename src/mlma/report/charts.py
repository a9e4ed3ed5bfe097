"""The charts that compare policies: the frontier of cost and loss, and the spread over streams.

Takes figures, gives Plotly figures: aggregated, drawn as SVG, in the colours of `style`, because
the page swaps those for their dark twins. Next is the page.
"""

from typing import Any

import numpy as np

from mlma.domain.runs import Replayed
from mlma.report.figures import SummaryRow, headline
from mlma.report.labels import placed_labels
from mlma.report.style import (
    ACCENT,
    ALARM,
    BAND,
    INK,
    LINE,
    OTHER,
    PAPER,
    WASH,
    layout,
    level,
    plain,
    shortened,
)
from mlma.report.words import excess, percent

_MOST_LABELS = {True: 14, False: 6}  # wide, narrow; the others tell their name when touched
WIDE, NARROW = 680, 330  # the narrowest container that each is shown in


def frontier(rows: list[SummaryRow], chosen: str, *, width: int) -> Any:
    """Return the cost-loss frontier: training runs against loss, one labelled point per policy.

    Colour tells who looks at losses, shape who has a pool; along the thin line policies cost what
    the chosen one does. The cost axis is logarithmic; what trains nothing stands at its left end.
    Losses far above the others are pinned to the upper edge and labelled with their value.
    """
    import plotly.graph_objects as go

    rows = [row for row in rows if np.isfinite(row.loss) and np.isfinite(row.fits_share)]
    wide = width > 600
    kinds = _kinds_shown(rows)
    above = 12 + 22 * (bool(kinds) if wide else len(kinds))
    x, ticks, names = _cost_axis([row.fits_share for row in rows], width)
    y, pinned, y_range = _loss_axis(rows)
    x_range = [min(x, default=-2) - 0.12, 2.08]
    traces = [
        _point(row, (x[i], y[i]), _point_marker(row, chosen, pinned=pinned[i]), told=i in kinds)
        for i, row in enumerate(rows)
    ]
    sheet = _frontier_sheet((418 if wide else 388) + above, x_range, y_range)
    sheet["margin"]["t"] = above
    sheet["xaxis"] |= {"tickvals": ticks, "ticktext": names}
    strong = [row.label == chosen for row in rows]
    sheet["shapes"] = [level(x[i]) for i in np.flatnonzero(strong)]
    most = 34 if wide else 22
    texts = [_point_text(row, at, most) for row, at in zip(rows, pinned, strict=True)]
    points = [
        ((x[i] - x_range[0]) / (x_range[1] - x_range[0]), (y[i] - y_range[0]) / np.ptp(y_range))
        for i in range(len(rows))
    ]
    order = _labelled(rows, chosen)[: _MOST_LABELS[wide]]
    broad = [text + "  " * bold for text, bold in zip(texts, strong, strict=True)]
    size = (width - 72, sheet["height"] - 52 - above)
    sheet["annotations"] = [
        _point_label(texts[i], (x[i], y[i]), shift, strong=strong[i])
        for i, shift in placed_labels(points, broad, order, size)
    ]
    return go.Figure(traces, sheet)


def _frontier_sheet(height: int, x_range: list[float], y_range: list[float]) -> dict[str, Any]:
    """Return the layout of the frontier without its points."""
    sheet = layout(height)
    sheet["margin"] = {"l": 58, "r": 14, "b": 52}
    sheet["xaxis"] |= {"range": x_range, "tickangle": 0, "zeroline": False}
    sheet["xaxis"]["title"]["text"] = "training runs, % of always (log scale)"
    sheet["yaxis"] |= {
        "range": y_range,
        "ticksuffix": " %",
        "zeroline": True,
        "zerolinecolor": LINE,
    }
    sheet["yaxis"]["title"]["text"] = "loss above always"
    sheet["legend"] |= {
        **{"x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        **{"itemsizing": "constant", "itemclick": False, "itemdoubleclick": False},
    }
    return sheet


def _point(row: SummaryRow, at: tuple[float, float], marker: dict[str, Any], *, told: bool) -> Any:
    import plotly.graph_objects as go

    return go.Scatter(
        x=[at[0]],
        y=[at[1]],
        mode="markers",
        marker=marker,
        hovertemplate=_point_hover(row),
        name=_kind(row),
        showlegend=told,
    )


def _cost_axis(shares: list[float], width: int) -> tuple[list[float], list[float], list[str]]:
    """Return log10 of the percentages, tick values and tick texts; 0 stands left of the others."""
    positive = [share for share in shares if share > 0]
    least = np.floor(2 * np.log10(100 * min(positive, default=0.01))) / 2
    x = [float(np.log10(100 * share)) if share > 0 else float(least) - 0.35 for share in shares]
    step = 1 if width > 600 else 2  # whole decades where it is narrow
    rounds = (100, 30, 10, 3, 1, 0.3, 0.1, 0.03, 0.01)[::step]
    marks = [mark for mark in rounds if np.log10(mark) >= least - 0.05]
    ticks, names = [float(np.log10(mark)) for mark in marks], [f"{mark:g} %" for mark in marks]
    if len(positive) < len(shares):
        ticks, names = [float(least) - 0.35, *ticks], ["none", *names]
    return x, ticks, names


def _loss_axis(rows: list[SummaryRow]) -> tuple[list[float], list[bool], list[float]]:
    """Return heights in percent above always, which are pinned to the edge, and the range."""
    above = np.array([100 * (row.loss - 1) for row in rows])
    asked = np.array([row.role != "baseline" or row.label == "always" for row in rows])
    core = above[asked] if asked.any() else above
    low, high = min(core.min(initial=0.0), 0.0), max(core.max(initial=0.0), 0.0)
    span = max(high - low, 1.0)
    top = high + 1.2 * span
    pinned = above > top
    inside = above[~pinned]
    top = max(inside.max(initial=high), high) + (0.3 if pinned.any() else 0.15) * span
    heights = np.where(pinned, top, above)
    return heights.tolist(), pinned.tolist(), [low - 0.22 * span, float(top) + 0.22 * span]


def _kind(row: SummaryRow) -> str:
    """Return what a point is, for the legend; empty for the baselines, whose labels tell it."""
    if row.role == "baseline":
        return ""
    members = "pool" if row.pooled else "one model"
    return f"{'looks at losses' if row.watches else 'schedule'}, {members}"


def _kinds_shown(rows: list[SummaryRow]) -> set[int]:
    """Return the first point of every kind; none where there is but one kind of shape."""
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        if row.role != "baseline":
            first.setdefault(_kind(row), i)
    return set(first.values()) if any(row.pooled for row in rows) else set()


def _labelled(rows: list[SummaryRow], chosen: str) -> list[int]:
    """Return the points that have a label, the chosen one first, then baselines, then asked ones.

    Of the matched ones those nearest in fits to the chosen policy: one of each kind.
    """
    rank = {"baseline": 0, "policy": 1, "matched": 2}
    fits = next((row.fits for row in rows if row.label == chosen), np.nan)
    kept: dict[tuple[str, bool], int] = {}
    for i in sorted(range(len(rows)), key=lambda i: abs(rows[i].fits - fits)):
        if rows[i].role == "matched":
            kept.setdefault((rows[i].label.partition("(")[0], rows[i].pooled), i)
    shown = [i for i, row in enumerate(rows) if row.role != "matched" or i in kept.values()]
    return sorted(shown, key=lambda i: (rows[i].label != chosen, rank.get(rows[i].role, 3), i))


def _point_text(row: SummaryRow, pinned: bool, most: int) -> str:
    notes = ["matched"] * (row.role == "matched") + [excess(row.loss)] * pinned
    label = shortened(row.label, most)
    return f"{label} ({', '.join(notes)})" if notes else label


def _point_hover(row: SummaryRow) -> str:
    return (
        f"<b>{plain(row.label)}</b><br>loss {excess(row.loss)} against always"
        f"<br>{percent(row.fits_share)} of the training runs<extra></extra>"
    )


def _point_marker(row: SummaryRow, chosen: str, *, pinned: bool) -> dict[str, Any]:
    strong = row.label == chosen or row.watches
    colour = ACCENT if strong else OTHER
    symbol = "triangle-up" if pinned else "diamond" if row.pooled else "circle"
    if row.role == "baseline" and not pinned:
        symbol = "circle-open"
    size = 15 if row.label == chosen else 8 if row.role == "matched" else 11
    edge = (
        {"width": 2, "color": colour} if symbol == "circle-open" else {"width": 1, "color": PAPER}
    )
    return {"size": size, "color": colour, "symbol": symbol, "line": edge}


def _point_label(
    text: str, at: tuple[float, float], shift: tuple[float, float], *, strong: bool
) -> dict[str, Any]:
    far = abs(shift[1]) > 24
    return {
        "x": at[0],
        "y": at[1],
        "ax": shift[0],
        "ay": shift[1],
        "axref": "pixel",
        "ayref": "pixel",
        "text": f"<b>{plain(text)}</b>" if strong else plain(text),
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 1,
        "arrowcolor": LINE if far else "rgba(0,0,0,0)",
        "standoff": 8,
        "borderpad": 0,
        "font": {"color": ACCENT if strong else INK, "size": 12.5},
    }


def distribution(replayed: Replayed, rows: list[SummaryRow]) -> Any:
    """Return one box per policy: loss relative to always over streams, on a log axis.

    Box: quartiles; whiskers: 5th and 95th percentile; dot: the worst stream.
    """
    import plotly.graph_objects as go

    rows = [row for row in rows if np.isfinite(row.loss) and row.label != "always"][::-1]
    chosen = headline(replayed)
    sheet = layout(48 * max(len(rows), 1) + 70)
    sheet["margin"] = {"l": 12, "r": 14, "t": 14, "b": 48}
    traces, highest, lowest = [], 1.1, 0.95
    for place, row in enumerate(rows):
        relative = replayed.relative_loss(replayed.run(row.label))
        marks = np.percentile(relative[np.isfinite(relative)], [5, 25, 50, 75, 95])
        strong = chosen is not None and row.label == chosen.label
        traces += [_box(marks, place, row, strong=strong), _worst_dot(row, place)]
        highest, lowest = max(highest, row.worst), min(lowest, float(marks[0]))
    low, high = lowest * 0.97, highest * 1.06
    ticks = _ratio_ticks(low, high)
    sheet["xaxis"] |= {
        "type": "log",
        "range": [float(np.log10(low)), float(np.log10(high))],
        "tickvals": ticks,
        "ticktext": [excess(t) for t in ticks],
    }
    sheet["xaxis"]["title"]["text"] = "loss of a stream above always (log scale)"
    sheet["yaxis"] |= {"range": [-0.6, len(rows) - 0.3], "visible": False}
    sheet["shapes"] = [level(1.0)]
    sheet["annotations"] = [_box_label(row.label, place) for place, row in enumerate(rows)]
    return go.Figure(traces, sheet)


def _ratio_ticks(low: float, high: float) -> list[float]:
    """Return round ratios between the two, 1 among them, that do not crowd on a log axis."""
    rounds = (1, 1.1, 0.9, 1.25, 0.8, 1.5, 2, 3, 0.5, 5, 10, 30, 100, 1.05, 0.95, 1.02)
    kept: list[float] = []
    for tick in (float(ratio) for ratio in rounds):
        gaps = [abs(np.log(tick / other)) / np.log(high / low) for other in kept]
        if low < tick < high / 1.03 and min(gaps, default=1.0) > 0.13:
            kept.append(tick)
    return sorted(kept)


def _box(marks: Any, place: int, row: SummaryRow, *, strong: bool) -> Any:
    import plotly.graph_objects as go

    low, q1, median, q3, high = marks.tolist()
    return go.Box(
        orientation="h",
        y=[place],
        lowerfence=[low],
        q1=[q1],
        median=[median],
        q3=[q3],
        upperfence=[high],
        width=0.34,
        line={"color": ACCENT if strong else OTHER, "width": 1.6},
        fillcolor=BAND if strong else WASH,
        showlegend=False,
        hoverinfo="skip",
    )


def _worst_dot(row: SummaryRow, place: int) -> Any:
    import plotly.graph_objects as go

    text = f"{plain(row.label)}<br>mean {excess(row.loss)}, median {excess(row.median)}"
    text += f"<br>worst stream {excess(row.worst)}: {plain(row.worst_stream)}<extra></extra>"
    return go.Scatter(
        x=[row.worst],
        y=[place],
        mode="markers",
        marker={"color": ALARM, "size": 7},
        showlegend=False,
        hovertemplate=text,
    )


def _box_label(label: str, place: int) -> dict[str, Any]:
    return {
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": place,
        "yshift": 17,
        "text": plain(shortened(label, 46)),
        "showarrow": False,
        "bgcolor": PAPER,
        "borderpad": 1,
        "font": {"color": INK, "size": 12.5},
    }
