"""Fleets of gamma-type losses, run through the cycle batch after batch."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mlma.agent import cycle as agent_cycle
from mlma.agent.cycle import monitor_of, run_cycle
from mlma.domain.batches import LossBatch
from mlma.domain.chance import stream_keys
from mlma.domain.fleet import FleetState
from mlma.domain.groups import Groups
from mlma.domain.settings import MLMA, Policy
from mlma.domain.state import HeldOut
from mlma.domain.verdicts import Decision, Evidence, Reason, Verdict
from mlma.steps.compare import Incoming
from mlma.steps.refer import deploy

SLOTS = 12
DEFAULT = MLMA()


def names(n):
    return [f"stream {row}" for row in range(n)]


def gamma(rng, *shape, level=1.0):
    """Losses of mean ``level``; a batch mean of 12 has a relative deviation of .14."""
    return rng.gamma(4.0, level / 4.0, shape)


def new_state(policy, ids):
    return agent_cycle.new_state(stream_keys(ids), policy, SLOTS)


def class_of(policy, weekend):
    """Calendar class of a batch; policies without a calendar effect have one class."""
    return np.int8(weekend and monitor_of(policy).calendar != "none")


def held_out_of(losses, difficulty=None, policy=DEFAULT):
    """``losses (k, n_batches, slots)``: every seventh and sixth batch is a weekend."""
    k, n_batches, _ = losses.shape
    weekend = np.array([class_of(policy, batch % 7 >= 5) for batch in range(n_batches)])
    hard = np.ones((k, n_batches)) if difficulty is None else difficulty
    return HeldOut(losses, np.broadcast_to(weekend, (k, n_batches)), hard)


def started(policy, losses, ids=None, seed=0):
    """The state of streams whose first version brought these held-out losses, or None."""
    ids = names(len(losses)) if ids is None else ids
    monitor = monitor_of(policy)
    brought = held_out_of(losses, None, monitor) if monitor.reference_from == "held_out" else None
    state = new_state(policy, ids)
    return deploy(state, np.arange(len(ids)), brought, monitor, seed)


def cycle(state, losses, policy, *, weekend=0, seed=0, difficulty=None):
    """One cycle of a fleet without a memory; ``losses (n_streams, slots)``."""
    fleet = FleetState.new(("fleet",))
    cycled = cycled_on(state, losses, policy, fleet, weekend=weekend, seed=seed, hard=difficulty)
    return cycled.state, cycled.evidence


def cycled_on(
    state, losses, policy, fleet, groups=None, *, weekend=0, seed=0, hard=None, excluded=None
):
    """One cycle with all that it gives."""
    batch = LossBatch(losses, np.full(len(losses), class_of(policy, weekend)))
    incoming = Incoming(batch, hard, excluded)
    groups = Groups(len(losses)) if groups is None else groups
    return run_cycle(state, incoming, fleet, groups, policy, seed=seed)


@dataclass
class World:
    """Streams with held-out losses, the same for every version, and losses day by day."""

    ids: list[str]
    held_out: Any
    days: Any  # (n_days, n_streams, slots)

    def of(self, rows):
        return World([self.ids[row] for row in rows], self.held_out[rows], self.days[:, rows])

    def scaled(self, factor):
        return World(self.ids, self.held_out * factor, self.days * factor)


BREAK = 7


def world(n=12, n_days=15, seed=3):
    """A third breaks on day 7 for good; holes, a dead stream and one that wakes up."""
    rng = np.random.default_rng(seed)
    held_out, days = gamma(rng, n, 28, SLOTS), gamma(rng, n_days, n, SLOTS)
    days[BREAK:, : n // 3] *= 2.5
    days[rng.random(days.shape) < 0.05] = np.nan
    days[3:5, 5] = np.nan
    held_out[6, ::5] = np.nan
    held_out[n - 1], days[:, n - 1] = 0.0, 0.0
    held_out[n - 2], days[:6, n - 2] = 0.0, 0.0
    return World(names(n), held_out, days)


def played(policy: Policy, of: World, seed=0) -> tuple[dict[str, Any], Any]:
    """All evidence, ``(n_days, n_streams)`` per column; what is asked for goes live at once."""
    state, fleet = started(policy, of.held_out, of.ids, seed), FleetState.new(("fleet",))
    seen = []
    for day, losses in enumerate(of.days):
        weekend = int(day % 7 >= 5)
        made = cycled_on(state, losses, policy, fleet, weekend=weekend, seed=seed)
        state, fleet, news = made.state, made.fleet, made.evidence
        seen.append(news)
        state = retrained(state, news, policy, of.held_out, seed)
    return {
        spec.name: np.stack([getattr(one, spec.name) for one in seen]) for spec in fields(Evidence)
    }, state


def retrained(state, news, policy, held_out, seed=0):
    """The state after every stream that asked for it has a new version."""
    rows = np.flatnonzero(news.decision == Decision.RETRAIN)
    monitor = monitor_of(policy)
    starts = monitor.reference_from == "held_out"
    brought = held_out_of(held_out[rows], None, monitor) if starts else None
    return deploy(state, rows, brought, monitor, seed)


def reported(state):
    """The state after whoever re-trains said that nothing came of it."""
    return replace(state, pending=np.zeros(len(state), dtype=bool))


def arrays(record, path=""):
    """All arrays of a record of columns, by name."""
    found = {}
    for spec in fields(record):
        value = getattr(record, spec.name)
        if isinstance(value, np.ndarray):
            found[path + spec.name] = value
        elif value is not None:
            found.update(arrays(value, f"{path}{spec.name}."))
    return found


def reasons(codes):
    return [Reason(code).name for code in np.ravel(codes)]


def verdicts(codes):
    return [Verdict(code).name for code in np.ravel(codes)]


def quiet(**settings) -> MLMA:
    """A policy of one model that looks at one thing: no reviews, no maximum age."""
    return replace(MLMA(review_age=None, max_age=None, pool=1), **settings)
