"""Coincide: alarms of a group's streams that come together are no coincidence.

Takes the alarms of a cycle, gives them with the groups that have a common cause. Next is `decide`.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.fleet import FleetState
from mlma.domain.groups import FEWEST_IN_GROUP, Groups
from mlma.domain.settings import MLMA
from mlma.steps.assess import Alarms
from mlma.steps.find import Found, member_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FADING = 0.7
"""Weight that the alarms of the cycles before keep: they count for about three cycles."""

COINCIDENCE, FEWEST_ALARMS = 0.05, 3
"""Share of a group's streams, and number of them, whose alarms within about three cycles are no
coincidence: half a city that breaks moves its median little, and its streams alarm one by one."""


def coincide(
    fleet: FleetState, found: Found, alarms: Alarms, groups: Groups, policy: MLMA
) -> tuple[FleetState, Found, Alarms]:
    """Return the groups after the alarms of their members, and the alarms with their causes.

    Where so many of a group's streams alarm on their own within about three cycles that it cannot
    be chance, a finding opens, and the alarms of this cycle are part of it.
    """
    if not policy.common or groups.n_streams < FEWEST_IN_GROUP:
        return fleet, found, alarms
    old = fleet.groups.rows(found.rows)
    recent = FADING * old.recent + _per_group(alarms.own, groups)
    fewest = np.maximum(COINCIDENCE * _per_group(np.ones_like(alarms.own), groups), FEWEST_ALARMS)
    many = recent >= fewest
    since = np.where(found.was_open, found.since, fleet.cycle - 1)
    new = replace(old, recent=recent, since=np.where(many & ~found.open, since, old.since))
    fleet = replace(fleet, groups=fleet.groups.with_rows(found.rows, new))
    if not many.any():
        return fleet, found, alarms
    together = alarms.own & member_of(many, groups)
    grouped = replace(
        alarms,
        own=alarms.own & ~together,
        drift=alarms.drift & ~together,
        common=alarms.common | together,
    )
    return fleet, replace(found, open=found.open | many), grouped


def _per_group(flag: Bools, groups: Groups) -> Floats:
    """Return how many streams of each group have the flag, the fleet first."""
    counts = [np.array([float(flag.sum())])]
    for division in groups.divisions:
        member = division.codes[flag & (division.codes >= 0)]
        counts.append(np.bincount(member, minlength=len(division.names)).astype(np.float64))
    return np.concatenate(counts)
