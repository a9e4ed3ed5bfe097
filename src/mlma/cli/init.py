"""The command ``mlma init``: a commented file of settings to start from."""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from mlma.cli.extras import needs_serve
from mlma.domain.errors import SettingsError

EXAMPLE = """
**Example**

    mlma init --data forecasts.parquet
"""
_LONG_AGO = timedelta(days=13)
"""Rows that are older are refused by default, or will be soon."""


def register_init(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXAMPLE)(init)


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("mlma.toml"),
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="File of forecasts or actuals that tells slot and columns.")
    ] = None,
) -> None:
    """Write a commented file of settings, every key with its default."""
    if path.is_dir():
        raise SettingsError(f"{path} must be a file to write. Got a folder.")
    if not force and path.exists():
        raise SettingsError(f"{path} is there already. Hint: --force overwrites it.")
    with needs_serve("`mlma init`"):
        from mlma.service.inferred import inferred
        from mlma.service.template import template
    found = inferred(data) if data is not None else None
    values = {}
    if found is not None:
        values["agent"] = {
            "slot": found.slot,
            "batch": found.batch,
            "timezone": found.timezone,
        }
    _write(path, template(values, found.columns if found else None), force)
    print(f"Settings: {path}")
    if found is None:
        print("Next: set `slot` of [agent], then `mlma doctor` and `mlma serve`.", file=sys.stderr)
        return
    zone = f", times of {found.timezone}" if found.timezone else ""
    print(
        f"Found: {found.streams} streams, slots of {found.slot}{zone}, rows of "
        f"{' and '.join(found.rows)}. Next: `mlma doctor`, then `mlma serve`.",
        file=sys.stderr,
    )
    if found.last < datetime.now(UTC).replace(tzinfo=None) - _LONG_AGO:
        print(
            f"They end at {found.last:%Y-%m-%d %H:%M}, too long ago to be pushed by the clock of "
            f'the world. To play a history: kind = "simulated" in [clock] (docs/live.md).',
            file=sys.stderr,
        )


def _write(path: Path, text: str, force: bool) -> None:
    """Write the file so that only its owner reads it: it may come to hold secrets."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"{path} cannot be written: {reason}.") from error
