"""Replays with a pool: what forecasts, who is in it, what becomes of what is asked for."""

from collections import Counter
from dataclasses import fields, replace
from time import sleep

import numpy as np
import pytest

from mlma.adapters.executors.local import LocalExecutor
from mlma.adapters.models.seasonal_naive import SeasonalNaive
from mlma.agent.evidence_player import EvidencePlayer
from mlma.agent.pools import LONG_WINDOWS
from mlma.agent.stage import ReplaySettings, build_stage
from mlma.agent.training import Recipe
from mlma.agent.workshop import Workshop
from mlma.domain.chance import stream_keys
from mlma.domain.settings import MLMA, Always, Periodic, Random
from mlma.domain.verdicts import Decision, Reason
from mlma.stats.losses import loss_from
from mlma.steps.schedule import scheduled
from panels import WINDOW, MeanForecaster, noise, panel_of, replayed, slow_losses

DAYS = 120
POOL = MLMA(level=0.05, multiplicity="none", max_age=10, pool=3)
WEEKLY = Periodic(every=7, phase=2, pool=3)
RULE = {"rate": 1.0, "share": 0.02}
DECADES = MLMA(max_age=10, false_retrainings=1e-9)
"""Asks by age alone."""


@pytest.fixture
def rng():
    return np.random.default_rng(21)


@pytest.fixture
def broken_y(rng):
    """Six streams; the first three rise by half on day 60; holes in two others."""
    y = noise(rng, 6, DAYS)
    y[:3, 60:] += 10.0
    y[4, 70:73] = np.nan
    y[5, 80, :2] = np.nan
    return y


def run_of(y, policy, model=None, **settings):
    model = MeanForecaster() if model is None else model
    return replayed(panel_of(y), [policy], model, **settings).run(policy.label)


def play_of(y, policy, due=None):
    """The play itself, with the pools as they are after the last batch."""
    settings = ReplaySettings((policy,), loss_from("absolute"), WINDOW, 0.5, 28, 1, 0)
    stage, _ = build_stage(panel_of(y), settings, SeasonalNaive())
    recipe = Recipe(MeanForecaster(), WINDOW, 14, 0)
    workshop = Workshop.of(stage, recipe, LocalExecutor(1))
    naive = SeasonalNaive().fit(stage.series[0], 0, 1, 0)
    (play,) = EvidencePlayer(stage, workshop, naive).play([(policy, due)])
    return play


