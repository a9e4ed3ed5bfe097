"""The command ``mlma alert test``: does a message of an alert arrive?

It is sent from here, past the outbox: no server has to run, and quiet hours do not count. Exit code
0 = the receivers took it, 1 = one did not.
"""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from mlma.cli.extras import AsJson, Config, needs_serve, settings_of
from mlma.domain.errors import SettingsError

if TYPE_CHECKING:
    from mlma.service.settings import Settings

EXAMPLE = """
**Example**

    mlma alert test on-call --config mlma.toml
"""

alert = typer.Typer(
    name="alert",
    help="Alerts: people who are told of incidents.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@alert.callback()
def _alerts() -> None:
    """Alerts: people who are told of incidents."""


def register_alert(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.add_typer(alert, epilog=EXAMPLE)


@alert.command("test", epilog=EXAMPLE)
def trial(
    name: Annotated[
        list[str] | None, typer.Argument(help="Names in [[alerts]]; none = all of them.")
    ] = None,
    *,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Send a test message to alerts, at once."""
    settings = settings_of("`mlma alert test`", config)
    if not settings.alerts:
        raise SettingsError("There are no alerts. Hint: [[alerts]] of mlma.toml.")
    with needs_serve("`mlma alert test`"):
        told = _sent(settings, name or [])
    if as_json:
        print(json.dumps({"alerts": told}))
    else:
        for one, why in told.items():
            print(f"{one}: {why or 'sent'}")
    if any(told.values()):
        raise typer.Exit(1)


def _sent(settings: "Settings", names: list[str]) -> dict[str, str]:
    """Return what went wrong, by the name of the alert; empty = it was sent."""
    from datetime import UTC, datetime

    from mlma.adapters.store import open_store
    from mlma.service.alerts import PREFIX, alert_targets, asked_targets, trial_event

    asked = asked_targets(settings, names)
    store = open_store("memory://")  # a test asks it nothing
    try:
        targets = alert_targets(settings, store)
        event = trial_event("cli", datetime.now(UTC))
        troubles = {one: targets[one].deliver(event, 0) for one in asked}
    finally:
        store.close()
    return {
        one.removeprefix(PREFIX): "" if trouble is None else trouble.why
        for one, trouble in troubles.items()
    }
