"""Model and reference go back together: what is kept at a deployment, and what comes of it."""

from dataclasses import replace

import numpy as np
import pytest

from cycles import DEFAULT, SLOTS, arrays, cycle, gamma, held_out_of, reported, started
from mlma.domain.state import NOT_OPEN
from mlma.domain.verdicts import Decision, Verdict
from mlma.steps.refer import deploy
from mlma.steps.rollback import remembered, restored

N, KEPT = 6, 10
EVERYONE = np.arange(N)
POLICY = replace(DEFAULT, pool=1, follow_ups=(7, 14, 28))
REFERENCE_TESTS = ["moderated_t", "profile", "welch"]


def lived(state, policy, days, level=1.0, seed=1):
    """The state after healthy days at a level of losses; requests come to nothing."""
    rng = np.random.default_rng(seed)
    for _ in range(days):
        state, _ = cycle(reported(state), gamma(rng, N, SLOTS, level=level), policy)
    return state


def replaced(policy=POLICY, rows=EVERYONE, days=KEPT, level=1.0):
    """The state before a deployment, what was kept, and the state some days after it."""
    rng = np.random.default_rng(0)
    before = lived(started(policy, gamma(rng, N, 28, SLOTS)), policy, 9)
    kept = remembered(before, rows)
    brought = held_out_of(gamma(rng, len(rows), 28, SLOTS, level=3.0), None, policy)
    after = deploy(before, rows, brought, policy, 0)
    return before, kept, lived(after, policy, days, level, seed=2)


@pytest.mark.parametrize("test", REFERENCE_TESTS)
def test_the_whole_reference_is_that_of_the_former_version(test):
    policy = replace(POLICY, test=test)
    before, kept, now = replaced(policy)
    back = restored(now, EVERYONE, kept, policy)
    kept_columns = arrays(before.reference)
    for name, column in arrays(back.reference).items():
        if not name.startswith("waiting."):
            np.testing.assert_array_equal(column, kept_columns[name], err_msg=name)
    np.testing.assert_array_equal(back.birth_level, before.birth_level)


def test_age_counts_on_from_the_former_versions_training():
    before, kept, now = replaced()
    back = restored(now, EVERYONE, kept, POLICY)
    assert before.age.tolist() == [9] * N
    assert now.age.tolist() == [KEPT] * N
    assert back.age.tolist() == [9 + KEPT] * N


def test_the_number_of_the_version_goes_up():
    before, kept, now = replaced()
    assert before.version.tolist() == [1] * N
    assert restored(now, EVERYONE, kept, POLICY).version.tolist() == [3] * N


def test_evidence_starts_anew_and_nothing_waits():
    _, kept, now = replaced(level=5.0)
    assert (now.cusum_all > 0).any()
    back = restored(now, EVERYONE, kept, POLICY)
    for name in ("cusum_up", "cusum_down", "cusum_drift", "cusum_all", "alarms_in_a_row"):
        assert not getattr(back, name).any()
    assert not any(column.any() for column in arrays(back.reference.waiting).values())


def test_what_waited_at_the_deployment_is_not_kept():
    state = lived(started(POLICY, gamma(np.random.default_rng(0), N, 28, SLOTS)), POLICY, 1, 2.0)
    assert (state.reference.waiting.batches > 0).any()
    assert not remembered(state, EVERYONE).reference.waiting.batches.any()


def test_an_open_episode_stays_open_and_its_follow_up_still_comes():
    _, kept, now = replaced(days=0)
    opened = replace(now, episode=np.full(N, 5, dtype=np.int32))
    back = restored(opened, EVERYONE, kept, POLICY)
    assert back.episode.tolist() == [5] * N
    rng, decided = np.random.default_rng(5), []
    for _ in range(2):
        back, seen = cycle(reported(back), gamma(rng, N, SLOTS), POLICY)
        decided.append(seen.decision.tolist())
    assert decided == [[Decision.KEEP] * N, [Decision.RETRAIN] * N]
    assert restored(now, EVERYONE, kept, POLICY).episode.tolist() == [NOT_OPEN] * N


def test_a_request_that_is_pending_stays_pending():
    _, kept, now = replaced(days=0)
    asked = replace(now, pending=np.arange(N) < 2)
    assert restored(asked, EVERYONE, kept, POLICY).pending.tolist() == asked.pending.tolist()


def test_a_version_that_was_too_old_is_not_trained_again_at_once():
    policy = replace(POLICY, max_age=9, review_age=None)
    _, kept, now = replaced(policy)
    back = restored(now, EVERYONE, kept, policy)
    assert (back.age >= kept.oldest).any()
    rng, decided = np.random.default_rng(5), []
    for _ in range(policy.review_every):
        back, seen = cycle(reported(back), gamma(rng, N, SLOTS), policy)
        decided.append((seen.decision == Decision.RETRAIN).all())
    assert decided == [False] * 6 + [True]


def test_a_review_in_the_future_keeps_its_date():
    _, kept, now = replaced(days=0)
    later = replace(kept, next_review=np.full(N, 99.0, dtype=np.float32))
    assert restored(now, EVERYONE, later, POLICY).next_review.tolist() == [99.0] * N
    never = replace(kept, oldest=np.full(N, np.inf, dtype=np.float32))
    assert np.isinf(restored(now, EVERYONE, never, POLICY).oldest).all()


def test_only_the_streams_that_are_named_go_back():
    rows = np.array([1, 4])
    _, kept, now = replaced(rows=rows)
    back, others = restored(now, rows, kept, POLICY), np.setdiff1d(EVERYONE, rows)
    for name, column in arrays(back).items():
        np.testing.assert_array_equal(column[others], arrays(now)[name][others], err_msg=name)
    assert back.version[rows].tolist() == [3, 3]


def test_what_was_kept_is_a_copy():
    before, kept, _ = replaced(days=0)
    held = {name: column.copy() for name, column in arrays(kept).items()}
    for column in arrays(before).values():
        column[...] = 0
    for name, column in arrays(kept).items():
        np.testing.assert_array_equal(column, held[name], err_msg=name)


def test_losses_as_before_the_deployment_are_healthy_again():
    _, kept, now = replaced()
    losses = gamma(np.random.default_rng(9), N, SLOTS)
    assert (cycle(now, losses, POLICY)[1].effect < -0.3).all()
    _, seen = cycle(restored(now, EVERYONE, kept, POLICY), losses, POLICY)
    assert (np.abs(seen.effect) < 0.5).all()
    assert set(seen.verdict.tolist()) == {Verdict.HEALTHY}
