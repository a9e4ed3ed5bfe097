"""After the cycle: which of the re-trainings that the evidence wants start now.

Takes what a cycle decided, gives the decisions as they are carried out. Outcomes of earlier
re-trainings are measured on the way: they teach what the next one gains, and escalate a stream that
re-training does not help. Next is the training of those that start.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.budgets import BudgetState
from mlma.domain.outcomes import (
    EscalationState,
    GainRecord,
    GainSums,
    Kind,
    Outcomes,
    OutcomeState,
    kinds,
)
from mlma.domain.settings import MLMA
from mlma.domain.state import NOT_OPEN, AgentState
from mlma.domain.verdicts import CycleRecord, Decision, Reason
from mlma.stats.gains import design, expected_gain, learnt, no_gains, posterior, recorded
from mlma.steps.budget import Candidates, Granted, granted, refunded, trained
from mlma.steps.escalate import escalated
from mlma.steps.outcome import asked_again, held_back, measured, noted, recovered, rise, withheld
from mlma.steps.settle import Settled, settled

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is remembered of re-trainings: outcomes, tries, the purse, and what the fleet learnt.

    held
        ``(n_streams,) bool``, re-trainings withheld in the last cycle.
    """

    outcomes: OutcomeState
    escalation: EscalationState
    purse: BudgetState
    held: Bools
    sums: GainSums
    record: GainRecord

    @classmethod
    def new(cls, n_streams: int) -> "Ledger":
        """Return the ledger of streams that were never re-trained."""
        return cls(
            OutcomeState.new(n_streams),
            EscalationState.new(n_streams),
            BudgetState.new(n_streams),
            np.zeros(n_streams, dtype=np.bool_),
            no_gains(),
            GainRecord.empty(),
        )

    def rows(self, at: Ints) -> "Ledger":
        """Return the ledger with some streams only."""
        return Ledger(
            self.outcomes.rows(at),
            self.escalation.rows(at),
            self.purse.rows(at),
            self.held[at],
            self.sums,
            self.record,
        )

    def with_rows(self, at: Ints, other: "Ledger") -> "Ledger":
        """Return ``other`` with its streams put back at rows ``at`` among these."""
        held = self.held.copy()
        held[at] = other.held
        return Ledger(
            self.outcomes.with_rows(at, other.outcomes),
            self.escalation.with_rows(at, other.escalation),
            self.purse.with_rows(at, other.purse),
            held,
            other.sums,
            other.record,
        )

    def with_fits(self, rows: Ints, seconds: Floats, *, paid: bool) -> "Ledger":
        """Return the ledger after these fits; ``paid`` = the budget granted them."""
        return replace(self, purse=trained(self.purse, rows, seconds, paid=paid))

    def with_spare_spent(self, n_asking: int, policy: MLMA) -> tuple[int, "Ledger"]:
        """Return how many more fits the budget has left, and the ledger after they are paid.

        For what may wait without harm: it gets what the re-trainings of the cycle left over.
        """
        purse, seconds = self.purse, max(self.purse.fleet_seconds, 1e-6)
        n = n_asking
        if policy.budget is not None:
            n = min(n, max(int(purse.spare_fits + 1e-9), 0))
        if policy.budget_seconds is not None:
            n = min(n, max(int(purse.spare_seconds / seconds + 1e-9), 0))
        left = replace(
            purse,
            spare_fits=purse.spare_fits - n * (policy.budget is not None),
            spare_seconds=purse.spare_seconds - n * seconds * (policy.budget_seconds is not None),
        )
        return n, replace(self, purse=left)

    def with_refund(self, rows: Ints) -> "Ledger":
        """Return the ledger after re-trainings of ``rows`` that were granted failed."""
        return replace(self, purse=refunded(self.purse, rows))


@dataclass(frozen=True, slots=True)
class Rationed:
    """What is carried out of the decisions of a cycle: state and ledger after it."""

    state: AgentState
    ledger: Ledger
    settled: Settled


