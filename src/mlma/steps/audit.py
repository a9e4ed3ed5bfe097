"""Audit: how often the agent would be wrong, counted on its own healthy batches.

Takes the own scores of a cycle, gives the counts with this cycle added. The upper and the lower
side of a healthy stream's score are two samples of one thing, so what the procedure would have
alarmed of *falls* of the loss tells how often its alarms of rises are false: no break makes a loss
fall.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mlma.domain.fleet import AUDIT_LEVELS, Audit, FleetState
from mlma.stats.dial import Limits

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CUTS = tuple(float(-ndtri(level)) for level in AUDIT_LEVELS)


def audited(
    fleet: FleetState, own: Floats, alarm: Bools, mirrored: Bools, limits: Limits
) -> FleetState:
    """Return the fleet with this cycle counted.

    All ``(n_streams,)``: own scores, NaN = not told; alarms, and alarms of the mirrored procedure.
    """
    old = fleet.audit
    told = int(np.isfinite(own).sum())
    with np.errstate(invalid="ignore"):
        upper = np.array([np.count_nonzero(own >= cut) for cut in _CUTS], dtype=np.float64)
        lower = np.array([np.count_nonzero(own <= -cut) for cut in _CUTS], dtype=np.float64)
    audit = Audit(
        batches=old.batches + told,
        upper=old.upper + upper,
        lower=old.lower + lower,
        expected_alarms=old.expected_alarms + told / limits.batches_to_false_alarm,
        alarms=old.alarms + float(alarm.sum()),
        mirror_alarms=old.mirror_alarms + float(mirrored.sum()),
        watched=old.watched + told,
    )
    return replace(fleet, audit=audit)
