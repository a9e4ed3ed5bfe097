"""What comes in between two cycles: rows of forecasts and actuals, sorted into parcels.

A parcel holds the rows of one kind and one period that arrived together. Takes nothing, gives the
nouns of door, store and join.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mlma.domain.leftovers import LeftOut

Kind = Literal["forecasts", "actuals", "benchmarks"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Forecasts, actuals, and forecasts of a benchmark model (`mlma.steps.ease`)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one kind and one period, in the order of their arrival; all ``(n,)``.

    stream
        int32, row of the stream in the registry of the store.
    place
        int32, number of the slot in its period.
    value
        float64, finite: ``y_hat`` or ``y``.
    cutoff
        int64, microseconds since 1970: when a forecast was made; None = not told by any row.
    """

    stream: NDArray[np.int32]
    place: NDArray[np.int32]
    value: NDArray[np.float64]
    cutoff: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.stream)

    def take(self, at: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Rows":
        """Return some of the rows."""
        cutoff = None if self.cutoff is None else self.cutoff[at]
        return Rows(self.stream[at], self.place[at], self.value[at], cutoff)


@dataclass(frozen=True, slots=True)
class Parcel:
    """Rows of one kind and one period that arrived together.

    number
        place in the order of arrival in the store, from 1; 0 = not stored yet.
    """

    kind: Kind
    period: int
    rows: Rows
    number: int = 0


NO_CUTOFF = np.iinfo(np.int64).min
"""Cutoff of a row without one beside rows that have one: older than any."""


def joined(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several parts, in their order; ``parts`` holds at least one."""
    if len(parts) == 1:
        return parts[0]
    cutoff = None
    if any(part.cutoff is not None for part in parts):
        cutoff = np.concatenate([_cutoffs(part) for part in parts])
    return Rows(
        np.concatenate([part.stream for part in parts]),
        np.concatenate([part.place for part in parts]),
        np.concatenate([part.value for part in parts]),
        cutoff,
    )


def _cutoffs(part: Rows) -> NDArray[np.int64]:
    return np.full(len(part), NO_CUTOFF) if part.cutoff is None else part.cutoff


def by_period(kind: Kind, period: NDArray[np.int64], rows: Rows) -> Iterator[Parcel]:
    """Yield a parcel per period, ``period (n,)`` tells which; rows keep their order."""
    if not len(period):
        return
    if period[0] == period[-1] and (period == period[0]).all():
        yield Parcel(kind, int(period[0]), rows)
        return
    order = np.argsort(period, kind="stable")
    numbers, starts = np.unique(period[order], return_index=True)
    for number, at in zip(numbers, np.split(order, starts[1:]), strict=True):
        yield Parcel(kind, int(number), rows.take(at))


@dataclass(frozen=True, slots=True)
class NamedRows:
    """Checked rows of one kind whose streams and slots still have names; all columns ``(n,)``.

    ids
        distinct names, in the order of their first row.
    code
        int32, place in ``ids``.
    instant
        datetime64[us], start of the slot: UTC where the grid has a zone, else as it came.
    value
        float64, finite.
    cutoff
        int64, microseconds since 1970, `NO_CUTOFF` = not told; None = not told by any row.
    left_out
        what was not used, and why; a pushed body is refused instead.
    """

    kind: Kind
    ids: tuple[str, ...]
    code: NDArray[np.int32]
    instant: NDArray[np.datetime64]
    value: NDArray[np.float64]
    cutoff: NDArray[np.int64] | None = None
    left_out: tuple[LeftOut, ...] = ()

    def __len__(self) -> int:
        return len(self.code)
