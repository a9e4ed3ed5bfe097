"""Policies as text, and settings that are refused."""

import numpy as np
import pytest

from mlma.domain.errors import SettingsError
from mlma.domain.expressions import parse_call
from mlma.domain.settings import MLMA, Periodic, Random, policy_from


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
    assert policy == MLMA()
    assert hash(policy) == hash(MLMA())
    assert MLMA(follow_ups=np.array([7, 14, 28])) == MLMA()


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
        ("mlma(max_age=0)", "None or at least 1 batch"),
        ("mlma(pool=2)", "one model at a time"),
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
