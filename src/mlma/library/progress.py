"""A progress bar on stderr, where there is a person to read it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mlma.agent.replay import Progress

_LABELS = {
    "monitor": "Monitoring, batch by batch",
    "pool": "Schedules with a pool",
    "play": "Playing the baselines",
}


@contextmanager
def progress_for(asked: bool | Progress | None) -> Iterator[Progress | None]:
    """Yield a function of ``(label, done, total)``, or None where nothing is to be shown."""
    if callable(asked):
        yield asked
    elif asked or (asked is None and sys.stderr.isatty()):
        with _bar() as report:
            yield report
    else:
        yield None


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<26}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, object] = {}

        def report(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bar.add_task(_LABELS.get(label, label), total=total)
            bar.update(tasks[label], completed=done)  # type: ignore[arg-type]  # rich's TaskID

        yield report
