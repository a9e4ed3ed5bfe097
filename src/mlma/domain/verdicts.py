"""Verdicts, decisions and their reasons; the evidence of one cycle in columns."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]


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
    Reason.UNCLEAR: "reference too small or without variance to tell",
    Reason.WAITING: "batch not complete",
    Reason.GATE: "new version not better on held-out batches",
    Reason.IMPROVED: "loss below the reference",
    Reason.GATHERING: "loss above the reference in this batch; the evidence does not add up yet",
    Reason.REVIEW: "review at this age: loss above its level at deployment",
    Reason.AWAKENED: "the stream was dead in the reference and is alive",
    Reason.FAILED: "training failed; the old version stays",
}


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
    statistic, p_value, p_adjusted
        of this batch alone; adjusted across the streams of the cycle.
    evidence, p_evidence
        evidence added up over batches (cusum of the standardised scores), and its adjusted p-value.
    alarm
        the evidence reached the level and called for a re-training, whatever came of it. One
        degraded batch whose evidence does not add up is no alarm, nor is another one while the
        follow-ups of an alarm are due.
    """

    n: NDArray[np.int64]
    loss: Floats
    reference_loss: Floats
    effect: Floats
    statistic: Floats
    p_value: Floats
    p_adjusted: Floats
    evidence: Floats
    p_evidence: Floats
    alarm: NDArray[np.bool_]
    verdict: Codes
    decision: Codes
    reason: Codes
