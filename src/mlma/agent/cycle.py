"""READ FIRST: one pass of the agent over its streams.

Library, replay and live service run this same cycle; only clock, source and store differ.
"""

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch
from mlma.domain.settings import MLMA, Policy
from mlma.domain.state import AgentState
from mlma.domain.verdicts import Evidence
from mlma.steps.assess import Assessment, assess
from mlma.steps.decide import Decisions, decide
from mlma.steps.refer import absorb

Floats = NDArray[np.float64]


def monitor_of(policy: Policy) -> MLMA:
    """Return the settings by which the evidence is read: the policy's own, or the defaults."""
    return policy if isinstance(policy, MLMA) else MLMA()


def run_cycle(
    state: AgentState, batch: LossBatch, difficulty: Floats, policy: Policy, seed: int
) -> tuple[AgentState, Evidence]:
    """Return the state after one loss batch per stream, and what was seen and decided.

    ``difficulty (n_streams,)``: what the losses are divided by before they are compared; 1 where
    no benchmark is known. Re-training is not part of the cycle: it comes back later as `deploy`.
    """
    monitor = monitor_of(policy)
    seen = assess(state, batch, difficulty, monitor)
    state, decisions = decide(state, seen, policy, seed)
    state = absorb(state, batch, difficulty, seen, monitor)
    return state, _evidence(seen, decisions)


def _evidence(seen: Assessment, decisions: Decisions) -> Evidence:
    return Evidence(
        n=seen.n,
        loss=seen.loss,
        reference_loss=seen.reference_loss,
        effect=seen.effect,
        statistic=seen.statistic,
        p_value=seen.p_value,
        p_adjusted=seen.p_adjusted,
        evidence=seen.cusum_up,
        p_evidence=seen.p_evidence,
        alarm=decisions.alarm,
        verdict=seen.verdict,
        decision=decisions.decision,
        reason=decisions.reason,
    )
