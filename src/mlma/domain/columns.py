"""Records of equal-length columns: one dense row per stream, one column per quantity.

Takes nothing, gives the row operations that every record of the agent's state shares.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Columns:
    """Row operations shared by the records of equal-length columns."""

    def rows(self, at: Ints | slice) -> Self:
        """Return some rows: copies, or views of a slice."""
        return self._made(lambda column: column[at])

    def with_rows(self, at: Ints, other: Self) -> Self:
        """Return a copy with rows ``at`` replaced by those of ``other``."""
        return self._paired(other, lambda mine, theirs: _put(mine, at, theirs))

    def joined(self, other: Self) -> Self:
        """Return the rows of both, those of ``other`` below."""
        return self._paired(other, lambda mine, theirs: np.concatenate([mine, theirs]))

    def flat(self, path: str = "") -> dict[str, NDArray[Any]]:
        """Return all columns, those of records inside it by dotted name, such as ``a.b``."""
        made: dict[str, NDArray[Any]] = {}
        for name, value in self._items():
            if isinstance(value, Columns):
                made |= value.flat(f"{path}{name}.")
            elif value is not None:
                made[path + name] = value
        return made

    def refilled(self, columns: Mapping[str, NDArray[Any]], path: str = "") -> Self:
        """Return a record of this form with other columns, named as in `flat`."""
        changed = {
            name: value.refilled(columns, f"{path}{name}.")
            if isinstance(value, Columns)
            else columns.get(path + name)
            for name, value in self._items()
        }
        return replace(self, **changed)  # type: ignore[type-var]  # subclasses are dataclasses

    def nbytes(self) -> int:
        """Return the memory of all columns, in bytes."""
        return sum(column.nbytes for column in self.flat().values())

    def _made(self, change: Any) -> Self:
        return replace(self, **{name: _one(old, change) for name, old in self._items()})  # type: ignore[type-var]

    def _paired(self, other: Self, change: Any) -> Self:
        changed = {name: _two(mine, getattr(other, name), change) for name, mine in self._items()}
        return replace(self, **changed)  # type: ignore[type-var]  # subclasses are dataclasses

    def _items(self) -> list[tuple[str, Any]]:
        return [(spec.name, getattr(self, spec.name)) for spec in fields(self)]  # type: ignore[arg-type]


def _one(column: Any, change: Any) -> Any:
    if column is None:
        return None
    return column._made(change) if isinstance(column, Columns) else change(column)


def _two(mine: Any, theirs: Any, change: Any) -> Any:
    if mine is None:
        return None
    return mine._paired(theirs, change) if isinstance(mine, Columns) else change(mine, theirs)


def _put(column: NDArray[Any], at: Ints, values: NDArray[Any]) -> NDArray[Any]:
    changed = column.copy()
    changed[at] = values
    return changed
