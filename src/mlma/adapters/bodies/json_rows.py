"""JSON bodies: a list of rows, an object of columns, or one row a line.

Takes the bytes, gives a frame of typed columns and the faults of values of a wrong type. Objects
are read as tuples of pairs, so that a key that stands twice is seen. Next is the door.
"""

import json
from itertools import chain
from operator import itemgetter
from typing import Any

from mlma.adapters.bodies.errors import BodyError
from mlma.adapters.bodies.json_columns import Read, Table, told, typed
from mlma.adapters.bodies.limits import BodyLimits
from mlma.adapters.frames.faults import shown
from mlma.adapters.frames.rows import Door
from mlma.domain.inbox import Kind

_FORM = (
    'send [{"unique_id": "A", "ds": "2025-03-01T00:00", "y": 1.5}] '
    'or {"unique_id": ["A"], "ds": ["2025-03-01T00:00"], "y": [1.5]}'
)
_LINE = 'send lines like {"unique_id": "A", "ds": "2025-03-01T00:00", "y": 1.5}'

Pairs = tuple[tuple[str, Any], ...]


def read_json(data: bytes, kind: Kind, door: Door, limits: BodyLimits) -> Read:
    """Return the rows of a JSON document, and what is wrong with them."""
    text = _text(data)
    _refuse_crumbs(text)
    try:
        parsed = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise _no_json(error) from None
    if isinstance(parsed, tuple):
        return typed(_from_columns(parsed, limits), kind, door)
    if isinstance(parsed, list):
        return typed(_from_rows(parsed, limits), kind, door)
    raise BodyError(
        f"A JSON body must be a list of rows or an object of columns. Got {told(parsed)}.",
        hint=_FORM,
    )


def read_lines(data: bytes, kind: Kind, door: Door, limits: BodyLimits) -> Read:
    """Return the rows of JSON lines, and what is wrong with them; empty lines do not count."""
    text = _text(data)
    _refuse_crumbs(text)
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    limits.check_rows(len(lines))
    return typed(_from_rows(_objects(lines), limits), kind, door)


def _objects(lines: list[str]) -> list[Any]:
    """Return the object of each line; one list of all is parsed three times as fast."""
    if set(map(itemgetter(0), lines)) == {"{"} and set(map(itemgetter(-1), lines)) == {"}"}:
        try:
            rows: list[Any] = json.loads(f"[{','.join(lines)}]", object_pairs_hook=tuple)
        except (ValueError, RecursionError):
            rows = []
        if len(rows) == len(lines):
            return rows
    return _one_by_one(lines)


def _one_by_one(lines: list[str]) -> list[Any]:
    """Return the value of each line; raise where one has none, or more than one."""
    values = []
    for row, line in enumerate(lines, start=1):
        try:
            values.append(json.loads(line, object_pairs_hook=tuple))
        except (ValueError, RecursionError) as error:
            raise _no_json(error, row, line) from None
    return values


def _text(data: bytes) -> str:
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise BodyError("JSON must be UTF-8 without a byte order mark. Got one.", hint=_FORM)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BodyError(
            f"JSON must be UTF-8. Got other bytes at place {error.start + 1} of the body.",
            hint="encode the text as UTF-8",
        ) from None


def _refuse_crumbs(text: str) -> None:
    """Raise where a body is little but brackets: they take thirty times their room in memory.

    No row with a name, a time and a value is shorter than 24 characters.
    """
    for bracket, word, room in (("[", "lists", 12), ("{", "objects", 24)):
        count = text.count(bracket)
        if count > 1000 and count * room > len(text):
            raise BodyError(
                f"A JSON body must be a list of rows or an object of columns. "
                f"Got {count:,} {word} in {len(text):,} characters.",
                hint=_FORM,
            )


def _no_json(error: Exception, row: int | None = None, line: str = "") -> BodyError:
    where = "The body" if row is None else f"Row {row}"
    if isinstance(error, RecursionError):
        return BodyError(f"{where} must not be nested. Got too many levels.", row=row, hint=_FORM)
    if not isinstance(error, json.JSONDecodeError):
        got = "a number of more than 4,300 digits"
        return BodyError(f"{where} must be JSON of plain numbers. Got {got}.", row=row)
    if row is not None:
        message = f"Row {row} must be one JSON object on a line of its own. Got {shown(line)}"
        return BodyError(f"{message} ({error.msg}).", row=row, hint=_LINE)
    place = f"line {error.lineno}, character {error.colno}"
    return BodyError(f"The body must be JSON. Got, at {place}: {error.msg}.", hint=_FORM)


def _from_columns(pairs: Pairs, limits: BodyLimits) -> Table:
    limits.check_columns(pairs)
    table = dict(pairs)
    if len(table) < len(pairs):
        raise _twice(pairs, None)
    for name, values in table.items():
        if not isinstance(values, list):
            raise BodyError(
                f"Column {shown(name)} must be a list of values. Got {told(values)}.",
                column=_name(name),
                hint=_FORM,
            )
    lengths = {name: len(values) for name, values in table.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{shown(name)} {length:,}" for name, length in lengths.items())
        raise BodyError(
            f"All columns must have the same number of values. Got {listed[:200]}.", hint=_FORM
        )
    limits.check_rows(max(lengths.values(), default=0))
    return table


def _from_rows(rows: list[Any], limits: BodyLimits) -> Table:
    limits.check_rows(len(rows))
    if not rows:
        raise BodyError("A body must hold at least one row. Got no rows: an empty batch.")
    if set(map(type, rows)) != {tuple}:
        at, row = next((at, row) for at, row in enumerate(rows) if type(row) is not tuple)
        raise BodyError(f"Row {at + 1} must be an object. Got {told(row)}.", row=at + 1, hint=_FORM)
    limits.check_columns(max(rows, key=len))
    return _same_keys(rows) or _any_keys(rows, limits)


def _same_keys(rows: list[Pairs]) -> Table | None:
    """Return the columns of rows that all have the same keys in the same order, else None."""
    if len(set(map(len, rows))) > 1:
        return None
    table: Table = {}
    for place in range(len(rows[0])):
        pairs = list(map(itemgetter(place), rows))
        names = set(map(itemgetter(0), pairs))
        name = names.pop()
        if names or name in table:
            return None
        table[name] = list(map(itemgetter(1), pairs))
    return table


def _any_keys(rows: list[Pairs], limits: BodyLimits) -> Table:
    dicts: list[dict[str, Any]] = list(map(dict, rows))
    if sum(map(len, dicts)) < sum(map(len, rows)):
        at = next(at for at, row in enumerate(rows) if len(dicts[at]) < len(row))
        raise _twice(rows[at], at)
    names = list(dict.fromkeys(chain.from_iterable(dicts)))
    limits.check_columns(names)
    return {name: [row.get(name) for row in dicts] for name in names}


def _twice(pairs: Pairs, at: int | None) -> BodyError:
    seen: set[str] = set()
    name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    where = "the body" if at is None else f"row {at + 1}"
    return BodyError(
        f"The keys of {where} must be different. Got {shown(name)} twice.",
        row=None if at is None else at + 1,
        column=_name(name),
    )


def _name(name: str) -> str:
    """Return the name of a column as errors carry it: short, and fit for any channel."""
    return name if name.isprintable() and len(name) <= 80 else shown(name)
