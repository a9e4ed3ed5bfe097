"""Numbers that people really send, through a whole cycle and through `Agent`: no test is harmed."""

from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cycles import (
    SLOTS,
    arrays,
    class_of,
    cycle,
    cycled_on,
    gamma,
    names,
    new_state,
    quiet,
    reasons,
    retrained,
    started,
    verdicts,
)
from daily_losses import bits
from mlma import Agent
from mlma.agent import blocks
from mlma.agent.cycle import run_cycle
from mlma.domain.batches import LossBatch
from mlma.domain.fleet import FleetState
from mlma.domain.groups import Division, Groups, groups_of
from mlma.domain.verdicts import Decision, Verdict
from mlma.stats import fast
from mlma.stats.multiplicity import METHODS, adjusted_p_values, rejected
from mlma.steps.compare import Incoming

N, DAYS = 12, 12
MONDAY = datetime(2024, 1, 1)
CODES = ("verdict", "decision", "reason")
NUMBERS = ("p_value", "effect", "score", "evidence", "drift")
each_test = pytest.mark.parametrize("test", ["moderated_t", "batch_t", "profile"])


@pytest.fixture
def rng():
    return np.random.default_rng(23)


@pytest.fixture
def held_out(rng):
    return gamma(rng, N, 28, SLOTS)


@pytest.fixture
def days(rng):
    """Twelve days of twelve streams; the first two break on day 5."""
    made = gamma(rng, DAYS, N, SLOTS)
    made[5:, :2] *= 3.0
    return made


@pytest.fixture(params=[False, True] if fast.AVAILABLE else [False])
def compiled(request, monkeypatch):
    monkeypatch.setattr(fast, "AVAILABLE", request.param)
    return request.param


def through(policy, held_out, days, ids=None, groups=None):
    """What each day gives, and the state and fleet after them; new versions go live at once."""
    state, fleet, seen = started(policy, held_out, ids), FleetState.new(("fleet",)), []
    for day, losses in enumerate(days):
        made = cycled_on(state, losses, policy, fleet, groups, weekend=int(day % 7 >= 5))
        seen.append(made.evidence)
        state = retrained(made.state, made.evidence, policy, held_out)
        fleet = made.fleet
    return seen, state, fleet


def alone(test):
    """The test that does not lean on the fleet, where there is one."""
    return "batch_t" if test == "moderated_t" else test


def column(seen, name, rows=slice(None)):
    return np.stack([getattr(one, name)[rows] for one in seen])


def assert_same_news(seen, others, rows=slice(None), its_rows=None, **tolerance):
    its_rows = rows if its_rows is None else its_rows
    for name in CODES:
        mine, theirs = column(seen, name, rows), column(others, name, its_rows)
        np.testing.assert_array_equal(mine, theirs, err_msg=name)
    for name in NUMBERS:
        mine, theirs = column(seen, name, rows), column(others, name, its_rows)
        np.testing.assert_allclose(mine, theirs, err_msg=name, **tolerance)


def assert_same_bits(one, other, rows=slice(None)):
    (seen, state, fleet), (others, its_state, its_fleet) = one, other
    for day, its_day in zip(seen, others, strict=True):
        theirs = arrays(its_day)
        for name, values in arrays(day).items():
            np.testing.assert_array_equal(values, theirs[name][rows], err_msg=name)
    kept = arrays(its_state)
    for name, values in arrays(state).items():
        np.testing.assert_array_equal(values, kept[name][rows], err_msg=name)
    for name, values in arrays(fleet.groups).items():
        np.testing.assert_array_equal(values, arrays(its_fleet.groups)[name], err_msg=name)


def agent_of(test, settings="", **told):
    policy = f"mlma(test='{test}', reference_batches=10, min_reference_batches=5, {settings})"
    return Agent(policy, slot="2h", **told)


def frame(day, losses, ids=None):
    """A day of losses ``(n_streams, slots)`` as rows; no row where there is no loss."""
    ids = names(len(losses)) if ids is None else ids
    times = [MONDAY + timedelta(days=day, hours=2 * slot) for slot in range(losses.shape[1])]
    rows = pl.DataFrame(
        {
            "unique_id": np.repeat(ids, losses.shape[1]),
            "ds": times * len(losses),
            "loss": losses.ravel(),
        }
    )
    return rows.filter(pl.col("loss").is_not_nan())


def fed(agent, days, first=0):
    return [agent.observe_losses(frame(first + day, losses)) for day, losses in enumerate(days)]


