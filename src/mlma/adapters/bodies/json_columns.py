"""The columns of a JSON body, typed: text stays text, numbers become floats, anything else a fault.

Takes lists of Python values, gives a polars frame whose bad values are null, and who they are.
Types are compared exactly, because ``true`` is a number to Python.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from mlma.adapters.bodies.chosen import chosen
from mlma.adapters.frames.faults import Fault, Rule
from mlma.adapters.frames.rows import Door
from mlma.domain.inbox import Kind

Table = dict[str, Sequence[Any]]
Read = tuple[pl.DataFrame, list[Fault]]

_NOTHING = type(None)
_TEXT_HINT = 'write it in quotes, like "2025-03-01T00:00"'
_ID_HINT = 'write it in quotes, like "store-17"'
_NUMBER_HINT = "write it without quotes, like 1.5"


def typed(table: Table, kind: Kind, door: Door) -> Read:
    """Return the columns that are read, and the faults of their values."""
    value = door.value(kind)
    others = [] if kind == "actuals" or value in table else _numeric(table)
    faults: list[Fault] = []
    columns = []
    for name in chosen(table, others, kind, door):
        values = table[name]
        if name == door.unique_id:
            columns.append(_ids(name, values, faults))
        elif name in {door.ds, door.cutoff}:
            columns.append(_texts(name, values, faults))
        else:
            columns.append(_numbers(name, values, faults))
    return pl.DataFrame(columns), faults


def _numeric(table: Table) -> list[str]:
    """Return the columns of numbers, of which one may be the forecast."""
    kinds = {name: set(map(type, values)) - {_NOTHING} for name, values in table.items()}
    return [name for name, found in kinds.items() if found and found <= {int, float}]


def _ids(name: str, values: Sequence[Any], faults: list[Fault]) -> pl.Series:
    kinds = set(map(type, values))
    if int in kinds:
        values = [str(value) if type(value) is int else value for value in values]
    return _texts(name, values, faults, "text or a whole number", _ID_HINT)


def _texts(
    name: str,
    values: Sequence[Any],
    faults: list[Fault],
    expected: str = "an ISO date or time, as text",
    hint: str = _TEXT_HINT,
) -> pl.Series:
    if not set(map(type, values)) <= {str, _NOTHING}:
        rule = Rule(name, expected, f"{name} of a wrong type", hint)
        values = _without(
            values, [type(value) not in {str, _NOTHING} for value in values], rule, faults
        )
    try:
        return pl.Series(name, values, dtype=pl.String)
    except UnicodeEncodeError:
        rule = Rule(name, "Unicode text", f"{name} that is no text", "half a character was sent")
        values = _without(values, [_is_torn(value) for value in values], rule, faults)
        return pl.Series(name, values, dtype=pl.String)


def _numbers(name: str, values: Sequence[Any], faults: list[Fault]) -> pl.Series:
    if not set(map(type, values)) <= {int, float, _NOTHING}:
        rule = Rule(name, "a number", f"{name} that is no number", _NUMBER_HINT)
        wrong = [type(value) not in {int, float, _NOTHING} for value in values]
        values = _without(values, wrong, rule, faults)
    try:
        return _floats(name, values)
    except OverflowError:
        rule = Rule(name, "a number of at most 308 digits", f"infinite {name}", "check the unit")
        values = _without(values, [_is_huge(value) for value in values], rule, faults)
        return _floats(name, values)


def _floats(name: str, values: Sequence[Any]) -> pl.Series:
    if None in values:
        plain = [None if value is None else float(value) for value in values]
        return pl.Series(name, plain, dtype=pl.Float64)
    return pl.Series(name, np.array(values, dtype=np.float64))


def _without(
    values: Sequence[Any], wrong: list[bool], rule: Rule, faults: list[Fault]
) -> list[Any]:
    """Return the values with null for the wrong ones, which are a fault now."""
    faults.append(Fault(rule, np.array(wrong, dtype=bool), lambda row: _told(values[row])))
    return [None if bad else value for value, bad in zip(values, wrong, strict=True)]


def _is_torn(value: Any) -> bool:
    """Return whether a text holds half of a pair of surrogates."""
    return value is not None and any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_huge(value: Any) -> bool:
    return type(value) is int and abs(value) > 10**308


def _told(value: Any) -> Any:
    return value if type(value) in {str, int, float, _NOTHING} else told(value)


def told(value: Any) -> str:
    """Return what a JSON value is, in words; objects are tuples here.

    >>> told(()), told([1]), told(True), told(1.5)
    ('an object', 'a list', 'true', '1.5')
    """
    words: dict[type, str] = {tuple: "an object", list: "a list", str: "a text"}
    if type(value) in words:
        return words[type(value)]
    plain = {None: "null", True: "true", False: "false"}
    return plain[value] if value is None or isinstance(value, bool) else str(value)[:80]
