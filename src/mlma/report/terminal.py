"""The summary in the terminal: one table of all policies, what was left out, and the verdict.

Takes the record of a replay, gives what `rich` prints; readable at 80 columns.
"""

import re
from dataclasses import dataclass
from math import isfinite

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlma.domain.runs import Replayed
from mlma.report.figures import SummaryRow, headline, summary_rows
from mlma.report.words import counted, excess, number, percent, verdict_sentence

_STRONG = "bold cyan"
_PAD, _LEAST = 2, 18  # columns between two columns; what a policy needs to be read
_RARE = {"deferred": "defer-\nred", "held": "held", "escalated": "esca-\nlated"}
_INCIDENTS, _MINUTES = "incidents/\n1k·week", "minutes/\n1k·week"
_FIRST_TO_GO = (
    *("seconds", "fits/\nstream", "worst\nstream", "alarms/\nstream", _INCIDENTS),
    *reversed(_RARE.values()),
    _MINUTES,
)


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of numbers: its head and its cells, from top to bottom."""

    head: str
    cells: list[str]

    @property
    def width(self) -> int:
        return _PAD + max(map(len, [*self.head.split("\n"), *self.cells]))


def summary_table(replayed: Replayed, width: int = 100) -> Table:
    """Return the table of all policies: baselines first, then the others by loss.

    What was deferred, held and escalated has columns where there is any of it; so have incidents
    and minutes of a person per 1,000 streams and week where they were counted. Where ``width``
    leaves no room to read the policies, the seconds go first, then what else can be spared.
    """
    rows = summary_rows(replayed)
    shown = _fitting(_columns(rows), width)
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("policy", overflow="fold", vertical="bottom", ratio=1, min_width=_LEAST)
    for column in shown:
        table.add_column(column.head, justify="right", no_wrap=True, vertical="bottom")
    room = max(width - sum(column.width for column in shown), _LEAST)
    run = headline(replayed)
    for place, row in enumerate(rows):
        strong = run is not None and row.label == run.label
        cells = [Text(column.cells[place]) for column in shown]
        table.add_row(_label(row, room), *cells, style=_STRONG if strong else "")
    return table


def _columns(rows: list[SummaryRow]) -> list[_Column]:
    columns = [
        _Column("loss vs\nalways", [excess(row.loss) for row in rows]),
        _Column("worst\nstream", [excess(row.worst) for row in rows]),
        _Column("fits/\nstream", [number(row.fits) for row in rows]),
        _Column("fits, % of\nalways", [percent(row.fits_share) for row in rows]),
        _Column("alarms/\nstream", [number(row.alarms) for row in rows]),
    ]
    for name, head in _RARE.items():
        if any(getattr(row, name) > 0 for row in rows):
            columns.append(_Column(head, [number(getattr(row, name)) for row in rows]))
    if any(isfinite(row.minutes) for row in rows):
        columns.append(_Column(_INCIDENTS, [number(row.incidents) for row in rows]))
        columns.append(_Column(_MINUTES, [number(row.minutes) for row in rows]))
    return [*columns, _Column("seconds", [number(row.seconds) for row in rows])]


def _fitting(columns: list[_Column], width: int) -> list[_Column]:
    """Return the columns beside which a policy can still be read."""
    for head in _FIRST_TO_GO:
        if sum(column.width for column in columns) + _LEAST <= width:
            break
        columns = [column for column in columns if column.head != head]
    return columns


def _label(row: SummaryRow, width: int) -> Text:
    label = Text(wrapped(row.label, width))
    if row.role == "matched":
        label.append(" matched", style="dim")
    return label


def wrapped(label: str, width: int) -> str:
    """Return the label of a policy in lines that end after a bracket or between two settings.

    >>> wrapped("mlma(level=0.01, follow_ups=(7, 14))", 20).split(chr(10))
    ['mlma(level=0.01,', 'follow_ups=(7, 14))']
    """
    lines = [""]
    for part in re.findall(r".+?(?:\(|, |$)", label):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def print_summary(replayed: Replayed, console: Console) -> None:
    """Print the table, what was left out, how many failures, and the verdict in one sentence."""
    console.print(summary_table(replayed, console.width))
    for entry in replayed.left_out:
        console.print(Text(f"left out: {entry}", style="dim"))
    if replayed.failures:
        console.print(Text(_failures(replayed.failures), style="yellow"))
    console.print()
    console.print(Text(verdict_sentence(replayed)))


def _failures(failures: dict[str, str]) -> str:
    name, message = next(iter(failures.items()))
    return f"{counted(len(failures), 'failure')}, the first: {name}: {message}"
