"""The charts over time: the fleet in weeks, and one stream batch by batch.

Takes timelines, gives Plotly figures in the colours of `style`. Next is the page.
"""

from typing import Any

from mlma.domain.runs import PolicyRun, Replayed
from mlma.report.figures import headline
from mlma.report.requests import MARKED
from mlma.report.style import (
    ACCENT,
    ALARM,
    BAND,
    FOLLOW_UP,
    INK,
    MUTED,
    OLDER,
    OTHER,
    PAPER,
    REVIEW,
    WASH,
    axis,
    layout,
    number_or_none,
    panel_head,
    plain,
    reason_style,
    shortened,
)
from mlma.report.timelines import FleetTimeline, lanes
from mlma.report.weights import WeightTimeline

_LANE, _LANES = 19, 84  # pixels: of one lane, and of all at least


def fleet_chart(fleet: FleetTimeline, *, watches: bool) -> Any:
    """Return three panels over time: loss relative to always, degraded share, re-trainings."""
    import plotly.graph_objects as go

    times = [str(start) for start in fleet.starts.astype("datetime64[s]")]
    sheet = layout(520)
    sheet["margin"] = {"l": 58, "r": 14, "t": 34, "b": 84}
    sheet |= {"barmode": "stack", "hovermode": "x unified", "bargap": 0.15}
    domains = ([0.56, 1.0], [0.31, 0.48], [0.0, 0.23]) if watches else ([0.38, 1], None, [0, 0.3])
    sheet["xaxis"] |= {"type": "date", "anchor": "y3", "hoverformat": "%-d %b %Y"}
    traces = _loss_panel(fleet, times)
    sheet["yaxis"] |= {"domain": domains[0], "ticksuffix": " %", "nticks": 6}
    sheet["yaxis3"] = axis() | {"domain": domains[2], "rangemode": "tozero", "nticks": 4}
    heads = [("loss above always, median and middle 80 %", 1.0)]
    if watches and domains[1] is not None:
        degraded = [number_or_none(100 * share) for share in fleet.degraded]
        bars = go.Bar(x=times, y=degraded, yaxis="y2", marker={"color": ALARM}, name="degraded")
        traces.append(bars.update(showlegend=False, hovertemplate="%{y:.2~f} %"))
        sheet["yaxis2"] = axis() | {"domain": domains[1], "ticksuffix": " %", "nticks": 4}
        sheet["yaxis2"]["rangemode"] = "tozero"
        heads.append(("streams with a degraded batch", domains[1][1]))
    for reason, counts in fleet.retrainings.items():
        name, colour, _ = reason_style(reason)
        bars = go.Bar(x=times, y=counts.tolist(), yaxis="y3", name=name, marker={"color": colour})
        traces.append(bars.update(hovertemplate="%{y}"))
    heads.append(("re-trainings, by reason", domains[2][1]))
    sheet["annotations"] = [panel_head(text, top) for text, top in heads]
    sheet["legend"] |= {"x": 0, "y": -0.09, "yanchor": "top"}
    return go.Figure(traces, sheet)


def _loss_panel(fleet: FleetTimeline, times: list[str]) -> list[Any]:
    import plotly.graph_objects as go

    def line(values: Any, name: str, **style: Any) -> Any:
        y = [number_or_none(100 * (value - 1)) for value in values]
        tip = f"%{{y:+.1f}} %<extra>{name}</extra>"
        return go.Scatter(x=times, y=y, mode="lines", name=name, hovertemplate=tip, **style)

    hidden = {"line": {"width": 0}, "showlegend": False}
    return [
        line(fleet.low, "10th percentile", **hidden),
        line(fleet.high, "90th percentile", **hidden, fill="tonexty", fillcolor=BAND),
        line(fleet.median, "median", line={"color": ACCENT, "width": 2.2}, showlegend=False),
    ]


_MEMBERS = (
    ("newest version", ACCENT),
    ("older versions", OLDER),
    ("long history", REVIEW),
    ("seasonal naive", OTHER),
)


def weight_chart(fleet: WeightTimeline) -> Any:
    """Return the fleet's mean weights over time, stacked up to 100 %."""
    import plotly.graph_objects as go

    times = [str(start) for start in fleet.starts.astype("datetime64[s]")]
    sheet = layout(340)
    sheet["margin"] = {"l": 58, "r": 14, "t": 12, "b": 78}
    sheet["hovermode"] = "x unified"
    sheet["xaxis"] |= {"type": "date", "hoverformat": "%-d %b %Y"}
    sheet["yaxis"] |= {"range": [0, 100], "ticksuffix": " %", "nticks": 6}
    sheet["legend"] |= {"x": 0, "y": -0.14, "yanchor": "top"}
    traces = []
    for (name, colour), weights in zip(_MEMBERS, fleet.weights.T, strict=True):
        if not (weights > 0).any():
            continue
        area = {
            "stackgroup": "weights",
            "fillcolor": colour,
            "line": {"width": 0.5, "color": PAPER},
        }
        tip = f"%{{y:.0f}} %<extra>{name}</extra>"
        y = [number_or_none(100 * weight) for weight in weights]
        trace = go.Scatter(x=times, y=y, mode="lines", name=name, hovertemplate=tip, **area)
        traces.append(trace)
    return go.Figure(traces, sheet)