def same_run(one, other):
    for name in ("loss", "retrained", "fits", "shares"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    if one.evidence is not None:
        for spec in fields(one.evidence):
            ours, theirs = (getattr(run.evidence, spec.name) for run in (one, other))
            np.testing.assert_array_equal(ours, theirs, err_msg=spec.name)


def rows_of(run, rows):
    """A run with some of its streams."""
    evidence = run.evidence
    if evidence is not None:
        evidence = evidence.rows(rows) if hasattr(evidence, "rows") else _rows(evidence, rows)
    return replace(
        run,
        loss=run.loss[rows],
        retrained=run.retrained[rows],
        fits=run.fits[rows],
        shares=run.shares[rows],
        evidence=evidence,
    )


def _rows(evidence, rows):
    return replace(
        evidence, **{spec.name: getattr(evidence, spec.name)[rows] for spec in fields(evidence)}
    )


# What forecasts


class SlowPool:
    """The pool of one stream of four slots a day, by loops over members, classes and slots."""

    def __init__(self):
        self.forecast = {}  # name: function of the batch
        self.weight = [{} for _ in range(8)]  # four slots, weekend or not
        self.unit = [None] * 8

    def enter(self, name, forecast, leaves=None):
        self.forecast.pop(leaves, None)
        for weight in self.weight:
            weight.pop(leaves, None)
            weight.pop(name, None)
            others = list(weight.values())
            weight[name] = sum(others) / len(others) if others else 1.0
        self.forecast[name] = forecast

    def combined(self, batch):
        y_hat = np.zeros(4)
        for slot in range(4):
            weight = self.weight[slot + 4 * (batch % 7 >= 5)]
            parts = [weight[name] * made(batch)[slot] for name, made in self.forecast.items()]
            y_hat[slot] = sum(parts) / sum(weight.values())
        return y_hat

    def learn(self, batch, y):
        for slot in range(4):
            if np.isnan(y[slot]):
                continue
            at = slot + 4 * (batch % 7 >= 5)
            lost = {name: abs(y[slot] - of(batch)[slot]) for name, of in self.forecast.items()}
            cap = np.inf if self.unit[at] is None else 10 * self.unit[at]
            if self.unit[at] is None:
                cap = 10 * min(lost.values())
            level = sum(min(one, cap) for one in lost.values()) / len(lost)
            unit = level if self.unit[at] is None else self.unit[at]
            self.unit[at] = unit + (level - unit) / 14
            weight = self.weight[at]
            for name, one in lost.items():
                weight[name] *= np.exp(-RULE["rate"] * one / unit)
            total = sum(weight.values())
            for name in weight:
                spread = RULE["share"] / len(weight)
                weight[name] = (1 - RULE["share"]) * weight[name] / total + spread


def constant(y, first, last):
    mean = np.nanmean(y[max(first, 0) : last])
    return lambda batch: np.full(4, mean)


def naive_of(y):
    series = panel_of(np.stack([y, y])).series(0)
    made = SeasonalNaive().fit(series, 0, 1, 0).predict(series, 0, len(y))
    return lambda batch: made[batch]


def slow_pool_losses(y, retrained, pool):
    """Losses per batch of a pool with all members; a version joins where ``retrained``."""
    state, losses, versions = SlowPool(), np.full(len(y), np.nan), []
    long_at = [WINDOW + waited for waited in (0, WINDOW, 3 * WINDOW)]
    for batch in range(WINDOW, len(y)):
        if batch == WINDOW or retrained[batch]:
            leaves = versions.pop(0) if len(versions) == pool else None
            versions.append(f"version {batch}")
            state.enter(versions[-1], constant(y, batch - WINDOW, batch), leaves)
        if batch in long_at:
            state.enter("long", constant(y, batch - LONG_WINDOWS * WINDOW, batch))
        if batch == WINDOW:
            state.enter("naive", naive_of(y))
        if np.isfinite(y[batch]).mean() >= 0.5:
            losses[batch] = np.nanmean(np.abs(y[batch] - state.combined(batch)))
            state.learn(batch, y[batch])
    return losses


MIXED = (POOL, MLMA(max_age=4), WEEKLY, Random(rate=0.2, pool=2))


@pytest.mark.parametrize("policy", MIXED, ids=lambda policy: policy.label)
def test_the_pool_forecasts_the_weighted_mean_of_its_members(policy, broken_y):
    run = run_of(broken_y, policy, phases=1)
    assert run.retrained.sum(axis=1).min() >= policy.pool
    for row in range(6):
        expected = slow_pool_losses(broken_y[row], run.retrained[row], policy.pool)
        np.testing.assert_allclose(run.loss[row], expected, rtol=2e-4)


def test_with_equal_weights_and_versions_alone_it_is_their_plain_mean(broken_y):
    policy = replace(WEEKLY, combine="mean", long_member=False, naive_member=False)
    run = run_of(broken_y, policy)
    y, due = broken_y[1], run.retrained[1].copy()
    due[WINDOW] = True
    expected, means = np.full(DAYS, np.nan), []
    for batch in range(WINDOW, DAYS):
        if due[batch]:
            means = [*means, y[batch - WINDOW : batch].mean()][-policy.pool :]
        expected[batch] = np.abs(y[batch] - np.mean(means)).mean()
    np.testing.assert_allclose(run.loss[1], expected, rtol=1e-6)


def test_weights_sum_to_one_and_follow_the_break(broken_y):
    run = run_of(broken_y, WEEKLY)
    np.testing.assert_allclose(run.shares[:, WINDOW:].sum(axis=2), 1.0, atol=1e-5)
    assert np.isnan(run.shares[:, :WINDOW]).all()
    # All versions of the first weeks after the break are poor: the naive member knows it first.
    before, after = run.shares[:3, 40:60, 3].mean(), run.shares[:3, 69:80, 3].mean()
    assert before < 0.25
    assert after > 0.5


def test_a_pool_of_one_is_the_plain_replay(broken_y):
    policy = MLMA(level=0.05, multiplicity="none", max_age=10, pool=1)
    run = run_of(broken_y, policy)
    assert run.shares is None
    assert run.retrained.sum() > 20
    for row in range(6):
        versions = run.retrained[row].copy()
        versions[WINDOW] = True
        np.testing.assert_allclose(run.loss[row], slow_losses(broken_y[row], versions), rtol=1e-9)
    schedule = Periodic(every=7, phase=2)
    played, plain = (run_of(broken_y, one) for one in (replace(schedule, pool=1), schedule))
    np.testing.assert_array_equal(played.loss, plain.loss)


# Who is in it


@pytest.mark.parametrize("policy", [WEEKLY, Periodic(every=9.5, pool=4), Random(rate=0.1, pool=2)])
def test_a_schedule_with_a_pool_is_played_on_its_own_days(policy, broken_y):
    run = run_of(broken_y, policy)
    since = np.arange(DAYS) - WINDOW
    keys = stream_keys([f"s{row}" for row in range(6)])
    for row in range(6):
        due = scheduled(policy, np.repeat(keys[row], DAYS), np.maximum(since, 0), seed=0)
        np.testing.assert_array_equal(run.retrained[row], due)
    plain = run_of(broken_y, replace(policy, pool=1), phases=1)
    np.testing.assert_array_equal(run.retrained, plain.retrained)
    assert run.evidence is None


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("policy", [WEEKLY, POOL], ids=["periodic", "mlma"])
def test_fits_are_those_of_versions_of_one_sibling_and_of_long_members(policy, free, broken_y):
    model = MeanForecaster(free=free)
    run = run_of(broken_y, policy, model)
    longer = Counter(fit[0] for fit in model.fits if fit[2] - fit[1] > WINDOW)
    assert list(longer.values()) == [2] * 6  # at twice and at four times the first history
    sibling = not free and isinstance(policy, MLMA)
    expected = 1 + sibling + run.retrained.sum(axis=1) + 2
    np.testing.assert_array_equal(run.fits, expected)
    without = run_of(broken_y, replace(policy, long_member=False))
    assert (without.shares[:, WINDOW:, 2] == 0).all()
    np.testing.assert_array_equal(without.fits, 1 + without.retrained.sum(axis=1))


def test_a_fit_that_pools_and_schedules_share_is_made_once(broken_y):
    model = MeanForecaster()
    record = replayed(panel_of(broken_y), [POOL, MLMA(max_age=4), WEEKLY, Always(pool=2)], model)
    assert set(Counter(model.fits).values()) == {1}
    lengths = Counter(fit[2] - fit[1] for fit in model.fits)
    assert lengths == {WINDOW: 6 * (DAYS - WINDOW), 2 * WINDOW: 6, 4 * WINDOW: 6}
    assert sum(run.fits.sum() for run in record.runs) > 2 * len(model.fits)


@pytest.mark.parametrize(
    ("loss", "naive_member", "joins"),
    [
        ("absolute", None, True),
        ("mase", None, True),
        ("squared", None, False),
        ("rmsse", None, False),
        ("pinball(q=0.9)", None, False),
        ("squared", True, True),
        ("absolute", False, False),
    ],
)
def test_the_naive_member_joins_where_the_loss_is_absolute_or_it_is_asked_for(
    loss, naive_member, joins, broken_y
):
    policy = replace(WEEKLY, naive_member=naive_member)
    shares = run_of(broken_y, policy, loss=loss).shares[:, WINDOW:, 3]
    assert (shares > 0).all() if joins else (shares == 0).all()


def test_the_oldest_version_leaves_when_the_pool_is_full(broken_y):
    policy = replace(WEEKLY, pool=3)
    run = run_of(broken_y, policy)
    due = run.retrained | (np.arange(DAYS) == WINDOW)
    pools = play_of(broken_y, policy, due).pools
    for row in range(6):
        newest = np.flatnonzero(due[row])[-3:]
        assert sorted(pools.state.born[row, :3].tolist()) == newest.tolist()
        born, model = pools.state.born[row, 0], pools.members[row][0]
        assert model.mean == pytest.approx(np.nanmean(broken_y[row, born - WINDOW : born]))
    assert pools.state.born[:, 3].tolist() == [WINDOW + 3 * WINDOW] * 6  # long-history member
    assert pools.state.born[:, 4].tolist() == [WINDOW] * 6  # naive member


def test_a_version_joins_without_moving_the_reference(rng):
    y = noise(rng, 4, 60)
    fixed = {"reference": "fixed", "reference_batches": 14, "adjustment": 0.0}
    weekend = np.arange(60) % 7 >= 5
    seen = {}
    for pool in (1, 8):
        run = run_of(y, replace(DECADES, pool=pool, **fixed))
        assert (run.retrained.sum(axis=1) >= 2).all()
        loss = run.evidence.reference_loss[:, WINDOW:]
        seen[pool] = [np.ptp(loss[:, weekend[WINDOW:] == day], axis=1) for day in (True, False)]
    assert np.max(seen[8]) == 0
    assert np.min(seen[1]) > 0


# Selection


def test_a_selection_forecasts_as_one_member_and_writes_switches_with_a_reason(rng):
    y = noise(rng, 3, DAYS)
    y[:, 60:75] += 10.0  # and back again
    policy = replace(POOL, combine="select", naive_member=False, long_member=False)
    run = run_of(y, policy)
    for row in range(3):
        due = run.retrained[row].copy()
        due[WINDOW] = True
        born = np.flatnonzero(due)
        means = {at: y[row, at - WINDOW : at].mean() for at in born}
        for batch in range(WINDOW, DAYS):
            alive = born[born <= batch][-policy.pool :]
            single = [np.abs(y[row, batch] - means[at]) for at in alive]
            low, high = np.min(single, axis=0).mean(), np.max(single, axis=0).mean()
            assert low - 1e-9 <= run.loss[row, batch] <= high + 1e-9
    switched = run.evidence.decision == Decision.SWITCH
    assert switched.any(axis=1).all()
    assert set(run.evidence.reason[switched].tolist()) == {Reason.SELECTED}
    averaged = run_of(y, replace(POOL, naive_member=False, long_member=False))
    assert not (averaged.evidence.decision == Decision.SWITCH).any()


# Alarms


def test_within_the_cooldown_an_alarm_brings_no_other_version(broken_y):
    gaps = {}
    for cooldown in (0, 14):
        policy = MLMA(
            accumulate="none",
            multiplicity="none",
            max_age=None,
            cooldown=cooldown,
            naive_member=False,
            long_member=False,
        )
        run = run_of(broken_y, policy)
        late = [np.diff(np.flatnonzero(run.retrained[row])) for row in range(3)]
        assert all(len(gap) for gap in late)
        gaps[cooldown] = min(gap.min() for gap in late)
        first = run.evidence.alarm[:3].argmax(axis=1)
        assert (run.retrained[np.arange(3), first + 1]).all()
    assert gaps[0] < 14 <= gaps[14]


def test_with_a_pool_nothing_is_followed_up_or_reviewed(broken_y):
    run = run_of(broken_y, MLMA(level=0.05, multiplicity="none"))
    asked = run.evidence.reason[run.evidence.decision == Decision.RETRAIN]
    assert {Reason.ALARM, Reason.MAX_AGE} <= set(asked.tolist())
    assert not {Reason.FOLLOW_UP, Reason.REVIEW} & set(run.evidence.reason.ravel().tolist())


# Budget, chance, escalation


@pytest.mark.parametrize("combine", ["fixed_share", "select"])
def test_what_the_budget_does_not_grant_is_deferred_and_never_lost(combine, rng):
    y = noise(rng, 6, DAYS)
    # Six streams ask every ten days or so: .6 a day, and the budget grants half a fit a day.
    policy = replace(DECADES, budget=1 / 12, combine=combine)
    run = run_of(y, policy)
    decision, reason = run.evidence.decision, run.evidence.reason
    deferred = decision == Decision.DEFER
    assert deferred.sum() > 20
    assert (reason[deferred] == Reason.BUDGET).all()
    assert not (reason[~deferred] == Reason.BUDGET).any()
    next_one = decision[:, 1:][deferred[:, :-1]]
    assert set(next_one.tolist()) == {Decision.DEFER, Decision.RETRAIN}
    started = (decision == Decision.RETRAIN).sum(axis=0).cumsum()
    cycles = np.maximum(np.arange(DAYS) - WINDOW + 1, 0)
    assert (started <= (cycles + 7) * 0.5 + 1).all()
    assert started[-1] >= 0.5 * (DAYS - WINDOW) - 7
    assert (run.retrained.sum(axis=1) >= 3).all()  # nobody waits for ever
    granted = (decision == Decision.RETRAIN)[:, :-1]
    np.testing.assert_array_equal(run.retrained[:, 1:], granted)
    assert set(reason[decision == Decision.RETRAIN].tolist()) == {Reason.MAX_AGE}


def test_who_comes_first_does_not_depend_on_how_long_fits_take(rng):
    def slow(series, last):
        sleep(0.004 * (series.unique_id == "s3"))

    policy, y = replace(DECADES, budget=1 / 12), noise(rng, 6, 90)
    same_run(run_of(y, policy, MeanForecaster(fails=slow)), run_of(y, policy))


def test_long_history_members_wait_for_what_the_budget_leaves_over(rng):
    y = noise(rng, 6, DAYS)
    quiet = MLMA(max_age=None, accumulate="none", level=1e-9, naive_member=False)
    # Due after 28 and after 84 days; every stream's first version costs one fit.
    assert run_of(y, quiet).fits.tolist() == [3.0] * 6
    assert run_of(y, replace(quiet, budget=1 / 12)).fits.tolist() == [3.0] * 6
    tight = run_of(y, replace(quiet, budget=1 / 60)).fits - 1  # .1 a day, .8 carried over at most
    assert 6 <= tight.sum() <= 0.1 * (DAYS - WINDOW - 28) + 2
    assert run_of(y, replace(quiet, budget=1 / 600)).fits.tolist() == [1.0] * 6


def test_without_a_limit_nothing_is_deferred(rng):
    run = run_of(noise(rng, 6, DAYS), DECADES)
    assert run.retrained.sum() > 40
    assert not (run.evidence.decision == Decision.DEFER).any()


def test_what_is_withheld_says_so_and_is_asked_for_again_a_week_later(rng):
    run = run_of(noise(rng, 6, DAYS), replace(DECADES, withhold=0.5))
    held = run.evidence.decision == Decision.HOLD
    assert held.sum() > 10
    assert (run.evidence.reason[held] == Reason.WITHHELD).all()
    assert not run.retrained[:, 1:][held[:, :-1]].any()
    for row, batch in zip(*np.nonzero(held), strict=True):
        later = run.evidence.decision[row, batch + 1 : batch + 8]
        if len(later) == 7:
            assert set(later[:6].tolist()) == {Decision.KEEP}
            assert later[6] in {Decision.RETRAIN, Decision.HOLD}


def test_a_stream_that_re_training_does_not_help_is_escalated(rng):
    y = noise(rng, 3, 160)
    y[0, 50:] += 6.0 * rng.standard_normal((110, 4))  # nothing to learn
    policy = MLMA(max_age=None, escalate_after=1, naive_member=False, common=False, adjustment=0.0)
    run = run_of(y, policy)
    escalated = run.evidence.decision == Decision.ESCALATE
    assert escalated[0].any()
    assert not escalated[1:].any()
    assert (run.evidence.reason[escalated] == Reason.NOT_HELPED).all()
    assert not run.retrained[:, 1:][escalated[:, :-1]].any()
    patient = run_of(y, replace(policy, escalate_after="auto"))
    assert not (patient.evidence.decision == Decision.ESCALATE).any()
    assert patient.retrained.sum() > run.retrained.sum()


# Independence, failures, reproduction


SEVERAL = (
    POOL,
    replace(POOL, combine="select", budget=0.1, withhold=0.1),
    replace(POOL, train_on="best"),
    replace(POOL, pool=1),
    WEEKLY,
    Always(pool=2),
)


def test_policies_together_give_the_numbers_of_each_alone(broken_y):
    together = replayed(panel_of(broken_y), SEVERAL, MeanForecaster(free=False))
    for policy in SEVERAL:
        alone = replayed(panel_of(broken_y), [policy], MeanForecaster(free=False))
        same_run(alone.run(policy.label), together.run(policy.label))


def test_a_stream_whose_trainings_fail_for_a_while_keeps_its_pool(broken_y):
    broken_y[1, 75:80] -= 10.0  # the weights have something to follow

    def fails(series, last):
        return series.unique_id == "s1" and 70 < last <= 95

    record = replayed(panel_of(broken_y), [POOL], MeanForecaster(fails=fails))
    run, whole = record.run(POOL.label), run_of(broken_y, POOL)
    assert record.failures == {}
    assert [out.examples for out in record.left_out] == [("s1",)]
    np.testing.assert_array_equal(run.loss[:, :71], whole.loss[:, :71])
    others = [0, 2, 3, 4, 5]
    np.testing.assert_array_equal(run.loss[others], whole.loss[others])
    assert not run.retrained[1, 71:96].any()
    assert run.retrained[1, 96:].any()
    held = run.evidence.decision[1] == Decision.HOLD
    assert held.any()
    assert (run.evidence.reason[1][held] == Reason.FAILED).all()
    # Meanwhile the members that are there forecast on, and their weights follow.
    expected = slow_pool_losses(broken_y[1], run.retrained[1], POOL.pool)
    np.testing.assert_allclose(run.loss[1], expected, rtol=2e-4)
    assert np.ptp(run.shares[1, 71:96, 1]) > 0.01


def test_a_stream_whose_model_cannot_forecast_any_more_is_reported_and_the_rest_goes_on(broken_y):
    def trouble(series, first, last, out):
        if series.unique_id == "s1" and last > 80:
            raise RuntimeError("out of memory")
        return out

    record = replayed(panel_of(broken_y), [POOL, WEEKLY], MeanForecaster(trouble=trouble))
    assert list(record.failures) == ["s1"]
    assert record.ids == ("s0", "s2", "s3", "s4", "s5")
    clean = replayed(panel_of(broken_y), [POOL, WEEKLY], MeanForecaster())
    for policy in (POOL, WEEKLY):
        kept = rows_of(clean.run(policy.label), [0, 2, 3, 4, 5])
        same_run(record.run(policy.label), kept)


def test_the_bits_are_the_same_for_one_and_two_workers(broken_y):
    policies = (*SEVERAL[:2], WEEKLY)
    one, two = (replayed(panel_of(broken_y[:3]), policies, n_jobs=jobs) for jobs in (1, 2))
    assert [run.label for run in one.runs] == [run.label for run in two.runs]
    for run, again in zip(one.runs, two.runs, strict=True):
        if run.shares is not None:
            same_run(run, again)
        np.testing.assert_array_equal(run.loss, again.loss)


def test_the_bits_are_the_same_in_whatever_order_the_streams_come(broken_y):
    order = np.array([3, 0, 5, 2, 1, 4])
    names = [f"s{row}" for row in range(6)]
    there = replayed(panel_of(broken_y, names), SEVERAL, MeanForecaster())
    mixed = panel_of(broken_y[order], [names[row] for row in order])
    again = replayed(mixed, SEVERAL, MeanForecaster())
    for policy in SEVERAL:
        if policy.has_pool:
            same_run(again.run(policy.label), rows_of(there.run(policy.label), order))
