"""What the agent remembers of the fleet as a whole: the common part of each group, and the audit.

Takes nothing, gives the columns that the assessment of common parts reads and writes, and the
findings that it makes.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

AUDIT_LEVELS = (0.05, 0.01, 0.001)
"""Nominal levels at which the self-audit counts."""


@dataclass(frozen=True, slots=True)
class GroupColumns(Columns):
    """One row per group; all ``(n_groups,)``.

    batches
        int64, cycles in which the group had a median.
    variance
        float64, exponentially weighted mean square of the common part in its healthy state.
    cusum, drift
        float64, evidence added up for a common rise, against the adaptive and the anchored
        references.
    recent
        float64, alarms that members raised on their own, the last cycles counting most.
    since
        int64, number of the cycle in which the finding that is open was made; -1 = none.
    """

    batches: Ints
    variance: Floats
    cusum: Floats
    drift: Floats
    recent: Floats
    since: Ints

    @classmethod
    def new(cls, n_groups: int) -> "GroupColumns":
        """Return groups that were never seen."""
        zeros = np.zeros(n_groups, dtype=np.int64)
        nothing = np.zeros(n_groups)
        ones, never = np.ones(n_groups), np.full(n_groups, -1)
        return cls(zeros, ones, nothing, nothing, nothing, never)


@dataclass(frozen=True, slots=True)
class Audit:
    """Counts for the self-audit; a mirror alarm is one of the same procedure for a lower loss.

    batches
        stream-batches that were told.
    upper, lower
        ``(3,)``, of these: own scores beyond the nominal levels, on the side of a higher and of a
        lower loss.
    expected_alarms, alarms, mirror_alarms
        false alarms that the dial expects, alarms raised, and mirror alarms.
    watched
        stream-batches in which an alarm could have been raised.
    """

    batches: float = 0.0
    upper: Floats = field(default_factory=lambda: np.zeros(len(AUDIT_LEVELS)))
    lower: Floats = field(default_factory=lambda: np.zeros(len(AUDIT_LEVELS)))
    expected_alarms: float = 0.0
    alarms: float = 0.0
    mirror_alarms: float = 0.0
    watched: float = 0.0


@dataclass(frozen=True, slots=True)
class FleetState:
    """What the agent remembers beside its streams.

    names
        of the groups, the fleet first; rows of ``groups``.
    cycle
        number of cycles so far.
    """

    names: tuple[str, ...]
    groups: GroupColumns
    cycle: int = 0
    audit: Audit = field(default_factory=Audit)

    @classmethod
    def new(cls, names: tuple[str, ...]) -> "FleetState":
        """Return the state of groups that were never seen."""
        return cls(names, GroupColumns.new(len(names)))

    def named(self, names: tuple[str, ...]) -> "FleetState":
        """Return the state with the groups of these names, new ones added, others kept."""
        added = tuple(name for name in names if name not in set(self.names))
        if not added:
            return self
        groups = self.groups.joined(GroupColumns.new(len(added)))
        return FleetState((*self.names, *added), groups, self.cycle, self.audit)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a group of streams has in common and is no longer healthy.

    scope
        ``fleet`` or ``tag=value``.
    state
        ``opened`` in this cycle, still ``open``, or ``closed`` in it.
    since
        number of the cycle in which it opened.
    streams, alarmed
        streams of the group in this cycle, and how many of them raised an alarm on their own.
    score
        common part in standard deviations of a stream's batch; positive = losses higher.
    p_value
        of the common part of this batch.
    evidence
        evidence added up for it.
    effect
        median relative rise of the losses.
    alarm
        the evidence adds up to the dial: members whose loss is above their reference re-train.
    """

    scope: str
    state: str
    since: int
    streams: int
    alarmed: int
    score: float
    p_value: float
    evidence: float
    effect: float
    alarm: bool
