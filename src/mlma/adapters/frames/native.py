"""Frames on their way out: the user gets back the kind of frame that came in."""

from typing import Any

import polars as pl

from mlma.adapters.frames.opening import library_of
from mlma.domain.errors import MissingExtraError


def like(frame: pl.DataFrame, example: Any) -> Any:
    """Return the frame in the library of ``example``: pandas, pyarrow, else polars.

    Raises
    ------
    MissingExtraError
        That library is not installed.

    >>> like(pl.DataFrame({"a": [1, 2]}), "history.parquet")["a"].sum()
    3
    """
    import narwhals as nw

    library = library_of(nw.to_native(example, pass_through=True))
    if library == "pandas":
        return _pandas(frame)
    if library == "pyarrow":
        return _arrow(frame)
    return frame


def _pandas(frame: pl.DataFrame) -> Any:
    # Column by column: polars' own to_pandas would need pyarrow too.
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("A pandas frame", "pandas") from error
    return pd.DataFrame({series.name: _pandas_column(series) for series in frame})


def _pandas_column(series: pl.Series) -> Any:
    if series.dtype.is_numeric() or (series.dtype.is_temporal() and not _zoned(series)):
        return series.to_numpy(writable=True)
    if series.dtype == pl.Boolean and not series.has_nulls():
        return series.to_numpy(writable=True)
    return series.to_list()


def _zoned(series: pl.Series) -> bool:
    return isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is not None


def _arrow(frame: pl.DataFrame) -> Any:
    try:
        return frame.to_arrow()
    except ImportError as error:
        raise MissingExtraError("An Arrow table", "arrow") from error
