"""On which batches a new version is trained, seen by a forecaster that writes down its fits."""

from collections import Counter

import numpy as np
import pytest

from cycles import quiet
from mlma.agent.play import LEAST_WINDOW
from mlma.domain.settings import MLMA
from mlma.domain.verdicts import Verdict
from panels import WINDOW, MeanForecaster, noise, panel_of, replayed

BASE, DAYS, BREAK = 28, 120, 90
PLAIN = {"calendar": "none", "adjustment": 0.0, "common": False}


@pytest.fixture
def y():
    return noise(np.random.default_rng(5), 3, DAYS)


def trained(y, policy, window=BASE, free=True, fails=None):
    """Run of the policy, and the lengths of the windows fitted at each batch, by stream."""
    model = MeanForecaster(free=free, fails=fails)
    run = replayed(panel_of(y), [policy], model, window=window).run(policy.label)
    fitted = {}
    for name, first, last in model.fits:
        fitted.setdefault((int(name[1:]), last), set()).add(last - first)
    return run, fitted


def aged(**settings):
    return quiet(max_age=15, level=1e-6, false_retrainings=1e-6, **PLAIN, **settings)


@pytest.mark.parametrize(
    ("train_on", "window"), [("window", BASE), ("short", BASE // 2), ("long", 4 * BASE)]
)
def test_each_choice_trains_on_the_window_it_names(train_on, window, y):
    run, fitted = trained(y, aged(train_on=train_on))
    again = np.argwhere(run.retrained).tolist()
    assert len(again) >= 9
    for row, batch in again:
        length = min(window, batch)
        assert length in fitted[row, batch]
        mean = y[row, batch - length : batch].mean()
        np.testing.assert_allclose(run.loss[row, batch], np.abs(y[row, batch] - mean).mean())


@pytest.mark.parametrize("train_on", ["window", "short", "long", "since_break", "best"])
def test_the_first_version_is_trained_on_the_window_alone(train_on, y):
    _, fitted = trained(y, aged(train_on=train_on))
    for row in range(3):
        assert fitted[row, BASE] == {BASE}


def test_half_of_a_small_window_is_no_longer_than_the_window(y):
    policy = quiet(train_on="short", max_age=15, reference_batches=5, min_reference_batches=3)
    _, fitted = trained(y[:, :60], policy, window=10)
    assert {length for made in fitted.values() for length in made} == {10}


def test_a_version_since_the_break_starts_near_the_break_and_is_never_longer_than_the_window(y):
    y[:, BREAK:] += 1.6  # moderate: the alarm takes some batches
    policy = quiet(train_on="since_break", follow_ups=(7, 14, 21), max_age=20, **PLAIN)
    run, fitted = trained(y, policy)
    longest, waits = 0, []
    for row in range(3):
        alarm = BREAK + int(np.flatnonzero(run.evidence.alarm[row, BREAK:])[0])
        after = [batch for batch in np.flatnonzero(run.retrained[row]).tolist() if batch > alarm]
        assert alarm - BREAK <= 9
        assert len(after) >= 3
        waits.append(alarm - BREAK)
        for batch in after[:4]:
            length = min(fitted[row, batch] - {BASE}, default=BASE)
            assert LEAST_WINDOW <= length <= BASE
            if LEAST_WINDOW < length < BASE:
                longest = max(longest, length)
                assert abs(batch - length - BREAK) <= 2
    assert longest > LEAST_WINDOW
    assert max(waits) >= 5  # the window starts at the break, not at the alarm


def test_without_a_break_a_version_since_the_break_is_trained_on_the_window(y):
    run, fitted = trained(y, aged(train_on="since_break"))
    assert run.retrained.any(axis=1).all()
    assert all(made == {BASE} for made in fitted.values())


def test_the_break_of_an_alarm_that_the_budget_deferred_is_remembered(y):
    y[:, BREAK:] += 6.0
    settings = {"train_on": "since_break", "follow_ups": (), "budget": 1, "max_age": None}
    run, fitted = trained(y, quiet(**PLAIN, **settings))
    late = []
    for row in range(3):
        batch = BREAK + int(np.flatnonzero(run.retrained[row, BREAK:])[0])
        assert min(fitted[row, batch]) == LEAST_WINDOW
        late.append(batch)
    assert len(set(late)) > 1  # some waited


def best_of(y, row, batch, windows, held):
    """Mean held-out loss of the mean of each window on batches that all of them held out."""
    seen = y[row, batch - held : batch]
    return {
        window: np.abs(seen - y[row, max(batch - window, 0) : batch].mean()).mean()
        for window in windows
    }


def test_the_best_window_goes_live_and_all_fits_are_counted(y):
    y[0, 60:] += 3.0  # a short window is better for a while
    policy = aged(train_on="best")
    run, fitted = trained(y, policy)
    chosen = Counter()
    for row, batch in np.argwhere(run.retrained).tolist():
        windows = sorted({BASE // 2, BASE, min(4 * BASE, batch)})
        assert set(windows) <= fitted[row, batch]
        held = BASE // 4  # half of the short window
        loss = best_of(y, row, batch, windows, held)
        best = min(loss, key=loss.get)
        mean = y[row, max(batch - best, 0) : batch].mean()
        np.testing.assert_allclose(run.loss[row, batch], np.abs(y[row, batch] - mean).mean())
        chosen[best if best <= BASE else "long"] += 1
    assert len(chosen) == 3
    again = run.retrained.sum(axis=1)
    batches = [np.flatnonzero(run.retrained[row]) for row in range(3)]
    expected = [1 + sum(3 if batch > BASE else 2 for batch in made) for made in batches]
    assert run.fits.tolist() == expected
    assert (again > 0).all()


def test_second_fits_for_held_out_losses_count_for_every_window(y):
    run, _ = trained(y, aged(train_on="best"), free=False)
    again = run.retrained.sum(axis=1)
    assert run.fits.tolist() == (2 * (1 + 3 * again)).tolist()


def test_the_best_window_is_known_without_a_reference_from_held_out_batches(y):
    y[0, 60:] += 3.0
    policy = aged(train_on="best", reference_from="production")
    run, _ = trained(y, policy)
    lengths = set()
    for row, batch in np.argwhere(run.retrained[:, :-5]).tolist():
        now = slice(batch, batch + 5)
        for window in (BASE // 2, BASE, min(4 * BASE, batch)):
            mean = y[row, batch - window : batch].mean()
            losses = np.abs(y[row, now] - mean).mean(axis=1)
            if np.allclose(run.loss[row, now], losses, rtol=1e-9):
                lengths.add(min(window, BASE + 1))
    assert len(lengths) > 1  # not always the first


def test_a_window_that_cannot_be_trained_leaves_the_choice_to_the_others(y):
    """Windows of more than 60 batches fail: those that are shorter still compete."""

    class Short(MeanForecaster):
        def fit(self, series, first, last, seed):
            if last - first > 2 * BASE:
                raise ValueError("too much data")
            return super().fit(series, first, last, seed)

    policy = aged(train_on="best")
    record = replayed(panel_of(y), [policy], Short())
    assert record.run(policy.label).retrained[:, 60:].any(axis=1).all()
    assert record.failures == {}
    assert "too much data" in record.left_out[0].note


def test_fewer_held_out_batches_than_the_reference_wants_are_padded_and_accepted(y):
    """Half of the short window is held out; the reference takes what is there."""
    policy = aged(train_on="short", reference_batches=28, min_reference_batches=7)
    run, _ = trained(y, policy)
    held, as_expected = BASE // 4, []
    for row, batch in np.argwhere(run.retrained).tolist():
        mean = y[row, batch - BASE // 2 : batch].mean()
        losses = np.abs(y[row, batch - held : batch] - mean).mean(axis=1)
        expected = np.exp(np.log(losses).mean())
        as_expected.append(np.isclose(run.evidence.reference_loss[row, batch], expected))
    assert len(as_expected) > 10
    assert np.mean(as_expected) > 0.8  # in the others an outlying batch was drawn in


def test_fewer_held_out_batches_than_the_least_of_the_reference_is_unclear_at_first(y):
    policy = aged(train_on="short", min_reference_batches=10)
    run, _ = trained(y, policy)
    rows, batches = np.nonzero(run.retrained)
    assert len(rows) > 10
    assert (run.evidence.verdict[rows, batches] == Verdict.UNCLEAR).all()


def test_every_choice_goes_on_with_a_pool(y):
    for train_on in ("short", "long", "since_break", "best"):
        policy = MLMA(train_on=train_on, max_age=20)
        run = replayed(panel_of(y[:, :80]), [policy], MeanForecaster()).run(policy.label)
        assert run.retrained.any()
        assert np.isfinite(run.loss[:, WINDOW:]).all()
