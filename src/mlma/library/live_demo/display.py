"""The display: a day as it happens, in a terminal that redraws itself or in plain lines.

Takes days, prints; where a person looks at a terminal, a panel stands below the lines.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from mlma.library.live_demo.outcome import Outcome
from mlma.library.live_demo.play import Day
from mlma.library.live_demo.words import line, rate, relative, summary, told

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

_COLOURS = {"healthy": "green", "degraded": "red", "improved": "cyan", "waiting": "yellow"}


class Display(Protocol):
    """What shows a demo."""

    def say(self, text: str) -> None:
        """Show a line."""
        ...

    def show(self, day: Day) -> None:
        """Show a day."""
        ...

    def running(self, count: int) -> None:
        """Show how many re-trainings are open or running."""
        ...

    def end(self) -> None:
        """Show no day any more."""
        ...


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def show(self, day: Day) -> None:
        """Show nothing."""

    def running(self, count: int) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Do nothing."""


class Lines:
    """Plain lines, one per day and some about its decisions."""

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)

    def show(self, day: Day) -> None:
        """Print a day."""
        self.say(line(day))
        for text in told(day):
            self.say(f"    {text}")

    def running(self, count: int) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Do nothing."""


class Screen:
    """Decisions as lines, and the standing of the fleet in a panel below them."""

    def __init__(self, live: "Live") -> None:
        self._live = live
        self._trained = self._failed = self._running = 0
        self._day: Day | None = None

    def say(self, text: str) -> None:
        """Print a line above the panel."""
        from rich.text import Text

        self._live.console.print(Text(text))  # options of `print` would reach the panel, too

    def show(self, day: Day) -> None:
        """Print the decisions of a day and draw the panel anew."""
        self._day = day
        self._trained += day.trained
        self._failed += day.failed
        for text in told(day):
            self.say(f"{day.date}  {text}")
        self._live.update(self._panel(day), refresh=True)

    def running(self, count: int) -> None:
        """Draw the panel anew where the number changed."""
        if self._day is not None and count != self._running:
            self._running = count
            self._live.update(self._panel(self._day), refresh=True)

    def end(self) -> None:
        """Leave the panel as it stands; lines come below it."""
        self._live.stop()

    def _panel(self, day: Day) -> "Table":
        from rich import box
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table(box=box.ROUNDED, show_header=False, title=f"{day.date}")
        table.add_column(style="bold")
        table.add_column(min_width=50)
        table.add_row(f"Day {day.day} of {day.days}", ProgressBar(day.days, day.day, width=48))
        table.add_row("Verdicts", _verdicts(day.verdicts))
        table.add_row("Re-trainings", self._fits())
        opened = [one for one in day.findings if one["state"] != "closed"]
        scopes = ", ".join(one["scope"].partition("=")[2] or one["scope"] for one in opened)
        table.add_row("Findings open", scopes or "none")
        table.add_row("Loss of the day", f"{relative(day.against_reference)} its reference")
        table.add_row("Loss so far", f"{relative(day.against_never)} never re-training")
        table.add_row("Rows per second", f"{rate(day):,}")
        return table

    def _fits(self) -> str:
        asked = self._trained + self._failed + self._running
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{asked} asked, {self._running} running, {self._trained} done{failed}"


@contextmanager
def display(*, silent: bool = False) -> Iterator[Display]:
    """Yield what fits: nothing, plain lines, or a screen where a person looks at a terminal."""
    from rich.console import Console

    console = Console()
    if silent:
        yield Silent()
    elif not console.is_terminal:
        yield Lines()
    else:
        from rich.live import Live

        with Live(console=console, auto_refresh=False) as live:
            yield Screen(live)


def print_outcome(made: Outcome, console: "Console | None" = None) -> None:
    """Print the outcome as a table."""
    from rich.console import Console
    from rich.table import Table

    shown = console or Console()
    table = Table(title=f"{made.streams} streams, {made.days} days", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for label, text in summary(made):
        table.add_row(label, text)
    shown.print(table)


def _verdicts(verdicts: dict[str, int]) -> str:
    return ", ".join(
        f"[{_COLOURS.get(name, 'dim')}]{count} {name}[/]" for name, count in verdicts.items()
    )
