"""Losses, or forecasts and actuals, as the live agent reads them in one cycle.

Takes frames or paths, gives columns of equal length and an account of what was left out. Next is
the score (pairs) or the assessment (losses).
"""

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from mlma.adapters.frames.columns import coded, read_ids, read_numbers, require
from mlma.adapters.frames.opening import Opened, open_frame
from mlma.adapters.frames.sieve import Sieve, counted
from mlma.adapters.frames.times import read_times
from mlma.domain.errors import DataError
from mlma.domain.leftovers import LeftOut, merge_left_out
from mlma.domain.rows import LossRows, PairRows

_INTERVAL = re.compile(r".*-(lo|hi)-\d+(\.\d+)?")  # Nixtla's prediction intervals


def read_losses(
    frame: Any,
    *,
    id_column: str = "unique_id",
    ds_column: str | None = "ds",
    loss_column: str = "loss",
) -> LossRows:
    """Return pointwise losses from a frame or a path.

    Times are read where the column ``ds_column`` is there; None = not even then. A frame without
    rows gives no rows.

    Raises
    ------
    DataError
        A column is missing or of the wrong type.

    >>> rows = read_losses(pl.DataFrame({"unique_id": ["B", "A", "B"], "loss": [1.0, 2.0, None]}))
    >>> rows.ids, float(rows.loss.sum()), str(rows.left_out[0])
    (('B', 'A'), 3.0, '1 rows: missing loss (B)')
    """
    opened = open_frame(frame, [name for name in (id_column, ds_column, loss_column) if name])
    asked = ds_column not in {None, "ds"}
    wanted = [("unique_id", id_column), ("loss", loss_column)]
    require(opened, [*wanted, ("ds", str(ds_column))] if asked else wanted)
    ds = ds_column if ds_column in opened.frame.columns else None
    sieve = Sieve(_table(opened, id_column, ds, {"loss": loss_column}))
    sieve.remove(f"null {id_column}", pl.col("id").is_null())
    ids = sieve.table["id"].unique(maintain_order=True)
    if ds is not None:
        sieve.remove(f"null {ds}", pl.col("ds").is_null())
    _remove_non_finite(sieve, "loss")
    return LossRows(
        ids=tuple(ids.to_list()),
        code=coded(sieve.table["id"], ids),
        ds=None if ds is None else sieve.table["ds"].to_numpy(),
        loss=sieve.table["loss"].to_numpy(),
        left_out=tuple(sieve.left_out),
    )


def read_pairs(
    forecasts: Any,
    actuals: Any = None,
    *,
    id_column: str = "unique_id",
    ds_column: str = "ds",
    y_column: str = "y",
    y_hat_column: str = "y_hat",
    cutoff_column: str = "cutoff",
) -> PairRows:
    """Return forecasts joined with their actuals on stream and slot.

    Without ``actuals`` the forecasts hold them in ``y_column``, as a cross-validation frame does.
    Where ``y_hat`` is absent and just one other numeric column is there, which the forecasting
    libraries name after the model, that column is taken. Of several forecasts of a slot the one
    with the latest cutoff is kept, of duplicates the last row.

    Raises
    ------
    DataError
        A column is missing or of the wrong type, several columns may be the forecast, or only one
        of the frames has a time zone.

    >>> forecasts = {"unique_id": ["A", "A"], "ds": ["2024-01-01", "2024-01-02"]}
    >>> frame = pl.DataFrame(forecasts | {"y": [1.0, 2.0], "Ridge": [1.5, 1.0]})
    >>> pairs = read_pairs(frame)
    >>> (pairs.y - pairs.y_hat).tolist()
    [-0.5, 1.0]
    """
    keys = (id_column, ds_column)
    opened = open_frame(forecasts, (*keys, y_column, y_hat_column, cutoff_column))
    require(opened, [("unique_id", id_column), ("ds", ds_column)])
    taken = {*keys, y_column, cutoff_column}
    numbers = {"y_hat": _forecast_column(opened, y_hat_column, taken)}
    if actuals is None:
        numbers["y"] = _own_actuals(opened, y_column)
    cutoff = cutoff_column if cutoff_column in opened.frame.columns else None
    made = Sieve(_table(opened, *keys, numbers, cutoff))
    ids = made.table["id"].drop_nulls().unique(maintain_order=True)
    _keep_one_forecast(made, id_column, ds_column)
    lost: tuple[LeftOut, ...] = ()
    if actuals is not None:
        lost = _join(made, _actuals(actuals, opened, keys, y_column))
    _remove_non_finite(made, "y_hat", "y")
    return PairRows(
        ids=tuple(ids.to_list()),
        code=coded(made.table["id"], ids),
        ds=made.table["ds"].to_numpy(),
        y=made.table["y"].to_numpy(),
        y_hat=made.table["y_hat"].to_numpy(),
        left_out=merge_left_out(lost, made.left_out),
    )


