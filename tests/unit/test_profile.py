"""`profile` with bad inputs: it cannot tell, or tells without harm to anybody else."""

from dataclasses import fields

import numpy as np
import pytest

from mlma.domain.batches import LossBatch
from mlma.domain.errors import SettingsError
from mlma.domain.profiles import ProfileMoments
from mlma.stats.profile import profile_noted, profile_of, profile_test, profile_updated

M, SLOTS = 14, 24
NAMES = ("statistic", "p_value", "reference_loss", "effect", "score", "spread", "df")


def drawn(n=12, seed=0, days=M + 1):
    rng = np.random.default_rng(seed)
    return rng.gamma(1.5, 1, (n, days, SLOTS)) * (1 + 0.5 * np.sin(np.arange(SLOTS) / 4))


def weekends(n):
    return np.tile((np.arange(M) % 7 >= 5).astype(np.int8), (n, 1))


def outcome_of(losses, side="greater"):
    n = len(losses)
    moments = profile_of(losses[:, :M], weekends(n), 2)
    return profile_test(LossBatch(losses[:, M], np.zeros(n, np.int8)), moments, side)


def same(left, right, rows=slice(None), rtol=1e-4):
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(left, name)[rows], getattr(right, name)[rows], rtol=rtol, err_msg=name
        )


@pytest.mark.parametrize("level", [0.0, 0.1 + 0.2, 1e-300, 1e300])
def test_losses_that_are_all_equal_cannot_be_told(level):
    losses = drawn()
    losses[3] = level
    outcome = outcome_of(losses)
    assert np.isnan(outcome.p_value).tolist() == [row == 3 for row in range(12)]
    if level:
        assert outcome.reference_loss[3] == pytest.approx(level)
        assert outcome.effect[3] == pytest.approx(0.0, abs=1e-6)
    else:
        assert np.isnan([outcome.reference_loss[3], outcome.effect[3]]).all()


def test_loss_after_a_reference_of_zeros_cannot_be_told():
    losses = drawn()
    losses[3, :M] = 0.0
    assert np.isnan(outcome_of(losses).p_value).tolist() == [row == 3 for row in range(12)]


def test_batch_of_zeros_is_better_than_usual():
    losses = drawn()
    losses[:, M] = 0.0
    outcome = outcome_of(losses)
    assert (outcome.p_value > 0.5).all()
    np.testing.assert_allclose(outcome.effect, -1.0)
    assert (outcome_of(losses, "two-sided").p_value < 0.01).all()


@pytest.mark.parametrize("batches", [0, 1])
def test_reference_of_one_batch_or_none_cannot_tell(batches):
    losses = drawn()
    moments = profile_of(losses[:, :batches], np.zeros((12, batches), np.int8), 2)
    outcome = profile_test(LossBatch(losses[:, M], np.zeros(12, np.int8)), moments, "greater")
    assert np.isnan(outcome.p_value).all()
    assert np.isfinite(outcome.reference_loss).all() == bool(batches)


def test_class_that_was_never_seen_cannot_be_told():
    losses, never = drawn(), np.zeros((12, M), np.int8)
    moments = profile_of(losses[:, :M], never, 2)
    outcome = profile_test(LossBatch(losses[:, M], np.ones(12, np.int8)), moments, "greater")
    assert np.isnan(outcome.p_value).all()


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf, -1.0])
def test_batch_without_a_usable_loss_cannot_be_told_and_changes_nothing(missing):
    losses = drawn()
    moments = profile_of(losses[:, :M], weekends(12), 2)
    empty = LossBatch(np.full((12, SLOTS), missing), np.zeros(12, np.int8))
    outcome = profile_test(empty, moments, "greater")
    assert np.isnan([getattr(outcome, name) for name in NAMES]).all()
    made = profile_updated(moments, empty, np.ones(12, np.bool_), 28)
    for spec in fields(ProfileMoments):
        np.testing.assert_array_equal(getattr(made, spec.name), getattr(moments, spec.name))


@pytest.mark.parametrize("missing", [np.inf, -np.inf, -1.0])
def test_single_loss_that_is_infinite_or_negative_counts_as_missing(missing):
    wrong, gone = drawn(), drawn()
    wrong[:, ::3, 5], gone[:, ::3, 5] = missing, np.nan
    same(outcome_of(wrong), outcome_of(gone), rtol=1e-12)


def test_streams_that_miss_different_slots_are_compared_with_their_own_slots():
    losses = drawn()
    losses[:, :, :12] *= 20  # nights are quiet: a mean of the evening alone would look good
    for row in range(12):
        losses[row, M, row : row + 10] = np.nan
    outcome = outcome_of(losses)
    assert (outcome.p_value > 0.001).all()
    usual = np.nanmean(np.where(np.isnan(losses[:, [M]]), np.nan, losses[:, :M]), axis=(1, 2))
    np.testing.assert_allclose(outcome.reference_loss, usual, rtol=0.25)


def test_slot_that_the_reference_never_saw_is_left_out():
    losses = drawn()
    losses[:, :M, 7] = np.nan
    seen = losses.copy()
    losses[:, M, 7], seen[:, M, 7] = 1e6, np.nan
    same(outcome_of(losses), outcome_of(seen), rtol=1e-12)


