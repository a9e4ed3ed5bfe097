"""Streams that share a model in a replay: one fit, one decision, one version for all of them."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest

import mlma
from histories import DAY, START
from mlma.domain.errors import ModelError, SettingsError
from mlma.domain.settings import MLMA
from mlma.domain.verdicts import Decision, Reason

WINDOW = 28
PLAIN = {"calendar": "none", "adjustment": 0.0, "pool": 1, "review_age": None, "max_age": None}
POLICY = MLMA(**PLAIN)
OLD = MLMA(**{**PLAIN, "max_age": 10}, level=1e-6, false_retrainings=1e-6)


@dataclass(frozen=True)
class SharedMean:
    """The mean of each member's window; of a stream that was no member, of its last batches."""

    means: dict[str, float]
    members: tuple[str, ...]
    at: int

    def predict(self, series, first, last):
        mean = self.means.get(series.unique_id)
        if mean is None:
            mean = float(np.nanmean(series.y[max(first - WINDOW, 0) : first]))
        return np.full((last - first, series.y.shape[1]), mean)

    def predict_many(self, members, first, last):
        return np.stack([self.predict(one, first, last) for one in members])

    def held_out(self, series, first, last):
        return None


@dataclass
class SharedMeans:
    """Writes down every fit as (members, first, last); ``fails(members, last)`` says which fail."""

    fails: object = None
    fits: list = field(default_factory=list)
    name: str = "shared_mean"
    warm_up: int = 0

    def fit_shared(self, members, first, last, seed):
        names = tuple(one.unique_id for one in members)
        self.fits.append((names, first, last))
        if self.fails is not None and self.fails(names, last):
            raise ModelError("no convergence")
        means = {one.unique_id: float(np.nanmean(one.y[first:last])) for one in members}
        return SharedMean(means, names, last)


