"""Verdicts, decisions and their reasons; the evidence of one cycle in columns."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]

RECORD_FLOATS = (
    *("loss", "reference_log", "spread", "df", "statistic", "score", "common"),
    *("evidence", "evidence_down", "drift"),
)
"""Columns of `CycleRecord` that are numbers with a NaN."""


class Verdict(IntEnum):
    """What the evidence says about a stream's loss batch."""

    WAITING = 0  # the batch is not complete, or there is none
    UNCLEAR = 1  # cannot tell: too small a reference, zero variance
    HEALTHY = 2
    DEGRADED = 3
    IMPROVED = 4

    @property
    def label(self) -> str:
        """Lower-case name, as frames and pages show it."""
        return self.name.lower()


class Decision(IntEnum):
    """What the agent does about a stream."""

    KEEP = 0
    RETRAIN = 1
    HOLD = 2  # wanted to, and did not: the gate or a failed training kept the old version
    DEFER = 3  # wanted to, and waits for the budget of a later cycle
    SWITCH = 4  # another version that was there already goes live: rolled back, or selected
    ESCALATE = 5  # re-training does not help: a person has to look

    @property
    def label(self) -> str:
        """Lower-case name, as frames and pages show it."""
        return self.name.lower()


class Reason(IntEnum):
    """Why a decision was taken; the text is `REASONS`."""

    NONE = 0
    ALARM = 1
    FOLLOW_UP = 2
    MAX_AGE = 3
    SCHEDULE = 4
    EPISODE = 5
    PENDING = 6
    UNCLEAR = 7
    WAITING = 8
    GATE = 9
    IMPROVED = 10
    GATHERING = 11
    REVIEW = 12
    AWAKENED = 13
    FAILED = 14
    DRIFT = 15
    COMMON = 16
    FLAT = 17
    OUTAGE = 18
    EXCLUDED = 19
    BUDGET = 20
    WITHHELD = 21
    NOT_HELPED = 22
    ROLLED_BACK = 23
    SELECTED = 24
    UNFIT = 25
    TRIAL = 26
    FROZEN = 27
    PINNED = 28
    EVENT = 29
    OVERRULED = 30

    @property
    def label(self) -> str:
        """The reason in words."""
        return REASONS[self]


REASONS: dict[Reason, str] = {
    Reason.NONE: "loss as in the reference",
    Reason.ALARM: "loss above the reference",
    Reason.FOLLOW_UP: "follow-up of an alarm",
    Reason.MAX_AGE: "maximum age reached",
    Reason.SCHEDULE: "schedule of the policy",
    Reason.EPISODE: "loss above the reference; the follow-ups of an earlier alarm are still due",
    Reason.PENDING: "re-training asked for earlier and not reported yet",
    Reason.UNCLEAR: "reference too small to tell",
    Reason.WAITING: "batch not complete",
    Reason.GATE: "new version not better on held-out batches",
    Reason.IMPROVED: "loss below the reference",
    Reason.GATHERING: "loss above the reference in this batch; the evidence does not add up yet",
    Reason.REVIEW: "review at this age: loss above its level at deployment",
    Reason.AWAKENED: "the stream was dead in the reference and is alive",
    Reason.FAILED: "training failed; the old version stays",
    Reason.DRIFT: "loss above its best level since the last re-training: slow drift",
    Reason.COMMON: "loss above the reference together with its group: part of a finding",
    Reason.FLAT: "reference without variance: cannot tell",
    Reason.OUTAGE: "reference spans an outage: cannot tell",
    Reason.EXCLUDED: "batch excluded: event or label",
    Reason.BUDGET: "waits for the budget: other streams lose more per training second",
    Reason.WITHHELD: "withheld at random, to measure what re-training gains",
    Reason.NOT_HELPED: "re-training did not help, time and again: a person has to look",
    Reason.ROLLED_BACK: "the former version is better: model and reference went back to it",
    Reason.SELECTED: "another version of the pool lost less lately",
    Reason.UNFIT: "the shared model no longer fits this stream",
    Reason.TRIAL: "trial of a new version beside the old one",
    Reason.FROZEN: "frozen by an engineer: nothing is re-trained",
    Reason.PINNED: "the version is pinned by an engineer",
    Reason.EVENT: "event of the calendar: nothing is re-trained while it lasts",
    Reason.OVERRULED: "an engineer overruled the verdict",
}


@dataclass(frozen=True, slots=True)
class CycleRecord(Columns):
    """What a cycle writes per stream: all that cannot be derived. Shapes as in `Evidence`.

    reference_log
        log of the loss that the reference expects; NaN = none, minus infinity = 0.
    evidence, evidence_down, drift
        evidence added up for a higher and a lower loss, and against the anchored reference.

    The other columns are those of `Evidence`.
    """

    n: NDArray[np.int64]
    loss: Floats
    reference_log: Floats
    spread: Floats
    df: Floats
    statistic: Floats
    score: Floats
    common: Floats
    evidence: Floats
    evidence_down: Floats
    drift: Floats
    alarm: NDArray[np.bool_]
    verdict: Codes
    decision: Codes
    reason: Codes


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen and decided, in columns of one shape.

    Shape ``(n_streams,)`` for a cycle, ``(n_streams, n_batches)`` for a run. Floats are NaN where
    there was nothing to tell; ``verdict``, ``decision`` and ``reason`` hold the codes above.

    n, loss
        number of losses in the batch and their mean.
    reference_loss
        mean loss that the reference expects of this batch.
    effect
        relative rise of the loss, 0.2 = 20 % above the reference.
    spread, df
        standard error of ``log(1 + effect)`` and its degrees of freedom: what an interval and the
        smallest detectable rise are made of.
    statistic
        of the test, of this batch alone.
    score, common
        standard normal score of the stream's own part, and the common part that was taken off.
    p_value, p_adjusted
        of the own part of this batch; adjusted across the streams of the cycle.
    evidence, drift, p_evidence
        evidence added up over batches, against the adaptive and the anchored reference, and the
        adjusted p-value of the larger.
    alarm
        the evidence reached the level and called for a re-training, whatever came of it. One
        degraded batch whose evidence does not add up is no alarm, nor is another one while the
        follow-ups of an alarm are due.
    """

    n: NDArray[np.int64]
    loss: Floats
    reference_loss: Floats
    effect: Floats
    spread: Floats
    df: Floats
    statistic: Floats
    score: Floats
    common: Floats
    p_value: Floats
    p_adjusted: Floats
    evidence: Floats
    drift: Floats
    p_evidence: Floats
    alarm: NDArray[np.bool_]
    verdict: Codes
    decision: Codes
    reason: Codes
