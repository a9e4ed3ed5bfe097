"""The command ``mlma doctor``: is everything there that the settings ask for?

Exit code 1 where something fails. It sends nothing and consumes nothing.
"""

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from mlma.cli.columns import table
from mlma.cli.extras import AsJson, Config, StoreUrl, needs_serve
from mlma.domain.errors import SettingsError

if TYPE_CHECKING:
    from mlma.service.checks import Finding

EXAMPLE = """
**Example**

    mlma doctor --config mlma.toml
"""


def register_doctor(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXAMPLE)(doctor)


def doctor(*, config: Config = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Check settings, store, sources, webhooks, keys, clock and libraries; tell what to do."""
    with needs_serve("`mlma doctor`"):
        found = _findings(config, store)
    failed = any(one.grade == "fail" for one in found)
    if as_json:
        print(json.dumps({"ok": not failed, "checks": [asdict(one) for one in found]}))
    else:
        print(_text(found))
    if failed:
        sys.exit(1)


def _findings(config: Config, store: str | None) -> "list[Finding]":
    from mlma.service import checks
    from mlma.service.settings import Settings, read_settings
    from mlma.service.source_checks import sources
    from mlma.service.store_checks import store as of_store

    try:
        settings = read_settings(config, os.environ, {"store": {"url": store}})
    except SettingsError as error:
        settings = Settings()
        unread = checks.Finding(
            "settings", "fail", str(error), "what depends on them was not looked at"
        )
        return [*checks.findings(settings, (checks.python, checks.clock)), unread]
    every = (
        *(checks.python, checks.clock, checks.agent, of_store, sources),
        *(
            checks.retraining,
            checks.tags,
            checks.webhooks,
            checks.alerts,
            checks.keys,
            checks.address,
        ),
    )
    return list(checks.findings(settings, every))


def _text(found: "list[Finding]") -> str:
    rows = [[one.grade, one.check, _told(one)] for one in found]
    return table(("", "check", "found"), rows)


def _told(one: "Finding") -> str:
    """Return a finding and its hint; what is told may end in a hint of its own."""
    if not one.hint:
        return one.told
    joint = " " if one.told.endswith((".", "?")) else ". "
    lead = "And" if " Hint: " in one.told else "Hint"
    return f"{one.told}{joint}{lead}: {one.hint}."
