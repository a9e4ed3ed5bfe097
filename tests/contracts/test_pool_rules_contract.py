"""What every rule of combination promises, compiled or not."""

from dataclasses import replace

import numpy as np
import pytest

from mlma.domain.errors import SettingsError
from mlma.stats import fast
from mlma.stats.pool import LOWEST, BestRecent, Exponential, FixedShare, Mean, rule_from
from mlma.steps.pool import leading, learnt
from pools import RULES, pool_of

N, KINDS, MEMBERS = 30, 3, 5
SHAPE = (N, KINDS, MEMBERS)


@pytest.fixture(autouse=True, params=[False, True] if fast.AVAILABLE else [False])
def compiled(request, monkeypatch):
    monkeypatch.setattr(fast, "AVAILABLE", request.param)


def some_active(rng):
    """At least one member in each pool; the same in all classes."""
    active = rng.random((N, 1, MEMBERS)) < 0.7
    active[np.arange(N), 0, rng.integers(0, MEMBERS, N)] = True
    return active


def played(rule, losses, active, scores=None):
    """Scores after batches of losses, ``(batches, *SHAPE)``."""
    scores = np.zeros(SHAPE, dtype=np.float32) if scores is None else scores
    for batch in losses:
        scores = rule.updated(scores, batch, active)
    return scores


def batches(rng, count=12):
    return rng.gamma(2.0, 0.5, (count, *SHAPE))


