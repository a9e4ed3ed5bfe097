"""The source that a table of the settings asks for.

Takes a table ``[[sources]]``, gives a folder, a query or a topic. Next is the live agent, which
asks it or consumes it.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import numpy as np

from mlma.adapters.sources.folder import FolderSource
from mlma.adapters.sources.query import QuerySource
from mlma.adapters.sources.topic import TopicFeed
from mlma.domain.durations import duration
from mlma.domain.errors import SettingsError, unknown_name

_KEYS = {
    "folder": (("path",), ()),
    "sql": (("url", "query"), ("stamp_query", "look_again", "timeout")),
    "kafka": (("brokers", "topic"), ("group", "dead_letters", "settings")),
}
_SHARED = ("kind", "rows", "name", "columns")
SOURCE_KINDS = tuple(_KEYS)


def source_from(
    table: Mapping[str, Any], *, zone: str | None, offsets: Callable[[], Mapping[str, str]] = dict
) -> FolderSource | QuerySource | TopicFeed:
    """Return what a table asks for; keys that are None count as absent.

    ``zone`` is the time zone of the grid, ``offsets`` tells what the store keeps of topics.

    Raises
    ------
    SettingsError
        A key is unknown, missing or of no use; the message names the nearest known one.
    """
    given = {key: value for key, value in table.items() if value is not None}
    kind, rows = _needed(given, "kind", "a source"), _needed(given, "rows", "a source")
    if kind not in _KEYS:
        raise unknown_name("kind of source", str(kind), _KEYS)
    needed, optional = _KEYS[kind]
    for key in given:
        if key not in (*_SHARED, *needed, *optional):
            raise unknown_name(
                f"key of a source of kind {kind}", key, [*_SHARED, *needed, *optional]
            )
    values = {key: _needed(given, key, f"a source of kind {kind}") for key in needed}
    beside = {key: given[key] for key in optional if key in given}
    columns = _table(given, "columns")
    if kind == "folder":
        name = str(given.get("name") or values["path"])
        return FolderSource(name, rows, values["path"], columns, zone=zone)
    if kind == "sql":
        return _query(given, values, beside, zone)
    return TopicFeed(
        str(given.get("name") or values["topic"]),
        rows,
        values["brokers"],
        values["topic"],
        str(beside.get("group", "mlma")),
        columns=columns,
        offsets=offsets,
        dead_letters=beside.get("dead_letters"),
        settings={key: _text(value) for key, value in _table(given, "settings").items()},
        zone=zone,
    )


def _query(
    given: Mapping[str, Any], values: Mapping[str, str], beside: Mapping[str, Any], zone: str | None
) -> QuerySource:
    lengths: dict[str, Any] = {
        key: _length(beside[key], key) for key in ("look_again", "timeout") if key in beside
    }
    return QuerySource(
        str(given.get("name") or f"query of {given['rows']}"),
        given["rows"],
        values["url"],
        values["query"],
        _table(given, "columns"),
        stamp_query=beside.get("stamp_query"),
        zone=zone,
        **lengths,
    )


def _needed(given: Mapping[str, Any], key: str, whose: str) -> Any:
    value = given.get(key)
    if value is None or value == "":
        needed = [*_SHARED[:2], *_KEYS.get(str(given.get("kind")), ((), ()))[0]]
        raise SettingsError(
            f"`{key}` of {whose} is missing. Needed: {', '.join(needed)}. "
            f"Got: {', '.join(given) or 'nothing'}.",
        )
    return value


def _table(given: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = given.get(key, {})
    if not isinstance(value, Mapping):
        raise SettingsError(f"`{key}` of a source must be a table. Got {value!r}.")
    return dict(value)


def _text(value: Any) -> str:
    """Return a setting of librdkafka as text, a secret with what it hides."""
    reveal = getattr(value, "get_secret_value", None)
    shown = value if reveal is None else reveal()
    return str(shown).lower() if isinstance(shown, bool) else str(shown)


def _length(value: str | timedelta, key: str) -> timedelta:
    return timedelta(microseconds=int(duration(value, key).astype(np.int64)))