@each_test
@pytest.mark.parametrize("level", [0.0, 1.0, 0.1 + 0.2, 1e-300, 1e300])
def test_losses_that_are_all_equal_are_no_evidence_of_anything(test, level):
    policy = quiet(test=test)
    seen, state, _ = through(policy, np.full((N, 28, SLOTS), level), np.full((9, N, SLOTS), level))
    for news in seen:
        assert set(reasons(news.reason)) == {"FLAT"}
        assert set(verdicts(news.verdict)) == {"UNCLEAR"}
        np.testing.assert_allclose(news.loss, level, rtol=1e-12)
        np.testing.assert_allclose(news.reference_loss, level, rtol=1e-6)
    assert (state.cusum_up == 0).all()
    news = fed(agent_of(test), np.full((9, N, SLOTS), level))[-1]
    assert set(news["verdict"]) == {"unclear"}
    assert set(news["decision"]) == {"keep"}


@each_test
def test_equal_losses_in_some_streams_leave_the_others_as_they_were(test, held_out, days):
    policy = quiet(test=alone(test), common=False)
    whole, _, _ = through(policy, held_out, days)
    held_out, days, others = held_out.copy(), days.copy(), np.arange(4, N)
    held_out[2], days[:, 2], held_out[3], days[:, 3] = 0.7, 0.7, 0.0, 0.0
    some, _, _ = through(policy, held_out, days)
    if test == "profile":  # which leans on the profile of the fleet
        for name in ("decision", "alarm"):
            mine, theirs = column(some, name, others), column(whole, name, others)
            np.testing.assert_array_equal(mine, theirs)
        return
    assert set(reasons(column(some, "reason")[:, 2:4])) == {"FLAT"}
    assert_same_news(some, whole, [0, 1, *others], rtol=1e-12)


@each_test
def test_a_stream_of_one_value_stays_flat_however_long_it_runs(test, held_out, rng):
    days = gamma(rng, 40, N, SLOTS)
    held_out[2], days[:, 2], held_out[3], days[:, 3] = 0.7, 0.7, 0.0, 0.0
    seen, state, _ = through(quiet(test=test), held_out, days)
    assert set(reasons(column(seen, "reason")[:, 2:4])) == {"FLAT"}
    assert (state.reference.moments.outlying[2:4] == 0).all()


@each_test
def test_batches_of_zeros_among_others_are_better_and_nothing_breaks(test, held_out, days):
    policy, held_out, days = quiet(test=test), held_out.copy(), days.copy()
    held_out[4, ::14], days[::6, 4] = 0.0, 0.0
    seen, _, _ = through(policy, held_out, days)
    assert np.isfinite(column(seen, "score")).all()
    assert (column(seen, "effect")[::6, 4] == -1).all()
    assert (column(seen, "verdict")[::6, 4] != Verdict.DEGRADED).all()
    assert not column(seen, "alarm")[:, 4].any()
    days[0, 4] = days[7, 4]  # its reference has to stand first
    news = fed(agent_of(test), days)
    assert news[6]["loss"][4] == 0.0
    assert news[6]["effect"][4] == -1.0
    assert "retrain" not in [one["decision"][4] for one in news]


@each_test
def test_one_batch_is_too_small_a_reference_for_anything(test, rng):
    policy = quiet(test=test, reference_from="production")
    state, losses = started(policy, gamma(rng, N, 1, SLOTS)), gamma(rng, N, SLOTS)
    for _ in range(2):
        state, news = cycle(state, losses, policy)
        assert set(reasons(news.reason)) == {"UNCLEAR"}
    assert state.reference.moments.count().tolist() == [2] * N
    (news,) = fed(agent_of(test), losses[None])
    assert set(news["verdict"]) == {"unclear"}
    assert news["p_value"].is_nan().all()


@each_test
def test_a_day_without_any_loss_waits_and_leaves_all_that_is_remembered(test, held_out, days):
    policy = quiet(test=test)
    _, state, fleet = through(policy, held_out, days[:4])
    made = cycled_on(state, np.full((N, SLOTS), np.nan), policy, fleet)
    assert set(verdicts(made.evidence.verdict)) == {"WAITING"}
    assert made.evidence.n.tolist() == [0] * N
    before, after = arrays(state), arrays(made.state)
    # The anchor follows its reference up to a standard error, which is that of the batch before.
    moved = {"age", "cycle", "reference.anchor_level"}
    for name in before.keys() - moved:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    np.testing.assert_allclose(
        after["reference.anchor_level"], before["reference.anchor_level"], atol=2e-3
    )


