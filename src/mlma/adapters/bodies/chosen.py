"""Which columns of a body are read: those that the door names, and what may be a forecast."""

from collections.abc import Collection, Iterable

import polars as pl

from mlma.adapters.bodies.errors import BodyError
from mlma.adapters.frames.faults import shown
from mlma.adapters.frames.rows import LONGEST_ID, Door, value_column
from mlma.domain.inbox import Kind


def chosen(found: Iterable[str], numeric: Collection[str], kind: Kind, door: Door) -> list[str]:
    """Return the columns to read, in the order found.

    ``numeric`` are those that hold numbers: where ``y_hat`` is absent, one of them is the forecast.

    Raises
    ------
    BodyError
        A column is missing.

    >>> from mlma.domain.periods import Periods
    >>> import numpy as np
    >>> day = np.timedelta64(1, "D")
    >>> door = Door(Periods(day, day), np.datetime64("2025-03-01"))
    >>> chosen(["ds", "Ridge", "note", "unique_id"], ["Ridge"], "forecasts", door)
    ['ds', 'Ridge', 'unique_id']
    """
    names = list(found)
    for name in names:
        if len(name) > LONGEST_ID:
            raise BodyError(
                f"The name of a column must have at most {LONGEST_ID} characters. "
                f"Got {shown(name)}, {len(name):,}.",
                hint="push only the columns that are asked for",
            )
    schema = {name: pl.Float64 if name in numeric else pl.String for name in names}
    wanted = {door.unique_id, door.ds, value_column(pl.DataFrame(schema=schema), kind, door)}
    wanted |= {door.cutoff} if kind != "actuals" else set()
    return [name for name in names if name in wanted]
