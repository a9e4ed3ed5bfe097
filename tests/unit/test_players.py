"""Replays of small panels: shared fits, failures, lives of streams, yardsticks.

One model at a time, but where a test speaks of a pool.
"""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest

from mlma.domain.errors import DataError, SettingsError
from mlma.domain.settings import MLMA, Periodic, Random
from mlma.domain.verdicts import Decision, Reason, Verdict
from panels import WINDOW, MeanForecaster, noise, panel_of, replayed, slow_losses

DAYS = 70
EAGER = MLMA(level=0.05, multiplicity="none", max_age=30, pool=1)
POOL = MLMA(level=0.05, multiplicity="none", max_age=10)
SEVERAL = (
    *(EAGER, MLMA(level=0.01, pool=1), MLMA(accumulate="none", pool=1)),
    *(Periodic(every=7), Random(rate=0.1)),
)


@pytest.fixture
def rng():
    return np.random.default_rng(21)


@pytest.fixture
def broken_y(rng):
    """Six streams of 70 days; the first three rise by half on day 45."""
    y = noise(rng, 6, DAYS)
    y[:3, 45:] += 10.0
    return y


def same_losses(one, other):
    np.testing.assert_array_equal(one.loss, other.loss)
    np.testing.assert_array_equal(one.retrained, other.retrained)
    np.testing.assert_array_equal(one.fits, other.fits)


def labels(record):
    return [run.label for run in record.runs]


# Shared fits


@pytest.mark.parametrize("free", [True, False])
def test_a_fit_that_several_policies_need_is_made_once(free, broken_y):
    model = MeanForecaster(free=free)
    record = replayed(panel_of(broken_y), SEVERAL, model)
    assert set(Counter(model.fits).values()) == {1}
    whole = [fit for fit in model.fits if fit[2] - fit[1] == WINDOW]
    assert len(whole) == 6 * (DAYS - WINDOW)
    asked = sum(run.retrained.sum() for run in record.runs if run.evidence is not None)
    assert asked > 20
    assert (len(model.fits) > len(whole)) is not free


def test_always_fits_once_per_playable_batch_and_never_once(broken_y):
    record = replayed(panel_of(broken_y), [EAGER], MeanForecaster())
    assert record.always.fits.tolist() == [DAYS - WINDOW] * 6
    assert record.run("never").fits.tolist() == [1.0] * 6
    assert record.run("seasonal_naive").fits.tolist() == [0.0] * 6
    assert not record.run("never").retrained.any()


def test_held_out_siblings_count_as_fits_of_the_policies_that_need_them(broken_y):
    policies = (MLMA(pool=1), MLMA(reference_from="production", pool=1))
    record = replayed(panel_of(broken_y), policies, MeanForecaster(free=False))
    for policy, models in zip(policies, (2, 1), strict=True):
        run = record.run(policy.label)
        assert run.fits.tolist() == (models * (1 + run.retrained.sum(axis=1))).tolist()
    alone = replayed(panel_of(broken_y), policies[1:], MeanForecaster(free=False))
    same_losses(alone.run(policies[1].label), record.run(policies[1].label))


def test_losses_are_those_of_the_slow_loop_for_every_policy(broken_y):
    broken_y[4, 60:63] = np.nan
    broken_y[5, 50, :2] = np.nan
    policies = (EAGER, Periodic(every=7, phase=2))
    record = replayed(panel_of(broken_y), policies, MeanForecaster())
    checked = 0
    for run in record.runs:
        if run.phases > 1 or run.label == "seasonal_naive":
            continue
        for row in range(6):
            versions = run.retrained[row].copy()
            versions[WINDOW] = True
            expected = slow_losses(broken_y[row], versions)
            np.testing.assert_allclose(run.loss[row], expected, rtol=1e-9)
            checked += 1
    assert checked == 4 * 6


