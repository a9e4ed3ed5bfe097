"""What sets the tests that allow for dependence within a batch apart."""

import numpy as np
import pytest

from mlma.domain.batches import LossBatch, ReferenceBatch
from mlma.stats.block_bootstrap import block_bootstrap
from mlma.stats.dependent_tests import ewc, hac
from mlma.stats.sample_tests import welch

N, M, SLOTS = 20, 14, 48


def records(new, old):
    classes = np.zeros(old.shape[:2], np.int8)
    return LossBatch(new, classes[:, 0]), ReferenceBatch(old.mean(axis=2), classes, old)


def smooth(rng, shape, phi):
    """Losses whose neighbours resemble each other."""
    losses = rng.standard_normal(shape)
    for slot in range(1, shape[-1]):
        losses[..., slot] = phi * losses[..., slot - 1] + np.sqrt(1 - phi**2) * losses[..., slot]
    return np.exp(0.5 * losses)


@pytest.fixture
def dependent():
    rng = np.random.default_rng(5)
    return smooth(rng, (N, SLOTS), 0.8), smooth(rng, (N, M, SLOTS), 0.8)


each = pytest.mark.parametrize("test", [hac, ewc, block_bootstrap])


@each
def test_dependent_losses_are_less_evidence_than_welch_takes_them_for(test, dependent):
    ours = np.abs(test(*records(*dependent), "greater").statistic)
    theirs = np.abs(welch(*records(*dependent), "greater").statistic)
    assert np.median(ours / theirs) < 0.8


@each
def test_order_of_the_losses_within_a_batch_matters(test, dependent):
    new, old = dependent
    order = np.random.default_rng(6).permutation(SLOTS)
    plain = test(*records(new, old), "greater").statistic
    mixed = test(*records(new[:, order], old[:, :, order]), "greater").statistic
    assert np.median(np.abs(mixed / plain)) > 1.2


@pytest.mark.parametrize("test", [hac, ewc])
def test_losses_of_different_batches_are_independent_so_that_the_order_of_batches_is_none(
    test, dependent
):
    new, old = dependent
    plain = test(*records(new, old), "greater").statistic
    turned = test(*records(new, old[:, ::-1]), "greater").statistic
    np.testing.assert_allclose(turned, plain, rtol=1e-9)


def test_level_of_a_reference_batch_is_noise_for_hac_and_unseen_by_ewc(dependent):
    new, old = dependent
    levels = np.where(np.arange(M) % 2, 0.5, -0.5)[:, None]  # on average 0
    plain, moved = records(new, old), records(new, old + levels)
    ratio = hac(*moved, "greater").statistic / hac(*plain, "greater").statistic
    assert (ratio < 1).all()
    np.testing.assert_allclose(
        ewc(*moved, "greater").statistic, ewc(*plain, "greater").statistic, rtol=1e-9
    )


@pytest.mark.parametrize(("test", "fewest"), [(hac, 2), (ewc, 4), (block_bootstrap, 1)])
def test_batch_with_too_few_losses_cannot_be_told_but_has_an_expectation(test, fewest, dependent):
    new, old = dependent
    for count in (fewest - 1, fewest):
        few = new.copy()
        few[:, count:] = np.nan
        outcome = test(*records(few, old), "greater")
        assert np.isfinite(outcome.reference_loss).all()
        assert np.isnan(outcome.p_value).all() == (count < fewest)


def test_reference_of_batches_too_short_for_a_cosine_cannot_be_told_by_ewc(dependent):
    new, old = dependent
    assert np.isnan(ewc(*records(new, old[:, :, :3]), "greater").p_value).all()
    assert np.isfinite(ewc(*records(new, old[:, :, :4]), "greater").p_value).all()


def test_bootstrap_never_claims_more_than_one_in_a_thousand(dependent):
    new, old = dependent
    assert (block_bootstrap(*records(new + 1e6, old), "greater").p_value == 0.001).all()
    assert (block_bootstrap(*records(new + 1e6, old), "two-sided").p_value == 0.001).all()
    assert (block_bootstrap(*records(new - 1e6, old), "greater").p_value == 1.0).all()


def test_ties_in_the_bootstrap_count_against_the_alarm():
    # Blocks of one slot: nearly every resample of two losses has the mean 0 that was observed.
    old = np.zeros((1, 4, 2))
    old[0, 0] = [1.0, -1.0]
    assert block_bootstrap(*records(np.zeros((1, 2)), old), "two-sided").p_value[0] == 1.0


def test_bootstrap_gives_the_same_answer_twice_and_leaves_the_chance_of_others_alone(dependent):
    np.random.seed(0)  # noqa: NPY002 - it must not be read
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = block_bootstrap(*records(*dependent), "greater").p_value
    again = block_bootstrap(*records(*dependent), "greater").p_value
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_streams_of_the_same_losses_get_the_same_p_value_from_the_bootstrap(dependent):
    new, old = (np.repeat(side[:1], 7, axis=0) for side in dependent)
    assert len(np.unique(block_bootstrap(*records(new, old), "greater").p_value)) == 1


def test_streams_with_references_of_unlike_size_are_judged_as_if_alone(dependent):
    new, old = dependent[0], dependent[1].copy()
    for stream in range(N):
        old[stream, : stream % 5] = np.nan
    fleet = block_bootstrap(*records(new, old), "greater").p_value
    for stream in range(N):
        alone = records(new[[stream]], old[[stream], stream % 5 :])
        assert block_bootstrap(*alone, "greater").p_value[0] == fleet[stream]


def test_incoming_batch_with_half_its_losses_is_less_evidence_for_the_bootstrap(dependent):
    _, old = dependent
    new = np.full((N, SLOTS), 3.0)
    half = new.copy()
    half[:, ::2] = np.nan
    whole = block_bootstrap(*records(new, old), "greater").statistic
    fewer = block_bootstrap(*records(half, old), "greater").statistic
    np.testing.assert_allclose(fewer / whole, np.sqrt(0.5), rtol=0.05)