def _table(
    opened: Opened,
    id_column: str,
    ds_column: str | None,
    numbers: Mapping[str, str],
    cutoff_column: str | None = None,
) -> pl.DataFrame:
    """Return the columns id, row, the numbers, and ds, instant and cutoff where they are there."""
    table = {"id": read_ids(opened, id_column)}
    table |= {name: pl.Series(read_numbers(opened, column)) for name, column in numbers.items()}
    if ds_column is not None:
        times = read_times(opened, ds_column)
        table |= {"ds": pl.Series(times.wall), "instant": pl.Series(times.instant)}
    if cutoff_column is not None:
        table["cutoff"] = pl.Series(read_times(opened, cutoff_column).instant)
    return pl.DataFrame(table).with_row_index("row").rechunk()


def _actuals(source: Any, forecasts: Opened, keys: tuple[str, str], y_column: str) -> Sieve:
    """Return the actuals, one per stream and slot."""
    id_column, ds_column = keys
    opened = open_frame(source, (*keys, y_column))
    require(opened, [("unique_id", id_column), ("ds", ds_column), ("y", y_column)])
    _refuse_one_zone(forecasts, opened, ds_column)
    sieve = Sieve(_table(opened, *keys, {"y": y_column}))
    _remove_without_key(sieve, id_column, ds_column)
    sieve.remove("duplicate actual (stream, slot)", _superseded("id", "instant"))
    return sieve


def _keep_one_forecast(made: Sieve, id_column: str, ds_column: str) -> None:
    _remove_without_key(made, id_column, ds_column)
    if "cutoff" not in made.table.columns:
        made.remove("duplicate forecast (stream, slot)", _superseded("id", "instant"))
        return
    made.remove("duplicate forecast (stream, slot)", _superseded("id", "instant", "cutoff"))
    cutoff = pl.col("cutoff")
    latest = cutoff.max().over("id", "instant")
    older = (cutoff < latest) | (cutoff.is_null() & latest.is_not_null())
    made.remove("older forecast of the same slot", older)


def _join(made: Sieve, seen: Sieve) -> tuple[LeftOut, ...]:
    """Give the forecasts their actuals; return what was left out of the actuals."""
    key = ["id", "instant"]
    alone = seen.table.join(made.table, on=key, how="anti")
    y = seen.table.select(*key, "y", found=pl.lit(True))
    made.table = made.table.join(y, on=key, how="left", maintain_order="left")
    made.remove("forecast without actual", pl.col("found").is_null())
    if len(alone):
        seen.left_out.append(counted("actual without forecast", alone))
    return tuple(seen.left_out)


def _superseded(*key: str) -> pl.Expr:
    return ~pl.struct(*key).is_last_distinct()


def _remove_without_key(sieve: Sieve, id_column: str, ds_column: str) -> None:
    sieve.remove(f"null {id_column}", pl.col("id").is_null())
    sieve.remove(f"null {ds_column}", pl.col("ds").is_null())


def _remove_non_finite(sieve: Sieve, *names: str) -> None:
    for name in names:
        sieve.remove(f"missing {name}", pl.col(name).is_nan())
        sieve.remove(f"infinite {name}", pl.col(name).is_infinite())


def _forecast_column(opened: Opened, wanted: str, taken: set[str]) -> str:
    """Return the column of the forecasts; where ``y_hat`` is absent, the one numeric column."""
    if wanted in opened.frame.columns or wanted != "y_hat":
        require(opened, [("y_hat", wanted)])
        return wanted
    numeric = [
        name
        for name, kind in opened.frame.schema.items()
        if name not in taken and kind.is_numeric() and not _INTERVAL.fullmatch(name)
    ]
    if len(numeric) > 1:
        raise DataError(
            f"One column of {opened.where} must be the forecast. Got `y_hat` missing and several "
            f'numeric columns: {", ".join(numeric)}. Hint: y_hat_column="{numeric[0]}".',
        )
    if not numeric:
        require(opened, [("y_hat", wanted)])
    return numeric[0]


def _own_actuals(opened: Opened, y_column: str) -> str:
    if y_column not in opened.frame.columns:
        raise DataError(
            f"Actuals are missing: no frame of actuals was given, and {opened.where} has no "
            f"column `{y_column}`. Found: {', '.join(opened.frame.columns)}. "
            f"Hint: pass `actuals`, or name the column with `y_column`.",
        )
    return y_column


def _refuse_one_zone(forecasts: Opened, actuals: Opened, ds_column: str) -> None:
    zoned = read_times(forecasts, ds_column).zoned, read_times(actuals, ds_column).zoned
    if zoned[0] != zoned[1]:
        has, lacks = ("forecasts", "actuals") if zoned[0] else ("actuals", "forecasts")
        raise DataError(
            f"`{ds_column}` of forecasts and actuals must both have a time zone, or neither. Got "
            f"a zone in the {has} and none in the {lacks}. Hint: give both the same zone.",
        )
