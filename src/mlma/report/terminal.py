"""The summary in the terminal: one table of all policies, what was left out, and the verdict.

Takes the record of a replay, gives what `rich` prints; readable at 80 columns.
"""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlma.domain.runs import Replayed
from mlma.report.figures import SummaryRow, headline, summary_rows
from mlma.report.words import counted, excess, number, percent, verdict_sentence

_NUMBERS = (
    "loss vs\nalways",
    "worst\nstream",
    "fits/\nstream",
    "fits, % of\nalways",
    "alarms/\nstream",
    "seconds",
)
_STRONG = "bold cyan"


def summary_table(replayed: Replayed) -> Table:
    """Return the table of all policies: baselines first, then the others by loss."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("policy", overflow="fold", vertical="bottom", ratio=1)
    for name in _NUMBERS:
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    run = headline(replayed)
    for row in summary_rows(replayed):
        strong = run is not None and row.label == run.label
        table.add_row(*_cells(row), style=_STRONG if strong else "")
    return table


def _cells(row: SummaryRow) -> list[Text]:
    label = Text(row.label)
    if row.role == "matched":
        label.append(" matched", style="dim")
    values = (
        excess(row.loss),
        excess(row.worst),
        number(row.fits),
        percent(row.fits_share),
        number(row.alarms),
        number(row.seconds),
    )
    return [label, *map(Text, values)]


def print_summary(replayed: Replayed, console: Console) -> None:
    """Print the table, what was left out, how many failures, and the verdict in one sentence."""
    console.print(summary_table(replayed))
    for entry in replayed.left_out:
        console.print(Text(f"left out: {entry}", style="dim"))
    if replayed.failures:
        console.print(Text(_failures(replayed.failures), style="yellow"))
    console.print()
    console.print(Text(verdict_sentence(replayed)))


def _failures(failures: dict[str, str]) -> str:
    name, message = next(iter(failures.items()))
    return f"{counted(len(failures), 'failure')}, the first: {name}: {message}"
