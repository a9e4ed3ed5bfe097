"""Our cycle as the speed benchmark sees it: the only file here that knows the cycle's API.

`make_state` gives the state of streams whose models have just been deployed with 28 held-out
batches; `cycle` plays one day; `steps` says how the time of one more day divides.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from loss_days import HELD_OUT, held_out_means, is_weekend
from numpy.typing import NDArray

from mlma.agent import cycle as agent_cycle
from mlma.domain.batches import LossBatch
from mlma.domain.fleet import FleetState
from mlma.domain.groups import Groups
from mlma.domain.settings import MLMA
from mlma.domain.state import AgentState, HeldOut
from mlma.steps.compare import Incoming
from mlma.steps.refer import deploy

Singles = NDArray[np.float32]

POLICY = MLMA(pool=1)
REFERENCE = f"moments of {HELD_OUT} log batch means"

STEPS = (
    "prior_for",
    "compare",
    "separate",
    "find",
    "added_up",
    "alarmed",
    "findings",
    "audited",
    "judged",
    "decide",
    "absorb",
)


@dataclass(frozen=True, slots=True)
class OurState:
    """What the cycle remembers."""

    streams: AgentState
    fleet: FleetState


def make_state(n: int, slots: int, seed: int) -> OurState:
    """Return the state of ``n`` streams with full references."""
    key = np.random.default_rng(seed).integers(0, 2**63, n, dtype=np.uint64)
    weekend = np.array([is_weekend(day) for day in range(HELD_OUT)], dtype=np.int8)
    calendar = np.broadcast_to(weekend, (n, HELD_OUT))
    losses = held_out_means(n, slots, seed)[:, :, None]
    held_out = HeldOut(losses, calendar, np.ones((n, HELD_OUT)))
    fresh = agent_cycle.new_state(key, POLICY, slots)
    streams = deploy(fresh, np.arange(n), held_out, POLICY, seed)
    return OurState(streams, FleetState.new(("fleet",)))


def cycle(state: OurState, losses: Singles, day: int) -> OurState:
    """Return the state after one day; evidence and decisions are made and dropped."""
    calendar = np.full(len(losses), is_weekend(day), dtype=np.int8)
    incoming = Incoming(LossBatch(losses, calendar))
    made = agent_cycle.run_cycle(state.streams, incoming, state.fleet, Groups(len(losses)), POLICY)
    return OurState(made.state, made.fleet)


def steps(state: OurState, losses: Singles, day: int) -> dict[str, float]:
    """Return the core seconds per step of one day, threads added up; names that are gone are 0."""
    seconds: dict[str, list[float]] = defaultdict(list)
    kept = {name: getattr(agent_cycle, name) for name in STEPS if hasattr(agent_cycle, name)}
    for name, step in kept.items():
        setattr(agent_cycle, name, _watched(step, seconds[name]))
    try:
        cycle(state, losses, day)
    finally:
        for name, step in kept.items():
            setattr(agent_cycle, name, step)
    return {name: sum(spent) for name, spent in seconds.items()}


def _watched(step: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def run(*given: Any, **named: Any) -> Any:
        start = time.perf_counter()
        made = step(*given, **named)
        seconds.append(time.perf_counter() - start)
        return made

    return run
