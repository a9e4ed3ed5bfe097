"""Versions on trial and roll-backs in a replay, where it is known which version is better."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from cycles import quiet
from mlma.adapters.executors.local import LocalExecutor
from mlma.adapters.models.guard import GuardedForecaster
from mlma.adapters.models.seasonal_naive import SeasonalNaive
from mlma.agent.evidence_player import EvidencePlayer
from mlma.agent.stage import ReplaySettings, build_stage
from mlma.agent.training import Recipe
from mlma.agent.workshop import Workshop
from mlma.domain.settings import MLMA
from mlma.domain.verdicts import Decision, Reason
from mlma.stats.losses import loss_from
from panels import WINDOW, MeanForecaster, MeanModel, noise, panel_of, replayed

DAYS = 84
PLAIN = {"calendar": "none", "adjustment": 0.0, "common": False, "follow_ups": ()}
GATED = quiet(gate=True, max_age=10, level=1e-6, false_retrainings=1e-6, **PLAIN)


@pytest.fixture
def y():
    return noise(np.random.default_rng(8), 4, DAYS)


def run_of(y, policy, model):
    return replayed(panel_of(y), [policy], model).run(policy.label)


def first_only(bias):
    """A bias of the first version, or, negative, of all others."""
    return lambda last: max(bias, 0.0) if last == WINDOW else max(-bias, 0.0)


def at(run, decision, reason):
    evidence = run.evidence
    return (evidence.decision == decision) & (evidence.reason == reason)


def mean_losses(y, row, window_ends, first, last):
    """Loss per batch of the mean of the window that ends before a batch."""
    mean = y[row, window_ends - WINDOW : window_ends].mean()
    return np.abs(y[row, first:last] - mean).mean(axis=1)


# The gate


def test_a_worse_version_never_goes_live_and_its_stream_asks_again(y):
    run = run_of(y, GATED, MeanForecaster(bias=first_only(-3.0)))
    assert not run.retrained.any()
    for row in range(4):
        np.testing.assert_allclose(
            run.loss[row, WINDOW:], mean_losses(y, row, WINDOW, WINDOW, DAYS)
        )
    dropped = at(run, Decision.HOLD, Reason.GATE)
    assert (dropped.sum(axis=1) >= 3).all()
    assert run.fits.tolist() == (1 + dropped.sum(axis=1)).tolist()


def test_versions_dropped_cost_their_second_fit_too_where_held_out_losses_take_one(y):
    run = run_of(y, GATED, MeanForecaster(bias=first_only(-3.0), free=False))
    dropped = at(run, Decision.HOLD, Reason.GATE).sum(axis=1)
    assert run.fits.tolist() == (2 * (1 + dropped)).tolist()


def test_a_much_better_version_goes_live_at_once_where_held_out_batches_say_so(y):
    run = run_of(y, GATED, MeanForecaster(bias=first_only(3.0)))
    at_once = 0
    for row in range(4):
        batch = np.flatnonzero(run.retrained[row])[0]
        if run.evidence.decision[row, batch - 1] == Decision.RETRAIN:
            at_once += 1
            expected = mean_losses(y, row, batch, batch, batch + 3)
            np.testing.assert_allclose(run.loss[row, batch : batch + 3], expected)
    assert at_once >= 2


@pytest.fixture
def tried(y):
    """A version that is a little better: it has to prove itself."""
    return run_of(y, GATED, MeanForecaster(bias=first_only(0.5)))


def promotions(run):
    """Stream, batch before which the trial began, and batch before which the version went live."""
    opened = at(run, Decision.HOLD, Reason.TRIAL)
    switched = at(run, Decision.SWITCH, Reason.TRIAL)
    for row, batch in np.argwhere(switched).tolist():
        if batch + 1 < run.loss.shape[1]:
            yield row, int(np.flatnonzero(opened[row, :batch])[-1]) + 1, batch + 1


def test_a_better_version_goes_live_after_its_trial_as_it_was_trained(y, tried):
    found = list(promotions(tried))
    assert len(found) >= 3
    for row, since, live in found:
        assert tried.retrained[row, live]
        expected = mean_losses(y, row, since, live, live + 2)
        np.testing.assert_allclose(tried.loss[row, live : live + 2][: len(expected)], expected)
    assert tried.retrained.sum() == len(found) + (
        at(tried, Decision.RETRAIN, Reason.MAX_AGE)[:, :-1].sum()
    )


def test_nothing_is_asked_of_a_stream_while_a_version_is_on_trial(tried):
    for row, since, live in promotions(tried):
        during = tried.evidence.decision[row, since : live - 1]
        assert set(during.tolist()) <= {Decision.KEEP}
        assert not tried.retrained[row, since:live].any()


def test_the_reference_of_a_promoted_version_is_its_held_out_and_shadow_losses(y, tried):
    for row, since, live in promotions(tried):
        losses = mean_losses(y, row, since, since - WINDOW // 2, live)[-28:]
        expected = np.exp(np.log(losses).mean())
        np.testing.assert_allclose(tried.evidence.reference_loss[row, live], expected, rtol=1e-5)


def test_a_trial_that_is_dropped_lets_the_stream_ask_again(y):
    policy = replace(GATED, gate_batches=5)
    run = run_of(y, policy, MeanForecaster(bias=first_only(-0.3)))
    opened = at(run, Decision.HOLD, Reason.TRIAL)
    dropped = at(run, Decision.HOLD, Reason.GATE)
    again = 0
    for row in range(4):
        for batch in np.flatnonzero(dropped[row]).tolist():
            later = (
                opened[row, batch + 1 :]
                | dropped[row, batch + 1 :]
                | run.retrained[row, batch + 1 :]
            )
            again += later.any()
    assert again >= 4


def test_a_stream_without_a_champion_gets_its_first_version_without_a_trial(y):
    y[1, :20] = np.nan  # born later
    run = run_of(y, GATED, MeanForecaster(bias=first_only(-3.0)))
    assert np.isfinite(run.loss[[0, 2, 3], WINDOW]).all()
    assert np.isfinite(run.loss[1, 20 + WINDOW])
    assert not run.retrained[1, : 20 + WINDOW + 1].any()


# Challengers that fail


@dataclass
class Fragile(MeanModel):
    """Forecasts as others, but ``breaks(at, first, last)`` says where it raises."""

    at: int = 0
    breaks: object = None

    def predict(self, series, first, last):
        if self.at > WINDOW and self.breaks(self.at, first, last):
            raise RuntimeError("out of order")
        return super().predict(series, first, last)

    def held_out(self, series, first, last):
        return MeanModel.predict(self, series, first, last)


@dataclass
class FragileForecaster(MeanForecaster):
    breaks: object = field(default=None, kw_only=True)

    def fit(self, series, first, last, seed):
        made = super().fit(series, first, last, seed)
        return Fragile(made.mean, True, None, last, self.breaks)


def test_a_candidate_that_fails_in_its_trial_cannot_win_and_harms_nobody(y):
    policy = replace(GATED, gate_level=1e-9, gate_batches=30)
    # From the second chunk of forecasts on (batch 56) the new versions raise.
    breaks = lambda trained, first, last: first > trained  # noqa: E731
    bias = first_only(0.5)
    record = replayed(panel_of(y), [policy], FragileForecaster(bias=bias, breaks=breaks))
    run = record.run(policy.label)
    assert at(run, Decision.HOLD, Reason.TRIAL)[:, : 2 * WINDOW].any(axis=1).all()
    assert at(run, Decision.HOLD, Reason.GATE)[:, 2 * WINDOW].all()
    assert not run.retrained[:, : 2 * WINDOW + 1].any()
    healthy = run_of(y, policy, MeanForecaster(bias=bias))
    np.testing.assert_array_equal(run.loss[:, : 2 * WINDOW], healthy.loss[:, : 2 * WINDOW])


def played(y, policy, model):
    """The play of one policy alone, and the workshop in which its versions were trained."""
    rules = ReplaySettings((policy,), loss_from("absolute"), WINDOW, 0.5, 28, 1, 0)
    stage, _ = build_stage(panel_of(y), rules, SeasonalNaive())
    recipe = Recipe(GuardedForecaster(model), WINDOW, WINDOW // 2, 0)
    workshop = Workshop.of(stage, recipe, LocalExecutor(n_jobs=1))
    return EvidencePlayer(stage, workshop, SeasonalNaive()).play([(policy, None)])[0], workshop


def test_a_candidate_that_cannot_say_what_it_forecast_in_its_trial_is_dropped(y):
    """Its reference would need these forecasts."""
    breaks = lambda trained, first, last: first == trained and last < 2 * WINDOW  # noqa: E731
    bias = first_only(0.5)
    healthy = run_of(y, GATED, MeanForecaster(bias=bias))
    early = [one for one in promotions(healthy) if one[2] < 2 * WINDOW]
    assert early
    play, workshop = played(y, GATED, FragileForecaster(bias=bias, breaks=breaks))
    assert not workshop.broken
    for row, _, live in early:
        assert not play.retrained[row, live]
        assert play.columns["decision"][row, live - 1] == Decision.HOLD
        assert play.columns["reason"][row, live - 1] == Reason.GATE


# The roll-back

WATCHED = quiet(rollback_batches=14, max_age=20, level=1e-6, false_retrainings=1e-6, **PLAIN)


def rolled_back(y, policy=WATCHED):
    return run_of(y, policy, MeanForecaster(bias=first_only(-3.0)))


def test_a_roll_back_brings_the_former_version_back_to_the_bit(y):
    run = rolled_back(y)
    never = replayed(panel_of(y), [], MeanForecaster()).run("never")
    back = at(run, Decision.SWITCH, Reason.ROLLED_BACK)
    assert back.any(axis=1).all()
    for row in range(4):
        bad = np.flatnonzero(run.retrained[row])[0]
        good = np.flatnonzero(back[row])[0] + 1
        assert (run.loss[row, bad:good] > never.loss[row, bad:good]).all()
        after = np.flatnonzero(run.retrained[row, good:])
        end = good + after[0] if len(after) else DAYS
        np.testing.assert_array_equal(run.loss[row, good:end], never.loss[row, good:end])


def test_a_roll_back_brings_the_reference_of_the_former_version_back(y):
    run, alone = rolled_back(y), run_of(y, replace(WATCHED, max_age=None), MeanForecaster())
    for row in range(4):
        bad = np.flatnonzero(run.retrained[row])[0]
        good = np.flatnonzero(at(run, Decision.SWITCH, Reason.ROLLED_BACK)[row])[0] + 1
        then, now = alone.evidence.reference_loss[row, bad], run.evidence.reference_loss[row, good]
        assert now == then
        assert run.evidence.reference_loss[row, bad] > 1.5 * then


def test_a_former_version_that_is_worse_stays_away(y):
    run = run_of(y, WATCHED, MeanForecaster(bias=first_only(3.0)))
    assert run.retrained.any(axis=1).all()
    first = [np.flatnonzero(run.retrained[row])[0] for row in range(4)]
    back = at(run, Decision.SWITCH, Reason.ROLLED_BACK)
    assert not any(back[row, : start + 14].any() for row, start in enumerate(first))


def test_an_alarm_of_the_version_that_makes_way_brings_no_re_training():
    """The alarm and the roll-back may come in the same batch; then there is nothing to train."""
    y = noise(np.random.default_rng(9), 24, 60)
    y[:, 42:] -= 3.0
    loud = {"accumulate": "none", "level": 0.01, "multiplicity": "none", "drift": False}
    policy = quiet(rollback_batches=14, max_age=20, **{**PLAIN, **loud})
    run = rolled_back(y, policy)
    back = at(run, Decision.SWITCH, Reason.ROLLED_BACK)
    assert (back & run.evidence.alarm).any()
    rows, batches = np.nonzero(back[:, :-1])
    assert not run.retrained[rows, batches + 1].any()


def test_gate_and_roll_back_work_together(y):
    """What goes live after a trial is watched as well."""
    policy = replace(GATED, rollback_batches=14)
    bias = lambda last: {WINDOW: 0.5}.get(last, 0.0)  # noqa: E731
    y[:, 62:] += 0.5  # from now on the biased first version is the better one
    run = run_of(y, policy, MeanForecaster(bias=bias))
    assert list(promotions(run))
    assert np.isfinite(run.loss[:, WINDOW:]).all()
    switched = at(run, Decision.SWITCH, Reason.ROLLED_BACK)
    assert not (switched & run.retrained).any()


def test_a_policy_without_gate_or_roll_back_has_no_trials(y):
    run = run_of(y, quiet(max_age=20), MeanForecaster(bias=first_only(-3.0)))
    assert not (run.evidence.decision == Decision.SWITCH).any()
    assert run.retrained.any()


def test_trials_of_one_policy_leave_the_others_alone(y):
    policies = (GATED, WATCHED, MLMA(max_age=20, pool=1, review_age=None))
    model = MeanForecaster(bias=lambda last: 0.3 * (last % 3))
    together = replayed(panel_of(y), policies, model)
    for policy in policies:
        alone, among = run_of(y, policy, model), together.run(policy.label)
        np.testing.assert_array_equal(alone.loss, among.loss)
        np.testing.assert_array_equal(alone.fits, among.fits)
        np.testing.assert_array_equal(alone.evidence.decision, among.evidence.decision)
