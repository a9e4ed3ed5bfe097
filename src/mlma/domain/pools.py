"""The pool of each stream: its members' scores per class of slots, in columns of constant size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns

Singles = NDArray[np.float32]

EMPTY = -1


@dataclass(frozen=True, slots=True)
class PoolState(Columns):
    """What a pool remembers of its members.

    Members stand in places: the model versions first, then the long-history member and the
    seasonal-naive one where the policy has them.

    scores
        ``(n_streams, n_classes, n_members) float32``, as the rule of combination keeps them.
    unit
        ``(n_streams, n_classes) float32``, running mean of the members' mean loss: the unit in
        which the rule sees losses; NaN = not known yet.
    born
        ``(n_streams, n_members) int32``, batch at which the member came in; -1 = the place is
        empty.
    """

    scores: Singles
    unit: Singles
    born: NDArray[np.int32]

    @classmethod
    def empty(cls, n_streams: int, n_classes: int, n_members: int) -> "PoolState":
        """Return pools without a member."""
        return cls(
            scores=np.zeros((n_streams, n_classes, n_members), dtype=np.float32),
            unit=np.full((n_streams, n_classes), np.nan, dtype=np.float32),
            born=np.full((n_streams, n_members), EMPTY, dtype=np.int32),
        )

    def __len__(self) -> int:
        return len(self.born)

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which places have a member, ``(n_streams, n_members)``."""
        return np.asarray(self.born != EMPTY)
