import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_fixtures import MLMA_LABEL, WARM_UP, lifelike, make_replayed, make_run, small

from mlma.domain.streams import Grid
from mlma.domain.verdicts import Reason, Verdict
from mlma.report.labels import placed_labels
from mlma.report.timelines import fleet_timeline, lanes, played_span, smoothed, stream_data


def test_the_played_span_leaves_out_the_first_training_window():
    assert played_span(lifelike(3, 100)) == (WARM_UP, 100)
    assert played_span(make_replayed([make_run("always", np.full((1, 5), np.nan))])) == (0, 0)


def test_a_week_of_the_fleet_is_as_computed_on_paper():
    always = np.ones((3, 14))
    own = np.ones((3, 14))
    own[:, :7] = [[2.0], [3.0], [4.0]]
    retrained = np.zeros((3, 14), dtype=bool)
    retrained[1, [3, 9, 10]] = True
    mine = make_run("mine", own, retrained=retrained)
    fleet = fleet_timeline(make_replayed([make_run("always", always), mine]), mine)
    assert fleet.median.tolist() == [3.0, 1.0]
    assert fleet.high.tolist() == pytest.approx([3.8, 1.0])
    assert fleet.retrainings[Reason.NONE].tolist() == [1, 2]
    assert np.isnan(fleet.degraded).all()
    assert fleet.starts[1] - fleet.starts[0] == np.timedelta64(7, "D")


def test_no_re_training_is_lost_between_the_blocks():
    record = lifelike(9, 3 * 7 * 41)
    run = record.run(MLMA_LABEL)
    counts = fleet_timeline(record, run).retrainings
    assert sum(int(values.sum()) for values in counts.values()) == run.retrained.sum()
    assert list(counts) == [Reason.ALARM, Reason.FOLLOW_UP, Reason.MAX_AGE] == lanes(run)


def test_a_stream_counts_once_in_the_degraded_share_of_a_week():
    record = lifelike(4, 100)
    run = record.run(MLMA_LABEL)
    verdict = np.full_like(run.evidence.verdict, Verdict.HEALTHY)
    verdict[2, WARM_UP : WARM_UP + 7] = Verdict.DEGRADED
    seen = replace(run, evidence=replace(run.evidence, verdict=verdict))
    assert fleet_timeline(record, seen).degraded[:2].tolist() == [0.25, 0.0]


def test_a_long_history_is_shown_in_blocks_of_several_weeks():
    loss = np.ones((2, 7 * 900))
    run = make_run("always", loss)
    fleet = fleet_timeline(make_replayed([run]), run)
    assert (fleet.batches, len(fleet.median)) == (21, 300)


def _mean_by_hand(row, centre, window):
    part = row[max(0, centre - (window - 1) // 2) : centre + window // 2 + 1]
    part = part[np.isfinite(part)]
    return part.mean() if len(part) >= max(1, window / 3) else np.nan


@given(
    st.lists(st.one_of(st.just(float("nan")), st.floats(0.1, 9)), min_size=1, max_size=30),
    st.integers(1, 9),
)
def test_running_means_agree_with_the_slow_loop(values, window):
    row = np.array(values)
    expected = [_mean_by_hand(row, centre, window) for centre in range(len(row))]
    np.testing.assert_allclose(smoothed(row[None], window)[0], expected, rtol=1e-9)


def test_every_stream_is_carried_where_there_is_room():
    record = lifelike(21)
    data = json.loads(stream_data(record, 800_000))
    assert sorted(stream["row"] for stream in data["streams"]) == list(range(21))
    stream = data["streams"][0]
    run = record.run(MLMA_LABEL)
    np.testing.assert_allclose(stream["loss"], run.loss[stream["row"], WARM_UP:], rtol=1e-3)
    assert data["start"] == 1_612_137_600_000  # 1 February 2021, four weeks after the start
    reasons = run.evidence.reason[stream["row"], WARM_UP:]
    assert stream["alarms"]["at"] == np.flatnonzero(reasons == Reason.ALARM).tolist()


@pytest.mark.parametrize("budget", [900, 5_000, 40_000, 300_000])
def test_stream_data_keep_to_their_budget(budget):
    text = stream_data(lifelike(30, 700), budget)
    assert len(text.encode()) <= budget
    assert json.loads(text)["policy"] == MLMA_LABEL


def test_points_become_weekly_means_before_telling_streams_are_given_up():
    record = lifelike(12, 2_000)
    fine = json.loads(stream_data(record, 10**7))
    coarse = json.loads(stream_data(record, 150_000))
    assert (fine["point"], coarse["point"]) == (1, 7)
    assert len(coarse["streams"]) == 12


def test_the_band_holds_nine_of_ten_healthy_batches():
    record = lifelike(5)
    run = record.run(MLMA_LABEL)
    for stream in json.loads(stream_data(record, 800_000))["streams"]:
        healthy = run.evidence.verdict[stream["row"]] == Verdict.HEALTHY
        ratio = (run.loss / run.evidence.reference_loss)[stream["row"], healthy]
        low, high = stream["band"]
        assert np.mean((ratio >= low) & (ratio <= high)) == pytest.approx(0.9, abs=0.01)


def test_batches_longer_than_a_week_are_not_smoothed():
    record = small()
    grid = Grid(record.grid.start, np.timedelta64(28 * 86_400_000_000, "us"), 1, 4)
    data = json.loads(stream_data(replace(record, grid=grid), 10_000))
    assert data["streams"][0]["mean"] == data["streams"][0]["loss"]


@given(st.integers(1, 9), st.integers(0, 10**6))
def test_labels_stay_inside_the_plot_from_left_to_right(count, seed):
    points = np.random.default_rng(seed).random((count, 2)).tolist()
    texts = ["a label of some length"] * count
    half = 6.9 * len(texts[0]) / 2
    for index, (dx, _) in placed_labels(points, texts, range(count), (400, 300)):
        centre = 400 * points[index][0] + dx
        assert half - 1e-6 <= centre <= 400 - half + 1e-6


def test_labels_of_two_close_points_do_not_cover_each_other():
    points, texts = [(0.5, 0.5), (0.52, 0.5)], ["never", "always"]
    (_, first), (_, second) = placed_labels(points, texts, [0, 1], (600, 400))
    apart = abs(first[1] - second[1]) >= 16 or abs(first[0] - second[0] - 12) >= 35
    assert apart
