"""Rows that pass one check after the other; those that do not are counted with examples."""

from typing import Any

import polars as pl

from mlma.domain.leftovers import LeftOut


class Sieve:
    """A table with the columns ``id``, ``row`` and perhaps ``ds``, and what fell out of it."""

    def __init__(self, table: pl.DataFrame) -> None:
        self.table = table
        self.left_out: list[LeftOut] = []

    def remove(self, reason: str, condition: pl.Expr) -> None:
        """Take out the rows that meet a condition; null counts as not met."""
        met = self.table.select(condition.fill_null(False)).to_series()
        if met.any():
            self.left_out.append(counted(reason, self.table.filter(met)))
            self.table = self.table.filter(~met)


def counted(reason: str, table: pl.DataFrame) -> LeftOut:
    """Return the entry for all rows of a table; examples name stream and time, or the row."""
    examples = tuple(_shown(row) for row in table.head(3).iter_rows(named=True))
    return LeftOut(reason, "rows", len(table), examples)


def _shown(row: dict[str, Any]) -> str:
    if row["id"] is None:
        return f"row {row['row'] + 1}"
    moment = row.get("ds")
    return f"{row['id']} {moment:%Y-%m-%d %H:%M:%S}" if moment else str(row["id"])
