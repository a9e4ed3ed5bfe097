"""The summary in a notebook: a small table and the verdict, without scripts.

Takes the record of a replay, gives an HTML fragment for ``_repr_html_``.
"""

from html import escape
from math import isfinite

from mlma.domain.runs import Replayed
from mlma.report.figures import SummaryRow, headline, summary_rows
from mlma.report.words import excess, number, percent, verdict_sentence

_HEADS = (
    "loss against always",
    "worst stream",
    "fits per stream",
    "fits, % of always",
    "alarms per stream",
    "seconds",
)
_RARE = ("deferred", "held", "escalated")
_LABOUR = {
    "incidents": "incidents per 1,000 streams and week",
    "minutes": "minutes of a person per 1,000 streams and week",
}
_LEFT, _RIGHT = 'style="text-align:left"', 'style="text-align:right"'


def notebook_html(replayed: Replayed) -> str:
    """Return the table of all policies and the verdict, in the notebook's own style."""
    run = headline(replayed)
    chosen = "" if run is None else run.label
    found = summary_rows(replayed)
    rare = [name for name in _RARE if any(getattr(row, name) > 0 for row in found)]
    named = [*_HEADS, *(f"{name} per stream" for name in rare)]
    if any(isfinite(row.minutes) for row in found):
        rare += _LABOUR
        named += _LABOUR.values()
    heads = "".join(f'<th scope="col" {_RIGHT}>{head}</th>' for head in named)
    rows = "".join(_row(row, rare, strong=row.label == chosen) for row in found)
    return (
        f'<div><p style="max-width:46em">{escape(verdict_sentence(replayed))}</p>'
        f'<table><thead><tr><th scope="col" {_LEFT}>policy</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(row: SummaryRow, rare: list[str], *, strong: bool) -> str:
    values = (
        excess(row.loss),
        excess(row.worst),
        number(row.fits),
        percent(row.fits_share),
        number(row.alarms),
        number(row.seconds),
        *(number(getattr(row, name)) for name in rare),
    )
    weight = "bold" if strong else "normal"
    label = escape(row.label) + (" (matched)" if row.role == "matched" else "")
    cells = "".join(f"<td {_RIGHT}>{value}</td>" for value in values)
    head = f'<th scope="row" style="text-align:left;font-weight:{weight}">{label}</th>'
    return f'<tr style="font-weight:{weight}">{head}{cells}</tr>'
