"""The columns of a frame, checked and turned into arrays.

Takes the polars frame that was opened, gives ids as codes and numbers as float64. Next are the
times (`times.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.frames.opening import Opened
from mlma.domain.errors import DataError, SettingsError

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

_OTHER_NAMES = {
    "unique_id": ("id", "item_id", "series_id", "series", "stream", "store_nbr", "sensor"),
    "ds": ("timestamp", "datetime", "date", "time"),
    "y": ("target", "value", "actual", "sales", "count"),
}
_MISSING_WORDS = ("", "na", "n/a", "nan", "null", "none")


@dataclass(frozen=True)
class Columns:
    """What the user's columns are called.

    Raises
    ------
    SettingsError
        Two of the names are the same.
    """

    unique_id: str = "unique_id"
    ds: str = "ds"
    y: str = "y"

    def __post_init__(self) -> None:
        if len({self.unique_id, self.ds, self.y}) < 3:
            raise SettingsError(
                f"`Columns` must name three different columns. Got unique_id={self.unique_id!r}, "
                f"ds={self.ds!r}, y={self.y!r}.",
            )


def require(opened: Opened, wanted: Iterable[tuple[str, str]]) -> None:
    """Raise a DataError where a column is not there; ``wanted`` holds (role, column name).

    The message lists the columns found and suggests the nearest one.
    """
    found = opened.frame.columns
    for role, name in wanted:
        if name in found:
            continue
        near = _nearest(name, role, found)
        hint = f" Hint: did you mean `{near}`?" if near else ""
        raise DataError(
            f"Column `{name}` ({role}) is missing in {opened.where}. "
            f"Found: {', '.join(found) or 'no columns'}.{hint}",
        )


def refuse_empty(opened: Opened) -> None:
    """Raise a DataError where the frame has no row."""
    if opened.frame.is_empty():
        raise DataError(f"Expected at least one row in {opened.where}. Got none.")


def read_ids(opened: Opened, name: str) -> pl.Series:
    """Return the ids as text; null where the id is null.

    Integers become text; floats too where they are whole (pandas makes them so beside a null).
    """
    series = opened.frame[name]
    if series.dtype.is_float() and _whole(series):
        series = series.fill_nan(None).cast(pl.Int64)
    if series.dtype.is_integer() or is_text(series) or series.dtype == pl.Null:
        return series.cast(pl.String)
    raise wrong_type(opened, name, "text or whole numbers", "cast it to text")


def read_numbers(opened: Opened, name: str) -> Floats:
    """Return a column as ``(n_rows,) float64``; NaN = null, empty or a word such as ``NA``.

    Numbers written as text are accepted.
    """
    series = opened.frame[name]
    if series.dtype.is_numeric() or isinstance(series.dtype, pl.Boolean | pl.Null):
        return as_floats(series)
    if not is_text(series):
        raise wrong_type(opened, name, "numbers", "cast it to float")
    text = series.cast(pl.String).str.strip_chars()
    numbers = text.cast(pl.Float64, strict=False)
    bad = numbers.is_null() & text.is_not_null()
    if bad.any():
        bad &= ~text.str.to_lowercase().is_in(_MISSING_WORDS).fill_null(False)
    if bad.any():
        hint = "leave missing values empty, and write decimals with a point"
        raise wrong_values(opened, name, "numbers", np.flatnonzero(bad.to_numpy()), hint)
    return as_floats(numbers)


def is_text(series: pl.Series) -> bool:
    """Return whether a series holds text, plain or encoded."""
    return isinstance(series.dtype, pl.String | pl.Categorical | pl.Enum)


def as_floats(series: pl.Series) -> Floats:
    """Return a numeric series as float64; NaN = null."""
    floats: Floats = series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return floats


def coded(series: pl.Series, values: pl.Series) -> Codes:
    """Return each text's place in ``values`` (distinct texts), ``(n_rows,) int64``; -1 = null."""
    codes = series.cast(pl.Enum(values)).to_physical().cast(pl.Int64).fill_null(-1)
    places: Codes = codes.to_numpy()
    return places


def wrong_type(opened: Opened, name: str, expected: str, hint: str) -> DataError:
    """Return the error for a column of the wrong type; it shows the first three values."""
    series = opened.frame[name]
    shown = ", ".join(str(value) for value in series.drop_nulls().head(3).to_list())
    return DataError(
        f"`{name}` of {opened.where} must be {expected}. Got {series.dtype} "
        f"(first values: {shown or 'none'}). Hint: {hint}.",
    )


def wrong_values(
    opened: Opened, name: str, expected: str, rows: Sequence[int] | NDArray[np.intp], hint: str
) -> DataError:
    """Return the error for values that cannot be read: the first three and their rows."""
    shown = ", ".join(f"row {row + 1}: {opened.frame[name][int(row)]!r}" for row in rows[:3])
    return DataError(
        f"`{name}` of {opened.where} must be {expected}. Got {len(rows)} other values ({shown}; "
        f"row 1 is the first below the header). Hint: {hint}.",
    )


def _whole(series: pl.Series) -> bool:
    finite = series.drop_nulls().drop_nans()
    return bool((finite == finite.round(0)).all() and (finite.abs() < 2**53).all())


def _nearest(name: str, role: str, found: Sequence[str]) -> str | None:
    folded = {column.casefold(): column for column in reversed(found)}
    if name.casefold() in folded:
        return folded[name.casefold()]
    for other in _OTHER_NAMES.get(role, ()):
        if other in folded:
            return folded[other]
    near = get_close_matches(name.casefold(), folded, n=1)
    return folded[near[0]] if near else None
