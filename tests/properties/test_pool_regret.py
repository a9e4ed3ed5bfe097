"""What a pool loses beyond the best sequence of its members, on sequences meant to hurt it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlma.stats.pool import Exponential, FixedShare

ROUNDING = 1e-4
"""Weights are in single precision: a batch's loss is off by 1e-7."""


def pool_loss(rule, losses):
    """Sum of the weighted mean losses: the most that a pool loses if the loss is convex."""
    return play(rule, losses.shape[1], lambda batch, _: losses[batch], len(losses))[0]


def play(rule, members, adversary, batches):
    """The pool's loss against an adversary who sees the weights, and the losses he chose."""
    scores, active = np.zeros(members, dtype=np.float32), np.ones(members, dtype=bool)
    total, chosen = 0.0, []
    for batch in range(batches):
        weights = rule.weights(scores, active)
        losses = np.asarray(adversary(batch, weights), dtype=np.float64)
        total += float(weights.astype(np.float64) @ losses)
        chosen.append(losses)
        scores = rule.updated(scores, losses, active)
    return total, np.array(chosen)


def best_with_switches(losses, most):
    """The least loss of a sequence of members with 0, 1, ... ``most`` switches."""
    members = losses.shape[1]
    cost = np.full((most + 1, members), np.inf)
    cost[0] = losses[0]
    for batch in losses[1:]:
        moved = np.full_like(cost, np.inf)
        for one in range(members):
            others = np.delete(cost, one, axis=1).min(axis=1, initial=np.inf)
            moved[1:, one] = others[:-1]
        cost = np.minimum(cost, moved) + batch
    return cost.min(axis=1)


def shared_bound(rule, members, batches, switches):
    spread = switches * math.log(1 / rule.share)
    stayed = (batches - switches - 1) * math.log(1 / (1 - rule.share))
    learning = ((switches + 1) * math.log(members) + spread + stayed) / rule.rate
    return learning + rule.rate * batches / 8


def keeps_its_bound(rule, total, losses, most=5):
    best = best_with_switches(losses, min(most, len(losses) - 1))
    batches, members = losses.shape
    if isinstance(rule, Exponential):
        bound = math.log(members) / rule.rate + rule.rate * batches / 8
        return total <= best[0] + bound + ROUNDING
    bounds = [shared_bound(rule, members, batches, k) for k in range(len(best))]
    return (total <= best + bounds + ROUNDING).all()


RULES = [
    FixedShare(0.3, 0.02),
    FixedShare(1.0, 0.02),
    FixedShare(3.0, 0.2),
    Exponential(0.2),
    Exponential(2.0),
]
LOSSES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 40), st.integers(2, 5)),
    elements=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)),
)


def heaviest_loses(_, weights):
    """The member with the most weight loses 1, the others nothing."""
    return np.arange(len(weights)) == weights.argmax()


def heavier_half_loses(_, weights):
    return weights >= np.median(weights)


def best_one_changes(period):
    """One member loses nothing for some batches, then the next one."""
    return lambda batch, weights: np.arange(len(weights)) != (batch // period) % len(weights)


ADVERSARIES = {
    "heaviest loses": heaviest_loses,
    "heavier half loses": heavier_half_loses,
    "changes every batch": best_one_changes(1),
    "changes every 7 batches": best_one_changes(7),
    "changes every 50 batches": best_one_changes(50),
}


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_the_bound_holds_against_an_adversary_who_sees_the_weights(rule, adversary):
    for members in (2, 5):
        total, losses = play(rule, members, ADVERSARIES[adversary], 200)
        assert keeps_its_bound(rule, total, losses, most=30)


@pytest.mark.parametrize("rule", RULES, ids=str)
@settings(deadline=None, max_examples=40)
@given(losses=LOSSES)
def test_the_bound_holds_for_any_losses(rule, losses):
    assert keeps_its_bound(rule, pool_loss(rule, losses), losses)


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_holds_where_the_best_member_switches_at_random(seed):
    rng = np.random.default_rng(seed)
    best = np.cumsum(rng.random(300) < 0.02) % 4
    losses = np.clip(rng.random((300, 4)) - 0.4 * (np.arange(4) == best[:, None]), 0, 1)
    for rule in RULES:
        assert keeps_its_bound(rule, pool_loss(rule, losses), losses, most=12)


def test_the_bound_is_no_empty_promise():
    rule, batches = Exponential(math.sqrt(8 * math.log(2) / 400)), 400
    total, losses = play(rule, 2, heaviest_loses, batches)
    regret = total - losses.sum(axis=0).min()
    assert regret > 0.15 * math.sqrt(batches * math.log(2) / 2)


def test_a_pool_with_a_share_finds_the_new_best_member_and_one_without_does_not():
    losses = np.zeros((400, 2))
    losses[:300, 1], losses[300:, 0] = 1, 1
    assert pool_loss(FixedShare(1.0, 0.02), losses) < 15
    assert pool_loss(Exponential(1.0), losses) > 60


def test_the_bound_of_a_season_is_the_formula_that_the_page_quotes():
    bound = shared_bound(FixedShare(1.0, 0.02), members=8, batches=365, switches=4)
    assert bound == pytest.approx(78.9, abs=0.1)
