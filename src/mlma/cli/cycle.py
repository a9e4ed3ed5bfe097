"""The command ``mlma cycle``: one pass of the live agent, for cron and schedulers of jobs.

Exit code 0 also where there is nothing to do, or another instance judges: both are as they should
be. 1 = the store or a source cannot be reached; the next pass goes on where this one ended.
"""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from mlma.cli.columns import table
from mlma.cli.extras import AsJson, Config, StoreUrl, needs_serve, settings_of

if TYPE_CHECKING:
    from mlma.domain.periods import Periods
    from mlma.service.passes import Pass
    from mlma.service.settings import Settings

EXAMPLE = """
**Example**

    mlma cycle --config mlma.toml --json
"""
HEAD = ("cycle", "revision", "batch", "closed", "streams", "verdicts", "decisions", "seconds")


def register_cycle(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXAMPLE)(cycle)


def cycle(*, config: Config = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Do everything that can be done now, once: take rows in, judge, re-train, send messages."""
    settings = settings_of("`mlma cycle`", config, {"store": {"url": store}})
    settings.live()  # what is wrong is told before anything is opened
    with needs_serve("`mlma cycle`"):
        from mlma.service.bootstrap import build
        from mlma.service.logs import logs
        from mlma.service.passes import OnePass
    with logs(settings.server.log, settings.server.level):
        service = build(settings)
        try:
            made, periods = OnePass(service).made(), service.periods
        finally:
            service.stop()
    print(json.dumps(_document(made, periods)) if as_json else _text(made, periods, settings))


def _document(made: "Pass", periods: "Periods") -> dict[str, Any]:
    from mlma.service.standing import cycle_row

    status = made.status
    return {
        "cycles": [cycle_row(info, periods) for info in made.cycles],
        "leads": status.leads,
        "leader": status.leader,
        "next_period": status.next_period and status.next_period.isoformat(),
        "waits_for": status.waits_for,
        "delivered": made.delivered,
        "open_requests": made.open_requests,
        "waiting_messages": made.waiting,
    }


def _text(made: "Pass", periods: "Periods", settings: "Settings") -> str:
    status = made.status
    if not status.leads:
        return f"Nothing was done: {status.leader or 'another instance'} judges this store."
    from mlma.service.standing import cycle_row

    rows = [cycle_row(info, periods) for info in made.cycles]
    lines = [table(HEAD, [cells(row) for row in rows])] if rows else []
    lines += [] if rows else ["Nothing to judge."]
    if status.next_period is None and settings.sources and not settings.agent.start:
        lines.append("Hint: `start` of [agent] is the first day to judge of rows that are read.")
    begins = None if status.next_period is None else status.next_period.isoformat()
    lines.append(f"Next: {next_batch(begins, status.waits_for)}.")
    if made.delivered or made.waiting:
        lines.append(f"Messages: {made.delivered} delivered, {made.waiting} waiting.")
    if made.open_requests:
        lines.append(f"Requests for re-training that are open: {made.open_requests}.")
    return "\n".join(lines)


def cell(value: Any) -> Any:
    """Return a value as a cell of a table shows it: counts by name as words."""
    if not isinstance(value, dict):
        return value
    return ", ".join(f"{count} {name}" for name, count in value.items() if count)


def cells(row: dict[str, Any]) -> list[Any]:
    """Return the head of a cycle as a line of the table."""
    return [cell({**row, "batch": moment(row["batch"])}[name]) for name in HEAD]


def moment(text: str) -> str:
    """Return a time as people read it: to the second, with its offset if it is not UTC.

    >>> moment("2024-01-01T00:00"), moment("2024-01-01T00:00:07.5+00:00")
    ('2024-01-01 00:00', '2024-01-01 00:00:07')
    >>> moment("2024-01-01T00:00:00+13:00")
    '2024-01-01 00:00 +1300'
    """
    told = datetime.fromisoformat(text)
    return f"{told:%Y-%m-%d %H:%M:%S}".removesuffix(":00") + (
        f" {told:%z}" if told.utcoffset() else ""
    )


def next_batch(begins: str | None, waits_for: str | None) -> str:
    """Return which batch is judged next and why it is not judged yet, in words.

    >>> next_batch("2024-01-01T00:00:00+00:00", "its end"), next_batch(None, "nothing came yet")
    ('2024-01-01 00:00, waits for its end', 'nothing came yet')
    """
    if begins is None:
        return waits_for or "nothing came yet"
    start = moment(begins)
    return f"{start}, waits for {waits_for}" if waits_for else f"{start}, can be judged now"
