"""What every policy keeps to, whatever it looks at."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from cycles import BREAK, arrays, cycle, played, started, world
from mlma.domain.settings import MLMA, Always, Never, Periodic, Random, policy_from
from mlma.domain.verdicts import Decision

SCHEDULED = [
    Never(),
    Always(),
    Periodic(),
    Periodic(every=5.5, phase=3),
    Random(),
    Random(rate=0.3),
]
WATCHING = [
    MLMA(),
    MLMA(pool=1),
    MLMA(test="batch_t", common=False, drift=False),
    MLMA(accumulate="e_process", multiplicity="e_bh", false_retrainings=20.0),
    MLMA(false_retrainings=None, level=0.01),
    MLMA(reference="anchored"),
    MLMA(reference="anchored", reference_from="production", min_reference_batches=7),
    MLMA(reference="fixed"),
    MLMA(reference_from="production", min_reference_batches=7),
    MLMA(test="welch"),
    MLMA(test="mann_whitney"),
    MLMA(test="ks"),
    MLMA(accumulate="none", level=0.01),
    MLMA(side="two-sided"),
    MLMA(side="two-sided", accumulate="none", level=0.01, test="ks"),
    MLMA(multiplicity="bonferroni"),
    MLMA(multiplicity="none"),
    MLMA(calendar="none", margin=0.1, confirm=2, follow_ups=()),
    MLMA(follow_ups=(3, 5), review_age=6, review_rise=0.0, review_every=2, max_age=11),
    MLMA(pool=1, gate=True, max_age=None, review_age=None, reference_batches=21),
]
EVERY = SCHEDULED + WATCHING
CODES = ("verdict", "decision", "reason")
every_policy = pytest.mark.parametrize("policy", EVERY, ids=lambda policy: policy.label)
watching_policy = pytest.mark.parametrize("policy", WATCHING, ids=lambda policy: policy.label)


@pytest.fixture(scope="module")
def fleet():
    return world()


@pytest.fixture(scope="module")
def answers(fleet):
    """What each policy answers on the fleet; every run is made once."""
    return cache(lambda policy: played(policy, fleet)[0])


def assert_same(got, expected):
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-9, err_msg=name)


@every_policy
def test_a_policy_is_frozen_hashable_and_equal_to_its_like(policy):
    with pytest.raises((AttributeError, TypeError)):
        policy.level = 0.5
    twin = replace(policy)
    assert twin == policy
    assert hash(twin) == hash(policy)


@every_policy
def test_label_and_full_label_are_read_back_to_the_same_policy(policy):
    assert policy_from(policy.label) == policy
    assert policy_from(policy.full_label) == policy
    assert policy_from(policy) is policy


def test_no_two_policies_share_a_label():
    assert len({policy.label for policy in EVERY}) == len(EVERY)


@every_policy
def test_permuting_the_streams_permutes_the_answers(policy, fleet, answers):
    order = np.random.default_rng(1).permutation(len(fleet.ids))
    permuted, _ = played(policy, fleet.of(order))
    assert_same(permuted, {name: of[:, order] for name, of in answers(policy).items()})


@every_policy
def test_a_cycle_leaves_the_state_and_the_losses_alone(policy, fleet):
    state = started(policy, fleet.held_out, fleet.ids)
    for day, incoming in enumerate(fleet.days[:11]):
        losses = incoming.copy()
        before = {name: column.copy() for name, column in arrays(state).items()}
        after, _ = cycle(state, losses, policy, weekend=int(day % 7 >= 5))
        for name, column in arrays(state).items():
            np.testing.assert_array_equal(column, before[name], err_msg=name)
        np.testing.assert_array_equal(losses, incoming)
        assert (after.cycle == state.cycle + 1).all()
        state = after


@watching_policy
def test_half_a_fleet_answers_as_in_the_whole_where_nothing_is_pooled(policy, fleet, answers):
    test = "batch_t" if policy.test == "moderated_t" else policy.test
    alone = replace(policy, multiplicity="none", test=test, common=False)
    rows = np.arange(0, len(fleet.ids), 2)
    part, _ = played(alone, fleet.of(rows))
    assert_same(part, {name: of[:, rows] for name, of in answers(alone).items()})


@pytest.mark.parametrize("policy", SCHEDULED, ids=lambda policy: policy.label)
def test_the_schedule_of_half_a_fleet_is_that_of_the_whole(policy, fleet, answers):
    rows = np.arange(0, len(fleet.ids), 2)
    part, _ = played(policy, fleet.of(rows))
    np.testing.assert_array_equal(part["decision"], answers(policy)["decision"][:, rows])


@pytest.mark.parametrize(
    ("policy", "factor"),
    [(policy, 1000.0) for policy in EVERY] + [(policy, 1e-6) for policy in WATCHING[:6]],
    ids=str,
)
def test_scaling_all_losses_changes_no_verdict_and_no_decision(policy, factor, fleet, answers):
    scaled, _ = played(policy, fleet.scaled(factor))
    for name in CODES:
        np.testing.assert_array_equal(scaled[name], answers(policy)[name], err_msg=name)


@pytest.mark.parametrize(
    "policy",
    [policy for policy in WATCHING if policy.reference_from == "held_out"],
    ids=lambda policy: policy.label,
)
def test_with_held_out_references_every_broken_stream_is_re_trained_soon(policy, answers):
    retrained = answers(policy)["decision"] == Decision.RETRAIN
    assert retrained[BREAK : BREAK + 8, :4].any(axis=0).all()
    if policy.oldest > 50:
        assert retrained[:, 4:10].any(axis=0).mean() < 0.5


@pytest.mark.parametrize("policy", [Random(rate=0.3), MLMA()], ids=lambda one: one.label)
def test_the_same_seed_gives_the_same_bits(policy, fleet, answers):
    again, _ = played(policy, fleet)
    for name, values in answers(policy).items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)
