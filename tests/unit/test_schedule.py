"""When the policies that do not look at losses re-train."""

import numpy as np
import pytest
from scipy import stats

from mlma.domain.chance import stream_keys
from mlma.domain.settings import MLMA, Always, Never, Periodic, Random
from mlma.steps.schedule import scheduled

N = 400
KEYS = stream_keys(f"stream {row}" for row in range(50))


def due(policy, seed=0, keys=KEYS, n=N):
    """``(n_streams, n)``, batch 0 is the first version."""
    columns = [scheduled(policy, keys, np.full(len(keys), number), seed) for number in range(n)]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize(
    "policy", [Never(), Always(), Periodic(every=1), Periodic(phase=0), Random(rate=1.0)]
)
def test_the_first_version_is_never_a_re_training(policy):
    assert not due(policy, n=3)[:, 0].any()


def test_never_never_and_always_at_every_batch():
    assert not due(Never()).any()
    assert due(Always())[:, 1:].all()
    np.testing.assert_array_equal(due(Periodic(every=1)), due(Always()))
    np.testing.assert_array_equal(due(Random(rate=1.0)), due(Always()))
    np.testing.assert_array_equal(due(Random(rate=0.0)), due(Never()))


@pytest.mark.parametrize("every", [2, 7, 28, 3.5, 28.57, 6.02, 399])
def test_periodic_re_trains_every_so_many_batches_exactly(every):
    made = due(Periodic(every=every))
    # Batches 1 to 399 hold 399 / every turns, rounded up or down by the phase.
    counts = made.sum(axis=1)
    assert np.isin(counts, [np.floor(399 / every), np.ceil(399 / every)]).all()
    assert abs(counts.mean() - 399 / every) < 0.25
    for row in made[:5]:
        gaps = np.diff(np.flatnonzero(row))
        assert np.isin(gaps, [np.floor(every), np.ceil(every)]).all()


def test_random_phases_spread_the_fleet_and_depend_on_the_stream_and_the_seed_alone():
    first = due(Periodic(every=28)).argmax(axis=1)
    assert len(np.unique(first)) > 15
    order = np.random.default_rng(2).permutation(50)
    np.testing.assert_array_equal(due(Periodic(), keys=KEYS[order]), due(Periodic())[order])
    np.testing.assert_array_equal(due(Random(), keys=KEYS[order]), due(Random())[order])
    assert (due(Periodic(), seed=1).argmax(axis=1) != first).mean() > 0.8


@pytest.mark.parametrize(
    ("phase", "expected"), [(0, [7, 14, 21]), (1, [1, 8, 15]), (3, [3, 10, 17])]
)
def test_a_phase_in_batches_starts_every_stream_there(phase, expected):
    made = due(Periodic(every=7, phase=phase), n=23)
    for row in made:
        assert np.flatnonzero(row)[:3].tolist() == expected


@pytest.mark.parametrize("rate", [0.03, 0.2, 0.7])
def test_random_re_trains_at_its_rate_within_the_binomial_interval(rate):
    made = due(Random(rate=rate))[:, 1:]
    low, high = stats.binom.interval(0.999, made.size, rate)
    assert low <= made.sum() <= high
    low, high = stats.binom.interval(1 - 1e-5, made.shape[1], rate)
    assert ((low <= made.sum(axis=1)) & (made.sum(axis=1) <= high)).all()


def test_random_draws_of_neighbouring_batches_and_streams_are_not_tied():
    made = due(Random(rate=0.5))[:, 1:].astype(float)
    for one, other in ((made[:, 1:], made[:, :-1]), (made[1:], made[:-1])):
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(one.size)


def test_no_stream_at_all_is_no_error():
    nobody = stream_keys([])
    for policy in (Never(), Always(), Periodic(), Random()):
        assert scheduled(policy, nobody, np.zeros(0, dtype=np.int64), 0).shape == (0,)


def test_a_policy_that_looks_at_losses_has_no_schedule():
    with pytest.raises(TypeError, match="has no schedule"):
        scheduled(MLMA(), KEYS, np.ones(50, dtype=np.int64), 0)
