"""The steps around re-training, wired to the real cycle: streams break one after another."""

from dataclasses import replace

import numpy as np
import pytest

from cycles import SLOTS, cycled_on, gamma, held_out_of, started
from mlma.domain.budgets import Budget, BudgetState
from mlma.domain.fleet import FleetState
from mlma.domain.outcomes import EscalationState, Kind, OutcomeState, kinds
from mlma.domain.settings import MLMA
from mlma.domain.verdicts import Decision, Reason
from mlma.stats.gains import design, expected_gain, learnt, no_gains, posterior
from mlma.steps.budget import Candidates, granted, refunded
from mlma.steps.escalate import escalated
from mlma.steps.outcome import asked_again, held_back, measured, noted, recovered, rise, withheld
from mlma.steps.refer import deploy
from mlma.steps.settle import settled

N, DAYS, BROKEN = 60, 45, 20
POLICY = MLMA(max_age=None, review_age=None)


def play(budget, share=0.0):
    """Return decisions, reasons ``(DAYS, N)``, broken streams at the end, and the outcomes."""
    rng = np.random.default_rng(0)
    held_out = gamma(rng, N, 28, SLOTS)
    state, fleet = started(POLICY, held_out), FleetState.new(("fleet",))
    outcomes, escalation, purse = OutcomeState.new(N), EscalationState.new(N), BudgetState.new(N)
    sums, no = no_gains(), np.zeros(N, dtype=bool)
    deployed = held = cured = no
    log, made_all = [], []
    for day in range(DAYS):
        broken = (np.arange(N) < BROKEN) & (day >= 5 + np.arange(N) // 2) & ~cured
        losses = gamma(rng, N, SLOTS) * np.where(broken, 1.8, 1.0)[:, None]
        cycled = cycled_on(state, losses, POLICY, fleet, weekend=day % 7 >= 5)
        state, fleet, seen = cycled.state, cycled.fleet, cycled.record
        outcomes, made = measured(outcomes, np.log(seen.loss), deployed, held)
        sums = learnt(sums, made)
        level = state.reference.anchor_level
        escalation = escalated(escalation, seen.alarm, level, outcomes, made)
        back = recovered(outcomes, level)
        again = asked_again(made, back)
        reason = np.where(again != Reason.NONE, again, seen.reason)
        asks = (seen.decision == Decision.RETRAIN) | (again != Reason.NONE)
        escalating = asks & escalation.escalated & (kinds(reason) == Kind.ALARM)
        risen = rise(outcomes, level, seen.spread)
        X = design(risen.lower, seen.evidence, state.age.astype(float), seen.alarm)
        asking = Candidates(
            key=state.key,
            age=state.age,
            asks=asks & ~escalating,
            healed=back,
            idle=~state.pending,
            reason=reason,
            gain=expected_gain(posterior(sums), X),
            level=seen.loss,
            usefulness=np.ones(N),
            evidence=seen.evidence,
        )
        grant, purse = granted(purse, asking, budget)
        held = withheld(grant.granted & ~outcomes.window.open, share, state.key, day, seed=1)
        purse = refunded(purse, np.flatnonzero(held))
        out = settled(seen.decision, seen.reason, grant, escalating=escalating, withheld=held)
        state = replace(state, pending=out.pending | held_back(outcomes))
        deployed = out.decision == Decision.RETRAIN
        rows, at = np.flatnonzero(grant.granted), np.flatnonzero(deployed)
        known = np.stack([risen.lower, seen.evidence, state.age.astype(float)], axis=1)
        outcomes = noted(outcomes, rows, kinds(grant.reason[rows]), known[rows], risen.since[rows])
        state = deploy(state, at, held_out_of(held_out[at]), POLICY, 0)
        cured = cured | (deployed & broken)
        log.append((out.decision, out.reason))
        made_all.append(made)
    decision, reason = (np.stack(part) for part in zip(*log, strict=True))
    return decision, reason, broken & ~cured, made_all


@pytest.mark.parametrize("rank", ["expected_saving", "evidence_and_age"])
def test_streams_that_broke_wait_for_the_budget_and_are_all_re_trained(rank):
    decision, reason, broken, made = play(Budget(fits=0.005, rank=rank))  # .3 of a fit per cycle
    starts = decision == Decision.RETRAIN
    assert (starts.sum(axis=1).cumsum() <= 0.3 * np.arange(1, DAYS + 1) + 1e-6).all()
    assert (decision == Decision.DEFER).any()
    assert (reason[decision == Decision.DEFER] == Reason.BUDGET).all()
    assert set(reason[starts]) <= {Reason.ALARM, Reason.DRIFT, Reason.COMMON}
    assert starts[:, BROKEN:].sum() <= 2
    waiting = decision[-1] == Decision.DEFER
    assert (waiting | ~broken)[: BROKEN - 1].all()
    gains = np.concatenate([one.gain for one in made])
    assert len(gains) >= 5
    assert np.median(gains) == pytest.approx(np.log(1.8), abs=0.15)


def test_without_a_limit_nobody_waits_and_everybody_is_cured():
    decision, _, broken, _ = play(Budget())
    assert not (decision == Decision.DEFER).any()
    assert not broken.any()


def test_a_stream_that_is_withheld_asks_again_when_it_has_been_compared():
    decision, reason, broken, made = play(Budget(), share=0.5)
    chance = (decision == Decision.HOLD) & (reason == Reason.WITHHELD)
    held = np.argwhere(chance[: DAYS - 8])
    assert len(held) > 4
    for day, row in held:
        assert (decision[day + 1 : day + 7, row] == Decision.KEEP).all()
        if row < BROKEN:
            assert decision[day + 7, row] in {Decision.RETRAIN, Decision.HOLD}
    kept_back = np.concatenate([one.gain[one.withheld] for one in made])
    done = np.concatenate([one.gain[~one.withheld] for one in made])
    assert done.mean() - kept_back.mean() > 0.3
    assert (chance[-8:].any(axis=0) | ~broken).all()
