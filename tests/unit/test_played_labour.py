"""A replay tells what human work each policy would have caused, in every form of its answer."""

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import polars as pl
import pytest
from report_fixtures import MLMA_LABEL, lifelike, make_evidence, make_replayed, make_run
from rich.console import Console

from mlma.agent.played_incidents import played_incidents
from mlma.domain.labour import LabourModel, WorkedRun, rates_of
from mlma.domain.verdicts import Reason
from mlma.library.labour import with_labour
from mlma.report.figures import summary_rows
from mlma.report.notebook import notebook_html
from mlma.report.page import render_page
from mlma.report.terminal import print_summary


def record(loss, verdict, reason=None):
    """A policy that looks at losses, over always that loses 1."""
    loss = np.asarray(loss, dtype=np.float64)
    evidence = make_evidence(loss, verdict, reason=reason)
    always = make_run("always", np.ones(loss.shape), role="baseline")
    watching = replace(make_run("mlma", loss, evidence=evidence), settings="mlma")
    return make_replayed([always, replace(always, label="never"), watching])


def healthy(n=4, batches=40):
    return np.ones((n, batches)), np.full((n, batches), 2)


def incidents(made):
    return played_incidents(made, made.run("mlma"))


@pytest.fixture(scope="module")
def lived():
    made = lifelike()
    runs = tuple(
        replace(run, settings="mlma") if run.label == MLMA_LABEL else run for run in made.runs
    )
    return with_labour(replace(made, runs=runs))


def test_a_fleet_that_is_well_has_no_incident():
    assert incidents(record(*healthy())) == ()


def test_a_stream_that_stays_bad_is_one_incident_and_stays_open():
    loss, verdict = healthy(batches=60)
    loss[1, 20:], verdict[1, 20:] = 3.0, 3
    reason = np.zeros_like(verdict)
    reason[1, [22, 29, 36, 43]] = Reason.ALARM
    (one,) = incidents(record(loss, verdict, reason))
    assert (one.kind, one.scope, one.state) == ("model", "stream 1", "open")
    assert one.members == (1,)


def test_missing_actuals_are_an_incident_and_the_end_of_a_stream_is_none():
    loss, verdict = healthy()
    loss[0, 10:20], verdict[0, 10:20] = np.nan, 0
    loss[2, 30:], verdict[2, 30:] = np.nan, 0
    (one,) = incidents(record(loss, verdict))
    assert (one.kind, one.scope) == ("data", "stream 0")
    assert one.closed_by == "agent"


def test_the_same_record_gives_the_same_incidents():
    made = lifelike()
    run = replace(made.run(MLMA_LABEL), settings="mlma")
    assert played_incidents(made, run) == played_incidents(made, run) != ()


def test_the_work_of_a_policy_is_its_incidents_and_what_they_take(lived):
    run = lived.run(MLMA_LABEL)
    found = played_incidents(lived, run)
    left = sum(one.closed_by == "" for one in found)
    stream_weeks = np.isfinite(run.loss).sum() / 7
    assert isinstance(run, WorkedRun)
    assert run.labour.incidents == len(found) > 0
    assert run.labour.minutes == pytest.approx((120 * len(found) + 90 * left) / 60)
    incidents, minutes = rates_of(run)
    assert incidents == pytest.approx(1_000 * len(found) / stream_weeks)
    assert minutes == pytest.approx(1_000 * run.labour.minutes / stream_weeks)


def test_policies_that_look_at_no_losses_have_unknown_work_unless_watching_is_stated(lived):
    assert np.isnan(rates_of(lived.run("never"))).all()
    stated = with_labour(lifelike_without_watchers(), LabourModel(watching=6.0))
    incidents, minutes = rates_of(stated.run("never"))
    assert np.isnan(incidents)
    assert minutes == pytest.approx(100.0)


def lifelike_without_watchers():
    made = lifelike()
    return replace(made, runs=tuple(run for run in made.runs if run.evidence is None))


def test_re_trainings_that_need_a_person_count():
    loss, verdict = healthy()
    made = record(loss, verdict)
    retrained = np.zeros(loss.shape, dtype=bool)
    retrained[:, 10] = True
    runs = (*made.runs[:2], replace(made.runs[2], retrained=retrained))
    worked = with_labour(replace(made, runs=runs), LabourModel(retraining=300.0))
    assert worked.run("mlma").labour.minutes == 4 * 5


def test_terminal_notebook_and_page_show_incidents_and_minutes(lived):
    out = StringIO()
    print_summary(lived, Console(file=out, width=120))
    assert "incidents/" in out.getvalue()
    (row,) = [row for row in summary_rows(lived) if row.label == MLMA_LABEL]
    assert f"{row.minutes:.3g}" in out.getvalue()
    for text in (notebook_html(lived), render_page(lived)):
        assert "minutes of a person per 1,000 streams and week" in text
        assert f"{row.minutes:.3g}" in text


def test_where_nothing_was_counted_nothing_is_shown():
    for text in (notebook_html(lifelike()), render_page(lifelike())):
        assert "minutes of a person" not in text


def test_the_frame_and_the_document_of_a_replay_have_both():
    import mlma

    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 5, 30), eager=True)
    frame = pl.DataFrame({"unique_id": "a", "ds": days, "y": np.arange(len(days)) % 7 + 1.0})
    told = {"model": "seasonal_naive", "n_jobs": 1, "phases": 1}
    result = mlma.replay(frame, policies=["mlma(pool=1)"], labour=LabourModel(watching=6.0), **told)
    rows = {row["policy"]: row for row in result.summary().rows(named=True)}
    (mine,) = [row for row in rows.values() if row["role"] == "policy"]
    assert mine["incidents"] > 0  # losses of exactly 0: a dead sensor, as far as one can see
    assert mine["minutes"] == pytest.approx(3.5 * mine["incidents"])
    assert rows["never"]["minutes"] == pytest.approx(100.0)
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))["policies"]
    assert {row["policy"]: row["incidents"] for row in plain}["never"] is None
