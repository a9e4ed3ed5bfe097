"""What the report shows of pools, and of what happens around re-trainings."""

import json
import re
from dataclasses import replace
from io import StringIO

import numpy as np
import polars as pl
import pytest
from report_fixtures import MLMA_LABEL, WARM_UP, lifelike, make_evidence, make_replayed, make_run
from rich.console import Console

from histories import as_kind, as_polars, fleet, replayed
from mlma.domain.errors import SettingsError
from mlma.domain.verdicts import Decision, Reason, Verdict
from mlma.report import charts, style, timecharts
from mlma.report.figures import matched_loss, summary_rows
from mlma.report.metrics import request_table
from mlma.report.notebook import notebook_html
from mlma.report.page import render_page
from mlma.report.requests import marks, requests_of, retraining_reasons, unfulfilled
from mlma.report.terminal import print_summary, wrapped
from mlma.report.timelines import lanes, stream_data
from mlma.report.weights import MEMBERS, mean_weights, weight_timeline

KEEP, RETRAIN, HOLD, DEFER, SWITCH, ESCALATE = Decision


def pooled_lifelike(n_batches=400):
    """The lifelike replay, whose watching policy has a pool from its first loss on."""
    record = lifelike(n_batches=n_batches)
    shape = (*record.runs[0].loss.shape, 4)
    shares = np.full(shape, [0.5, 0.25, 0.125, 0.125], dtype=np.float32)
    shares[:, :WARM_UP] = np.nan
    return with_shares(record, MLMA_LABEL, shares)


def with_shares(record, label, shares):
    runs = tuple(replace(r, shares=shares) if r.label == label else r for r in record.runs)
    return replace(record, runs=runs)


def run_of(told, retrained=()):
    """A run of one stream with these decisions and reasons."""
    decision, reason = np.array([told]).transpose(2, 0, 1)
    loss = np.ones(decision.shape)
    evidence = make_evidence(loss, np.full(loss.shape, Verdict.HEALTHY), decision, reason)
    went_live = np.isin(np.arange(loss.shape[1]), retrained)[None]
    return make_run("mlma", loss, retrained=went_live, evidence=evidence)


STORY = run_of(
    [
        (KEEP, Reason.NONE),
        (DEFER, Reason.BUDGET),
        (DEFER, Reason.BUDGET),
        (DEFER, Reason.BUDGET),
        (RETRAIN, Reason.ALARM),
        (SWITCH, Reason.ROLLED_BACK),
        (HOLD, Reason.TRIAL),
        (SWITCH, Reason.TRIAL),
        (HOLD, Reason.TRIAL),
        (KEEP, Reason.NONE),
        (HOLD, Reason.GATE),
        (HOLD, Reason.GATE),
        (HOLD, Reason.WITHHELD),
        (HOLD, Reason.FAILED),
        (ESCALATE, Reason.NOT_HELPED),
        (ESCALATE, Reason.NOT_HELPED),
        (DEFER, Reason.BUDGET),
        (SWITCH, Reason.SELECTED),
        (KEEP, Reason.NONE),
    ],
    retrained=(5, 8),
)


def test_what_happens_around_re_trainings_is_counted_as_on_paper():
    made = requests_of(STORY)
    # One alarm, two trials, one version refused at once, one failed training.
    assert (made.started, made.tried, made.held, made.failed) == (5, 2, 2, 1)
    assert (made.deferred, made.mean_wait) == (2, 2.0)
    assert (made.withheld, made.rolled_back, made.switched, made.escalated) == (1, 1, 1, 1)
    assert unfulfilled(STORY).tolist() == [[2.0, 4.0, 1.0]]


def test_a_schedule_starts_what_it_re_trains_and_has_nothing_else():
    run = make_run("periodic", np.ones((1, 4)), retrained=np.array([[False, True, False, True]]))
    assert requests_of(run).started == 2
    assert np.isnan(unfulfilled(run)).all()
    assert not marks(run).any()


def test_a_version_that_won_a_trial_has_the_trial_as_its_reason():
    reasons = retraining_reasons(STORY)
    assert np.flatnonzero(reasons).tolist() == [5, 8]
    assert reasons[0, [5, 8]].tolist() == [Reason.ALARM, Reason.TRIAL]


def test_marks_stand_where_they_take_effect_and_long_states_at_their_beginning():
    beside = marks(STORY)[0]
    found = {int(at): Reason(beside[at]) for at in np.flatnonzero(beside)}
    assert found == {
        2: Reason.BUDGET,
        6: Reason.ROLLED_BACK,
        11: Reason.GATE,
        12: Reason.GATE,
        13: Reason.WITHHELD,
        14: Reason.FAILED,
        15: Reason.NOT_HELPED,
        17: Reason.BUDGET,
        18: Reason.SELECTED,
    }