def test_the_seasonal_naive_run_is_the_value_of_a_week_ago(broken_y):
    loss = replayed(panel_of(broken_y), [], MeanForecaster()).run("seasonal_naive").loss
    expected = np.abs(broken_y[:, WINDOW:] - broken_y[:, WINDOW - 7 : -7]).mean(axis=2)
    np.testing.assert_allclose(loss[:, WINDOW:], expected)
    assert np.isnan(loss[:, :WINDOW]).all()


# Independence and reproduction


def test_a_policy_played_alone_loses_the_same_as_among_others(broken_y):
    panel = panel_of(broken_y[::2])
    short = MLMA(reference_batches=7, min_reference_batches=5, max_age=10, pool=1)
    gated = replace(short, gate=True)
    together = replayed(panel, (*SEVERAL, gated, short, POOL))
    for policy in (gated, short, POOL, Random(rate=0.1)):
        alone = replayed(panel, [policy])
        same_losses(alone.run(policy.label), together.run(policy.label))
        same_losses(alone.run("never"), together.run("never"))
        same_losses(alone.always, together.always)


def test_the_same_seed_gives_the_same_bits_for_one_and_two_workers(broken_y):
    policies = (EAGER, Random(rate=0.1))
    one, two = (replayed(panel_of(broken_y), policies, n_jobs=jobs) for jobs in (1, 2))
    assert labels(one) == labels(two)
    for run, again in zip(one.runs, two.runs, strict=True):
        same_losses(run, again)
    evidence, again = one.run(EAGER.label).evidence, two.run(EAGER.label).evidence
    for spec in fields(evidence):
        np.testing.assert_array_equal(getattr(evidence, spec.name), getattr(again, spec.name))


def test_another_seed_draws_other_random_re_trainings(broken_y):
    first, other = (
        replayed(panel_of(broken_y), [Random()], MeanForecaster(), seed=seed) for seed in (0, 1)
    )
    label = Random().label
    assert (first.run(label).retrained != other.run(label).retrained).any()


def test_the_loss_of_a_stream_does_not_depend_on_the_other_streams_without_multiplicity(broken_y):
    policy = replace(EAGER, level=0.001)
    whole = replayed(panel_of(broken_y), [policy]).run(policy.label)
    some = panel_of(broken_y[[4, 1]], ids=["s4", "s1"])
    part = replayed(some, [policy]).run(policy.label)
    np.testing.assert_array_equal(part.loss, whole.loss[[4, 1]])
    np.testing.assert_array_equal(part.retrained, whole.retrained[[4, 1]])


# Yardsticks


def test_always_relative_to_itself_is_1_and_a_dead_stream_has_no_ratio(broken_y):
    broken_y[5] = 0.0
    record = replayed(panel_of(broken_y), [EAGER], MeanForecaster())
    np.testing.assert_array_equal(record.relative_loss(record.always)[:5], 1.0)
    assert np.isnan(record.relative_loss(record.always)[5])
    assert (record.relative_loss(record.run("never"))[:3] > 1.5).all()


def test_matched_policies_train_as_often_as_the_evidence_policy(rng):
    y = noise(rng, 16, 180)
    y[:6, 90:] += 5.0
    for free, policy in ((True, MLMA(pool=1)), (False, EAGER)):
        record = replayed(panel_of(y), [policy], MeanForecaster(free=free), phases=5)
        wanted = record.run(policy.label).fits.sum()
        matched = [run for run in record.runs if run.role == "matched"]
        assert sorted(run.label.partition("(")[0] for run in matched) == ["periodic", "random"]
        for run in matched:
            assert abs(run.fits.sum() / wanted - 1) < 0.15, run.label


def test_without_a_re_training_nothing_is_matched(rng):
    policy = MLMA(level=1e-12, review_age=None, max_age=None, pool=1)
    record = replayed(panel_of(noise(rng, 2, 60)), [policy], MeanForecaster())
    assert {run.role for run in record.runs} == {"baseline", "policy"}