@each_test
def test_infinite_losses_count_as_missing_to_the_last_bit(test, held_out, days):
    policy, holes = quiet(test=test), days.copy()
    holes[2:6, ::2, ::5], holes[3, 1] = np.nan, np.nan
    infinite = np.where(np.isnan(holes), np.inf, holes)
    missing = through(policy, held_out, holes)
    assert_same_bits(through(policy, held_out, infinite), missing)
    assert np.isfinite(column(missing[0], "loss")[2, 0])
    infinite[2:6, 4, ::5] = -np.inf
    assert_same_bits(through(policy, held_out, infinite), missing)
    ours, theirs = agent_of(test), agent_of(test)
    for day, (hole, inf) in enumerate(zip(holes, infinite, strict=True)):
        news = theirs.observe_losses(frame(day, inf))
        nulls = frame(day, np.where(np.isnan(hole), np.inf, hole)).with_columns(
            loss=pl.when(pl.col("loss").is_infinite()).then(None).otherwise("loss")
        )
        assert_frame_equal(news, ours.observe_losses(nulls), check_exact=True)


@each_test
@pytest.mark.parametrize("unit", [1e-300, 1e-30, 1e30, 1e300])
def test_the_unit_of_the_losses_changes_nothing_that_is_decided(test, unit, held_out, days):
    policy = quiet(test=test)
    plain = through(policy, held_out, days)[0]
    scaled = through(policy, held_out * unit, days * unit)[0]
    tolerance = {"rtol": 1e-3, "atol": 1e-5} if test == "profile" else {"rtol": 1e-6, "atol": 1e-9}
    assert_same_news(scaled, plain, **tolerance)
    assert (column(plain, "decision")[:, :2] == Decision.RETRAIN).any(axis=0).all()
    ours, theirs = fed(agent_of(test), days), fed(agent_of(test), days * unit)
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.select(CODES).equals(its.select(CODES))
        np.testing.assert_allclose(its["loss"] / unit, mine["loss"], rtol=1e-9)


@each_test
@pytest.mark.parametrize("absurd", [1e-300, 1e300, 5e-324, 1.7e308])
def test_one_absurd_batch_is_one_batch_and_harms_nobody(test, absurd, held_out, days):
    policy = quiet(test=alone(test), common=False)
    plain, _, _ = through(policy, held_out, days)
    days = days.copy()
    days[3, 6] = absurd
    seen, state, _ = through(policy, held_out, days)
    others = np.delete(np.arange(N), 6)
    # A profile leans on that of the fleet.
    near = {"rtol": 0.05, "atol": 0.01} if test == "profile" else {"rtol": 1e-9, "atol": 1e-12}
    assert_same_news(seen, plain, others, **near)
    assert (column(seen, "decision")[:, 6] == Decision.KEEP).all()
    assert abs(state.reference.moments.level()[6]) < 0.2
    assert not set(verdicts(column(seen, "verdict")[9:, 6])) - {"HEALTHY"}
    days[3, 6], days[7, 6] = days[7, 6].copy(), absurd  # its reference has to stand first
    news = fed(agent_of(test), days)
    assert "retrain" not in [one["decision"][6] for one in news]
    assert abs(news[-1]["effect"][6]) < 1


@each_test
def test_single_precision_gives_the_same_decisions(test, held_out, days):
    policy = quiet(test=test)
    double, _, _ = through(policy, held_out, days.astype(np.float32).astype(np.float64))
    single, state, _ = through(policy, held_out, days.astype(np.float32))
    assert_same_news(single, double, rtol=1e-3, atol=1e-4)
    assert single[0].loss.dtype == np.float64
    assert state.reference.moments.mean.dtype == np.float64
    ours, theirs = agent_of(test), agent_of(test)
    for day, losses in enumerate(days.astype(np.float32)):
        rows = frame(day, losses)
        assert rows.schema["loss"] == pl.Float32
        exact = theirs.observe_losses(rows.with_columns(pl.col("loss").cast(pl.Float64)))
        assert_frame_equal(ours.observe_losses(rows), exact, check_exact=True)


@each_test
def test_a_group_of_one_stream_has_nothing_in_common(test, held_out, days):
    policy = quiet(test=test)
    lonely = np.where(np.arange(N) == 0, 0, 1).astype(np.int32)
    groups = Groups(N, (Division(("city=Ghent", "city=Bruges"), lonely),))
    fleet, state = FleetState.new(groups.names()), started(policy, held_out)
    for losses in days:
        made = cycled_on(state, losses, policy, fleet, groups)
        state, fleet = made.state, made.fleet
        assert {one.scope for one in made.findings} <= {"fleet", "city=Bruges"}
        assert np.isfinite(made.evidence.score).all()
    assert fleet.groups.batches.tolist() == [DAYS, 0, DAYS]
    alone = cycled_on(state.rows(np.arange(1)), days[0, :1], policy, fleet, Groups(1))
    assert np.isfinite(alone.evidence.score).all()
    assert groups_of(N, {"street": names(N)}).names() == ("fleet",)
    tags = pl.DataFrame({"unique_id": names(N), "street": names(N)})
    tagged, plain = agent_of(test, tags=tags), agent_of(test)
    for mine, its in zip(fed(tagged, days), fed(plain, days), strict=True):
        assert_frame_equal(mine, its, check_exact=True)


