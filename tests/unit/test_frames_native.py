"""The user gets back the kind of frame that came in."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlma.adapters.frames.native import like
from mlma.domain.errors import MissingExtraError

FRAME = pl.DataFrame(
    {
        "unique_id": ["A", None],
        "ds": [datetime(2024, 1, 1), datetime(2024, 1, 2)],
        "day": [date(2024, 1, 1), None],
        "zoned": [datetime(2024, 1, 1, tzinfo=UTC), None],
        "loss": [1.5, None],
        "n": [3, 4],
        "alarm": [True, False],
        "maybe": [True, None],
    }
)
PANDAS, ARROW = pd.DataFrame({"y": [1.0]}), pa.table({"y": [1.0]})


@pytest.mark.parametrize(
    "example", [FRAME, FRAME.lazy(), "history.csv", Path("history.csv"), nw.from_native(FRAME)]
)
def test_polars_frames_and_paths_get_polars(example: Any) -> None:
    assert like(FRAME, example) is FRAME


@pytest.mark.parametrize("example", [PANDAS, nw.from_native(PANDAS)])
def test_pandas_gets_pandas_with_the_same_values(example: Any) -> None:
    made = like(FRAME, example)
    assert isinstance(made, pd.DataFrame)
    assert list(made.columns) == FRAME.columns
    assert made["ds"].dtype == "datetime64[us]"
    assert made["n"].dtype == "int64"
    assert made["alarm"].dtype == bool
    assert str(made["zoned"].dtype.tz) == "UTC"
    assert made["loss"].isna().tolist() == [False, True]
    assert made["unique_id"].isna().tolist() == [False, True]
    made["n"] += 1  # the values are the user's own
    assert FRAME["n"].to_list() == [3, 4]


def test_arrow_gets_an_arrow_table_with_the_same_values() -> None:
    made = like(FRAME, ARROW)
    assert isinstance(made, pa.Table)
    assert made.to_pylist() == FRAME.to_dicts()


def test_frames_without_rows_keep_their_columns() -> None:
    assert list(like(FRAME.head(0), PANDAS).columns) == FRAME.columns
    assert like(FRAME.head(0), ARROW).column_names == FRAME.columns


@pytest.mark.parametrize(("example", "library"), [(PANDAS, "pandas"), (ARROW, "pyarrow")])
def test_a_library_that_is_missing_is_named_as_an_extra(
    example: Any, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_arrow(_: pl.DataFrame) -> Any:
        raise ModuleNotFoundError("pyarrow is required")

    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(pl.DataFrame, "to_arrow", no_arrow)
    with pytest.raises(MissingExtraError, match="pip install"):
        like(FRAME, example)
