"""The command ``mlma incidents``: what is on the desk, from the store or from a server.

Reads and changes nothing; `mlma act` does. It works beside a running server.
"""

import json
from typing import Annotated, Any

import typer

from mlma.cli.columns import table
from mlma.cli.cycle import moment
from mlma.cli.errands import counter, plain_cell
from mlma.cli.extras import AsJson, Config, StoreUrl
from mlma.cli.status import Url
from mlma.domain.errors import unknown_name
from mlma.domain.incidents import INCIDENT_STATES, UNFINISHED

EXAMPLE = """
**Example**

    mlma incidents --state open --json
"""


def register_incidents(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXAMPLE)(incidents)


def incidents(
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(help="open, acknowledged, snoozed or resolved; repeat. Default: unfinished."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most rows.")] = 50,
    as_json: AsJson = False,
    config: Config = None,
    store: StoreUrl = None,
    url: Url = None,
) -> None:
    """List incidents, the newest first: what is on the desk, and what it is about."""
    for one in state or ():
        if one not in INCIDENT_STATES:
            raise unknown_name("state", one, INCIDENT_STATES)
    with counter("`mlma incidents`", config, store, url) as at:
        rows = at.incidents(list(state or UNFINISHED), limit)
    print(json.dumps({"rows": rows}) if as_json else _listed(rows))


def _listed(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "No incidents."
    head = ("id", "state", "kind", "scope", "streams", "stake", "opened", "cause")
    shown = [
        [
            *(one["id"], one["state"], one["kind"], plain_cell(one["scope"]), one["streams"]),
            *(float(one["stake"]), moment(one["opened_at"]), plain_cell(one["cause"])),
        ]
        for one in rows
    ]
    return table(head, shown)