@each_test
def test_a_cycle_without_streams_gives_empty_columns_and_counts(test, held_out, days):
    policy, nobody = quiet(test=test), np.arange(0)
    seen, state, fleet = through(policy, held_out, days[:3])
    empty = groups_of(N, {"half": ["a"] * N}).rows(nobody)
    made = cycled_on(state.rows(nobody), days[0, :0], policy, fleet, empty)
    for name, values in arrays(made.evidence).items():
        assert len(values) == 0, name
        assert values.dtype == arrays(seen[0])[name].dtype, name
    assert len(made.state) == 0
    assert made.findings == ()
    assert made.fleet.cycle == fleet.cycle + 1
    fresh = cycled_on(new_state(policy, []), days[0, :0], policy, FleetState.new(("fleet",)))
    assert len(fresh.state) == 0
    agent = agent_of(test)
    assert len(agent.observe_losses(frame(0, days[0, :0]))) == 0
    assert len(agent.observe_losses(frame(1, days[0]))) == N


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_million_p_values_of_exactly_0_or_1_are_adjusted(method):
    n = 1_000_000
    zeros, ones = np.zeros(n), np.ones(n)
    assert (adjusted_p_values(zeros, method) <= 1e-12).all()
    assert (adjusted_p_values(ones, method) == 1.0).all()
    assert rejected(zeros, 0.05, method, n).all()
    mixed = (np.arange(n) % 1000 > 0).astype(np.float64)
    mixed[5] = np.nan
    adjusted = adjusted_p_values(mixed, method)
    assert ((adjusted <= 1e-12) == (mixed == 0)).all()
    assert (adjusted[mixed == 1] == 1.0).all()
    assert np.isnan(adjusted[5])
    assert rejected(mixed[mixed == 0], 0.05, method, n - 1).all()


