"""The state of the agent: one dense row per stream, one column per quantity.

Takes nothing, gives the columns that the steps of a cycle read and write. All steps are pure: they
return new columns and leave the old ones alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import ReferenceBatch, mean_losses
from mlma.domain.columns import Columns
from mlma.domain.moments import Moments
from mlma.domain.profiles import ProfileMoments

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]

NOT_OPEN = -1


@dataclass(frozen=True, slots=True)
class Waiting(Columns):
    """Batches that wait outside the reference until it is known whether they were healthy.

    All ``(n_streams,) float32``: how many they are, and the sums of their deviations from the
    expected log mean and of the squares of these.
    """

    batches: Singles
    total: Singles
    squares: Singles

    @classmethod
    def none(cls, n_streams: int) -> "Waiting":
        """Return streams for which nothing waits."""
        zeros = np.zeros(n_streams, dtype=np.float32)
        return cls(zeros, zeros, zeros)


@dataclass(frozen=True, slots=True)
class LossWindow(Columns):
    """The single losses of the last healthy batches, for tests that read them.

    losses
        ``(n_streams, m, slots) float64``, difficulty taken out; NaN = missing. Written round robin.
    calendar
        ``(n_streams, m) int8``, class of each batch.
    place
        ``(n_streams,) int32``, where the next batch is written.
    """

    losses: Floats
    calendar: NDArray[np.int8]
    place: Ints

    @classmethod
    def empty(cls, n_streams: int, batches: int, slots: int) -> "LossWindow":
        """Return windows of ``batches`` empty places."""
        losses = np.full((n_streams, batches, slots), np.nan)
        calendar = np.zeros((n_streams, batches), dtype=np.int8)
        return cls(losses, calendar, np.zeros(n_streams, dtype=np.int32))

    def reference(self) -> ReferenceBatch:
        """Return the batches as the tests on single losses read them."""
        return ReferenceBatch(mean_losses(self.losses), self.calendar, self.losses)


@dataclass(frozen=True, slots=True)
class ReferenceState(Columns):
    """The reference loss batch of every stream.

    moments
        of the log means of its batches, difficulty taken out.
    waiting
        batches whose verdict is open.
    anchor_level
        ``(n_streams,) float64``, the best level since the last re-training, a mean log; NaN = not
        known yet.
    window
        single losses, or None where the test does not read them.
    slot_profile
        profile of the slots, or None where the test does not read it.
    """

    moments: Moments
    waiting: Waiting
    anchor_level: Floats
    window: LossWindow | None
    slot_profile: ProfileMoments | None

    @classmethod
    def empty(
        cls,
        n_streams: int,
        n_classes: int,
        window: LossWindow | None = None,
        slot_profile: ProfileMoments | None = None,
    ) -> "ReferenceState":
        """Return empty references, with what their test remembers beside the moments."""
        return cls(
            moments=Moments.empty(n_streams, n_classes),
            waiting=Waiting.none(n_streams),
            anchor_level=np.full(n_streams, np.nan),
            window=window,
            slot_profile=slot_profile,
        )


@dataclass(frozen=True, slots=True)
class AgentState(Columns):
    """All that the agent remembers of its streams between two cycles.

    key
        ``(n_streams,) uint64``, hash of the stream's name: the seed of its random phases, so that
        chance does not depend on which other streams are there.
    age
        ``(n_streams,) int32``, batches since the deployed version was trained.
    version
        ``(n_streams,) int32``, number of the deployed version, from 1; 0 = none known.
    cycle
        ``(n_streams,) int32``, number of cycles in which this stream was seen.
    cusum_up, cusum_down
        ``(n_streams,) float64``, evidence added up for a higher and for a lower loss of this
        stream, apart from what its group has in common.
    cusum_drift
        ``(n_streams,) float64``, the same for a loss above the anchored level.
    cusum_all
        ``(n_streams,) float64``, the same for a higher loss, the common part included.
    alarms_in_a_row
        ``(n_streams,) int32``.
    episode
        ``(n_streams,) int32``, batches since the alarm whose follow-ups are still due;
        ``NOT_OPEN`` = none.
    birth_level
        ``(n_streams,) float64``, mean log of the reference at deployment; NaN = not known yet.
    next_review, oldest
        ``(n_streams,) float32``, age of the next review and maximum age; infinite = never.
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
    cusum_drift: Floats
    cusum_all: Floats
    alarms_in_a_row: Ints
    episode: Ints
    birth_level: Floats
    next_review: Singles
    oldest: Singles
    benchmark_level: Floats
    pending: Bools

    @classmethod
    def new(cls, key: NDArray[np.uint64], reference: ReferenceState) -> "AgentState":
        """Return the state of streams that were never seen; ``reference`` is an empty one."""
        n = len(key)
        counter, nothing = np.zeros(n, dtype=np.int32), np.zeros(n)
        never = np.full(n, np.inf, dtype=np.float32)
        return cls(
            key=key,
            reference=reference,
            age=counter,
            version=counter,
            cycle=counter,
            cusum_up=nothing,
            cusum_down=nothing,
            cusum_drift=nothing,
            cusum_all=nothing,
            alarms_in_a_row=counter,
            episode=np.full(n, NOT_OPEN, dtype=np.int32),
            birth_level=np.full(n, np.nan),
            next_review=never,
            oldest=never,
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
