"""How the charts of the page look: colours and their dark twins, axes, names of reasons.

Takes nothing, gives layouts and texts. Next are the charts.
"""

import json
from html import escape
from typing import Any

import numpy as np

from mlma.domain.verdicts import Reason
from mlma.report.timelines import script_json

# Safe for colour-blind readers (blue, vermilion, ochre, greys), each at least 3:1 on its ground.
INK, MUTED, LINE, GRID = "#1b2127", "#59636e", "#9aa4af", "#e6e9ed"
ACCENT, ALARM, FOLLOW_UP = "#0b62a8", "#c2410c", "#b07a08"
REVIEW, OTHER, OLDER = "#0f7b6c", "#76828e", "#5a91c2"
BAND, WASH = "rgba(11,98,168,0.18)", "rgba(118,130,142,0.20)"
PAPER = "#ffffff"
COLOURS = {
    INK: "#e8ebee",
    MUTED: "#a3adb8",
    LINE: "#66717d",
    GRID: "#2b3239",
    ACCENT: "#63aef2",
    ALARM: "#ff8f5e",
    FOLLOW_UP: "#e2b84f",
    REVIEW: "#4fc0ae",
    OTHER: "#8f9ba7",
    OLDER: "#3f78ad",
    BAND: "rgba(99,174,242,0.20)",
    WASH: "rgba(143,155,167,0.22)",
    PAPER: "#14181c",
}
REASON_STYLE = {
    Reason.ALARM: ("alarm", ALARM, "triangle-up"),
    Reason.DRIFT: ("slow drift", ALARM, "triangle-right"),
    Reason.COMMON: ("with group", ALARM, "triangle-up-dot"),
    Reason.AWAKENED: ("awakened", ALARM, "triangle-up-open"),
    Reason.FOLLOW_UP: ("follow-up", FOLLOW_UP, "diamond"),
    Reason.REVIEW: ("review", REVIEW, "square"),
    Reason.MAX_AGE: ("maximum age", OTHER, "circle"),
    Reason.TRIAL: ("won a trial", ACCENT, "star"),
    Reason.UNFIT: ("unfit", ALARM, "triangle-left"),
    Reason.BUDGET: ("deferred", FOLLOW_UP, "hourglass"),
    Reason.GATE: ("held", OTHER, "x"),
    Reason.WITHHELD: ("withheld", OTHER, "circle-x-open"),
    Reason.FAILED: ("failed", ALARM, "x"),
    Reason.ROLLED_BACK: ("rolled back", REVIEW, "triangle-left"),
    Reason.SELECTED: ("switched", ACCENT, "diamond-tall"),
    Reason.NOT_HELPED: ("escalated", ALARM, "star"),
}
_SCHEDULE = ("schedule", OTHER, "circle-open")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def reason_style(reason: Reason) -> tuple[str, str, str]:
    """Return the short name, the colour and the symbol of a reason to re-train."""
    if reason in (Reason.NONE, Reason.SCHEDULE):
        return _SCHEDULE
    untold = (reason.name.lower().replace("_", " "), OTHER, "circle-open")
    return REASON_STYLE.get(reason, untold)


def chart_json(figure: Any) -> str:
    """Return a figure as JSON for a script element, without Plotly's template."""
    spec = figure.to_plotly_json()
    spec["layout"].pop("template", None)
    return script_json(json.dumps(spec, separators=(",", ":"), allow_nan=False))


def layout(height: int) -> dict[str, Any]:
    """Return the layout that all charts share; a chart overrides what it needs."""
    return {
        "height": height,
        "font": {"family": FONT, "size": 12.5, "color": MUTED},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": LINE, "font": {"color": INK, "size": 12.5}},
        "hovermode": "closest",
        "dragmode": False,
        "legend": {"orientation": "h", "font": {"color": INK}, "traceorder": "normal"},
        "xaxis": axis() | {"showgrid": False, "showline": True, "ticks": "outside"},
        "yaxis": axis(),
    }


def axis() -> dict[str, Any]:
    """Return the axis that all charts share."""
    return {
        "gridcolor": GRID,
        "linecolor": LINE,
        "tickcolor": LINE,
        "title": {"font": {"size": 12.5}},
        "zeroline": False,
        "automargin": False,
        "fixedrange": True,
    }


def level(x: float) -> dict[str, Any]:
    """Return a thin vertical line."""
    line = {"color": LINE, "width": 1}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def panel_head(text: str, top: float) -> dict[str, Any]:
    """Return the heading of a panel, above its upper edge (a share of the plot)."""
    place = {"x": 0, "xref": "paper", "xanchor": "left", "y": top, "yref": "paper"}
    font = {"color": INK, "size": 12.5}
    return place | {
        "yanchor": "bottom",
        "yshift": 4,
        "text": text,
        "showarrow": False,
        "font": font,
    }


def number_or_none(value: float) -> float | None:
    """Return four significant digits; None for NaN."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def plain(text: str) -> str:
    """Return text that Plotly shows as it is: its own small HTML and templates switched off."""
    return escape(text, quote=False).replace("%{", "%&#123;")


def shortened(text: str, most: int) -> str:
    """Return at most ``most`` characters, the middle left out.

    >>> shortened("mlma(follow_ups=(7, 14))", 12)
    'mlma(fol…4))'
    """
    if len(text) <= most:
        return text
    tail = most // 4
    return f"{text[: most - tail - 1]}…{text[-tail:]}"