def test_slot_that_opens_later_is_learnt():
    losses = drawn()
    losses[:, :10, 7] = np.nan
    moments = profile_of(losses[:, :M], np.zeros((12, M), np.int8), 1)
    assert (moments.seen[:, 0, 7] == 4).all()
    assert (moments.seen[:, 0, 8] == M).all()


@pytest.mark.parametrize("unit", [1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("side", ["greater", "two-sided"])
def test_unit_of_the_losses_changes_no_p_value(unit, side):
    losses = drawn()
    plain, scaled = outcome_of(losses, side), outcome_of(losses * unit, side)
    np.testing.assert_allclose(scaled.p_value, plain.p_value, rtol=1e-4)
    np.testing.assert_allclose(scaled.effect, plain.effect, rtol=1e-4)
    np.testing.assert_allclose(scaled.reference_loss / unit, plain.reference_loss, rtol=1e-5)


def test_one_huge_loss_harms_no_other_stream():
    losses, huge = drawn(), drawn()
    huge[3, M, 0] = 1e300
    moments = profile_of(huge[:, :M], weekends(12), 2)
    incoming = LossBatch(huge[:, M], np.zeros(12, np.int8))
    outcome = profile_test(incoming, moments, "greater")
    assert outcome.p_value[3] < 1e-4
    same(outcome, outcome_of(losses), np.arange(12) != 3)
    made = profile_updated(moments, incoming, np.ones(12, np.bool_), 28)
    assert np.isfinite(profile_test(incoming, made, "greater").p_value).all()


def test_single_precision_input_gives_the_same_answer():
    losses = drawn()
    same(outcome_of(losses.astype(np.float32)), outcome_of(losses), rtol=1e-3)


def test_one_stream_is_judged_by_itself():
    losses = drawn()
    alone = outcome_of(losses[:1])
    assert 0 < alone.p_value[0] <= 1
    assert alone.df[0] == M - 2
    same(alone, outcome_of(losses[:5]), slice(0, 1), rtol=1e-12)


def test_permuting_the_streams_permutes_the_answers():
    losses, order = drawn(50), np.random.default_rng(1).permutation(50)
    plain, permuted = outcome_of(losses), outcome_of(losses[order])
    for name in NAMES:
        np.testing.assert_allclose(getattr(permuted, name), getattr(plain, name)[order], rtol=1e-9)


def test_empty_fleet_has_no_answers():
    outcome = outcome_of(np.empty((0, M + 1, SLOTS)))
    assert all(getattr(outcome, name).shape == (0,) for name in NAMES)


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_batches_of_few_slots_are_judged(slots):
    outcome = outcome_of(drawn()[:, :, :slots])
    assert np.isfinite(outcome.p_value).all()


def test_unknown_side_is_named():
    with pytest.raises(SettingsError, match="greater"):
        outcome_of(drawn(), "less")


def test_drifting_streams_do_not_poison_the_others():
    losses = drawn(60)
    wild = losses.copy()
    wild[:6] *= np.exp(np.arange(M + 1.0))[:, None]
    calm, poisoned = outcome_of(losses), outcome_of(wild)
    np.testing.assert_allclose(poisoned.spread[6:], calm.spread[6:], rtol=0.25)


def test_evidence_of_batches_that_are_not_absorbed_adds_up():
    losses, calendar = drawn(200, days=M + 7), np.zeros((200, M + 7), np.int8)
    moments, p = profile_of(losses[:, :M], calendar[:, :M], 1), []
    for day in range(M, M + 7):
        incoming = LossBatch(losses[:, day] * 1.5, calendar[:, day])
        p.append(profile_test(incoming, moments, "greater").p_value)
        moments = profile_updated(moments, incoming, np.zeros(200, np.bool_), 28)
    assert (p[6] < 0.001).mean() > 2 * (p[0] < 0.001).mean()


def test_batch_that_is_only_noted_leaves_the_reference_alone():
    losses = drawn()
    moments = profile_of(losses[:, :M], weekends(12), 2)
    incoming = LossBatch(losses[:, M], np.zeros(12, np.int8))
    noted = profile_noted(moments, incoming, np.zeros(12, np.bool_), 28)
    assert (noted.scores[:, :-1] == moments.scores[:, 1:]).all()
    for name in ("profile", "seen", "weight", "lags", "between", "third"):
        np.testing.assert_array_equal(getattr(noted, name), getattr(moments, name))


def test_effective_number_of_batches_stays_at_the_cap():
    losses = drawn(days=40)
    made, everyone = ProfileMoments.empty(12, 1, SLOTS), np.ones(12, np.bool_)
    for day in range(40):
        batch = LossBatch(losses[:, day], np.zeros(12, np.int8))
        made = profile_updated(made, batch, everyone, 20)
    assert (made.count() == 20).all()
    assert (made.seen == 20).all()


def test_state_is_small():
    assert ProfileMoments.empty(10, 2, 96).nbytes() / 10 < 1_200
