"""Our own detector: an `MLMA` policy, played by the cycle of the agent.

All that the benchmark knows of the agent is here. An alarm restarts evidence and reference from the
last batches. Follow-ups, reviews and maximum age are switched off: they are no detection.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mlma.agent.cycle import new_state, run_cycle
from mlma.domain.batches import LossBatch
from mlma.domain.chance import stream_keys
from mlma.domain.fleet import FleetState
from mlma.domain.groups import groups_of
from mlma.domain.settings import MLMA
from mlma.domain.state import AgentState, HeldOut
from mlma.domain.verdicts import Reason
from mlma.steps.compare import Incoming
from mlma.steps.refer import deploy
from quality.detectors import Detection
from quality.worlds import World

DEFAULT = MLMA(pool=1, follow_ups=(), review_age=None, max_age=None)

DIALS = tuple(np.geomspace(1.0, 1000.0, 60).tolist())
"""False re-trainings per 1,000 streams and week, strict to sensitive; 70 = 1 in 100 batches."""


@dataclass(frozen=True, slots=True)
class Ours:
    """The agent with a policy."""

    name: str = "mlma"
    policy: MLMA = field(default=DEFAULT)

    def detect(self, world: World) -> Detection:
        (days, n), policy = world.shape, self.policy
        groups = groups_of(n, {"city": world.city.tolist()})
        fleet, everyone = FleetState.new(groups.names()), np.arange(n)
        state = new_state(stream_keys(map(str, everyone)), policy, world.losses.shape[2])
        state = _restarted(state, everyone, world, world.reference, policy)
        alarms, own = np.zeros((2, days, n), dtype=np.bool_)
        p_values, findings = np.full((days, n), np.nan), []
        for day in range(world.reference, days):
            calendar = np.full(n, world.calendar[day])
            batch = LossBatch(world.losses[day], calendar)
            made = run_cycle(state, Incoming(batch), fleet, groups, policy)
            fleet, seen = made.fleet, made.evidence
            alarms[day], p_values[day] = seen.alarm, seen.p_value
            own[day] = seen.alarm & (seen.reason != Reason.COMMON)
            findings += [(day, one.scope) for one in made.findings if one.state == "opened"]
            state = replace(made.state, pending=np.zeros(n, dtype=np.bool_))
            state = _restarted(state, np.flatnonzero(seen.alarm), world, day + 1, policy)
        return Detection(alarms, p_values, own, tuple(findings))


VARIANTS: dict[str, dict[str, object]] = {
    "mlma": {},
    "mlma, batch_t": {"test": "batch_t"},
    "mlma, profile": {"test": "profile"},
    "mlma, e_process": {"accumulate": "e_process"},
    "mlma, common part left in": {"common": False},
}
"""The default and what is compared with it, by the settings that differ."""


def variants() -> list[Ours]:
    """Return the agent with its default dial, once per variant."""
    return [Ours(name, replace(DEFAULT, **settings)) for name, settings in VARIANTS.items()]


def maker(name: str) -> Callable[[float], Ours]:
    """Return what makes a variant at so many false re-trainings per 1,000 streams and week."""

    def at_dial(dial: float) -> Ours:
        policy = replace(DEFAULT, false_retrainings=dial, **VARIANTS[name])
        return Ours(f"{name}, tuned", policy)

    return at_dial


def _restarted(
    state: AgentState, rows: NDArray[np.int64], world: World, end: int, policy: MLMA
) -> AgentState:
    """Return the state of new versions whose held-out batches are the last ones before ``end``."""
    days = slice(max(0, end - world.reference), end)
    losses = world.losses[days, rows].transpose(1, 0, 2).astype(np.float64)
    calendar = np.broadcast_to(world.calendar[days], losses.shape[:2])
    held_out = HeldOut(losses, calendar, np.ones(losses.shape[:2]))
    return deploy(state, rows, held_out, policy, 0)
