"""The commands ``mlma db migrate``, ``status`` and ``backup``: the store of a live agent.

`status` and `backup` change nothing. Tables go to stdout, errors to stderr.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mlma.cli.extras import AsJson, Config, StoreUrl, settings_of

EXAMPLE = """
**Example**

    mlma db backup before.db --store sqlite:///mlma.db
"""

db = typer.Typer(
    name="db",
    help="The store of the live agent: its schema, its facts, a copy of it.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


def register_db(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(db, epilog=EXAMPLE)


def store_url(config: Path | None, store: str | None) -> str:
    """Return the address of the store: option, environment, file, default."""
    return settings_of("`mlma db`", config, {"store": {"url": store}}).store.url.get_secret_value()


@db.command()
def migrate(*, store: StoreUrl = None, config: Config = None, as_json: AsJson = False) -> None:
    """Bring the store up to date. All or nothing; harmless where it is up to date."""
    from mlma.adapters.store import migrated

    before, now = migrated(store_url(config, store))
    if as_json:
        print(json.dumps({"before": before, "schema": now}))
    elif before == now:
        print(f"Schema {now}: up to date.")
    else:
        print(f"Schema {now}; it was {before or 'an empty database'}.")


@db.command()
def status(*, store: StoreUrl = None, config: Config = None, as_json: AsJson = False) -> None:
    """Show the schema of the store and, where it is up to date, what is in it."""
    told = _status(store_url(config, store))
    print(json.dumps(told) if as_json else _lines(told))


@db.command(epilog=EXAMPLE)
def backup(
    to: Annotated[Path, typer.Argument(help="SQLite file to write; it must not be there.")],
    *,
    store: StoreUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Copy the store, as it is at one moment, into a SQLite file; a server may write meanwhile."""
    from mlma.adapters.store import backup as copied

    size = copied(store_url(config, store), to)
    if as_json:
        print(json.dumps({"file": str(to), "bytes": size}))
    else:
        print(f"{to}: {size / 1e6:.1f} MB")


def _status(url: str) -> Mapping[str, Any]:
    from mlma.adapters.store import newest_schema, open_store, schema_version, shown_url

    schema, newest = schema_version(url), newest_schema()
    told = {"url": shown_url(url), "schema": schema, "newest_schema": newest}
    if schema != newest:
        return told
    store = open_store(url)
    try:
        return told | dict(store.facts())
    finally:
        store.close()


def _lines(told: Mapping[str, Any]) -> str:
    schema, newest = told["schema"], told["newest_schema"]
    if schema is None:
        return f"{told['url']}: no store yet; `mlma serve` or `mlma db migrate` makes one."
    if schema != newest:
        hint = "run `mlma db migrate`" if schema < newest else "it needs a newer mlma"
        return f"{told['url']}: schema {schema}, this mlma knows {newest}: {hint}."
    cycles = "none"
    if told["newest_cycle"] is not None:
        cycles = f"{told['oldest_cycle']} to {told['newest_cycle']}"
    rows = {"schema": schema, "size": f"{told['bytes'] / 1e6:.1f} MB", "cycles": cycles}
    if told["bytes_per_stream_batch"] is not None:
        rows["evidence"] = f"{told['bytes_per_stream_batch']} bytes per stream and cycle"
    rows |= {f"  {name}": f"{count:,} rows" for name, count in told["rows"].items() if count}
    return "\n".join([str(told["url"]), *(f"{name:<16} {value}" for name, value in rows.items())])