@pytest.mark.parametrize("rule", RULES, ids=str)
class TestEveryRule:
    def test_weights_are_shares_of_the_active_members(self, rule):
        rng = np.random.default_rng(1)
        active = some_active(rng)
        weights = rule.weights(played(rule, batches(rng), active), active)
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-6)
        assert (weights[~np.broadcast_to(active, SHAPE)] == 0).all()

    def test_weights_start_equal(self, rule):
        active = some_active(np.random.default_rng(2))
        weights = rule.weights(np.zeros(SHAPE, dtype=np.float32), active)
        expected = np.broadcast_to(active / active.sum(axis=-1, keepdims=True), SHAPE)
        np.testing.assert_allclose(weights, expected, rtol=1e-6)

    def test_a_pool_without_a_member_has_no_weight_and_learns_nothing(self, rule):
        rng = np.random.default_rng(3)
        nobody, scores = np.zeros(SHAPE, dtype=bool), rng.normal(size=SHAPE).astype(np.float32)
        assert (rule.weights(scores, nobody) == 0).all()
        np.testing.assert_array_equal(rule.updated(scores, batches(rng)[0], nobody), scores)

    def test_arrays_are_single_precision_and_keep_their_shape(self, rule):
        active = np.ones(SHAPE, dtype=bool)
        for dtype in (np.float32, np.float64):
            losses = batches(np.random.default_rng(4), 1)[0].astype(dtype)
            scores = rule.updated(np.zeros(SHAPE, dtype=np.float32), losses, active)
            for made in (scores, rule.weights(scores, active)):
                assert made.dtype == np.float32
                assert made.shape == SHAPE
        for shape in ((MEMBERS,), (0, KINDS, MEMBERS), (2, 2, 2, MEMBERS)):
            zeros, all_there = np.zeros(shape, dtype=np.float32), np.ones(shape, dtype=bool)
            assert rule.updated(zeros, zeros, all_there).shape == shape
            assert rule.weights(zeros, all_there).shape == shape

    def test_activity_may_be_broadcast(self, rule):
        rng = np.random.default_rng(5)
        active, losses = some_active(rng), batches(rng)
        whole = np.broadcast_to(active, SHAPE).copy()
        one, other = played(rule, losses, active), played(rule, losses, whole)
        np.testing.assert_array_equal(rule.weights(one, active), rule.weights(other, whole))

    def test_inputs_are_left_as_they_were(self, rule):
        rng = np.random.default_rng(6)
        active, losses = some_active(rng), batches(rng, 1)[0]
        losses[0, 0] = np.nan
        scores = rng.normal(size=SHAPE).astype(np.float32)
        before = scores.copy(), losses.copy(), active.copy()
        rule.updated(scores, losses, active)
        rule.weights(scores, active)
        for was, now in zip(before, (scores, losses, active), strict=True):
            np.testing.assert_array_equal(was, now)

    def test_the_order_of_members_does_not_matter(self, rule):
        rng = np.random.default_rng(7)
        active, losses = some_active(rng), batches(rng)
        losses[3:6, :, :, 1] = np.nan
        order = rng.permutation(MEMBERS)
        weights = rule.weights(played(rule, losses, active), active)
        moved = rule.weights(
            played(rule, losses[..., order], active[..., order]), active[..., order]
        )
        np.testing.assert_allclose(moved, weights[..., order], rtol=1e-4, atol=1e-7)

    def test_streams_do_not_depend_on_each_other(self, rule):
        rng = np.random.default_rng(8)
        active, losses = some_active(rng), batches(rng)
        losses[2, 5] = np.nan
        weights = rule.weights(played(rule, losses, active), active)
        scores = played(rule, losses[:, 7:9], active[7:9], np.zeros((2, *SHAPE[1:]), np.float32))
        np.testing.assert_array_equal(rule.weights(scores, active[7:9]), weights[7:9])

    @pytest.mark.parametrize("constant", [-3.0, 1.0, 1e6])
    def test_a_constant_added_to_all_losses_changes_nothing(self, rule, constant):
        rng = np.random.default_rng(9)
        active, losses = some_active(rng), batches(rng)
        losses[4, :, :, 2] = np.nan
        weights = rule.weights(played(rule, losses, active), active)
        moved = rule.weights(played(rule, losses + constant, active), active)
        np.testing.assert_allclose(moved, weights, rtol=1e-4, atol=1e-7)

    @pytest.mark.parametrize("unit", [1e-20, 1e-3, 7.0, 1e12])
    def test_the_unit_of_the_losses_does_not_matter(self, rule, unit):
        rng = np.random.default_rng(10)
        losses = rng.gamma(2.0, 0.5, (12, N, MEMBERS, 6))
        classes = np.array([0, 0, 1, 1, 2, 2], dtype=np.int8)
        one = other = pool_of(N, KINDS, MEMBERS, rule)
        for batch in losses:
            one, other = (
                learnt(one, batch, classes, rule),
                learnt(other, unit * batch, classes, rule),
            )
        np.testing.assert_allclose(leading(other, rule), leading(one, rule), rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(other.unit, unit * one.unit, rtol=1e-5)

    def test_a_better_member_never_has_less(self, rule):
        rng = np.random.default_rng(11)
        scores, active = np.zeros(SHAPE, dtype=np.float32), np.ones(SHAPE, dtype=bool)
        for losses in batches(rng, 40):
            losses[..., 3] = losses[..., 0] - rng.choice([0.0, 1e-3, 1.0])
            scores = rule.updated(scores, losses, active)
            weights = rule.weights(scores, active)
            assert (weights[..., 3] >= weights[..., 0] - 1e-7).all()

    def test_a_batch_that_nobody_observed_changes_nothing(self, rule):
        rng = np.random.default_rng(12)
        active = some_active(rng)
        scores = played(rule, batches(rng), active)
        np.testing.assert_array_equal(rule.updated(scores, np.full(SHAPE, np.nan), active), scores)
        losses = batches(rng, 1)[0]
        losses[:10] = np.nan
        after = rule.updated(scores, losses, active)
        np.testing.assert_array_equal(after[:10], scores[:10])
        known = rule.updated(scores[10:], losses[10:], active[10:])
        np.testing.assert_array_equal(after[10:], known)

    def test_a_sleeping_member_is_charged_the_mean_of_the_others(self, rule):
        rng = np.random.default_rng(13)
        active = np.ones(SHAPE, dtype=bool)
        scores, losses = played(rule, batches(rng), active), batches(rng, 1)[0]
        awake = active.copy()
        awake[..., 2] = False
        mean = (rule.weights(scores, awake) * losses)[awake].reshape(N, KINDS, -1).sum(axis=-1)
        slept, charged = losses.copy(), losses.copy()
        slept[..., 2], charged[..., 2] = np.nan, mean
        one, other = (rule.updated(scores, seen, active) for seen in (slept, charged))
        one, other = rule.weights(one, active), rule.weights(other, active)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)

    def test_extreme_losses_are_never_nan(self, rule):
        rng = np.random.default_rng(14)
        extremes = np.array([0.0, 1e-30, 1e30, 1e300, np.inf, np.nan, 1.0])
        scores, active = np.zeros(SHAPE, dtype=np.float32), some_active(rng)
        for _ in range(200):
            losses = rng.choice(extremes, SHAPE)
            scores = rule.updated(scores, losses, active)
            weights = rule.weights(scores, active)
            assert np.isfinite(scores).all()
            np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-6)

    def test_an_infinite_loss_is_the_worst_not_an_unknown_one(self, rule):
        active = np.ones(3, dtype=bool)
        scores = rule.updated(np.zeros(3, np.float32), np.array([1.0, 2.0, np.inf]), active)
        weights = rule.weights(scores, active)
        if not isinstance(rule, Mean):
            assert weights[2] < weights[1] + 1e-7
            assert weights[2] < 0.05

    def test_a_single_member_has_all_the_weight(self, rule):
        scores, active = np.zeros((4, 1), dtype=np.float32), np.ones((4, 1), dtype=bool)
        for loss in (1.0, 0.0, np.inf, np.nan, 1e30):
            scores = rule.updated(scores, np.full((4, 1), loss), active)
            assert (rule.weights(scores, active) == 1).all()
        one = np.zeros((4, 3), dtype=bool)
        one[:, 1] = True
        scores = rule.updated(np.zeros((4, 3), np.float32), np.full((4, 3), 5.0), one)
        np.testing.assert_array_equal(rule.weights(scores, one), one)

    def test_scores_neither_drift_nor_run_away_in_20000_batches(self, rule):
        rng = np.random.default_rng(15)
        active, losses = np.ones((2, 3), dtype=bool), rng.gamma(2.0, 0.5, (500, 2, 3))
        losses[..., 1] += 0.5
        early = late = np.zeros((2, 3), dtype=np.float32)
        for batch in range(20_000):
            late = rule.updated(late, losses[batch % 500], active)
        for batch in range(1_000):
            early = rule.updated(early, losses[batch % 500], active)
        assert late.min() >= LOWEST
        assert (late.max(axis=-1) == 0).all()
        if getattr(rule, "share", 0) or isinstance(rule, BestRecent | Mean):  # these forget
            np.testing.assert_allclose(late, early, rtol=1e-4, atol=1e-4)

    def test_the_same_losses_give_the_same_bits(self, rule):
        losses, active = batches(np.random.default_rng(16)), np.ones(SHAPE, dtype=bool)
        one, other = played(rule, losses, active), played(rule, losses.copy(), active.copy())
        np.testing.assert_array_equal(one, other)

    def test_a_rule_is_a_value(self, rule):
        assert replace(rule) == rule
        assert hash(replace(rule)) == hash(rule)


