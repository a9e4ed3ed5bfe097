"""Runs of the policy lab: the fleet's recorded history under another policy.

Takes nothing, gives the noun that store, lab and pages share.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

LabStatus = Literal["waiting", "running", "done", "failed", "cancelled"]
LAB_STATUSES: tuple[LabStatus, ...] = get_args(LabStatus)


@dataclass(frozen=True, slots=True)
class LabRun:
    """One trial of a policy.

    policy, per_cycle
        what is tried: a policy, and re-trainings per cycle at most (None = no limit).
    first, last
        cycles that are played; None = all.
    progress
        share of the cycles that are played, from 0 to 1.
    result
        plain values (`mlma.agent.lab`), empty while it is not done.
    error
        why it failed.
    """

    id: str
    at: datetime
    by: str
    policy: str
    per_cycle: int | None = None
    first: int | None = None
    last: int | None = None
    status: LabStatus = "waiting"
    progress: float = 0.0
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
