"""Outcomes: what is remembered while a re-training proves itself, and what came of it.

Takes nothing, gives the columns that `mlma.steps.outcome` and `mlma.steps.escalate` read and write,
the finished outcomes, and what the fleet has learnt from them as sums.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns
from mlma.domain.state import NOT_OPEN
from mlma.domain.verdicts import Codes, Reason

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Counts = NDArray[np.int8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

JUDGED = 7
"""Batches before and after a re-training whose losses are compared: a week of days."""

FEWEST_PAIRS = 4
"""Pairs of batches below which an outcome is not told."""

N_FEATURES = 3
"""Numbers that are remembered of a decision: lower bound of the rise, evidence, age."""


class Kind(IntEnum):
    """What asked for a re-training."""

    NONE = 0
    ALARM = 1
    FOLLOW_UP = 2  # of an alarm: due because the first version was trained on too little new data
    AGE = 3  # maximum age, review, schedule, what the budget left over, or a person


_ALARMS = (Reason.ALARM, Reason.DRIFT, Reason.COMMON, Reason.AWAKENED, Reason.IMPROVED)
_KIND_OF = np.full(np.iinfo(np.int8).max + 1, Kind.AGE, dtype=np.int8)
_KIND_OF[[*_ALARMS]] = Kind.ALARM
_KIND_OF[Reason.FOLLOW_UP] = Kind.FOLLOW_UP


def kinds(reason: Codes) -> Codes:
    """Return what asked for a re-training that was decided on for these reasons, a `Kind` each.

    >>> codes = np.array([Reason.ALARM, Reason.FOLLOW_UP, Reason.MAX_AGE], dtype=np.int8)
    >>> [Kind(code).name for code in kinds(codes)]
    ['ALARM', 'FOLLOW_UP', 'AGE']
    """
    return _KIND_OF[reason]


@dataclass(frozen=True, slots=True)
class Asked(Columns):
    """What was known when a re-training was last granted or withheld.

    kind
        ``(n_streams,) int8``, a `Kind`.
    features
        ``(n_streams, N_FEATURES) float32``: lower confidence bound of the rise in logs, evidence
        added up, age in batches; NaN = not known.
    since
        ``(n_streams,) int8``, batches before it that what asked for it is old, up to `JUDGED`.
    """

    kind: Counts
    features: Singles
    since: Counts

    @classmethod
    def nothing(cls, n_streams: int) -> "Asked":
        """Return streams of which nothing was asked."""
        features = np.full((n_streams, N_FEATURES), np.nan, dtype=np.float32)
        count = np.zeros(n_streams, dtype=np.int8)
        return cls(count, features, np.full(n_streams, JUDGED, dtype=np.int8))


@dataclass(frozen=True, slots=True)
class Window(Columns):
    """The outcome that is being measured, all ``(n_streams,)``.

    asked
        what was known at its decision; kind ``NONE`` = nothing is being measured.
    withheld
        bool, the re-training was withheld at random.
    step
        float32, what the last ``asked.since`` batches before lie above the last `JUDGED`, in logs.
    batches, pairs
        int8, batches since, and those of them that have a loss, as has the batch before them.
    total, squares
        float32, sums over the pairs of the fall of the log loss, and of its square.
    after
        float32, sum over the pairs of the log loss after.
    """

    asked: Asked
    withheld: Bools
    step: Singles
    batches: Counts
    pairs: Counts
    total: Singles
    squares: Singles
    after: Singles

    @classmethod
    def closed(cls, n_streams: int) -> "Window":
        """Return streams of which no outcome is being measured."""
        count, nothing = np.zeros(n_streams, dtype=np.int8), np.zeros(n_streams, dtype=np.float32)
        withheld = np.zeros(n_streams, dtype=np.bool_)
        asked = Asked.nothing(n_streams)
        return cls(asked, withheld, nothing, count, count, nothing, nothing, nothing)

    @property
    def open(self) -> Bools:
        """Where an outcome is being measured."""
        return np.asarray(self.asked.kind != Kind.NONE)


@dataclass(frozen=True, slots=True)
class OutcomeState(Columns):
    """What is remembered per stream to measure what re-trainings gained: 75 bytes each.

    recent
        ``(n_streams, JUDGED) float32``, log of the mean loss of the last batches, difficulty taken
        out, the latest last; NaN = none.
    """

    recent: Singles
    asked: Asked
    window: Window

    @classmethod
    def new(cls, n_streams: int) -> "OutcomeState":
        """Return the state of streams that were never seen."""
        recent = np.full((n_streams, JUDGED), np.nan, dtype=np.float32)
        return cls(recent, Asked.nothing(n_streams), Window.closed(n_streams))

    def __len__(self) -> int:
        return len(self.recent)


@dataclass(frozen=True, slots=True)
class Outcomes(Columns):
    """Outcomes that were finished in a cycle, all ``(k,)``, in the order of the streams.

    row
        int64, of the stream.
    gain, error
        float64, fall of the log loss from the batches before to those after, and its standard
        error; NaN = too few losses to tell.
    after
        float64, mean log loss after.
    pairs
        int8, pairs of batches that it rests on.
    """

    row: Ints
    asked: Asked
    withheld: Bools
    gain: Floats
    error: Floats
    after: Floats
    pairs: Counts

    def __len__(self) -> int:
        return len(self.row)

    @property
    def told(self) -> Bools:
        """Where there were losses enough to tell."""
        return np.isfinite(self.gain)

    def helped(self, helped_gain: float = 0.02, errors: float = 0.0) -> Bools:
        """Where a re-training was carried out and gained more than ``helped_gain``, in logs.

        ``errors`` = by how many standard errors more.
        """
        return np.asarray((self.gain - errors * self.error > helped_gain) & ~self.withheld)


@dataclass(frozen=True, slots=True)
class EscalationState(Columns):
    """What is remembered of re-trainings by alarm that did not help, all ``(n_streams,)``.

    tries
        int8, re-trainings by alarm in a row that did not help.
    level
        float32, log loss of the reference at the first of their alarms; NaN = not known.
    batches
        int32, batches since the last alarm or outcome, or since the escalation began;
        ``NOT_OPEN`` = no alarm is remembered.
    escalated
        bool, a person has to look: alarms ask for no re-training.
    """

    tries: Counts
    level: Singles
    batches: NDArray[np.int32]
    escalated: Bools

    @classmethod
    def new(cls, n_streams: int) -> "EscalationState":
        """Return streams without an alarm."""
        return cls(
            tries=np.zeros(n_streams, dtype=np.int8),
            level=np.full(n_streams, np.nan, dtype=np.float32),
            batches=np.full(n_streams, NOT_OPEN, dtype=np.int32),
            escalated=np.zeros(n_streams, dtype=np.bool_),
        )


@dataclass(frozen=True, slots=True)
class GainRecord:
    """All gains of a fleet as sums, ``(2, 2)`` each: carried out, withheld x by age, by alarm.

    count, total, squares
        outcomes that were told, sum of their gains, and of the squares.
    """

    count: Floats
    total: Floats
    squares: Floats

    @classmethod
    def empty(cls) -> "GainRecord":
        """Return the record of a fleet without outcomes."""
        return cls(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2)))


@dataclass(frozen=True, slots=True)
class GainSums:
    """What a fleet's own re-trainings say about gains: the sums of a linear regression.

    xx, xy, yy
        ``X'X (p, p)``, ``X'y (p,)`` and ``y'y`` of the outcomes' features and gains.
    n
        outcomes, older ones counting less.
    """

    xx: Floats
    xy: Floats
    yy: float
    n: float
