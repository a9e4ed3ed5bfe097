"""Columns beyond id, time and value: tags of the streams and exogenous features of the slots.

Takes the user's wishes or, without any, the types of the columns. Gives labels per stream and
names of features. Next is the panel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.frames.columns import Codes, Columns, is_text, require
from mlma.adapters.frames.grids import Rows
from mlma.adapters.frames.opening import Opened
from mlma.domain.errors import DataError, SettingsError, first_three
from mlma.domain.leftovers import LeftOut

NO_ROLE = "neither numeric nor constant within each stream"
NO_LABEL = "(missing)"


@dataclass(frozen=True, slots=True)
class Extras:
    """Which columns are tags, which may be (``candidates``), and which are exogenous features."""

    tags: tuple[str, ...]
    candidates: tuple[str, ...]
    exogenous: tuple[str, ...]


def choose(
    opened: Opened,
    columns: Columns,
    tags: Sequence[str] | None,
    exogenous: Sequence[str] | None,
) -> Extras:
    """Return the roles of the further columns.

    Without wishes, numeric columns (and booleans) are exogenous and the others are candidates for
    tags. A wish for one kind leaves the other as it would be.

    Raises
    ------
    DataError
        A column that was asked for is not there.
    SettingsError
        A column was asked for in two roles.
    """
    _refuse_two_roles(columns, tags or (), exogenous or ())
    require(opened, [("tag", name) for name in tags or ()])
    require(opened, [("exogenous", name) for name in exogenous or ()])
    taken = {columns.unique_id, columns.ds, columns.y, *(tags or ()), *(exogenous or ())}
    free = {name: kind for name, kind in opened.frame.schema.items() if name not in taken}
    numeric = tuple(name for name, kind in free.items() if kind.is_numeric() or kind == pl.Boolean)
    others = tuple(name for name in free if name not in numeric)
    return Extras(
        tags=tuple(tags or ()),
        candidates=others if tags is None else (),
        exogenous=numeric if exogenous is None else tuple(exogenous),
    )


def labels(
    opened: Opened, extras: Extras, kept: NDArray[np.bool_], rows: Rows
) -> tuple[dict[str, tuple[str, ...]], tuple[LeftOut, ...]]:
    """Return the labels per stream of every tag, and the columns that have no role.

    ``kept`` masks the rows of the source that became ``rows``. A null label is ``(missing)``.

    Raises
    ------
    DataError
        A tag that was asked for varies within a stream.
    """
    found: dict[str, tuple[str, ...]] = {}
    without_role = []
    for name in extras.tags + extras.candidates:
        text = _as_text(opened.frame[name].filter(pl.Series(kept)))
        chosen, varying = _per_stream(text, rows.code) if text is not None else ([], None)
        if varying is not None and not varying.any():
            found[name] = tuple(chosen)
        elif name in extras.candidates:
            without_role.append(name)
        else:
            raise _no_tag(opened, name, varying, rows.ids)
    if not without_role:
        return found, ()
    count, shown = len(without_role), tuple(without_role[:3])
    return found, (LeftOut(NO_ROLE, "columns", count, shown),)


def names(wish: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Return a wish for columns as a tuple; a single name may be plain text."""
    if wish is None:
        return None
    return (wish,) if isinstance(wish, str) else tuple(wish)


def _refuse_two_roles(columns: Columns, tags: Sequence[str], exogenous: Sequence[str]) -> None:
    asked = [*tags, *exogenous, columns.unique_id, columns.ds, columns.y]
    twice = sorted({name for name in asked if asked.count(name) > 1})
    if twice:
        raise SettingsError(
            f"A column must have one role among id, time, value, `tags` and `exogenous`. "
            f"Got `{twice[0]}` more than once.",
        )


def _as_text(series: pl.Series) -> pl.Series | None:
    """Return a column as labels; None = it holds nothing, or nothing that makes a label."""
    plain = isinstance(series.dtype, pl.Boolean | pl.Date | pl.Datetime)
    if not (plain or series.dtype.is_numeric() or is_text(series)):
        return None
    text = series.cast(pl.String)
    return None if text.null_count() == len(text) else text


def _per_stream(text: pl.Series, code: Codes) -> tuple[list[str], NDArray[np.bool_]]:
    table = pl.DataFrame({"code": code, "text": text}).group_by("code")
    extremes = table.agg(low=pl.col("text").min(), high=pl.col("text").max()).sort("code")
    varying = (extremes["low"] != extremes["high"]).fill_null(False).to_numpy()
    return extremes["low"].fill_null(NO_LABEL).to_list(), varying


def _no_tag(
    opened: Opened, name: str, varying: NDArray[np.bool_] | None, ids: tuple[str, ...]
) -> DataError:
    if varying is None:
        return DataError(
            f"Tag `{name}` of {opened.where} must hold labels. "
            f"Got {opened.frame[name].dtype} without any label.",
        )
    streams = [ids[row] for row in np.flatnonzero(varying)]
    return DataError(
        f"Tag `{name}` of {opened.where} must be constant within each stream. It varies within "
        f"{len(streams)} streams: {first_three(streams)}. Hint: a feature that changes over time "
        f"belongs to `exogenous`, as a number.",
    )
