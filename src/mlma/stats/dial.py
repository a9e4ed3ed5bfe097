"""The dial: false re-trainings per 1,000 streams and week, as limits of the evidence.

Takes what people want, gives what the cusums are compared with. Next is the assessment.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from mlma.domain.settings import MLMA
from mlma.stats.cusum import limit_for
from mlma.stats.e_process import e_limit

Floats = NDArray[np.float64]

STREAMS, WEEK = 1000.0, 7.0

UP_SHARE, DRIFT_SHARE = 0.9, 0.5
"""Shares of the dial at which the two references are watched where both are.

They add up to more than 1 on purpose: the cusum against the anchored level forgives two standard
errors of that level, and realises no more than a tenth of its share (docs/statistics/cusum.md).
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Evidence at which an alarm is raised; infinite = never.

    up, drift
        of a stream, against the adaptive and the anchored reference.
    group
        of the cusum of a group of one stream: see `group_limits`.
    batches_to_false_alarm
        of a healthy stream, both together.
    """

    up: float
    drift: float
    group: float
    batches_to_false_alarm: float


def limits_of(policy: MLMA, batches_per_week: float = WEEK) -> Limits:
    """Return the limits that the dial of a policy means.

    >>> round(limits_of(MLMA(false_retrainings=1.0, drift=False)).up, 2)
    7.0
    """
    if policy.false_retrainings is None:
        return Limits(inf, inf, inf, inf)
    batches = STREAMS * batches_per_week / policy.false_retrainings
    group = limit_for(batches, policy.allowance)
    if not policy.drift:
        return Limits(_limit(batches, policy), inf, group, batches)
    up, drift = _limit(batches / UP_SHARE, policy), _limit(batches / DRIFT_SHARE, policy)
    return Limits(up, drift, group, batches)


def group_limits(limits: Limits, size: NDArray[np.int64], allowance: float) -> Floats:
    """Return the limit of each group, ``(n_groups,)``, by the number of its streams.

    An alarm of a group re-trains its members. For the dial to hold, it must be rarer than that of a
    stream by as much as it costs more: ``size`` times, which adds ``log(size) / 2k`` to the limit.

    >>> limits = limits_of(MLMA(false_retrainings=1.0))
    >>> group_limits(limits, np.array([1, 1000]), 0.5).round(2).tolist()
    [7.0, 13.91]
    """
    made: Floats = limits.group + np.log(np.maximum(size, 1)) / (2 * allowance)
    return made


def _limit(batches: float, policy: MLMA) -> float:
    if policy.accumulate == "e_process":
        return e_limit(batches)
    return limit_for(batches, policy.allowance)
