"""Settings from a configuration file: the table ``[replay]`` of ``mlma.toml``.

Order of precedence: command line, environment (``MLMA_MODEL`` and the like), file, default. The
tables of the service stand in the same file; `mlma.service.settings` reads them.
"""

from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any

from mlma.domain.errors import SettingsError, unknown_name
from mlma.service.documents import document

TABLES = (
    *("agent", "batches", "store", "retention", "streams", "clock", "server", "scheduler"),
    *("keys", "users", "sources", "retraining", "webhooks", "alerts", "labour", "replay"),
)
"""Tables that the file may have; named here, so that a replay does not need the extra `serve`."""


def table_of(
    path: Path, name: str, known: Iterable[str], lists: Set[str]
) -> dict[str, str | list[str]]:
    """Return one table of a TOML file, its keys checked, its values as text.

    Values are read like those of the command line, so that both are refused alike. The keys in
    ``lists`` take a list or one value.

    Raises
    ------
    SettingsError
        The file is missing or no TOML, a key is unknown, or a value is none for its key.
    """
    tables = document(path)
    for table in tables:
        if table not in TABLES:
            raise unknown_name(f"table in {path}", table, TABLES)
    settings = tables.get(name, {})
    if not isinstance(settings, dict):
        raise SettingsError(f"`{name}` in {path} must be a table. Hint: start it with [{name}].")
    names, values = list(known), {}
    for written, value in settings.items():
        key = written.replace("-", "_")
        if key not in names:
            raise unknown_name(f"key of [{name}] in {path}", written, names)
        values[key] = _text(f"`{written}` in {path}", value, key in lists)
    return values


def _text(what: str, value: Any, as_list: bool) -> str | list[str]:
    if as_list:
        return [_one(what, part) for part in (value if isinstance(value, list) else [value])]
    return _one(what, value)


def _one(what: str, value: Any) -> str:
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "a table"
        raise SettingsError(f"{what} must be one value. Got {kind}.")
    return str(value)
