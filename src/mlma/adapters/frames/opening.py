"""Opens what the user has: a frame of any kind, or a path; gives one polars frame.

Takes a pandas, polars, Arrow or other frame, a Parquet or CSV file or a folder of Parquet files.
Next are the columns. pandas and pyarrow are met only when the user's frame comes from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mlma.domain.errors import DataError, MissingExtraError


@dataclass(frozen=True, slots=True)
class Opened:
    """A polars frame, and how messages name the place it came from."""

    frame: pl.DataFrame
    where: str


def open_frame(source: Any, named: Sequence[str] = ()) -> Opened:
    """Return the source as a polars frame.

    ``named`` are the columns that the caller asks for by name: in a CSV file they are read as
    text, so that ids keep their leading zeros and messages can show the offending values; in a
    pandas frame they may also stand in the index.

    Raises
    ------
    DataError
        The file is missing, damaged, of an unknown kind, or the object is not a frame.
    MissingExtraError
        A pandas frame can be converted only with pyarrow, which is not installed.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        return Opened(_read_path(path, named), f"`{path.name}`")
    return Opened(_converted(source, named), "the frame")


def library_of(frame: Any) -> str:
    """Return the library that a frame comes from, without importing any.

    >>> library_of(pl.DataFrame())
    'polars'
    """
    roots = [base.__module__.partition(".")[0] for base in type(frame).__mro__]
    known = (root for root in roots if root in {"pandas", "polars", "pyarrow", "narwhals"})
    return next(known, roots[0])


def _read_path(path: Path, named: Sequence[str]) -> pl.DataFrame:
    if not path.exists():
        raise DataError(
            f"`{path}` does not exist. Expected a .parquet or .csv file, or a folder of .parquet "
            f"files. Hint: relative paths start at {Path.cwd()}.",
        )
    try:
        if path.is_dir():
            return _read_folder(path)
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path, glob=False, hive_partitioning=False)
        if path.suffix.lower() == ".csv":
            return _read_csv(path, named)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"`{path}` cannot be read as {path.suffix[1:].lower() or 'Parquet'}. "
            f"Got: {_gist(error)}. Hint: the file may be damaged or not written to its end.",
        ) from error
    raise DataError(
        f"`{path}` is of an unknown kind. Expected .parquet, .csv or a folder of .parquet files. "
        f"Got `{path.suffix or path.name}`. Hint: read it with polars and pass the frame.",
    )


def _read_folder(path: Path) -> pl.DataFrame:
    files = sorted(file for file in path.rglob("*.parquet") if file.is_file())
    if not files:
        raise DataError(
            f"The folder `{path}` holds no .parquet file. Hint: CSV files are read one at a time.",
        )
    partitioned = any("=" in part for part in files[0].relative_to(path).parts[:-1])
    return pl.read_parquet(files, glob=False, hive_partitioning=partitioned)


def _read_csv(path: Path, named: Sequence[str]) -> pl.DataFrame:
    with path.open(encoding="utf-8", errors="replace") as lines:
        header = lines.readline().strip()
    if not header:
        raise DataError(f"`{path}` is empty. Expected a header and at least one row.")
    other = next((mark for mark in (";", "\t", "|") if mark in header), None)
    if other and "," not in header:
        raise DataError(
            f"`{path}` must be separated by commas. Got the header `{header}`. "
            f"Hint: read it with polars.read_csv(..., separator={other!r}) and pass the frame.",
        )
    # All as text: inferring types from the whole file takes polars four times as long.
    frame = pl.read_csv(path, infer_schema=False, glob=False)
    return frame.with_columns(_typed(frame[name]) for name in frame.columns if name not in named)


def _typed(text: pl.Series) -> pl.Series:
    """Return a text column as numbers or booleans where all its values are."""
    for kind in (_numbers, _booleans):
        typed = kind(text)
        if typed.null_count() == text.null_count() < len(text):
            return typed
    return text


def _numbers(text: pl.Series) -> pl.Series:
    return text.cast(pl.Float64, strict=False)


def _booleans(text: pl.Series) -> pl.Series:
    words = {"true": True, "false": False}
    lower = text.str.to_lowercase()
    return lower.replace_strict(words, default=None, return_dtype=pl.Boolean)


def _converted(source: Any, named: Sequence[str]) -> pl.DataFrame:
    import narwhals as nw

    try:
        native = nw.to_native(source, pass_through=True)
        if library_of(native) == "pandas":
            native = _out_of_index(native, named)
            _refuse_mixed_zones(native, named)
        frame = nw.from_native(native)
        eager = frame.collect(backend="polars") if isinstance(frame, nw.LazyFrame) else frame
        return eager.to_polars()
    except ImportError as error:
        raise MissingExtraError("Reading this frame", "arrow") from error
    except (
        *(TypeError, ValueError, OverflowError, OSError),
        *(nw.exceptions.NarwhalsError, pl.exceptions.PolarsError),
    ) as error:
        raise _not_a_frame(source, error) from error


def _out_of_index(frame: Any, named: Sequence[str]) -> Any:
    """Return a pandas frame whose named index levels have become columns."""
    levels = [name for name in frame.index.names if name in named and name not in frame.columns]
    return frame.reset_index(level=levels) if levels else frame


def _refuse_mixed_zones(frame: Any, named: Sequence[str]) -> None:
    """Raise where a pandas object column mixes time zones; Arrow would shift some in silence."""
    for name in named:
        if name not in frame.columns or str(getattr(frame[name], "dtype", "")) != "object":
            continue
        zones = {str(getattr(value, "tzinfo", None)) for value in frame[name].dropna()}
        if len(zones) > 1:
            raise DataError(
                f"`{name}` of the frame must have one time zone. Got {', '.join(sorted(zones))}. "
                f"Hint: convert it to one zone, for example with pandas.to_datetime(utc=True).",
            )


def _not_a_frame(source: Any, error: Exception) -> DataError:
    return DataError(
        f"The source cannot be read as a frame. Expected a pandas, polars or Arrow frame, or a "
        f"path. Got {type(source).__module__}.{type(source).__qualname__}: {_gist(error)}. "
        f"Hint: column names differ, and a column holds values of one type.",
    )


def _gist(error: Exception) -> str:
    """Return what a library says, on one line and without the details of its later paragraphs."""
    first = str(error).strip().split("\n\n")[0]
    return (" ".join(first.split()) or type(error).__name__).rstrip(".")