def test_runs_stand_in_order_baselines_first_then_what_was_asked_then_what_matches(broken_y):
    record = replayed(panel_of(broken_y), ["periodic(every=9)", EAGER], MeanForecaster())
    assert labels(record)[:5] == [
        "seasonal_naive",
        "never",
        "always",
        "periodic(every=9)",
        EAGER.label,
    ]
    assert [run.role for run in record.runs][5:] == ["matched", "matched"]


def test_progress_is_told_to_the_end(broken_y):
    told = []
    replayed(
        panel_of(broken_y), [EAGER], MeanForecaster(), progress=lambda *news: told.append(news)
    )
    assert ("monitor", DAYS - WINDOW, DAYS - WINDOW) in told
    assert told[-1] == ("play", 6, 6)


# Failures


def raising(series, first, last, out):
    if series.unique_id == "s1" and first <= 60 < last:
        raise RuntimeError("out of memory")
    return out


def with_nan(series, first, last, out):
    if series.unique_id == "s1" and first <= 60 < last:
        out[60 - first] = np.nan
    return out


def misshapen(series, first, last, out):
    return out[:, :1] if series.unique_id == "s1" else out


@pytest.mark.parametrize(
    ("trouble", "message"),
    [(raising, "RuntimeError: out of memory"), (with_nan, "returned NaN"), (misshapen, "shape")],
)
@pytest.mark.parametrize("policies", [(EAGER,), ()])
def test_a_stream_whose_model_cannot_forecast_is_reported_and_the_rest_goes_on(
    trouble, message, policies, broken_y
):
    record = replayed(panel_of(broken_y), policies, MeanForecaster(trouble=trouble))
    assert record.ids == ("s0", "s2", "s3", "s4", "s5")
    assert record.tags == {"half": ("a", "a", "b", "a", "b")}
    assert list(record.failures) == ["s1"]
    assert message in record.failures["s1"]
    assert "s1" in record.failures["s1"]
    assert [(out.reason, out.count, out.examples) for out in record.left_out] == [
        ("model failed", 1, ("s1",))
    ]
    clean = replayed(panel_of(broken_y), (), MeanForecaster())
    np.testing.assert_array_equal(record.always.loss, clean.always.loss[[0, 2, 3, 4, 5]])


@pytest.mark.parametrize("policies", [(EAGER,), ()])
def test_a_stream_whose_first_training_fails_is_reported_and_the_rest_goes_on(policies, broken_y):
    first = MeanForecaster(fails=lambda series, last: series.unique_id == "s2" and last == WINDOW)
    record = replayed(panel_of(broken_y), policies, first)
    assert record.ids == ("s0", "s1", "s3", "s4", "s5")
    assert "ValueError: no convergence" in record.failures["s2"]
    assert np.isfinite(record.run("never").loss[:, WINDOW:]).all()


def test_a_model_that_fails_everywhere_is_an_error(broken_y):
    model = MeanForecaster(fails=lambda series, last: True)
    with pytest.raises(DataError, match=r"failed on all 6 streams.*no convergence"):
        replayed(panel_of(broken_y), [EAGER], model)


def test_a_failing_re_training_leaves_the_old_version_and_says_so(broken_y):
    model = MeanForecaster(fails=lambda series, last: series.unique_id == "s1" and last > WINDOW)
    record = replayed(panel_of(broken_y), [EAGER], model)
    assert record.ids[1] == "s1"
    run = record.run(EAGER.label)
    np.testing.assert_array_equal(run.loss[1], record.run("never").loss[1])
    np.testing.assert_array_equal(record.always.loss[1], record.run("never").loss[1])
    assert (run.fits[1], record.always.fits[1]) == (1.0, 1.0)
    assert not run.retrained[1].any()
    assert run.retrained[0].any()
    held = run.evidence.decision[1] == Decision.HOLD
    assert held.sum() >= 3
    assert (run.evidence.reason[1][held] == Reason.FAILED).all()
    assert not (run.evidence.decision[1][:-1] == Decision.RETRAIN).any()
    assert not (run.evidence.decision[0] == Decision.HOLD).any()
    left = [(out.reason, out.examples) for out in record.left_out]
    assert left == [("played, but a training failed and the old version stayed", ("s1",))]
    assert record.failures == {}


