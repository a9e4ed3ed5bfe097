"""Policies as text, and settings that are refused."""

from dataclasses import replace

import numpy as np
import pytest

from mlma.domain.errors import SettingsError
from mlma.domain.expressions import parse_call
from mlma.domain.settings import MLMA, Always, Periodic, Random, policy_from


def test_a_policy_made_with_numpy_numbers_has_a_label_that_can_be_read_back():
    for policy in (
        MLMA(level=np.float64(0.01), follow_ups=(np.int64(3), np.int64(6))),
        Random(rate=np.float64(0.5)),
        Periodic(every=np.float64(3.5)),
    ):
        assert policy_from(policy.label) == policy
        assert policy_from(policy.full_label) == policy


def test_follow_ups_may_be_a_list_and_stay_hashable():
    policy = policy_from("mlma(follow_ups=[7, 14, 28])")
    assert policy == MLMA(follow_ups=(7, 14, 28))
    assert hash(policy) == hash(MLMA(follow_ups=(7, 14, 28)))
    assert MLMA(follow_ups=np.array([7, 14, 28])) == policy


def test_what_is_left_to_the_policy_follows_from_whether_it_has_a_pool():
    pool, one = MLMA(), MLMA(pool=1)
    assert (pool.pool, pool.has_pool, one.has_pool) == (8, True, False)
    assert (pool.due_follow_ups, one.due_follow_ups) == ((), (7, 14, 28))
    assert (pool.first_review, one.first_review) == (np.inf, 42)
    assert (pool.oldest, one.oldest) == (56, 140)
    assert (pool.tries, one.tries) == (None, 3)


def test_what_is_set_holds_with_and_without_a_pool():
    for pool in (1, 8):
        policy = MLMA(pool=pool, follow_ups=(3,), review_age=9, max_age=11, escalate_after=2)
        assert policy.due_follow_ups == (3,)
        assert (policy.first_review, policy.oldest, policy.tries) == (9, 11, 2)
        none = MLMA(pool=pool, follow_ups=(), review_age=None, max_age=None, escalate_after=None)
        assert (none.due_follow_ups, none.tries) == ((), None)
        assert (none.first_review, none.oldest) == (np.inf, np.inf)


@pytest.mark.parametrize("policy", [Always(), Periodic(), Random()], ids=str)
def test_schedules_keep_one_model_unless_they_are_given_a_pool(policy):
    assert not policy.has_pool
    assert replace(policy, pool=8).has_pool
    assert policy_from(replace(policy, pool=8).label) == replace(policy, pool=8)


def test_names_may_be_written_in_capitals():
    assert policy_from(" MLMA( level = 0.01 ) ") == MLMA(level=0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mlna", "Unknown policy `mlna`.*did you mean `mlma`"),
        ("mlma(levle=0.1)", "Unknown setting of `mlma` `levle`.*did you mean `level`"),
        ("never(every=3)", r"Known: \(none\)"),
        ("mlma(test='t')", "Unknown test of MLMA `t`"),
        ("mlma(side='less')", "Unknown side of MLMA"),
        ("mlma(level=0)", "`level` of `MLMA` must be between 0 and 1. Got 0"),
        ("mlma(level='a')", "cannot be built"),
        ("mlma(level=0.1, level=0.2)", "cannot be read"),
        ("mlma(0.1)", "cannot be read"),
        ("mlma(**{'level': 0.1})", "cannot be read"),
        ("mlma(level=open('x'))", "cannot be read"),
        ("mlma(level={[]: 1})", "cannot be read"),
        ("mlma(level=" + "-" * 5000 + "1)", "cannot be read"),
        ("mlma(\0)", "cannot be read"),
        ("", "cannot be read"),
        ("mlma(follow_ups=7)", "cannot be built"),
        ("mlma(follow_ups=(7, 7))", "rising numbers of batches"),
        ("mlma(follow_ups=(0, 7))", "rising numbers of batches"),
        ("mlma(follow_ups=(7.5,))", "rising numbers of batches"),
        ("mlma(min_reference_batches=2)", "at least 3"),
        ("mlma(reference_batches=7)", "min_reference_batches or more"),
        ("mlma(margin=-0.1)", "0 or more"),
        ("mlma(margin=1e999)", "0 or more"),
        ("mlma(review_rise=-2)", "0 or more"),
        ("mlma(confirm=0)", "at least 1"),
        ("mlma(max_age=0)", 'None, "auto" or at least 1 batch'),
        ("mlma(review_age='old')", 'None, "auto" or at least 1 batch'),
        ("mlma(cooldown=-1)", "0 batches or more"),
        ("mlma(pool=0)", "a number of versions, 1 or more"),
        ("mlma(pool=True)", "a number of versions, 1 or more"),
        ("periodic(pool=2.5)", "a number of versions, 1 or more"),
        ("mlma(combine='mix')", "Unknown combine of MLMA `mix`"),
        ("mlma(learning_rate=0)", "above 0"),
        ("mlma(share=1)", "from 0 to below 1"),
        ("mlma(half_life=0)", "above 0 batches"),
        ("mlma(gate=True)", "`gate` of `MLMA` must be False with a pool.*set pool=1"),
        ("mlma(rollback_batches=7)", "`rollback_batches` of `MLMA` must be 0 with a pool"),
        ("mlma(rollback_batches=-1, pool=1)", "0 or more"),
        ("mlma(gate_level=1, pool=1)", "between 0 and 1"),
        ("mlma(gate_batches=0, pool=1)", "at least 1"),
        ("mlma(train_on='all')", "Unknown train_on of MLMA `all`"),
        ("mlma(rank='age')", "Unknown rank of MLMA `age`"),
        ("mlma(budget=1.5)", "a whole number, or a share between 0 and 1"),
        ("mlma(budget_seconds=-1)", "0 or more"),
        ("mlma(withhold=1)", "from 0 to below 1"),
        ("mlma(escalate_after=0)", 'None, "auto" or at least 1'),
        ("mlma(escalate_for=0)", "at least 1 batch"),
        ("mlma(helped_gain=-1)", "0 or more"),
        ("periodic(every=0.5)", "at least 1 batch"),
        ("periodic(every=1e999)", "at least 1 batch"),
        ("periodic(phase=-1)", '"random" or a number of batches'),
        ("random(rate=1.1)", "a share from 0 to 1"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_in_words(text, message):
    with pytest.raises(SettingsError, match=message):
        policy_from(text)


def test_a_call_keeps_its_literals_as_they_are():
    assert parse_call("f(a=(1, 2), b='x', c=None, d=-1.5)", "thing") == (
        "f",
        {"a": (1, 2), "b": "x", "c": None, "d": -1.5},
    )
