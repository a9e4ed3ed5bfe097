"""What is wrong with settings, in the form of the house: what, whose, expected, got, hint.

Takes the errors of pydantic and where values came from, gives one `SettingsError` with all of them.
A value that may be secret is never shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from mlma.domain.errors import SettingsError, unknown_name
from mlma.service.entries import SOURCE_TABLES
from mlma.service.units import Url

Place = tuple[str | int, ...]

_LONGEST = 80
_KINDS = {
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "a path, as text",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "tuple_type": "a list",
    "list_type": "a list",
    "byte_size": 'a size such as "64MiB"',
    "byte_size_unit": 'a size such as "64MiB"',
}
_BOUNDS = {
    "greater_than": ("above {gt}", "gt"),
    "greater_than_equal": ("{ge} or more", "ge"),
    "less_than": ("below {lt}", "lt"),
    "less_than_equal": ("at most {le}", "le"),
    "string_too_short": ("text of {min_length} letters or more", "min_length"),
    "string_too_long": ("text of at most {max_length} letters", "max_length"),
    "too_short": ("of length {min_length} or more", "min_length"),
    "literal_error": ("one of {expected}", "expected"),
}


def complaint(
    error: ValidationError, model: type[BaseModel], source: str, elsewhere: Mapping[Place, str]
) -> SettingsError:
    """Return one error that tells everything that is wrong.

    ``source`` says where settings came from, ``elsewhere`` where single ones did, by their place.
    """
    items = error.errors(include_url=False)
    places = [item["loc"] for item in items]
    told: list[str] = []
    for item in items:
        place = item["loc"]
        if any(len(other) > len(place) > 0 and other[: len(place)] == place for other in places):
            continue  # what is wrong inside is told, and the rest follows from it
        where = next((elsewhere[place[:n]] for n in (2, 1) if place[:n] in elsewhere), source)
        told.append(_sentence(item, model, where))
    lines = list(dict.fromkeys(told))
    if len(lines) == 1:
        return SettingsError(lines[0])
    listed = "\n".join(f"- {line}" for line in lines)
    return SettingsError(f"{len(lines)} settings are wrong:\n{listed}")


def _sentence(item: Any, model: type[BaseModel], where: str) -> str:
    place, kind, beside = item["loc"], item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(place, model, where)
    if kind == "union_tag_invalid":
        return _no_such("kind", beside["tag"], f"of {_named(place)} in {where}", SOURCE_TABLES)
    if kind == "union_tag_not_found":
        kinds = ", ".join(SOURCE_TABLES)
        return f"`kind` of {_named(place)} in {where} is missing. Expected one of {kinds}."
    if kind == "missing":
        return f"{_subject(place, where)} is missing.{_hint(_description(place, model))}"
    expected = _expected(kind, beside, str(item["msg"]))
    if kind == "expected" and _is_table(place, model):
        return f"{_subject(place, where)} must have {expected}.{_hint(beside.get('hint'))}"
    hint = beside.get("hint") or _table_hint(place, expected)
    return f"{_subject(place, where)} must be {expected}.{_got(item, model)}{_hint(hint)}"


def _expected(kind: str, beside: Mapping[str, Any], message: str) -> str:
    if kind == "expected":
        return str(beside["what"])
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in _BOUNDS:
        form, name = _BOUNDS[kind]
        return form.format_map({name: beside[name]})
    return f"something else: {message}"


def _unknown(place: Place, model: type[BaseModel], where: str) -> str:
    inside = _inside(place[:-1], model)
    known = list(inside.model_fields) if inside else ["(none)"]
    if len(place) == 1:
        return _no_such("table", str(place[0]), f"in {where}", known)
    return _no_such("key", str(place[-1]), f"of {_named(place[:-1])} in {where}", known)


def _no_such(kind: str, got: str, where: str, known: Iterable[str]) -> str:
    return str(unknown_name(kind, got, known)).replace(f"`{got}`.", f"`{got}` {where}.", 1)


def _subject(place: Place, where: str) -> str:
    if not place:
        return where[:1].upper() + where[1:] if where.startswith("the ") else where
    if len(place) == 1 or _is_entry(place):
        return f"{_named(place)} in {where}"
    if isinstance(place[-1], int):  # a value of a list
        return f"Value {place[-1] + 1} of {_subject(place[:-1], where)}"
    return f"`{place[-1]}` of {_named(place[:-1])} in {where}"


def _is_entry(place: Place) -> bool:
    """Tell whether a place is one table of several; the kind of a source is part of its place."""
    return isinstance(place[-1], int) and len(place) == 2


def _named(place: Place) -> str:
    """Return a table as it is written in the file."""
    if len(place) == 1:
        return f"[{place[0]}]"
    if not isinstance(place[1], int):
        return f"[{'.'.join(map(str, place))}]"
    parts = [str(part) for part in place[2:] if part not in SOURCE_TABLES]
    return f"[[{place[0]}]], entry {place[1] + 1}" + (f", {'.'.join(parts)}" if parts else "")


def _field(place: Place, model: type[BaseModel]) -> Any:
    """Return the field at a place; None = there is none."""
    if not place or isinstance(place[-1], int):
        return None
    inside = _inside(place[:-1], model)
    return None if inside is None else inside.model_fields.get(str(place[-1]))


def _inside(place: Place, model: type[BaseModel]) -> type[BaseModel] | None:
    """Return the model of the table at a place."""
    found: type[BaseModel] | None = model
    for part in place:
        if isinstance(part, int):
            continue
        if part in SOURCE_TABLES and part not in (found.model_fields if found else ()):
            found = SOURCE_TABLES[part]
        else:
            field = found.model_fields.get(part) if found else None
            found = _model_in(field.annotation) if field else None
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for one in (annotation, *_inner(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _inner(annotation: Any) -> list[Any]:
    return [deep for part in get_args(annotation) for deep in (part, *_inner(part))]


def _is_table(place: Place, model: type[BaseModel]) -> bool:
    """Tell whether a place is a table, not a value of one."""
    found = _field(place, model)
    return found is None or (found.annotation is not None and bool(_inside(place, model)))


def _description(place: Place, model: type[BaseModel]) -> str:
    found = _field(place, model)
    return str(found.description or "") if found else ""


def _table_hint(place: Place, expected: str) -> str:
    if len(place) == 1 and expected == "a table":
        return f"start it with [{place[0]}]"
    if len(place) == 1 and expected == "a list":
        return f"start each of them with [[{place[0]}]]"
    return ""


def _hint(text: str | None) -> str:
    return f" Hint: {text}" + ("" if text[-1] in ".?" else ".") if text else ""


def _kinds_at(place: Place, model: type[BaseModel]) -> Sequence[Any]:
    """Return the types of the nearest field around a place, which may be a value inside it."""
    for end in range(len(place), 0, -1):
        found = _field(place[:end], model)
        if found is not None:
            return (found.annotation, *_inner(found.annotation))
    return ()


def _got(item: Any, model: type[BaseModel]) -> str:
    value, kinds = item["input"], _kinds_at(item["loc"], model)
    if not kinds:
        return ""  # nobody knows whether it is secret
    if any(isinstance(kind, type) and issubclass(kind, SecretStr) for kind in kinds):
        return f" Got {Url(value)}." if Url in kinds and isinstance(value, str) else ""
    if isinstance(value, dict | list):
        return f" Got {'a table' if isinstance(value, dict) else 'a list'}."
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return f" Got {text if len(text) <= _LONGEST else text[:_LONGEST] + '...'}."
