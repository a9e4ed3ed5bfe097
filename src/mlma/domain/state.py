"""The state of the agent: one dense row per stream, one column per quantity.

Takes nothing, gives the columns that the steps of a cycle read and write. All steps are pure: they
return new columns and leave the old ones alone.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import ReferenceBatch, mean_losses

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NOT_OPEN = -1


class Columns:
    """Row operations shared by the records of equal-length columns."""

    def rows(self, at: Ints) -> Self:
        """Return some rows, as copies."""
        return self._made(lambda column: column[at])

    def with_rows(self, at: Ints, other: Self) -> Self:
        """Return a copy with rows ``at`` replaced by those of ``other``."""
        return self._paired(other, lambda mine, theirs: _put(mine, at, theirs))

    def joined(self, other: Self) -> Self:
        """Return the rows of both, those of ``other`` below."""
        return self._paired(other, lambda mine, theirs: np.concatenate([mine, theirs]))

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


@dataclass(frozen=True, slots=True)
class ReferenceState(Columns):
    """Rolling window of healthy batches per stream, and the window at its best level.

    means, calendar, losses
        the rolling window as in `ReferenceBatch`, difficulty taken out; ``m`` places, written
        round robin.
    place
        ``(n_streams,) int64``, where the next batch is written.
    anchor_means, anchor_calendar, anchor_losses
        copy of the rolling window at its best level since the last re-training.
    """

    means: Floats
    calendar: NDArray[np.int8]
    losses: Floats | None
    place: Ints
    anchor_means: Floats
    anchor_calendar: NDArray[np.int8]
    anchor_losses: Floats | None

    @classmethod
    def empty(cls, n_streams: int, batches: int, slots: int | None) -> "ReferenceState":
        """Return empty references of ``batches`` places; ``slots=None`` keeps batch means only."""
        means = np.full((n_streams, batches), np.nan)
        calendar = np.zeros((n_streams, batches), dtype=np.int8)
        losses = None if slots is None else np.full((n_streams, batches, slots), np.nan)
        place = np.zeros(n_streams, dtype=np.int64)
        return cls(means, calendar, losses, place, means, calendar, losses)

    @property
    def rolling(self) -> ReferenceBatch:
        """The batches accepted last."""
        return ReferenceBatch(self.means, self.calendar, self.losses)

    @property
    def anchored(self) -> ReferenceBatch:
        """The batches at the best level since the last re-training."""
        return ReferenceBatch(self.anchor_means, self.anchor_calendar, self.anchor_losses)


@dataclass(frozen=True, slots=True)
class AgentState(Columns):
    """All that the agent remembers of its streams between two cycles.

    key
        ``(n_streams,) uint64``, hash of the stream's name: the seed of its random phases, so that
        chance does not depend on which other streams are there.
    age
        ``(n_streams,) int64``, batches since the deployed version was trained.
    version
        ``(n_streams,) int64``, number of the deployed version, from 1; 0 = none known.
    cycle
        ``(n_streams,) int64``, number of cycles in which this stream was seen.
    cusum_up, cusum_down
        ``(n_streams,) float64``, evidence added up for a higher and for a lower loss.
    alarms_in_a_row
        ``(n_streams,) int64``.
    episode
        ``(n_streams,) int64``, batches since the alarm whose follow-ups are still due;
        ``NOT_OPEN`` = none.
    birth_level
        ``(n_streams,) float64``, mean log of the reference at deployment; NaN = not known yet.
    next_review, oldest
        ``(n_streams,) float64``, age of the next review and maximum age; infinite = never.
    benchmark_level
        ``(n_streams,) float64``, usual loss of the benchmark; NaN = none seen.
    pending
        ``(n_streams,) bool``, a re-training was asked for and is not reported yet.
    """

    key: NDArray[np.uint64]
    reference: ReferenceState
    age: Ints
    version: Ints
    cycle: Ints
    cusum_up: Floats
    cusum_down: Floats
    alarms_in_a_row: Ints
    episode: Ints
    birth_level: Floats
    next_review: Floats
    oldest: Floats
    benchmark_level: Floats
    pending: Bools

    @classmethod
    def new(cls, key: NDArray[np.uint64], batches: int, slots: int | None) -> "AgentState":
        """Return the state of streams that were never seen."""
        n = len(key)
        zeros = np.zeros(n, dtype=np.int64)
        return cls(
            key=key,
            reference=ReferenceState.empty(n, batches, slots),
            age=zeros,
            version=zeros,
            cycle=zeros,
            cusum_up=np.zeros(n),
            cusum_down=np.zeros(n),
            alarms_in_a_row=zeros,
            episode=np.full(n, NOT_OPEN, dtype=np.int64),
            birth_level=np.full(n, np.nan),
            next_review=np.full(n, np.inf),
            oldest=np.full(n, np.inf),
            benchmark_level=np.full(n, np.nan),
            pending=np.zeros(n, dtype=np.bool_),
        )

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Out-of-sample losses that new model versions bring: the start of their references.

    losses
        ``(k, n_batches, slots) float64`` for ``k`` streams, oldest batch first; NaN = missing.
    calendar
        ``(k, n_batches) int8``.
    difficulty
        ``(k, n_batches) float64``, by which the losses are divided before they are compared; 1 =
        nothing taken out.
    """

    losses: Floats
    calendar: NDArray[np.int8]
    difficulty: Floats

    def means(self) -> Floats:
        """Return the mean loss of each batch, ``(k, n_batches)``; NaN = no loss."""
        return mean_losses(self.losses)