@each_test
def test_streams_that_come_and_go_are_judged_as_if_alone(test, days):
    settings = "common=False, multiplicity='none', review_age=None, max_age=None"
    few, alone = days[:, :5].repeat(2, axis=0), agent_of(test, settings)
    among, mine = agent_of(test, settings), [alone.observe_losses(frame(0, few[0, :1]))]
    for day, losses in enumerate(few):
        if day:
            mine.append(alone.observe_losses(frame(day, losses[:1])))
        rows = [0, *(row for row in range(1, 5) if (day // 3 + row) % 2)]
        ids = [names(5)[row] for row in rows[:: (-1) ** day]]
        news = among.observe_losses(frame(day, losses[rows[:: (-1) ** day]], ids))
        assert news["unique_id"].to_list() == ids
        own = news.filter(pl.col("unique_id") == names(1)[0])
        assert_frame_equal(own, mine[-1], check_exact=True)
    cycles = dict(zip(among.streams, among.state.cycle.tolist(), strict=True))
    assert cycles[names(1)[0]] == 2 * DAYS
    assert sorted(cycles.values())[0] < DAYS + 3
    assert np.isfinite(among.state.cusum_up).all()


@each_test
def test_batches_of_different_lengths_are_read_as_they_come(test, held_out, days):
    agent, days, rng = agent_of(test), days.copy(), np.random.default_rng(1)
    lengths = rng.integers(1, SLOTS + 1, (DAYS, N))
    lengths[4, 3], lengths[:, 5] = 0, SLOTS
    days[np.arange(SLOTS) >= lengths[:, :, None]] = np.nan
    for day, losses in enumerate(days):
        rows = frame(day, losses)
        news = agent.observe_losses(rows)
        told = [name for name, length in zip(names(N), lengths[day], strict=True) if length]
        assert news["unique_id"].to_list() == told
        assert news["n"].to_list() == lengths[day][lengths[day] > 0].tolist()
        mean = rows.group_by("unique_id", maintain_order=True).agg(pl.col("loss").mean())
        np.testing.assert_allclose(news["loss"], mean["loss"], rtol=1e-12)
    assert news["effect"].is_finite().all()
    padded = np.concatenate([days, np.full((DAYS, N, 3), np.nan)], axis=2)
    if test != "profile":  # which has a place for each slot
        policy = quiet(test=test)
        plain, _, _ = through(policy, held_out, days)
        assert_same_news(through(policy, held_out, padded)[0], plain, rtol=1e-9, atol=1e-12)


@each_test
@pytest.mark.parametrize("common", [True, False])
def test_permuting_the_streams_permutes_all_that_is_remembered(test, common, held_out, days):
    policy, order = quiet(test=test, common=common), np.random.default_rng(3).permutation(N)
    straight = through(policy, held_out, days)
    ids = [names(N)[row] for row in order]
    permuted = through(policy, held_out[order], days[:, order], ids)
    if test == "batch_t":  # the others take a mean over the fleet, which rounds by its order
        assert_same_bits(permuted, straight, order)
    assert_same_news(permuted[0], straight[0], its_rows=order, rtol=1e-6, atol=1e-9)


@each_test
def test_rows_of_one_batch_in_any_order_and_in_any_pieces_give_the_same_bits(test, days):
    straight, mixed = agent_of(test), agent_of(test)
    for day, losses in enumerate(days):
        rows = frame(day, losses)
        news = straight.observe_losses(rows)
        if day:  # the first batch gives the streams their places
            rows = rows.sample(fraction=1, shuffle=True, seed=day)
            cuts = [0, 1, 17, 17, 90, len(rows)]
            pieces = [rows[low:high] for low, high in pairwise(cuts)]
            rows = pl.concat(pieces[::-1], rechunk=False)
        again = mixed.observe_losses(rows)
        assert_frame_equal(again.sort("unique_id"), news.sort("unique_id"), check_exact=True)
    assert bits(mixed) == bits(straight)


@each_test
@pytest.mark.parametrize("factor", [1000.0, 1e-3])
def test_a_change_of_the_unit_is_found_and_forgotten_with_the_next_version(
    test, factor, held_out, rng
):
    policy, days = quiet(test=test, side="two-sided", follow_ups=()), gamma(rng, 30, N, SLOTS)
    days[4:, 7] *= factor
    state, fleet, seen = started(policy, held_out), FleetState.new(("fleet",)), []
    later = held_out.copy()
    later[7] *= factor
    for losses in days:
        made = cycled_on(state, losses, policy, fleet)
        seen.append(made.evidence)
        state, fleet = retrained(made.state, made.evidence, policy, later), made.fleet
    asked = np.flatnonzero(column(seen, "decision")[:, 7] == Decision.RETRAIN)
    assert asked.tolist() in ([5], [6], [7])
    after = column(seen, "verdict")[asked[0] + 1 :, 7]
    assert (after == Verdict.HEALTHY).mean() > 0.9
    assert not (column(seen, "decision")[:, np.delete(np.arange(N), 7)] != Decision.KEEP).any()


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("n", [20, 21, 22])
def test_a_fleet_of_many_blocks_has_the_bits_of_one_block(n, monkeypatch, rng):
    policy = quiet(test="batch_t", common=True)
    held_out, days = gamma(rng, n, 28, SLOTS), gamma(rng, DAYS, n, SLOTS)
    days[4:, :9] *= 2.0
    days[6, 3], held_out[n - 1], days[:, n - 1] = np.nan, 0.0, 0.0
    groups = groups_of(n, {"city": ["Ghent"] * 9 + ["Bruges"] * (n - 9)})
    whole = through(policy, held_out, days, groups=groups)
    monkeypatch.setattr(blocks, "BLOCK", 7)
    parts = through(policy, held_out, days, groups=groups)
    assert_same_bits(parts, whole)
    assert (column(whole[0], "decision") == Decision.RETRAIN).any()
    order = np.random.default_rng(4).permutation(n)
    ids = [names(n)[row] for row in order]
    permuted = through(policy, held_out[order], days[:, order], ids, groups.rows(order))
    assert_same_bits(permuted, whole, order)


@each_test
@pytest.mark.parametrize("outside", [2, 100, -1])
def test_a_calendar_class_that_no_reference_has_is_refused(test, outside, compiled, rng):
    policy = quiet(test=test)
    state, fleet = started(policy, gamma(rng, N, 28, SLOTS)), FleetState.new(("fleet",))
    calendar = np.full(N, class_of(policy, 0))
    calendar[8] = outside
    incoming = Incoming(LossBatch(gamma(rng, N, SLOTS), calendar))
    with pytest.raises(ValueError, match="calendar class"):
        run_cycle(state, incoming, fleet, Groups(N), policy)
