from dataclasses import replace

import numpy as np
import pytest
from report_fixtures import MLMA_LABEL, lifelike, make_evidence, make_replayed, make_run, small

from mlma.domain.verdicts import Decision, Reason, Verdict
from mlma.report.figures import (
    ALARMS,
    headline,
    key_metrics,
    matched_loss,
    model_age,
    retraining_gains,
    retraining_reasons,
    summary_row,
    summary_rows,
    telling_streams,
    worst_streams,
)


def test_summary_of_two_streams_is_as_computed_on_paper():
    record = small()
    row = summary_row(record, record.run("mlma"))
    assert row.loss == pytest.approx((1.25 + 0.95) / 2)
    assert row.median == pytest.approx(1.10)
    assert row.p95 == pytest.approx(0.95 + 0.95 * 0.3)
    assert (row.worst, row.worst_stream) == (pytest.approx(1.25), "north")
    assert (row.fits, row.fits_share) == (pytest.approx(1.5), pytest.approx(3 / 8))
    assert (row.retrainings, row.alarms) == (0.5, 0.5)


def test_a_policy_that_does_not_look_at_losses_has_no_number_of_alarms():
    record = small()
    assert np.isnan(summary_row(record, record.run("never")).alarms)


def test_baselines_stand_first_and_the_others_follow_by_loss():
    record = lifelike()
    labels = [row.label for row in summary_rows(record)]
    assert labels[:3] == ["seasonal_naive", "never", "always"]
    losses = [row.loss for row in summary_rows(record)][3:]
    assert losses == sorted(losses)
    assert len(losses) == 3


def test_a_dead_stream_has_no_ratio_and_stays_out_of_the_mean():
    record = small()
    runs = [_with_row(run, 1, 0.0) for run in record.runs]
    dead = replace(record, runs=tuple(runs))
    row = summary_row(dead, dead.run("mlma"))
    assert (row.loss, row.worst_stream) == (pytest.approx(1.25), "north")


def test_a_replay_of_dead_streams_only_has_no_loss_and_raises_nothing():
    record = small()
    dead = replace(record, runs=tuple(_with_row(run, slice(None), 0.0) for run in record.runs))
    row = summary_row(dead, dead.run("mlma"))
    assert np.isnan([row.loss, row.median, row.p95, row.worst]).all()
    assert worst_streams(dead, dead.run("mlma")) == []
    assert {stream.row for stream in telling_streams(dead)} == {0, 1}


def _with_row(run, row, value):
    loss = run.loss.copy()
    loss[row] = value
    return replace(run, loss=loss)


def test_key_metrics_of_two_streams_are_as_computed_on_paper():
    record = small()
    metrics = key_metrics(record, record.run("mlma"))
    assert (metrics.batches_judged, metrics.alarms, metrics.retrainings) == (6, 1, 1)
    assert metrics.verdict_shares == {
        Verdict.UNCLEAR: pytest.approx(1 / 7),
        Verdict.HEALTHY: pytest.approx(4 / 7),
        Verdict.DEGRADED: pytest.approx(1 / 7),
        Verdict.IMPROVED: pytest.approx(1 / 7),
    }
    assert metrics.retrainings_by_reason == {Reason.ALARM: 1}
    assert metrics.alarms_per_1000_streams_per_week == pytest.approx(1000 / (8 / 7))
    assert metrics.mean_age_batches == pytest.approx((0 + 1 + 2 + 0 + 0 + 1 + 2 + 3) / 8)
    assert metrics.gains_measured == 0
    assert np.isnan(metrics.helped_share)


def test_key_metrics_without_evidence_tell_the_re_trainings_only():
    record = small()
    metrics = key_metrics(record, record.always)
    assert (metrics.batches_judged, metrics.alarms, metrics.retrainings) == (0, 0, 6)
    assert metrics.verdict_shares == {}


def test_a_degraded_batch_whose_evidence_does_not_add_up_yet_is_no_alarm():
    loss = np.ones((1, 3))
    verdict = [[Verdict.DEGRADED] * 3]
    reason = [[Reason.GATHERING, Reason.ALARM, Reason.EPISODE]]
    run = make_run("mlma", loss, evidence=make_evidence(loss, verdict, reason=reason))
    record = make_replayed([make_run("always", loss, role="baseline"), run])
    assert key_metrics(record, run).alarms == 1
    assert key_metrics(record, run).verdict_shares[Verdict.DEGRADED] == 1.0