def stream_chart(replayed: Replayed) -> Any:
    """Return the empty timeline of one stream; the page fills its traces by name."""
    import plotly.graph_objects as go

    run = headline(replayed) or replayed.always
    names = [reason_style(reason)[0].replace("maximum", "max.") for reason in lanes(run)]
    below = max(_LANES, _LANE * len(names))
    inside = 312 + below
    sheet = layout(104 + inside)
    left = max([70, *(round(6.2 * len(name)) + 10 for name in names)])
    sheet["margin"] = {"l": left, "r": 14, "t": 12, "b": 92}
    sheet["xaxis"] |= {"type": "date", "anchor": "y2", "hoverformat": "%a %-d %b %Y"}
    top = round((below - 20) / inside, 3)
    sheet["yaxis"] |= {"domain": [round(top + 32 / inside, 3), 1.0]}
    sheet["yaxis"]["title"]["text"] = "mean loss per batch"
    sheet["yaxis2"] = axis() | {
        "domain": [0.0, top],
        "range": [len(names) - 0.4, -0.6],
        "tickvals": list(range(len(names))),
        "ticktext": names,
        "fixedrange": True,
    }
    beside = " and what else was done" if set(lanes(run)) & set(MARKED) else ""
    sheet["annotations"] = [panel_head(f"re-trainings{beside}", top)]
    sheet["legend"] |= {"x": 0, "y": round(-40 / inside, 3), "yanchor": "top"}
    sheet["legend"] |= {"entrywidthmode": "fraction", "entrywidth": 0.24}
    return go.Figure(_stream_traces(run), sheet)


def _stream_traces(run: PolicyRun) -> list[Any]:
    import plotly.graph_objects as go

    def line(meta: str, name: str, **style: Any) -> Any:
        return go.Scatter(x=[], y=[], mode="lines", name=name, meta=meta, **style)

    name = plain(shortened(run.label.partition("(")[0], 16))
    invisible = {"line": {"width": 0}, "hoverinfo": "skip"}
    tip = "%{y:.4~g}<extra></extra>"
    dots = go.Scatter(x=[], y=[], mode="markers", name="loss of a batch", meta="loss")
    dots.update(marker={"color": OTHER, "size": 3.2, "opacity": 0.65}, hovertemplate=tip)
    traces = [
        line("low", "", showlegend=False, **invisible),
        line("high", "9 of 10 healthy", fill="tonexty", fillcolor=WASH, **invisible),
        dots,
        line("reference", "expected", line={"color": MUTED, "width": 1.4, "dash": "dash"}),
        line("never", "never", line={"color": FOLLOW_UP, "width": 1.4, "dash": "dot"}),
        line("always", "always", line={"color": INK, "width": 1.4}),
        line("mean", name, line={"color": ACCENT, "width": 2.4}),
    ]
    ranks = {"mean": 1, "always": 2, "reference": 3, "never": 4, "high": 5, "loss": 6}
    for trace in traces:
        trace.legendrank = ranks.get(trace.meta)
    for trace in traces[3:]:
        trace.update(hovertemplate="%{y:.4~g}<extra>%{fullData.name}</extra>")
    if run.evidence is not None:
        ring = {"symbol": "circle-open", "color": ALARM, "size": 6.5, "line": {"width": 1.3}}
        arrow = {"symbol": "triangle-down", "color": ALARM, "size": 11}
        traces += [_marks("degraded", "degraded batch", ring), _marks("alarms", "alarm", arrow)]
    return [*traces, *_lane_traces(run)]


def _marks(meta: str, name: str, marker: dict[str, Any]) -> Any:
    import plotly.graph_objects as go

    marks = go.Scatter(x=[], y=[], mode="markers", name=name, meta=meta, marker=marker)
    return marks.update(hovertemplate="%{text}<extra></extra>")


def _lane_traces(run: PolicyRun) -> list[Any]:
    import plotly.graph_objects as go

    rows = []
    for lane, reason in enumerate(lanes(run)):
        name, colour, symbol = reason_style(reason)
        marker = {"symbol": symbol, "color": colour, "size": 9}
        told = name if reason in MARKED else f"re-trained, {name}"
        tip = f"%{{x|%-d %b %Y}}: {told}<extra></extra>"
        trace = go.Scatter(x=[], y=[], mode="markers", yaxis="y2", name=name, meta=f"lane{lane}")
        rows.append(trace.update(marker=marker, showlegend=False, hovertemplate=tip))
    return rows
