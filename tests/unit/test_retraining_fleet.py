"""A small fleet that breaks: what budget, withholding and escalation make of it.

Every stream's log loss is its level and noise, and what broke on top. Re-training takes the break
away, except in streams that it does not help. Evidence is a plain cusum against the known level.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

from mlma.domain.budgets import Budget, BudgetState
from mlma.domain.chance import stream_keys
from mlma.domain.outcomes import EscalationState, GainRecord, OutcomeState, kinds
from mlma.domain.verdicts import Reason
from mlma.stats.gains import causal_gain, design, expected_gain, learnt, no_gains, posterior
from mlma.stats.gains import recorded as with_gains
from mlma.steps.budget import Candidates, granted, refunded
from mlma.steps.escalate import escalated
from mlma.steps.outcome import held_back, measured, noted, recovered, rise, withheld

NOISE, LIMIT = 0.15, 5.0


@dataclass
class Fleet:
    """Streams that break, and the agent that re-trains them; counts what came of it."""

    n: int
    seed: int
    budget: Budget = field(default_factory=Budget)
    incurable: float = 0.0
    breaks: float = 0.02
    withhold: float = 0.0
    escalate_after: int = 99
    blind: bool = False
    patient: bool = False
    excess: float = 0.0
    fits: int = 0
    useless_fits: int = 0
    truth: list = field(default_factory=list)
    naive: list = field(default_factory=list)

    def __post_init__(self):
        n, rng = self.n, np.random.default_rng(self.seed)
        self.rng, self.keys = rng, stream_keys(f"s{i}" for i in range(n))
        self.level = rng.normal(0, 0.3, n)
        self.broken, self.cured = np.zeros(n), rng.random(n) >= self.incurable
        self.age, self.cusum = rng.integers(0, 50, n), np.zeros(n)
        self.deployed = self.held = np.zeros(n, dtype=bool)
        self.outcomes, self.escalation = OutcomeState.new(n), EscalationState.new(n)
        self.purse, self.sums, self.record = BudgetState.new(n), no_gains(), GainRecord.empty()

    def play(self, cycles):
        for cycle in range(cycles):
            self.batch()
            self.decide(cycle)
        return self

    def batch(self):
        judged = self.outcomes.window.open | self.deployed | self.held  # so that the truth is known
        breaks = (self.rng.random(self.n) < self.breaks) & (self.broken == 0) & ~judged
        self.broken[breaks] = self.rng.uniform(0.1, 1.0, breaks.sum())
        self.excess += np.expm1(self.broken).sum()
        loss = self.level + self.broken + self.rng.normal(0, NOISE, self.n)
        self.outcomes, self.made = measured(self.outcomes, loss, self.deployed, self.held)
        done = self.made.told & ~self.made.withheld
        self.naive += self.made.gain[done].tolist()
        self.record = with_gains(self.record, self.made)
        self.sums = learnt(self.sums, self.made)
        self.cusum = np.maximum(0, self.cusum + (loss - self.level) / NOISE - 0.5)
        self.age = self.age + 1

    def decide(self, cycle):
        alarm = self.cusum >= LIMIT
        self.escalation = escalated(
            self.escalation,
            alarm,
            self.level,
            self.outcomes,
            self.made,
            escalate_after=self.escalate_after,
        )
        asks = alarm & ~self.escalation.escalated & ~held_back(self.outcomes)
        if self.patient:
            asks &= ~self.outcomes.window.open
        made, self.purse = granted(self.purse, self.candidates(asks), self.budget)
        fresh = made.granted & ~self.outcomes.window.open
        self.held = withheld(fresh, self.withhold, self.keys, cycle, self.seed)
        self.purse = refunded(self.purse, np.flatnonzero(self.held))
        self.deployed = made.granted & ~self.held
        self.truth.append((self.broken * self.cured)[fresh])
        rows = np.flatnonzero(made.granted)
        known = np.stack([self.rise.lower, self.cusum, self.age], axis=1)[rows]
        self.outcomes = noted(
            self.outcomes, rows, kinds(made.reason[rows]), known, self.rise.since[rows]
        )
        self.fits += int(self.deployed.sum())
        self.useless_fits += int((self.deployed & ~self.cured).sum())
        self.broken[self.deployed & self.cured] = 0
        self.cusum[made.granted], self.age[self.deployed] = 0, 0

    def candidates(self, asks):
        self.rise = rise(self.outcomes, self.level, np.full(self.n, NOISE))
        X = design(self.rise.lower, self.cusum, self.age.astype(float), asks)
        gain = expected_gain(posterior(self.sums), X)
        return Candidates(
            key=self.keys,
            age=self.age.astype(np.int32),
            asks=asks,
            healed=recovered(self.outcomes, self.level),
            idle=~asks & ~self.outcomes.window.open,
            reason=np.full(self.n, Reason.ALARM, dtype=np.int8),
            gain=np.full(self.n, np.nan) if self.blind else gain,
            level=np.ones(self.n) if self.blind else np.exp(self.level + self.broken),
            usefulness=np.ones(self.n),
            evidence=self.cusum,
        )


def excess(**settings):
    return np.array([Fleet(n=300, seed=seed, **settings).play(80).excess for seed in range(3)])


@pytest.mark.parametrize("rank", ["expected_saving", "evidence_and_age"])
def test_a_scarce_budget_goes_to_the_streams_that_lose_most(rank):
    ranked = excess(budget=Budget(fits=4, rank=rank))
    first_come = excess(budget=Budget(fits=4), blind=True)
    assert (ranked < 0.9 * first_come).all()


def test_an_ample_budget_changes_nothing():
    plain, ample = (Fleet(300, 1, budget).play(60) for budget in (Budget(), Budget(fits=300)))
    assert plain.excess == ample.excess
    assert plain.fits == ample.fits


def test_what_evidence_leaves_over_is_spent_and_never_more():
    fleet = Fleet(300, 0, Budget(fits=6, spend_rest=True), breaks=0.002).play(80)
    plain = Fleet(300, 0, Budget(fits=6), breaks=0.002).play(80)
    assert plain.fits < 3 * 80
    assert 6 * 70 < fleet.fits <= 6 * 80
    assert fleet.excess < 1.05 * plain.excess


def test_escalation_stops_fits_that_do_not_help():
    common = {"n": 200, "seed": 2, "incurable": 0.2, "breaks": 0.01, "patient": True}
    plain = Fleet(**common).play(150)
    fleet = Fleet(**common, escalate_after=3).play(150)
    assert fleet.useless_fits < 0.6 * plain.useless_fits
    assert fleet.excess < 1.02 * plain.excess
    hopeless = fleet.escalation.escalated & ~fleet.cured
    assert hopeless.sum() > 8
    assert (fleet.escalation.escalated & fleet.cured).sum() <= 2


def test_the_expected_gain_learns_that_a_rise_is_undone_in_part():
    fleet = Fleet(600, 5, incurable=0.5, breaks=0.03).play(100)
    X = design(np.array([0.5]), np.array([6.0]), np.array([20.0]), np.array([True]))
    learned = float(expected_gain(posterior(fleet.sums), X)[0])
    assert 0.1 < learned < 0.4


def test_the_gain_against_withheld_twins_is_unbiased_and_its_interval_holds():
    settings = {"n": 150, "incurable": 0.3, "withhold": 0.3, "breaks": 0.03}
    misses, inside, naive = [], 0, []
    for seed in range(60):
        fleet = Fleet(seed=seed, **settings).play(50)
        truth = np.concatenate(fleet.truth[3:43]).mean()  # decisions whose outcomes were told
        made = causal_gain(fleet.record)
        inside += made.low <= truth <= made.high
        misses.append(made.gain - truth)
        naive.append(np.mean(fleet.naive) - truth)
    error = np.std(misses, ddof=1) / np.sqrt(len(misses))
    assert abs(np.mean(misses)) < 3 * error
    assert inside >= 52
    assert abs(np.mean(naive)) > 10 * error