def test_a_re_training_takes_the_reason_of_the_last_decision_before_it():
    loss = np.ones((1, 6))
    decision = [[0, Decision.RETRAIN, 0, Decision.RETRAIN, Decision.HOLD, 0]]
    reason = [[0, Reason.ALARM, Reason.EPISODE, Reason.FOLLOW_UP, Reason.GATE, 0]]
    evidence = make_evidence(loss, np.full((1, 6), Verdict.HEALTHY), decision, reason)
    retrained = np.array([[True, False, True, False, False, True]])
    run = make_run("mlma", loss, retrained=retrained, evidence=evidence)
    assert retraining_reasons(run).tolist() == [[0, 0, Reason.ALARM, 0, 0, Reason.FOLLOW_UP]]


def _one_retraining(own_before, own_after, always_after=1.0):
    """Return a replay of one stream that re-trains at batch 20 of 40."""
    loss = np.r_[np.full(20, own_before), np.full(20, own_after)][None]
    always = np.r_[np.ones(20), np.full(20, always_after)][None]
    retrained = (np.arange(40) == 20)[None]
    return make_replayed(
        [make_run("always", always, role="baseline"), make_run("mine", loss, retrained=retrained)]
    )


def test_a_gain_is_the_fall_of_the_loss_relative_to_always():
    record = _one_retraining(2.0, 1.5)
    assert retraining_gains(record, record.run("mine")) == pytest.approx([0.25])
    assert key_metrics(record, record.run("mine")).helped_share == 1.0
    assert key_metrics(record, record.run("mine")).mean_gain == pytest.approx(0.25)


def test_a_storm_that_passes_for_every_model_is_no_gain():
    record = _one_retraining(2.0, 1.0, always_after=0.5)
    assert retraining_gains(record, record.run("mine")) == pytest.approx([0.0])


def test_a_re_training_without_a_full_window_behind_it_is_not_measured():
    record = _one_retraining(2.0, 1.5)
    assert retraining_gains(record, record.run("mine"), window=21).size == 0


def test_age_starts_at_the_first_loss_and_is_missing_where_the_loss_is():
    loss = np.array([[np.nan, 1.0, np.nan, 1.0]])
    np.testing.assert_array_equal(model_age(make_run("p", loss)), [[np.nan, 0, np.nan, 2]])


def test_the_headline_is_the_first_run_that_looks_at_losses_not_the_best():
    record = lifelike()
    assert headline(record).label == MLMA_LABEL
    better = replace(record.run(MLMA_LABEL), label="mlma(level=0.01)", loss=record.always.loss)
    assert headline(replace(record, runs=(*record.runs, better))).label == MLMA_LABEL


def test_without_a_watching_policy_the_headline_is_the_first_one_asked_for():
    record = lifelike()
    runs = tuple(run for run in record.runs if run.evidence is None)
    assert headline(replace(record, runs=runs)).label == "periodic(every=28)"
    baselines = tuple(run for run in runs if run.role == "baseline")
    assert headline(replace(record, runs=baselines)) is None


def test_the_matched_loss_is_that_of_the_best_matched_run():
    record = lifelike()
    run = record.run("periodic(every=83.2)")
    worse = replace(run, label="random", loss=2 * run.loss)
    both = replace(record, runs=(*record.runs, worse))
    watching = headline(record)
    assert matched_loss(both, watching) == pytest.approx(record.relative_loss(run).mean())
    assert np.isnan(matched_loss(small(), small().always))


def test_the_matched_loss_is_not_that_of_another_runs_match():
    record = lifelike()
    own, watching = record.run("periodic(every=83.2)"), headline(record)
    others = replace(own, label="periodic(every=5)", loss=0.5 * own.loss, fits=9 * own.fits)
    both = replace(record, runs=(*record.runs, others))
    assert matched_loss(both, watching) == pytest.approx(record.relative_loss(own).mean())


def test_telling_streams_hold_the_worst_the_most_alarmed_and_the_largest_saving():
    record = lifelike(40)
    run = record.run(MLMA_LABEL)
    relative = record.relative_loss(run)
    saving = record.relative_loss(record.run("never")) - relative
    alarms = np.isin(run.evidence.reason, ALARMS).sum(axis=1)
    rows = {stream.row for stream in telling_streams(record)}
    assert len(rows) == 12
    assert {int(relative.argmax()), int(saving.argmax()), int(alarms.argmax())} <= rows


def test_telling_streams_are_all_streams_where_there_are_few():
    assert sorted(stream.row for stream in telling_streams(small())) == [0, 1]


def test_worst_streams_come_worst_first_with_their_tags():
    record = lifelike()
    worst = worst_streams(record, record.run(MLMA_LABEL), k=3)
    assert [s.loss for s in worst] == sorted((s.loss for s in worst), reverse=True)
    assert worst[0].tags == (record.tags["area"][worst[0].row],)
    assert worst[0].loss == np.max(record.relative_loss(record.run(MLMA_LABEL)))
