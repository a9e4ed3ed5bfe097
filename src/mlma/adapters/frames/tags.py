"""Tags of streams, as the live agent reads them.

Takes a frame or path, gives the value of each tag per stream. Next are the groups.
"""

from typing import Any

import polars as pl

from mlma.adapters.frames.columns import require
from mlma.adapters.frames.opening import open_frame
from mlma.domain.errors import DataError, first_three


def read_tags(source: Any, id_column: str) -> dict[str, dict[str, str]]:
    """Return the values of each tag by stream; a missing value is left out.

    Raises
    ------
    DataError
        The source cannot be read, has no column of names or no tag, or a stream has two values.
    """
    opened = open_frame(source, [id_column])
    require(opened, [("stream", id_column)])
    frame = opened.frame
    names = [name for name in frame.columns if name != id_column]
    if not names:
        raise DataError(
            f"{opened.where} has no tag. Expected `{id_column}` and at least one column more. "
            f"Got only `{id_column}`.",
        )
    return {name: _values(frame, id_column, name, opened.where) for name in names}


def _values(frame: pl.DataFrame, id_column: str, name: str, where: str) -> dict[str, str]:
    pairs = frame.select(pl.col(id_column, name).cast(pl.String)).drop_nulls().unique()
    double = pairs.group_by(id_column).len().filter(pl.col("len") > 1)[id_column]
    if len(double):
        raise DataError(
            f"`{name}` in {where} must have one value per stream. Got several for {len(double)} "
            f"streams: {first_three(sorted(double))}. Hint: a tag does not change over time.",
        )
    return dict(zip(pairs[id_column].to_list(), pairs[name].to_list(), strict=True))