def story_replayed():
    n_batches = STORY.loss.shape[1]
    daily = np.arange(n_batches)[None] > 0
    never = make_run("never", np.full((1, n_batches), 1.5), role="baseline")
    always = make_run("always", np.ones((1, n_batches)), role="baseline", retrained=daily)
    return make_replayed([never, always, STORY], ids=("north",))


def test_every_mark_of_a_stream_has_a_lane_of_its_own():
    record = story_replayed()
    data = json.loads(stream_data(record, 100_000))
    (stream,) = data["streams"]
    assert set(stream["beside"]["why"] + stream["retrained"]["why"]) == set(data["lanes"])
    assert data["lanes"] == [int(reason) for reason in lanes(STORY)]
    assert len(data["lanes"]) == len(set(data["lanes"])) == 9
    chart = timecharts.stream_chart(record)
    assert len(chart.layout.yaxis2.ticktext) == 9
    names = [style.reason_style(reason)[0] for reason in lanes(STORY)]
    assert list(chart.layout.yaxis2.ticktext) == names
    looks = {style.reason_style(reason)[1:] for reason in lanes(STORY)}
    assert len(looks) == 9


def test_many_lanes_make_the_chart_higher_and_not_the_lanes_lower():
    def lane(record):
        chart = timecharts.stream_chart(record)
        inside = chart.layout.height - chart.layout.margin.t - chart.layout.margin.b
        return inside * chart.layout.yaxis2.domain[1] / len(chart.layout.yaxis2.ticktext)

    assert lane(story_replayed()) > 16
    assert lane(lifelike()) > 16


def test_the_table_tells_the_mean_wait_and_names_what_did_not_happen():
    table = request_table(story_replayed(), [STORY])
    rows = {name: values for name, _, values in table["rows"]}
    assert rows["Deferred"] == ["2, for 2 days on average"]
    assert rows["Rolled back"] == ["1"]
    assert table["none"] == ""
    quiet = request_table(lifelike(), [lifelike().run(MLMA_LABEL)])
    assert [name for name, _, _ in quiet["rows"]] == ["Started"]
    assert "deferred" in quiet["none"]


def test_the_page_has_the_table_where_a_policy_looks_at_losses():
    page = render_page(story_replayed())
    assert "Around re-training" in page
    assert "2, for 2 days on average" in page
    record = lifelike(3)
    blind = replace(record, runs=tuple(run for run in record.runs if run.evidence is None))
    assert "Around re-training" not in render_page(blind)


def test_mean_weights_of_the_fleet_are_as_computed_on_paper():
    record = pooled_lifelike(70)
    shares = record.run(MLMA_LABEL).shares.copy()
    shares[0, WARM_UP : WARM_UP + 7] = [0, 0, 0, 1]  # one of 21 streams, for one week
    record = with_shares(record, MLMA_LABEL, shares)
    fleet_weights = weight_timeline(record, record.run(MLMA_LABEL))
    assert fleet_weights.batches == 7
    assert fleet_weights.starts[0] == record.grid.batch_starts()[WARM_UP]
    usual = np.array([0.5, 0.25, 0.125, 0.125])
    first = (20 * usual + np.array([0, 0, 0, 1])) / 21
    np.testing.assert_allclose(fleet_weights.weights[0], first)
    np.testing.assert_allclose(fleet_weights.weights[1:], np.tile(usual, (5, 1)))
    in_all = mean_weights(record.run(MLMA_LABEL))
    np.testing.assert_allclose(list(in_all.values()), (5 * usual + first) / 6)


def test_a_week_without_a_pool_has_no_weights():
    record = pooled_lifelike(70)
    shares = record.run(MLMA_LABEL).shares.copy()
    shares[:, WARM_UP : WARM_UP + 7] = np.nan
    record = with_shares(record, MLMA_LABEL, shares)
    weights = weight_timeline(record, record.run(MLMA_LABEL)).weights
    assert np.isnan(weights[0]).all()
    np.testing.assert_allclose(weights[1:].sum(axis=1), 1)


