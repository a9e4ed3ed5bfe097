"""What the commands of the service share: their extra, their settings, their options."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlma.domain.errors import MissingExtraError

if TYPE_CHECKING:
    from mlma.service.settings import Settings

Config = Annotated[
    Path | None,
    typer.Option(help="TOML file; default: $MLMA_CONFIG, else mlma.toml if it is here."),
]
StoreUrl = Annotated[
    str | None, typer.Option("--store", help="Address of the store; before `url` of [store].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

_OF_SERVE = frozenset(
    {
        *("pydantic", "pydantic_settings", "structlog", "sqlalchemy", "alembic"),
        *("fastapi", "starlette", "uvicorn", "prometheus_client", "httpx"),
        "itsdangerous",
    }
)


@contextmanager
def needs_serve(what: str) -> Iterator[None]:
    """Turn a library that is not installed into an error that names the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OF_SERVE:
            raise
        raise MissingExtraError(what, "serve") from error


def settings_of(
    what: str, config: Path | None, options: Mapping[str, Mapping[str, Any]] | None = None
) -> "Settings":
    """Return the settings of a command: its options over environment, file and defaults."""
    with needs_serve(what):
        from mlma.service.settings import read_settings
    return read_settings(config, os.environ, options)