def test_an_alarm_whose_training_fails_still_counts_as_an_alarm(broken_y):
    model = MeanForecaster(fails=lambda series, last: series.unique_id == "s1" and last > WINDOW)
    run = replayed(panel_of(broken_y), [EAGER], model).run(EAGER.label)
    failed = run.evidence.reason[1] == Reason.FAILED
    assert (run.evidence.alarm[1] & failed).any()


def test_the_gate_keeps_a_version_that_is_worse_and_counts_its_fit(rng):
    policy = MLMA(gate=True, max_age=10, review_age=None, pool=1)
    model = MeanForecaster(bias=lambda last: 0.05 * (last - WINDOW))
    gated = replayed(panel_of(noise(rng, 4, 90)), [policy], model).run(policy.label)
    decision, reason = gated.evidence.decision, gated.evidence.reason
    opened = (decision == Decision.HOLD) & (reason == Reason.TRIAL)
    dropped = (decision == Decision.HOLD) & (reason == Reason.GATE)
    promoted = (decision == Decision.SWITCH) & (reason == Reason.TRIAL)
    assert opened.any(axis=1).all()
    assert dropped.any(axis=1).all()
    assert set(reason[decision == Decision.HOLD].tolist()) == {Reason.GATE, Reason.TRIAL}
    for row in range(4):
        ends = np.flatnonzero(dropped[row] | promoted[row])
        running = np.flatnonzero(opened[row])[-1] > ends[-1]
        assert gated.fits[row] == 1 + gated.retrained[row].sum() + dropped[row].sum() + running
    open_door = replayed(panel_of(noise(rng, 4, 90)), [replace(policy, gate=False)], model)
    assert gated.retrained.sum() < open_door.run(replace(policy, gate=False).label).retrained.sum()


# Lives of streams


def test_a_stream_that_is_born_late_starts_a_window_after_its_birth(rng):
    y = noise(rng, 4, 120)
    y[2, :40] = np.nan
    record = replayed(panel_of(y), [EAGER], MeanForecaster())
    for run in record.runs:
        start = np.isfinite(run.loss).argmax(axis=1)
        assert start.tolist() == [WINDOW, WINDOW, WINDOW + 40, WINDOW], run.label
    assert record.always.fits.tolist() == [92.0, 92.0, 52.0, 92.0]
    run = record.run(EAGER.label)
    assert not run.retrained[2, : WINDOW + 41].any()
    assert (run.evidence.n[2, : WINDOW + 40] == 0).all()
    assert run.evidence.verdict[2, WINDOW + 40] != Verdict.WAITING


def test_a_stream_that_ended_is_not_trained_any_more(rng):
    y = noise(rng, 4, 120)
    y[1, 70:] = np.nan
    record = replayed(panel_of(y), [EAGER], MeanForecaster())
    for run in record.runs:
        assert np.isnan(run.loss[1, 70:]).all()
        assert not run.retrained[1, 70:].any(), run.label
    assert record.always.fits[1] == 70 - WINDOW
    assert (record.run(EAGER.label).evidence.decision[1, 70:] == Decision.KEEP).all()


def test_a_hole_of_a_month_waits_and_the_stream_goes_on_after_it(rng):
    y = noise(rng, 4, 150)
    y[3, 70:100] = np.nan
    record = replayed(panel_of(y), [EAGER])
    run = record.run(EAGER.label)
    assert np.isnan(run.loss[3, 70:100]).all()
    assert (run.evidence.verdict[3, 70:100] == Verdict.WAITING).all()
    for played in record.runs:
        assert np.isfinite(played.loss[3, 100:]).all(), played.label
    # With the whole window in the hole there is nothing to train on.
    assert not record.always.retrained[3, 95:105].any()
    assert record.always.retrained[3, 115:].all()


