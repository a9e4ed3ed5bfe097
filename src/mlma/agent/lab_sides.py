"""The two sides of the policy lab: which versions are live, what broke, what was seen of late.

Takes what becomes known cycle by cycle, keeps it for `mlma.agent.lab_tried`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.agent.judging import Inputs
from mlma.agent.lab_history import NEVER

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class Side:
    """Versions and open re-trainings of one side, ``(n_streams,) int64`` each.

    version
        what tells two versions apart: the number of the action that brought it; below 0 = one that
        never was; 0 = the first.
    trained
        cycle after which it was trained.
    decided, asked
        cycle of the open re-training; `NEVER` = none.
    """

    version: Ints
    trained: Ints
    decided: Ints
    asked: Ints

    @classmethod
    def new(cls, n: int) -> "Side":
        """Return streams with their first versions."""
        zero, none = np.zeros(n, dtype=np.int64), np.full(n, NEVER, dtype=np.int64)
        return cls(zero, zero.copy(), none, none.copy())

    def went_live(self, rows: Ints, version: int | Ints, trained: Ints) -> None:
        """Take note of new versions."""
        self.version[rows], self.trained[rows] = version, trained
        self.closed(rows)

    def closed(self, rows: Ints) -> None:
        """Take note that nothing is asked for any more."""
        self.decided[rows] = self.asked[rows] = NEVER


@dataclass(slots=True)
class Breaks:
    """Breaks that either side alarmed, in the order in which they became known, ``(k,)`` each.

    row, began
        stream, and first batch.
    risen
        by how much the log loss rose for good.
    newest
        ``(n_streams,) int64``, place of each stream's newest break; `NEVER` = it has none.
    """

    row: Ints
    began: Ints
    risen: Floats
    newest: Ints

    @classmethod
    def none(cls, n: int) -> "Breaks":
        """Return streams without one."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, np.zeros(0), np.full(n, NEVER, dtype=np.int64))

    def began_of(self, rows: Ints) -> Ints:
        """Return when the newest break of each stream began; `NEVER` = it has none."""
        place = self.newest[rows]
        return np.where(place >= 0, np.append(self.began, NEVER)[place], NEVER)

    def add(self, rows: Ints, began: Ints, risen: Floats) -> None:
        """Take note of new breaks, one per stream."""
        self.newest[rows] = len(self.row) + np.arange(len(rows))
        self.row = np.concatenate([self.row, rows])
        self.began = np.concatenate([self.began, began])
        self.risen = np.concatenate([self.risen, risen])


@dataclass(slots=True)
class Recent:
    """What was recorded of the last batches, ``(n_streams, batches)``, the newest at the end.

    ``trained`` tells after which cycle the version was trained that was really live.
    """

    cycles: list[int]
    calendar: list[int]
    loss: Floats
    ease: Floats
    trained: Ints

    @classmethod
    def nothing(cls, n: int, batches: int) -> "Recent":
        """Return the memory before the first batch."""
        shape = (n, batches)
        return cls([], [], np.full(shape, np.nan), np.ones(shape), np.zeros(shape, dtype=np.int64))

    def add(self, cycle: int, inputs: Inputs, ease: Floats, trained: Ints) -> None:
        """Take a batch in; the oldest one goes."""
        width = self.loss.shape[1]
        if not width:
            return
        for column in (self.loss, self.ease, self.trained):
            column[:, :-1] = column[:, 1:].copy()
        self.loss[:, -1], self.ease[:, -1], self.trained[:, -1] = np.nan, 1.0, trained
        self.loss[inputs.rows, -1], self.ease[inputs.rows, -1] = inputs.loss, ease
        calendar = int(inputs.calendar[0]) if len(inputs.calendar) else 0
        self.cycles = [*self.cycles, cycle][-width:]
        self.calendar = [*self.calendar, calendar][-width:]
