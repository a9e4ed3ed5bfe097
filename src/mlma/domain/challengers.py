"""Challengers: versions that are scored in the shadow of the deployed one, the champion.

Takes nothing, gives the columns that gate and roll-back read and write. One stream has one
challenger at most; what is remembered of it does not depend on how long it stays.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Codes = NDArray[np.int8]


class Role(IntEnum):
    """Why a version is scored beside the deployed one."""

    NONE = 0  # there is no challenger
    CANDIDATE = 1  # a new version on trial: it goes live if it is better
    FORMER = 2  # the version that was replaced: it comes back if it is better

    @property
    def label(self) -> str:
        """Lower-case name, as frames and pages show it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class PairedEvidence(Columns):
    """What two versions' losses on the same batches say about which of them is better.

    batches
        ``(n_streams,) int32``, batches in which both had a loss.
    better, worse
        ``(n_streams, n_bets) float64``, log capital of each bet on the challenger and against it;
        0 = the stake.
    champion_loss, challenger_loss
        ``(n_streams,) float64``, sums of both versions' mean losses over these batches.
    log_total, log_squares
        ``(n_streams,) float64``, sums of the log ratio of the losses and of its square.
    """

    batches: Ints
    better: Floats
    worse: Floats
    champion_loss: Floats
    challenger_loss: Floats
    log_total: Floats
    log_squares: Floats

    @classmethod
    def none(cls, n_streams: int, n_bets: int) -> "PairedEvidence":
        """Return the evidence before the first batch."""
        stake, nothing = np.zeros((n_streams, n_bets)), np.zeros(n_streams)
        counter = np.zeros(n_streams, dtype=np.int32)
        return cls(counter, stake, stake, nothing, nothing, nothing, nothing)

    def __len__(self) -> int:
        return len(self.batches)


@dataclass(frozen=True, slots=True)
class Challengers(Columns):
    """The challenger of every stream.

    role
        ``(n_streams,) int8``, codes of `Role`.
    age
        ``(n_streams,) int32``, batches since it became a challenger, those without a loss
        included and held-out ones not: it came in ``age`` batches ago.
    evidence
        of the paired losses, held-out ones included.
    """

    role: Codes
    age: Ints
    evidence: PairedEvidence

    @classmethod
    def none(cls, n_streams: int, n_bets: int) -> "Challengers":
        """Return streams without a challenger."""
        return cls(
            role=np.zeros(n_streams, dtype=np.int8),
            age=np.zeros(n_streams, dtype=np.int32),
            evidence=PairedEvidence.none(n_streams, n_bets),
        )

    def __len__(self) -> int:
        return len(self.role)

    def having(self, role: Role) -> NDArray[np.int64]:
        """Return the rows whose challenger has this role.

        >>> Challengers.none(3, 2).having(Role.NONE).tolist()
        [0, 1, 2]
        """
        return np.flatnonzero(self.role == role)
