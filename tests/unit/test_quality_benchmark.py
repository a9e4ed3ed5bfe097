"""The detection benchmark counts right, on arrays made by hand; its worlds tell the truth."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from quality import compare, detectors, scores, tables
from quality.detectors import BatchRule, Detection, Every, tuned
from quality.measure import Figures, measure_breaks
from quality.truth import KINDS, NEVER, Common, Truth
from quality.worlds import Size, World, demand_world, loss_world, shock_world, subsample

DAYS, REFERENCE = 60, 10


def hand_made(starts, *, kinds=None, effects=None, common=(), level=None):
    """A world of flat losses; ``starts`` holds the first broken batch of each stream, or None."""
    n = len(starts)
    truth = Truth.none(n)
    for row, start in enumerate(starts):
        if start is not None:
            truth.touched[row] = truth.start[row] = start
            truth.kind[row] = kinds[row] if kinds else "level +50 %"
            truth.effect[row] = effects[row] if effects else 0.5
    noise = np.random.default_rng(0).gamma(400.0, 1 / 400, (DAYS, n, 4))
    losses = (noise if level is None else level).astype(np.float32)
    calendar = (np.arange(DAYS) % 7 >= 5).astype(np.int8)
    return World("hand", losses, REFERENCE, calendar, np.array(["a"] * n), truth, tuple(common))


def alarmed(n, *places):
    alarms = np.zeros((DAYS, n), dtype=np.bool_)
    for day, stream in places:
        alarms[day, stream] = True
    return alarms


def test_an_alarm_in_the_first_broken_batch_has_a_delay_of_one():
    world = hand_made([20, 20, 20, None])
    waited = scores.delays(alarmed(4, (20, 0), (24, 1), (30, 3)), world)
    np.testing.assert_array_equal(waited, [1.0, 5.0, np.inf, np.nan])


def test_an_alarm_in_a_batch_that_is_partly_broken_counts_as_found_at_once():
    world = hand_made([20])
    world.truth.touched[0] = 19
    assert scores.delays(alarmed(1, (19, 0)), world)[0] == 1.0
    assert scores.false_alarms_per_batch(alarmed(1, (19, 0)), world) == 0.0


def test_an_alarm_after_the_window_or_before_the_break_does_not_find_it():
    world = hand_made([20, 20])
    waited = scores.delays(alarmed(2, (20 + scores.WINDOW, 0), (19, 1)), world)
    assert np.isinf(waited).all()


def test_small_breaks_and_breaks_near_the_end_are_no_events():
    world = hand_made([20, 20, DAYS - 5, 5], effects=[0.5, 0.01, 0.5, 0.5])
    np.testing.assert_array_equal(scores.counted(world), [True, False, False, False])


def test_each_break_found_counts_once_and_each_false_alarm_every_time():
    world = hand_made([20, 20, 30, None])
    places = [(21, 0), (22, 0), (23, 0), (25, 2), (40, 3)]
    made = scores.event_scores(alarmed(4, *places), world)
    assert made.precision == pytest.approx(1 / 3)  # one found; false ones on streams 2 and 3
    assert made.recall == pytest.approx(1 / 3)
    assert made.f1 == pytest.approx(1 / 3)


def test_a_subsample_rich_in_breaks_does_not_flatter_the_precision():
    fleet = hand_made([20, *[None] * 9])
    alarms = alarmed(10, (22, 0), *((30, stream) for stream in range(1, 10)))
    few = fleet.of(np.arange(2))
    seen = scores.event_scores(alarms[:, :2], few)
    whole = scores.event_scores(alarms, fleet)
    as_if = scores.event_scores(alarms[:, :2], few, fleet)
    assert (seen.precision, whole.precision) == pytest.approx((0.5, 0.1))
    assert as_if.precision == pytest.approx(0.1, abs=0.02)


def test_a_perfect_detector_has_an_f1_of_one_and_one_that_never_alarms_of_zero():
    world = hand_made([20, None])
    assert scores.event_scores(alarmed(2, (22, 0)), world).f1 == 1.0
    silent = scores.event_scores(alarmed(2), world)
    assert (silent.recall, silent.f1) == (0.0, 0.0)
    assert np.isnan(silent.precision)


def test_false_retrainings_are_per_thousand_streams_and_week():
    world = hand_made([None, None])
    alarms = alarmed(2, (REFERENCE - 1, 0), (30, 1))  # that of a reference day does not count
    assert scores.false_retrainings(alarms, world) == pytest.approx(7000 / (2 * (DAYS - REFERENCE)))


def test_realised_levels_look_at_healthy_batches_that_have_a_p_value():
    world = hand_made([20, None])
    p_values = np.full((DAYS, 2), np.nan)
    p_values[20:, 0] = 0.0
    p_values[10:20, 1] = [0.04, 0.009, 0.0005, *[0.5] * 7]
    levels = scores.realised_levels(p_values, world)
    assert levels == pytest.approx({0.05: 0.3, 0.01: 0.2, 0.001: 0.1})


def test_the_median_delay_is_infinite_if_fewer_than_half_of_the_breaks_are_found():
    world = hand_made([20] * 4, kinds=["shape"] * 2 + ["zero"] * 2)
    made = scores.kind_scores(alarmed(4, (22, 0), (20, 2), (21, 3)), world)
    assert list(made) == ["shape", "zero"]
    assert (made["shape"].median_delay, made["shape"].found) == (3.0, 0.5)
    assert made["zero"].median_delay == 1.0
    assert np.isinf(scores.kind_scores(alarmed(4), world)["zero"].median_delay)


def test_a_shock_is_found_as_one_only_if_no_other_scope_is_reported():
    everyone = np.ones(2, dtype=np.bool_)
    shock = Common("fleet", "fleet shock", 20, 22, everyone, 0.3)
    world = hand_made([None, None], common=[shock])
    quiet, alone = alarmed(2), alarmed(2, (21, 0), (40, 1))
    one = Detection(quiet, own=quiet, findings=((20, "fleet"), (50, "city=a")))
    two = Detection(alone, findings=((20, "fleet"), (21, "city=a")))
    made = scores.common_scores([(one, world)], "fleet shock")
    assert (made.as_one, made.reported, made.alone, made.events) == (1.0, 1.0, 0.0, 1)
    made = scores.common_scores([(two, world)], "fleet shock")
    assert (made.as_one, made.reported, made.alone) == (0.0, 1.0, 0.5)
    assert scores.common_scores([(one, world)], "group break") is None


def test_findings_of_another_city_say_nothing_about_this_one():
    members = np.array([True, False])
    world = hand_made([None] * 2, common=[Common("city=a", "group break", 20, 40, members, 0.3)])
    seen = Detection(alarmed(2), findings=((22, "city=a"), (23, "city=b")))
    assert scores.common_scores([(seen, world)], "group break").as_one == 1.0


def test_the_cusum_finds_a_jump_and_starts_anew_after_its_alarm():
    level = np.ones((DAYS, 2, 4)) + np.random.default_rng(1).normal(0, 0.05, (DAYS, 2, 4))
    level[30:, 0] *= 1.5
    world = hand_made([30, None], level=level)
    alarms = BatchRule("cusum", 5.0, 0.5).detect(world).alarms
    assert scores.delays(alarms, world)[0] == 1.0
    assert not alarms[:REFERENCE].any()
    assert alarms[45:, 0].mean() < 0.2  # the new level has become the reference


def test_dummies_alarm_never_or_at_the_rate_of_their_name():
    world = hand_made([None] * 50)
    assert not Every(0).detect(world).alarms.any()
    rate = scores.false_alarms_per_batch(Every(5).detect(world).alarms, world)
    assert rate == pytest.approx(0.2)


def test_tuning_takes_the_most_sensitive_dial_that_keeps_the_rate():
    def make(dial):
        return Every(int(dial))

    chosen = tuned(make, [1000, 500, 200, 100, 50, 20], [hand_made([None] * 500)])
    assert chosen.batches == 100
    assert detectors.MOST_FALSE_ALARMS == 0.01


def test_what_got_worse_is_named_and_only_that():
    base = {
        "mlma/f1/breaks": 0.8,
        "mlma/level 0.05/demand": 0.02,
        "mlma/median delay/breaks, shape": 2.0,
        "mlma/median delay/breaks, drift": None,
        "mlma/found/breaks, drift": 0.2,
        "mlma/events/breaks": 100.0,
    }
    assert compare.worse(base, base) == []
    head = {**base, "mlma/level 0.05/demand": 0.05, "mlma/median delay/breaks, drift": 20.0}
    assert compare.worse(base, head) == []  # as strict as promised is strict enough
    head = {**base, "mlma/f1/breaks": 0.7, "mlma/median delay/breaks, shape": None}
    del head["mlma/found/breaks, drift"]
    assert compare.worse(base, head) == [
        "mlma/f1/breaks: 0.8 -> 0.7",
        "mlma/median delay/breaks, shape: 2.0 -> never",
        "mlma/found/breaks, drift: 0.2 -> gone",
    ]


@pytest.mark.parametrize(
    ("settings", "f1", "code"), [({}, 0.8, 0), ({}, 0.5, 1), ({"seed": 1}, 0.8, 2)]
)
def test_comparing_ends_with_a_code_that_tells(tmp_path, monkeypatch, settings, f1, code):
    paths = [str(tmp_path / name) for name in ("base.json", "head.json")]
    for path, have, value in zip(paths, ({}, settings), (0.8, f1), strict=True):
        made = {"settings": have, "figures": {"mlma/f1/breaks": value, "river ADWIN/f1/b": value}}
        Path(path).write_text(json.dumps(made))
    monkeypatch.setattr(sys, "argv", ["compare.py", *paths])
    assert compare.main() == code


def test_figures_become_rows_of_a_table():
    figures = Figures()
    measure_breaks([Every(0), Every(28)], [hand_made([20, 20]), hand_made([None])], figures)
    assert figures.get("never", "streams", "hand") == 3
    assert figures.detectors == ["never", "every 28 batches"]
    text = tables.delays_table(figures, "hand", figures.detectors)
    assert "| never | never (0.00) | - |" in text
    assert tables.cell(None) == "-"


@pytest.fixture(scope="module")
def demand():
    return demand_world("demand", Size(64, 60, seed=5), breaks=0.6, demand=20.0)


def test_breaks_begin_after_the_reference_and_each_stream_has_at_most_one(demand):
    truth, broken = demand.truth, demand.truth.kind != ""
    assert demand.losses.shape == (28 + 60, 64, 24)
    assert demand.losses.dtype == np.float32
    assert 20 < broken.sum() < 64
    assert set(truth.kind[broken]) <= set(KINDS)
    assert (truth.touched[broken] >= demand.reference).all()
    assert (truth.start[broken] - truth.touched[broken] <= 1).all()
    assert (truth.start[~broken] == NEVER).all()
    assert np.isfinite(truth.effect[broken]).all()


def test_losses_rise_where_the_truth_says_so(demand):
    rows = np.flatnonzero(np.isin(demand.truth.kind, ["level +50 %", "zero"]))
    assert len(rows) > 3
    for row in rows:
        start, end = demand.truth.start[row], min(demand.truth.end[row], len(demand.losses))
        before, on = demand.losses[:start, row].mean(), demand.losses[start:end, row].mean()
        assert on > 1.2 * before
        assert demand.truth.effect[row] > 0.2


def test_a_faults_end_is_told_and_a_level_stays(demand):
    kind, end = demand.truth.kind, demand.truth.end
    assert (end[np.isin(kind, ["stuck", "zero"])] < NEVER).all()
    assert (end[np.isin(kind, ["level +50 %", "shape", "variance"])] == NEVER).all()


def test_a_subsample_keeps_streams_of_every_kind(demand):
    few = subsample(demand, 12)
    assert few.shape == (demand.shape[0], 12)
    assert (few.truth.kind == "").sum() == 4
    assert len(set(few.truth.kind)) >= 5


def test_worlds_are_the_same_for_the_same_seed():
    first, again, other = (loss_world("w", Size(8, 3, seed=seed), phi=0.3) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.losses, again.losses)
    assert (first.losses != other.losses).any()
    assert first.calendar.tolist()[:7] == [0, 0, 0, 0, 0, 1, 1]
    assert (first.truth.kind == "").all()


def test_a_shock_world_has_a_shock_of_the_fleet_only_after_its_reference():
    world = shock_world("shock", Size(32, 40, seed=2), demand=20.0)
    fleet = [one for one in world.common if one.kind == "fleet shock"]
    assert fleet
    assert all(one.first >= world.reference and one.members.all() for one in fleet)
    assert all(1 <= one.last - one.first <= 3 for one in fleet)
    assert all(one.scope.startswith("city=") for one in world.common if one not in fleet)


def test_a_group_break_hits_about_half_of_its_city():
    world = demand_world("group", Size(200, 60, seed=4), group_breaks=1.0, demand=20.0)
    assert len(world.common) == 8
    for one in world.common:
        inside = world.city == one.scope.removeprefix("city=")
        assert not one.members[~inside].any()
        assert 0.2 < one.members[inside].mean() < 0.8