def test_the_chart_of_weights_stacks_the_members_that_are_there():
    record = pooled_lifelike()
    chart = timecharts.weight_chart(weight_timeline(record, record.run(MLMA_LABEL)))
    assert [trace.name for trace in chart.data] == [
        *("newest version", "older versions", "long history", "seasonal naive"),
    ]
    assert sum(trace.y[3] for trace in chart.data) == pytest.approx(100)
    shares = record.run(MLMA_LABEL).shares.copy()
    shares[:, :, 3] = np.where(np.isnan(shares[:, :, 3]), np.nan, 0)
    record = with_shares(record, MLMA_LABEL, shares)
    chart = timecharts.weight_chart(weight_timeline(record, record.run(MLMA_LABEL)))
    assert "seasonal naive" not in [trace.name for trace in chart.data]


def test_the_page_shows_the_weights_of_a_pool_and_nothing_without_one():
    page = render_page(pooled_lifelike())
    assert 'id="pool"' in page
    assert "newest 50 %, older 25 %, long 12 %, naive 12 %" in page
    data = re.search(r'id="charts-data">(.*?)</script>', page, re.DOTALL)
    colours = set(re.findall(r"#[0-9a-f]{6}", data.group(1)))
    assert style.OLDER in colours
    assert colours <= set(style.COLOURS)
    assert 'id="pool"' not in render_page(lifelike())


def test_shape_tells_a_pool_and_colour_tells_who_looks_at_losses():
    record = pooled_lifelike()
    shares = record.run(MLMA_LABEL).shares
    rows = summary_rows(with_shares(record, "periodic(every=28)", shares))
    figure = charts.frontier(rows, MLMA_LABEL, width=charts.WIDE)
    looks = {
        row.label: (trace.marker.symbol, trace.marker.color)
        for row, trace in zip(rows, figure.data, strict=True)
    }
    assert looks[MLMA_LABEL] == ("diamond", style.ACCENT)
    assert looks["periodic(every=28)"] == ("diamond", style.OTHER)
    assert looks["periodic(every=83.2)"] == ("circle", style.OTHER)
    legend = {trace.name for trace in figure.data if trace.showlegend}
    assert legend == {"looks at losses, pool", "schedule, pool", "schedule, one model"}
    without = charts.frontier(summary_rows(lifelike()), MLMA_LABEL, width=charts.WIDE)
    assert not any(trace.showlegend for trace in without.data)


@pytest.mark.parametrize("width", [charts.WIDE, charts.NARROW])
def test_a_thin_line_marks_equal_numbers_of_training_runs(width):
    rows = summary_rows(pooled_lifelike())
    figure = charts.frontier(rows, MLMA_LABEL, width=width)
    place = next(
        t.x[0] for row, t in zip(rows, figure.data, strict=True) if row.label == MLMA_LABEL
    )
    assert [shape.x0 for shape in figure.layout.shapes] == [place]


def test_of_many_matched_policies_the_nearest_have_labels():
    record = pooled_lifelike()
    fits = record.run(MLMA_LABEL).fits
    extra = [
        make_run(
            f"random(rate={k})", np.ones_like(record.runs[0].loss), role="matched", fits=k * fits
        )
        for k in (1, 2, 3)
    ]
    rows = summary_rows(replace(record, runs=(*record.runs, *extra)))
    figure = charts.frontier(rows, MLMA_LABEL, width=charts.WIDE)
    texts = " ".join(label.text for label in figure.layout.annotations)
    assert "random(rate=1) (matched)" in texts
    assert "random(rate=2)" not in texts
    assert len(figure.data) == len(rows)


def test_one_model_is_not_matched_by_a_pool():
    record = lifelike()
    one = matched_loss(record, record.run(MLMA_LABEL))
    better = replace(record.run("always"), label="periodic(every=9, pool=8)", role="matched")
    shares = np.zeros((*better.loss.shape, 4), dtype=np.float32)
    record = replace(record, runs=(*record.runs, replace(better, shares=shares)))
    assert matched_loss(record, record.run(MLMA_LABEL)) == one
    record = with_shares(record, MLMA_LABEL, shares)
    assert matched_loss(record, record.run(MLMA_LABEL)) == 1.0


def printed(record, width):
    out = StringIO()
    print_summary(record, Console(file=out, width=width))
    return out.getvalue()


def test_rare_columns_are_in_the_tables_only_where_there_is_something():
    text, fragment = printed(story_replayed(), 100), notebook_html(story_replayed())
    assert all(head in text for head in ("defer-", "held", "esca-", "seconds"))
    assert all(f"{head} per stream" in fragment for head in ("deferred", "held", "escalated"))
    text, fragment = printed(lifelike(), 100), notebook_html(lifelike())
    assert not any(head in text for head in ("defer-", "held", "esca-"))
    assert "deferred" not in fragment