def frame_of(y, born=None, zones=None, names=None):
    """``y (n_streams, days, slots)``; ``born`` is the first day of each stream."""
    n, days, slots = y.shape
    ds = START + np.arange(days * slots) * (DAY // slots)
    parts = []
    for row in range(n):
        first = 0 if born is None else born[row] * slots
        columns = {"ds": ds[first:], "y": y[row].ravel()[first:]}
        name = f"s{row:02}" if names is None else names[row]
        zone = ("a", "b")[row % 2] if zones is None else zones[row]
        part = pl.DataFrame(columns).with_columns(
            unique_id=pl.lit(name), zone=pl.lit(zone, dtype=pl.String)
        )
        parts.append(part)
    return pl.concat(parts).select("unique_id", "ds", "y", "zone")


def noise(n=6, days=70, slots=4, seed=3):
    return 20.0 + np.random.default_rng(seed).standard_normal((n, days, slots))


def played(frame, policies, scope="fleet", model=None, **settings):
    chosen = {"window": WINDOW, "n_jobs": 1, "tags": ["zone"], "phases": 2, "seed": 0}
    model = SharedMeans() if model is None else model
    policies = policies if isinstance(policies, list) else [policies]
    return mlma.replay(frame, model=model, policies=policies, scope=scope, **{**chosen, **settings})


def run_of(result, policy):
    return result.record.run(policy.label if hasattr(policy, "label") else policy)


def first_alarm(run, row, after):
    return after + int(np.flatnonzero(run.evidence.alarm[row, after:])[0])


# Fits


@pytest.mark.parametrize(("scope", "models"), [("fleet", 1), ("zone", 2)])
def test_one_fit_per_model_is_counted_in_parts_and_all_streams_get_it_together(scope, models):
    model = SharedMeans()
    result = played(frame_of(noise()), OLD, scope, model)
    run = run_of(result, OLD)
    of_model = [np.arange(6)] if models == 1 else [np.arange(0, 6, 2), np.arange(1, 6, 2)]
    for rows in of_model:
        assert (run.retrained[rows] == run.retrained[rows[0]]).all()
        again = run.retrained[rows[0]].sum()
        assert again >= 3
        np.testing.assert_allclose(run.fits[rows].sum(), 2 * (1 + again))  # held out: a sibling
    always = run_of(result, "always")
    np.testing.assert_allclose(always.fits, (70 - WINDOW) * models / 6)
    np.testing.assert_allclose(run_of(result, "never").fits, models / 6)
    whole = {fit for fit in model.fits if fit[2] - fit[1] == WINDOW}
    assert {len(members) for members, _, _ in whole} == {6 // models}


def test_losses_are_those_of_the_version_that_all_share():
    y = noise()
    result = played(frame_of(y), OLD)
    for label in ("never", "always", OLD.label):
        run = run_of(result, label)
        for row in range(6):
            mean = None
            for batch in range(WINDOW, 70):
                if batch == WINDOW or run.retrained[row, batch]:
                    mean = y[row, batch - WINDOW : batch].mean()
                expected = np.abs(y[row, batch] - mean).mean()
                np.testing.assert_allclose(run.loss[row, batch], expected)


@pytest.mark.parametrize("train_on", ["since_break", "best", "short"])
def test_the_window_is_chosen_once_for_all_streams_of_a_model(train_on):
    y = noise(days=100)
    y[:, 60:] += np.linspace(2.0, 4.0, 6)[:, None, None]
    policy = MLMA(**PLAIN, train_on=train_on)
    run = run_of(played(frame_of(y), policy), policy)
    batches = np.flatnonzero(run.retrained[0])
    assert len(batches)
    assert (run.retrained == run.retrained[0]).all()
    for batch in batches.tolist():
        fitting = []
        for row in range(6):
            means = {w: y[row, batch - w : batch].mean() for w in range(14, batch + 1)}
            losses = {w: np.abs(y[row, batch] - mean).mean() for w, mean in means.items()}
            near = {w for w, one in losses.items() if np.isclose(one, run.loss[row, batch])}
            fitting.append(near)
        assert set.intersection(*fitting)
    parts = run.fits.sum()
    windows = {"since_break": 1, "short": 1, "best": 3}[train_on]
    np.testing.assert_allclose(parts, 2 * (1 + windows * len(batches)))


# Decisions


@pytest.fixture(scope="module")
def one_unfit():
    y = noise(n=12, days=80)
    y[7, 60:] += 6.0
    return run_of(played(frame_of(y), POLICY), POLICY)


def test_a_stream_that_breaks_alone_is_named_and_its_model_stays(one_unfit):
    named = one_unfit.evidence.reason == Reason.UNFIT
    assert np.flatnonzero(named.any(axis=1)).tolist() == [7]
    batch = int(np.flatnonzero(named[7])[0])
    assert 60 <= batch <= 64
    assert one_unfit.evidence.decision[7, batch] == Decision.KEEP
    assert one_unfit.evidence.alarm[7, batch]
    assert not one_unfit.evidence.alarm[:7, : batch + 1].any()
    assert not one_unfit.retrained[:, : batch + 1].any()


@pytest.fixture(scope="module")
def all_rising():
    y = noise(n=12, days=80)
    y[:, 60:] += np.where(np.arange(12) % 2, 1.0, -1.0)[:, None, None]
    return run_of(played(frame_of(y), POLICY), POLICY)


def test_a_moderate_rise_of_all_streams_is_one_alarm_of_their_model(all_rising):
    batch = first_alarm(all_rising, 0, 60)
    assert batch <= 66
    evidence = all_rising.evidence
    assert evidence.alarm[:, batch].all()
    assert not evidence.alarm[:, 60:batch].any()
    assert (evidence.decision[:, batch] == Decision.RETRAIN).all()
    assert (evidence.reason[:, batch] == Reason.ALARM).all()
    assert all_rising.retrained[:, batch + 1].all()


def test_no_alarm_of_a_single_stream_would_have_come_as_soon(all_rising):
    y = noise(n=12, days=80)
    y[:, 60:] += np.where(np.arange(12) % 2, 1.0, -1.0)[:, None, None]
    alone = MLMA(**PLAIN, common=False)
    single = mlma.replay(
        frame_of(y), model="ridge", policies=[alone], window=WINDOW, n_jobs=1, tags=["zone"]
    )
    batch = first_alarm(all_rising, 0, 60)
    early = run_of(single, alone).evidence.alarm[:, 60 : batch + 1]
    assert early.mean(axis=0).max() < 1.0


def test_a_tag_whose_streams_rise_re_trains_its_own_model_only():
    y = noise(n=12, days=80)
    y[::2, 60:] += 1.5
    run = run_of(played(frame_of(y), POLICY, "zone"), POLICY)
    batch = int(np.flatnonzero(run.retrained[0, 60:])[0]) + 60
    assert run.retrained[::2, batch].all()
    assert not run.retrained[1::2].any()


def test_a_failing_fit_of_the_model_is_written_at_all_its_streams_and_it_asks_again():
    model = SharedMeans(fails=lambda members, last: WINDOW < last < 46)
    result = played(frame_of(noise()), OLD, model=model)
    run = run_of(result, OLD)
    held = (run.evidence.decision == Decision.HOLD) & (run.evidence.reason == Reason.FAILED)
    assert held[0].any()
    assert (held == held[0]).all()
    assert not run.retrained[:, :46].any()
    assert run.retrained[:, 46:].any(axis=1).all()
    assert "no convergence" in result.left_out[0].note


# Lives of streams


def test_a_stream_that_is_born_later_adopts_the_version_that_is_there_at_no_cost():
    y, born = noise(n=4), [0, 0, 0, 17]
    model = SharedMeans()
    result = played(frame_of(y, born), POLICY, model=model)
    never = run_of(result, "never")
    start = 17 + WINDOW
    assert np.isnan(never.loss[3, :start]).all()
    mean = y[3, start - WINDOW : start].mean()
    np.testing.assert_allclose(never.loss[3, start], np.abs(y[3, start] - mean).mean())
    assert np.isfinite(never.loss[3, start:]).all()
    np.testing.assert_allclose(never.fits, [1 / 3, 1 / 3, 1 / 3, 0.0])
    run = run_of(result, POLICY)
    np.testing.assert_allclose(run.fits, [2 / 3, 2 / 3, 2 / 3, 0.0])
    assert not run.retrained.any()
    assert np.isfinite(run.evidence.reference_loss[3, start])


def test_a_stream_that_is_born_when_its_model_is_trained_anew_has_its_part_in_it():
    y, born = noise(n=4), [0, 0, 0, 17]
    always = run_of(played(frame_of(y, born), "never"), "always")
    start = 17 + WINDOW
    alone, together = start - WINDOW, 70 - start
    np.testing.assert_allclose(always.fits[:3], alone / 3 + together / 4)
    np.testing.assert_allclose(always.fits[3], together / 4)
    np.testing.assert_allclose(always.fits.sum(), 70 - WINDOW)


def test_a_stream_that_ends_leaves_the_others_their_model():
    y = noise(n=4)
    frame = frame_of(y).filter((pl.col("unique_id") != "s00") | (pl.col("ds") < START + 50 * DAY))
    result = played(frame, OLD)
    run, always = run_of(result, OLD), run_of(result, "always")
    assert np.isnan(run.loss[0, 50:]).all()
    assert not run.retrained[0, 50:].any()
    assert run.retrained[1:, 51:].any(axis=1).all()  # another stream speaks now
    np.testing.assert_allclose(always.fits.sum(), 70 - WINDOW)


def test_streams_without_the_tag_share_a_model_of_their_own():
    y, model = noise(n=6), SharedMeans()
    zones = ["a", None, "a", None, "b", "b"]
    played(frame_of(y, zones=zones), "never", "zone", model)
    assert {fit[0] for fit in model.fits} == {("s00", "s02"), ("s01", "s03"), ("s04", "s05")}


def test_a_model_whose_first_fit_fails_leaves_out_its_streams_only():
    model = SharedMeans(fails=lambda members, last: "s01" in members and last == WINDOW)
    result = played(frame_of(noise()), OLD, "zone", model)
    assert list(result.failures) == ["s01", "s03", "s05"]
    assert list(result.record.ids) == ["s00", "s02", "s04"]
    assert np.isfinite(run_of(result, OLD).loss[:, WINDOW:]).all()


@dataclass(frozen=True)
class Picky(SharedMean):
    """Knows nothing of stream s03 in versions trained within ``bad``."""

    bad: range = range(0)

    def predict(self, series, first, last):
        made = super().predict(series, first, last)
        return np.full_like(made, np.nan) if self._odd(series) else made

    def _odd(self, series):
        return series.unique_id == "s03" and self.at in self.bad


@dataclass
class PickyMeans(SharedMeans):
    bad: range = range(0)

    def fit_shared(self, members, first, last, seed):
        made = super().fit_shared(members, first, last, seed)
        return Picky(made.means, made.members, made.at, self.bad)


def test_a_stream_that_a_new_version_cannot_forecast_keeps_the_old_one_and_pays_nothing():
    y = noise()
    result = played(frame_of(y), OLD, model=PickyMeans(bad=range(40, 71)))
    assert result.failures == {}
    always, never = run_of(result, "always"), run_of(result, "never")
    assert not always.retrained[3, 40:].any()
    others = [0, 1, 2, 4, 5]
    assert always.retrained[others, 40:].all()
    np.testing.assert_allclose(always.fits.sum(), 70 - WINDOW)
    mean = y[3, 39 - WINDOW : 39].mean()
    np.testing.assert_allclose(always.loss[3, 60], np.abs(y[3, 60] - mean).mean())
    assert np.isfinite(never.loss[:, WINDOW:]).all()
    assert "s03" in result.left_out[0].examples


def test_a_stream_that_the_first_version_cannot_forecast_is_left_out_alone():
    result = played(frame_of(noise()), OLD, model=PickyMeans(bad=range(WINDOW, WINDOW + 1)))
    assert list(result.failures) == ["s03"]
    assert "NaN" in result.failures["s03"]
    assert np.isfinite(run_of(result, OLD).loss[:, WINDOW:]).all()


# Schedules


def test_schedules_are_those_of_models_not_of_streams():
    result = played(frame_of(noise()), ["periodic(every=7)", "random(rate=0.2)"], "zone")
    for label in ("periodic(every=7)", "random(rate=0.2)"):
        run = run_of(result, label)
        for zone in (slice(0, None, 2), slice(1, None, 2)):
            assert (run.retrained[zone] == run.retrained[zone][0]).all()
        if "random" in label:
            assert (run.retrained[0] != run.retrained[1]).any()  # each has its own draws
        again = run.retrained[0].sum() + run.retrained[1].sum()
        np.testing.assert_allclose(run.fits.sum(), 2 + again)
    always, never = run_of(result, "always"), run_of(result, "never")
    assert always.retrained[:, WINDOW + 1 :].all()
    assert not never.retrained.any()


def test_pools_of_shared_models_count_their_fits_in_parts_too():
    policy = MLMA(max_age=10, level=1e-6, false_retrainings=1e-6)
    late, together = (
        run_of(played(frame_of(noise(n=4), born), policy), policy)
        for born in ([0, 0, 0, 17], [0, 0, 0, 0])
    )
    assert late.retrained.any()
    assert np.isfinite(late.loss[:3, WINDOW:]).all()
    assert np.isfinite(late.loss[3, 17 + WINDOW :]).all()
    np.testing.assert_allclose(late.fits.sum(), round(late.fits.sum()))
    np.testing.assert_allclose(late.fits.sum(), together.fits.sum())


# Settings and reproduction


def test_an_unknown_scope_names_those_that_are_known():
    with pytest.raises(SettingsError, match=r"Unknown scope `zon`. Known: fleet, stream, zone"):
        played(frame_of(noise(days=35)), "never", "zon")


@pytest.mark.parametrize("policy", [MLMA(pool=1, gate=True), MLMA(pool=1, rollback_batches=7)])
def test_trials_stream_by_stream_are_refused_where_streams_share_versions(policy):
    with pytest.raises(SettingsError, match=r"`gate` and `rollback_batches`.*scope='stream'"):
        played(frame_of(noise(days=35)), policy)


def test_a_scope_with_one_value_is_the_scope_of_the_fleet():
    y = noise(n=12, days=80)
    y[:, 60:] += 1.5
    frame = frame_of(y, zones=["all"] * 12)
    one, other = (run_of(played(frame, POLICY, scope), POLICY) for scope in ("fleet", "zone"))
    assert one.retrained.any()
    np.testing.assert_array_equal(one.loss, other.loss)
    np.testing.assert_array_equal(one.retrained, other.retrained)


def test_rows_in_another_order_and_other_names_give_the_same_result():
    y = noise(n=8, days=80)
    y[:, 60:] += 1.5
    frame = frame_of(y)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    one, other = (run_of(played(one, POLICY), POLICY) for one in (frame, shuffled))
    np.testing.assert_array_equal(one.loss, other.loss)
    backwards = frame_of(y, names=[f"s{99 - row}" for row in range(8)])
    turned = run_of(played(backwards, POLICY), POLICY)
    np.testing.assert_array_equal(turned.retrained[::-1], one.retrained)
    np.testing.assert_allclose(turned.loss[::-1], one.loss)


def test_two_workers_give_the_same_bits_as_one():
    y = noise(n=4)
    y[:, 50:] = 20.0 + 4.0 * (y[:, 50:] - 20.0)
    one, two = (
        run_of(played(frame_of(y), POLICY, "zone", "ridge", n_jobs=jobs), POLICY) for jobs in (1, 2)
    )
    assert one.retrained.any()
    for name in ("loss", "retrained", "fits"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    np.testing.assert_array_equal(one.evidence.reason, two.evidence.reason)
