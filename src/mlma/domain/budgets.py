"""Budgets: how many re-trainings a cycle may start, and what is remembered to keep to it.

Takes nothing, gives the settings and the columns that `mlma.steps.budget` reads and writes.
"""

from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns
from mlma.domain.errors import SettingsError, unknown_name
from mlma.domain.verdicts import Codes

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

RANKS = ("expected_saving", "evidence_and_age")


@dataclass(frozen=True, slots=True)
class Budget:
    """What re-training may cost per cycle; where both limits are given, both hold.

    fits
        re-trainings per cycle: a whole number, or a share of the live streams between 0 and 1;
        fractions add up over cycles. None = no limit.
    seconds
        expected training seconds per cycle. None = no limit.
    rank
        ``expected_saving``: the largest expected loss saved per training second first;
        ``evidence_and_age``: the largest ``evidence / 6 + age / 120`` first.
    spend_rest
        what would be lost, because no more can be carried over, goes to the oldest models.
    carry_cycles
        cycles whose budget may be carried over, unspent.

    Raises
    ------
    SettingsError
        A limit is negative, not a number, or a fraction above 1; ``rank`` is not known.

    >>> Budget(fits=0.0025).fits_per_cycle(1000)
    2.5
    """

    fits: float | None = None
    seconds: float | None = None
    rank: str = "expected_saving"
    spend_rest: bool = False
    carry_cycles: float = 7.0

    def __post_init__(self) -> None:
        if self.rank not in RANKS:
            raise unknown_name("rank of Budget", str(self.rank), RANKS)
        _check(
            "fits", self.fits, is_count_or_share(self.fits), "a whole number, or a share", "0.01"
        )
        _check("seconds", self.seconds, is_limit(self.seconds), "0 or more", "seconds=60.0")
        good = is_limit(self.carry_cycles) and self.carry_cycles is not None
        _check("carry_cycles", self.carry_cycles, good, "0 or more cycles", "carry_cycles=7")

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.fits is not None or self.seconds is not None

    def fits_per_cycle(self, n_streams: int) -> float:
        """Return the re-trainings that a cycle of ``n_streams`` adds; infinite = no limit."""
        if self.fits is None:
            return inf
        return self.fits * n_streams if isinstance(self.fits, float) else float(self.fits)

    def seconds_per_cycle(self) -> float:
        """Return the training seconds that a cycle adds; infinite = no limit."""
        return inf if self.seconds is None else float(self.seconds)


def is_limit(value: float | None) -> bool:
    """Return whether this can be a limit: None, or a number that is 0 or more."""
    return value is None or (not isinstance(value, bool) and isfinite(value) and value >= 0)


def is_count_or_share(value: float | None) -> bool:
    """Return whether this can be a number of fits: whole, or a share between 0 and 1."""
    if isinstance(value, float):
        return 0 < value < 1
    return is_limit(value)


def _check(setting: str, got: object, good: bool, expected: str, hint: str) -> None:
    if not good:
        raise SettingsError(
            f"`{setting}` of `Budget` must be {expected}. Got {got!r}. Hint: {hint}.",
        )


@dataclass(frozen=True, slots=True)
class BudgetColumns(Columns):
    """What is remembered per stream, all ``(n_streams,)``.

    waiting
        int32, cycles that a re-training has been deferred; 0 = none waits.
    reason
        int8, why it was asked for.
    seconds, fits
        float32, mean seconds of the stream's fits, and how many that mean rests on.
    """

    waiting: NDArray[np.int32]
    reason: Codes
    seconds: Singles
    fits: Singles


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What is remembered to keep to a budget.

    streams
        one row per stream.
    spare_fits, spare_seconds
        unspent budget that is carried over.
    fleet_seconds, fleet_fits
        mean seconds of a fit in the fleet, and the fits that it rests on.
    """

    streams: BudgetColumns
    spare_fits: float = 0.0
    spare_seconds: float = 0.0
    fleet_seconds: float = 1.0
    fleet_fits: float = 0.0

    @classmethod
    def new(cls, n_streams: int) -> "BudgetState":
        """Return the state of streams that were never trained."""
        nothing = np.zeros(n_streams, dtype=np.float32)
        waiting, reason = np.zeros(n_streams, dtype=np.int32), np.zeros(n_streams, dtype=np.int8)
        return cls(BudgetColumns(waiting, reason, nothing, nothing))

    def __len__(self) -> int:
        return len(self.streams.waiting)

    def rows(self, at: Ints | slice) -> "BudgetState":
        """Return the state with some streams only; what belongs to the fleet stays whole."""
        return self._with(self.streams.rows(at))

    def with_rows(self, at: Ints, other: "BudgetState") -> "BudgetState":
        """Return ``other`` with its streams put back at rows ``at`` among these."""
        return other._with(self.streams.with_rows(at, other.streams))

    def joined(self, other: "BudgetState") -> "BudgetState":
        """Return the state with the streams of ``other`` below."""
        return self._with(self.streams.joined(other.streams))

    def _with(self, streams: BudgetColumns) -> "BudgetState":
        return BudgetState(
            streams, self.spare_fits, self.spare_seconds, self.fleet_seconds, self.fleet_fits
        )