def test_a_stream_that_is_dead_for_a_year_is_played_and_found_when_it_wakes_up(rng):
    y = noise(rng, 2, 470, slots=1)
    y[0, 60:430] = 0.0
    policy = MLMA(level=0.01, pool=1)
    run = replayed(panel_of(y), [policy], MeanForecaster(), window=56).run(policy.label)
    verdicts = run.evidence.verdict[0]
    assert (verdicts[250:430] == Verdict.UNCLEAR).all()
    assert verdicts[430] == Verdict.DEGRADED
    woken = run.retrained[0, 431:]
    assert woken[0]
    assert woken.sum() >= 4  # and followed up
    assert np.isfinite(run.loss[0, 56:]).all()


def test_a_history_shorter_than_the_window_is_left_out_by_name(rng):
    y = noise(rng, 6, 60)
    y[[1, 4], :40] = np.nan
    record = replayed(panel_of(y), [EAGER], MeanForecaster())
    assert record.ids == ("s0", "s2", "s3", "s5")
    assert record.tags == {"half": ("a", "a", "b", "b")}
    out = record.left_out[0]
    assert (out.unit, out.count, out.examples) == ("streams", 2, ("s1", "s4"))
    assert f"shorter than the training window of {WINDOW} batches" in out.reason


def test_a_panel_of_short_streams_only_is_an_error(rng):
    with pytest.raises(DataError, match=r"No stream is long enough.*28 batches"):
        replayed(panel_of(noise(rng, 2, WINDOW)), [EAGER], MeanForecaster())


def test_a_single_batch_after_the_window_is_enough(rng):
    record = replayed(panel_of(noise(rng, 2, WINDOW + 1)), [EAGER], MeanForecaster())
    assert record.always.fits.tolist() == [1.0, 1.0]
    assert np.isfinite(record.always.loss[:, WINDOW]).all()


def test_a_window_of_one_batch_has_nothing_held_out_and_still_plays(rng):
    record = replayed(panel_of(noise(rng, 2, 40)), [EAGER], MeanForecaster(), window=1)
    assert np.isfinite(record.run(EAGER.label).loss[:, 1:]).all()


@pytest.mark.parametrize("loss", ["squared", "mase", "poisson", "pinball(q=0.9)"])
def test_every_loss_is_played(loss, broken_y):
    broken_y[5] = 3.0
    record = replayed(panel_of(broken_y), [EAGER], MeanForecaster(), loss=loss)
    for run in record.runs:
        assert np.isfinite(run.loss[:, WINDOW:]).all(), run.label
    assert record.run(EAGER.label).retrained[:3].any(axis=1).all()


def test_a_stream_that_rests_on_weekends_is_not_provisional_for_ever(rng):
    y = noise(rng, 2, 200)
    weekend = np.arange(200) % 7 >= 5
    y[:, weekend] = np.nan
    policy = MLMA(review_age=None, max_age=None, pool=1)
    run = replayed(panel_of(y), [policy], MeanForecaster(), window=84).run(policy.label)
    assert not (run.evidence.reason == Reason.FOLLOW_UP).any()
    assert run.retrained.sum() == 0
    assert (run.evidence.verdict[:, ~weekend][:, 60:] == Verdict.HEALTHY).mean() > 0.9


def test_a_run_that_was_not_played_is_an_error_that_names_those_that_were(rng):
    record = replayed(panel_of(noise(rng, 2, 40)), [], MeanForecaster())
    with pytest.raises(SettingsError, match="Known: always, never, seasonal_naive"):
        record.run("alway")
