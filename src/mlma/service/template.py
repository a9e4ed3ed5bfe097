"""A commented ``mlma.toml``, written from the models, so that it says what they say.

Takes values that are known already, gives text. A description stands behind ``# ``; a setting that
is not set has ``#`` directly before it: take that away to set it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mlma.service.entries import (
    SOURCE_TABLES,
    AlertTable,
    ColumnsTable,
    KeyTable,
    UserTable,
    WebhookTable,
)
from mlma.service.settings import BETWEEN, PREFIX, Settings
from mlma.service.units import Url

Values = Mapping[str, Mapping[str, Any]]

_HEAD = f"""\
# Settings of mlma. Every key stands here with its default; delete what you do not change.
# The environment goes before this file: {PREFIX}<TABLE>{BETWEEN}<KEY>.
# Lengths of time: s, m, h, d, w. Secrets belong into the environment, or into a file of their own.
# `mlma doctor` checks all of it."""

_SEVERAL: Mapping[str, tuple[type[BaseModel], ...]] = {
    "keys": (KeyTable,),
    "users": (UserTable,),
    "sources": tuple(SOURCE_TABLES.values()),
    "webhooks": (WebhookTable,),
    "alerts": (AlertTable,),
}
_EXAMPLES = {"slot": "15m"}


def template(values: Values | None = None, columns: Mapping[str, str] | None = None) -> str:
    """Return the text of a file with every key.

    ``values`` are set instead of defaults, by table and key; ``columns`` are what the columns of
    sources are called.
    """
    given = values or {}
    parts = [_HEAD]
    for name, field in Settings.model_fields.items():
        if name in _SEVERAL:
            parts += [_entry(name, model, columns or {}) for model in _SEVERAL[name]]
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            parts.append(_table(name, field.annotation, given.get(name, {})))
    return "\n\n".join(parts) + "\n"


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Return the keys of a table and their defaults, as the file writes them; None = none.

    >>> from mlma.service.tables import BatchesTable
    >>> defaults(BatchesTable)["timeout"]
    '6h'
    """
    return {name: _default(model, name, field) for name, field in model.model_fields.items()}


def written(value: Any) -> str:
    """Return a value as TOML writes it.

    >>> written("a"), written(True), written(["a"])
    ('"a"', 'true', '["a"]')
    """
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {written(one)}" for key, one in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000:
        return f"{value:_}"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name)


def _default(model: type[BaseModel], name: str, field: FieldInfo) -> Any:
    if field.is_required():
        return None
    made = field.get_default(call_default_factory=True)
    if isinstance(made, Url):
        return made.get_secret_value()
    if made is None:
        return None
    whole = model.model_construct(**{name: made})
    return whole.model_dump(mode="json", include={name}, warnings=False)[name]


def _table(name: str, model: type[BaseModel], given: Mapping[str, Any]) -> str:
    lines = [f"# {_first_line(model)}", f"[{name}]"]
    for key, default in defaults(model).items():
        value = given.get(key, default)
        lines.append(f"# {model.model_fields[key].description}")
        if value is None:
            lines.append(f"#{key} = {written(_EXAMPLES[key])}")
        else:
            lines.append(f"{key} = {written(value)}")
    return "\n".join(lines)


def _entry(name: str, model: type[BaseModel], columns: Mapping[str, str]) -> str:
    lines = [f"# {_first_line(model)}", f"#[[{name}]]"]
    for key, value in _example(model, columns):
        lines += [f"# {model.model_fields[key].description}", f"#{key} = {written(value)}"]
    return "\n".join(lines)


def _example(model: type[BaseModel], columns: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    found = defaults(model)
    for key in sorted(found, key=lambda name: name != "kind"):
        examples = model.model_fields[key].examples
        if key == "columns":
            yield key, {**defaults(ColumnsTable), **columns}
        else:
            yield key, examples[0] if examples else found[key]


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]