def test_compiled_and_plain_rules_agree(monkeypatch):
    rng = np.random.default_rng(17)
    losses, active = batches(rng, 40), some_active(rng)
    losses[rng.random(losses.shape) < 0.2] = np.nan
    losses[rng.random(losses.shape) < 0.02] = np.inf
    for rule in RULES:
        made = []
        for compiled in (False, fast._NUMBA is not None):
            monkeypatch.setattr(fast, "AVAILABLE", compiled)
            scores = played(rule, losses, active)
            made.append((scores, rule.weights(scores, active)))
        (plain, plain_weights), (quick, quick_weights) = made
        np.testing.assert_allclose(quick, plain, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(quick_weights, plain_weights, rtol=1e-4, atol=1e-6)


def test_rules_have_names():
    assert rule_from("fixed_share", 2.0, 0.1, 1.0) == FixedShare(2.0, 0.1)
    assert rule_from("exponential", 2.0, 0.1, 1.0) == Exponential(2.0)
    assert rule_from("select", 2.0, 0.1, 1.0) == BestRecent(1.0)
    assert rule_from("mean", 2.0, 0.1, 1.0) == Mean()
    with pytest.raises(SettingsError, match="rule of combination"):
        rule_from("median", 1.0, 0.1, 1.0)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: FixedShare(0.0, 0.1), "rate"),
        (lambda: FixedShare(np.inf, 0.1), "rate"),
        (lambda: FixedShare(1.0, 1.0), "share"),
        (lambda: FixedShare(1.0, -0.1), "share"),
        (lambda: Exponential(np.nan), "rate"),
        (lambda: BestRecent(0.0), "half_life"),
    ],
)
def test_settings_out_of_range_are_named(make, named):
    with pytest.raises(SettingsError, match=f"`{named}` of a combination must be"):
        make()