def rationed(
    state: AgentState,
    ledger: Ledger,
    seen: CycleRecord,
    policy: MLMA,
    *,
    difficulty: Floats,
    deployed: Bools,
    cycle: int,
    seed: int,
    batches_per_week: float,
    speaks: Bools | None = None,
) -> Rationed:
    """Return what becomes of the re-trainings that a cycle decided on.

    ``difficulty (n_streams,)`` of the batch; ``deployed (n_streams,) bool``, a version that is not
    the stream's first went live before it; ``speaks (n_streams,) bool``, it may be re-trained with
    what the budget leaves over (one stream of each shared model); None = all.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        log_loss = np.log(seen.loss / difficulty)
    log_loss[~np.isfinite(log_loss)] = np.nan
    outcomes, made = measured(ledger.outcomes, log_loss, deployed, ledger.held)
    ledger = replace(ledger, outcomes=outcomes, sums=learnt(ledger.sums, made))
    ledger = replace(ledger, record=recorded(ledger.record, made))
    level = state.reference.anchor_level
    ledger = replace(ledger, escalation=_tried(ledger, seen, level, made, policy))
    asking, known, since = _asking(state, ledger, seen, level, made)
    escalating = asking.asks & ledger.escalation.escalated & (kinds(asking.reason) == Kind.ALARM)
    asking = replace(asking, asks=asking.asks & ~escalating)
    if speaks is not None:
        asking = replace(asking, idle=asking.idle & speaks)
    grant, purse = granted(ledger.purse, asking, policy.spending(batches_per_week))
    held = withheld(grant.granted & ~outcomes.window.open, policy.withhold, state.key, cycle, seed)
    ledger = replace(ledger, purse=refunded(purse, np.flatnonzero(held)), held=held)
    out = settled(seen.decision, seen.reason, grant, escalating=escalating, withheld=held)
    episode = np.where(escalating, np.int32(NOT_OPEN), state.episode)
    pending = out.pending | held_back(outcomes)
    return Rationed(
        replace(state, pending=pending, episode=episode),
        replace(ledger, outcomes=_noted(outcomes, grant, known, since)),
        out,
    )


def _tried(
    ledger: Ledger, seen: CycleRecord, level: Floats, made: Outcomes, policy: MLMA
) -> EscalationState:
    if policy.tries is None:
        return ledger.escalation
    return escalated(
        ledger.escalation,
        seen.alarm,
        level,
        ledger.outcomes,
        made,
        helped_gain=policy.helped_gain,
        escalate_after=policy.tries,
        escalate_for=policy.escalate_for,
    )


def _asking(
    state: AgentState, ledger: Ledger, seen: CycleRecord, level: Floats, made: Outcomes
) -> tuple[Candidates, Floats, NDArray[np.int8]]:
    """Return who asks, what is known of each, and how many batches ago its break was."""
    back = recovered(ledger.outcomes, level)
    again = asked_again(made, back)
    reason = np.where(again != Reason.NONE, again, seen.reason)
    risen = rise(ledger.outcomes, level, seen.spread)
    age = state.age.astype(np.float64)
    X = design(risen.lower, seen.evidence, age, kinds(reason) != Kind.AGE)
    candidates = Candidates(
        key=state.key,
        age=state.age,
        asks=(seen.decision == Decision.RETRAIN) | (again != Reason.NONE),
        healed=back,
        idle=~state.pending & (state.version > 0),
        reason=reason,
        gain=expected_gain(posterior(ledger.sums), X),
        level=np.nan_to_num(seen.loss),
        usefulness=np.ones(len(state)),
        evidence=seen.evidence,
    )
    known = np.stack([risen.lower, seen.evidence, age], axis=1)
    return candidates, known, risen.since


def _noted(
    outcomes: OutcomeState, grant: Granted, known: Floats, since: NDArray[np.int8]
) -> OutcomeState:
    rows = np.flatnonzero(grant.granted)
    return noted(outcomes, rows, kinds(grant.reason[rows]), known[rows], since[rows])