@pytest.mark.parametrize("width", [45, 60, 80, 100])
def test_a_long_policy_leaves_the_numbers_whole_at_any_width(width):
    label = "mlma(level=0.01, pool=1, gate=True, rollback_batches=14, false_retrainings=None)"
    record = story_replayed()
    runs = tuple(replace(r, label=label) if r.label == "mlma" else r for r in record.runs)
    lines = printed(replace(record, runs=runs), width).splitlines()
    assert max(map(len, lines)) <= width
    never = next(line for line in lines if line.startswith("never"))
    assert "+50 %" in never
    assert "…" not in "".join(lines)
    assert any("gate=True" in line for line in lines)


def test_a_policy_is_wrapped_between_its_settings_and_loses_nothing():
    label = "mlma(pool=1, follow_ups=(7, 14, 28), train_on='best')"
    lines = wrapped(label, 20).split("\n")
    assert "".join(lines).replace(" ", "") == label.replace(" ", "")
    assert max(map(len, lines)) <= 20
    assert wrapped(label, 100) == label


@pytest.fixture(scope="module")
def result():
    policies = ["mlma", "mlma(pool=1)", "mlma(max_age=7, budget=0.05)"]
    return replayed(fleet(4, 90), policies=policies)


def test_the_pool_of_a_policy_is_a_frame_of_weights_that_add_up(result):
    frame = result.pool("mlma")
    assert frame.columns == ["unique_id", "ds", *MEMBERS]
    run = result.record.run("mlma(level=0.001)")
    assert len(frame) == np.isfinite(run.loss).sum()
    sums = frame.select(pl.sum_horizontal(*MEMBERS)).to_series()
    np.testing.assert_allclose(sums, 1, atol=1e-6)
    row = frame.filter(pl.col("unique_id") == "s2").row(5, named=True)
    batch = result.record.grid.batch_starts().tolist().index(row["ds"])
    np.testing.assert_array_equal([row[name] for name in MEMBERS], run.shares[2, batch])
    assert frame.equals(result.pool())


@pytest.mark.parametrize("kind", ["pandas", "arrow"])
def test_the_pool_comes_in_the_kind_of_the_history(kind, result):
    made = replayed(as_kind(fleet(4, 90), kind), policies="mlma").pool()
    assert type(made).__module__.split(".")[0] in {"pandas", "pyarrow"}
    got, expected = as_polars(made), result.pool()
    assert got["unique_id"].to_list() == expected["unique_id"].to_list()
    for name in MEMBERS:
        np.testing.assert_array_equal(got[name], expected[name])


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("mlma(pool=1)", "has no pool: it forecasts with one model at a time. Hint: mlma("),
        ("seasonal_naive", "`seasonal_naive` has no pool"),
        ("mlma(level=0.3)", "Unknown policy of this replay"),
    ],
)
def test_a_policy_without_a_pool_is_a_clear_error(result, policy, message):
    with pytest.raises(SettingsError, match=re.escape(message)):
        result.pool(policy)


def test_a_replay_without_any_pool_says_so():
    made = replayed(fleet(1, 40, breaks_at=None), policies="never")
    with pytest.raises(SettingsError, match="No policy of this replay has a pool"):
        made.pool()


def test_the_dictionary_has_the_fleets_mean_weights(result):
    policies = {row["policy"]: row for row in json.loads(json.dumps(result.to_dict()))["policies"]}
    frame = result.pool("mlma")
    for name in MEMBERS:
        told = policies["mlma(level=0.001)"][f"weight_{name}"]
        assert told == pytest.approx(frame[name].mean())
        assert policies["never"][f"weight_{name}"] is None
        assert policies["mlma(pool=1, level=0.001)"][f"weight_{name}"] is None


def test_what_waits_for_the_budget_is_told_in_words_and_counted(result):
    label = next(run.label for run in result.record.runs if "budget" in run.label)
    own = result.decisions.filter(pl.col("policy") == label)
    waits = own.filter(pl.col("decision") == "defer")
    assert len(waits) > 0
    words = "waits for the budget: other streams lose more per training second"
    assert waits["reason"].unique().to_list() == [words]
    begun = own.sort("unique_id", "ds").with_columns(
        before=pl.col("decision").shift(1, fill_value="keep").over("unique_id")
    )
    begun = begun.filter((pl.col("decision") == "defer") & (pl.col("before") != "defer"))
    summary = {row["policy"]: row for row in result.summary().rows(named=True)}
    assert summary[label]["deferred"] == len(begun) / 4
    assert summary["never"]["deferred"] == summary["mlma(level=0.001)"]["deferred"] == 0
