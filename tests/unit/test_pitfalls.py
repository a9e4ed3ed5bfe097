"""The pitfalls of monitoring with re-training, each shown on a small replay."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from cycles import quiet
from mlma.adapters.models.registry import forecaster_from
from mlma.domain.settings import Periodic
from mlma.domain.verdicts import Decision, Reason, Verdict
from panels import WINDOW, MeanForecaster, noise, panel_of, replayed


@pytest.fixture
def rng():
    return np.random.default_rng(33)


def played(y, policy, model="ridge", **settings):
    return replayed(panel_of(y), [policy], model, **settings).run(policy.label)


@dataclass
class InSampleModel:
    """What everybody does at first: the losses of the training window itself are the reference."""

    inner: object

    def predict(self, series, first, last):
        return self.inner.predict(series, first, last)

    def held_out(self, series, first, last):
        return self.inner.predict(series, first, last)


@dataclass
class InSample:
    inner: object
    name: str = "in_sample"
    warm_up: int = 14

    def fit(self, series, first, last, seed):
        return InSampleModel(self.inner.fit(series, first, last, seed))


def test_an_in_sample_reference_would_re_train_all_the_time_and_a_held_out_one_does_not(rng):
    y = noise(rng, 2, 60, slots=24)
    flexible = forecaster_from(DecisionTreeRegressor(min_samples_leaf=3))
    policy = quiet(follow_ups=())
    # The evidence of two batches at least must add up: one batch in two is all the time.
    in_sample = played(y, policy, InSample(flexible)).retrained[:, WINDOW:].sum()
    assert in_sample > 0.25 * y.shape[0] * (y.shape[1] - WINDOW)
    held_out = played(y, policy, flexible).retrained[:, WINDOW:].sum()
    assert held_out <= 1  # of 64 batches: one may be chance


def test_a_reference_filled_after_a_re_training_would_learn_the_bad_level_as_normal(rng):
    y = noise(rng, 4, 90)
    y[:, 60:] += 10.0  # the window of 28 is full of old data for weeks
    taught = {}
    for source in ("held_out", "production"):
        policy = quiet(
            reference_from=source, min_reference_batches=7, follow_ups=(), adjustment=0.0
        )
        run = played(y, policy, MeanForecaster())
        assert run.retrained[:, 60:64].any(axis=1).all()
        assert (run.loss[:, 62:67] > 7.5).all()
        taught[source] = run.evidence
    production = taught["production"]
    assert (production.reference_loss[:, 70:] > 8).all()
    assert (production.verdict[:, 70:] == Verdict.HEALTHY).mean() > 0.9
    assert (taught["held_out"].reference_loss[:, 62:67] < 4).all()
    assert (taught["held_out"].decision[:, 63:75] == Decision.RETRAIN).any(axis=1).all()


def test_a_dead_sensor_is_unclear_and_no_crash(rng):
    y = noise(rng, 4, 90)
    y[1] = 0.0
    y[2] = np.where(rng.random((90, 4)) < 0.9, 0.0, y[2])  # zero-inflated
    y[3] = 7.0  # stuck
    record = replayed(panel_of(y), [quiet()])
    run = record.run(quiet().label)
    told = run.evidence.verdict[:, WINDOW + 14 :]
    assert (told[1] == Verdict.UNCLEAR).all()
    assert set(told[2].tolist()) <= {Verdict.HEALTHY, Verdict.DEGRADED, Verdict.IMPROVED}
    assert not run.retrained[[1, 3]].any()
    assert np.isfinite(run.loss[:, WINDOW:]).all()
    assert np.isnan(record.relative_loss(record.always)[1])


def test_evidence_against_the_best_level_catches_the_boiling_frog_and_an_anchor_still_earlier(rng):
    rise = 1.004 ** np.arange(200)
    y = 20 + (noise(rng, 8, 200) - 20) * rise[:, None]  # no model can forecast noise
    first, seen = {}, {}
    for rule, drift in (("adaptive", False), ("adaptive", True), ("anchored", False)):
        policy = quiet(reference=rule, drift=drift, common=False, adjustment=0.0)
        seen[rule, drift] = played(y, policy, MeanForecaster()).evidence
        alarm = seen[rule, drift].alarm
        first[rule, drift] = np.where(alarm.any(axis=1), alarm.argmax(axis=1), 200)
    follows, by_drift, anchored = first.values()
    assert (anchored <= by_drift).all()
    # The dial is shared, so the limit against the adaptive reference is a little higher.
    assert (by_drift <= follows + 1).all()
    assert np.median(follows) - np.median(by_drift) >= 20
    assert np.median(by_drift) - np.median(anchored) >= 20
    assert (seen["adaptive", True].reason == Reason.DRIFT).any(axis=1).mean() >= 0.5
    assert not (seen["adaptive", False].reason == Reason.DRIFT).any()


def test_maximum_age_does_not_re_train_the_fleet_on_one_day(rng):
    policy = replace(quiet(), max_age=20)
    run = played(noise(rng, 40, 120), policy, MeanForecaster())
    due = run.evidence.reason == Reason.MAX_AGE
    assert due.sum() > 120
    assert due.sum(axis=0).max() <= 12


def test_after_a_common_shock_maximum_ages_do_not_stay_in_step(rng):
    y = noise(rng, 40, 140)
    y[:, 60:] += 10.0
    policy = replace(quiet(follow_ups=(), adjustment=0.0), max_age=40)
    run = played(y, policy, MeanForecaster())
    assert run.retrained[:, 62:65].any(axis=1).all()
    due = run.evidence.reason[:, 90:] == Reason.MAX_AGE
    assert due.sum() > 30
    assert due.sum(axis=0).max() <= 12


def test_periodic_baselines_are_averaged_over_their_phases(rng):
    y = noise(rng, 4, 90)
    y[:, 50:] += 10.0
    every, fast = 28, {"window": 14}
    phases = range(0, every, 4)
    fixed = [played(y, Periodic(every, phase), MeanForecaster(), **fast) for phase in phases]
    sums = [np.nansum(run.loss) for run in fixed]
    assert max(sums) > 1.2 * min(sums)  # the phase alone makes this difference
    run = played(y, Periodic(every), MeanForecaster(), phases=8, **fast)
    assert run.phases == 8
    assert {one.phases for one in fixed} == {1}
    assert abs(np.nansum(run.loss) / np.mean(sums) - 1) < 0.05
    single = played(y, Periodic(every), MeanForecaster(), phases=1, **fast)
    assert (run.fits != np.round(run.fits)).any()
    assert (single.fits == np.round(single.fits)).all()


def test_a_version_trained_on_a_window_with_a_hole_is_provisional_and_followed_up(rng):
    y = noise(rng, 4, 160)
    y[1, 40:70] = np.nan
    policy = quiet()
    run = played(y, policy, MeanForecaster(), window=84)
    followed = np.flatnonzero(run.evidence.reason[1] == Reason.FOLLOW_UP)
    # The first version goes live on day 84; its window has the whole hole.
    assert followed.tolist()[:2] == [84 + 6, 84 + 13]
    assert not (run.evidence.reason[[0, 2, 3]] == Reason.FOLLOW_UP).any()
    assert not (run.evidence.reason[1, :90] == Reason.ALARM).any()
