"""Models that raise, hang, lie or kill their process, in a whole replay with worker processes."""

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pytest

import mlma
from histories import fleet
from mlma.adapters.models.frame_callables import FrameForecaster
from mlma.domain.errors import DataError, MissingExtraError, SettingsError
from mlma.domain.verdicts import Reason

WINDOW, DAYS = 28, 42
HISTORY = fleet(n=3, days=DAYS, slots=4, breaks_at=200)  # no break
POLICY = "mlma(pool=1, max_age=4, review_age=None, min_reference_batches=5, reference_batches=7)"
TROUBLED, THIRD = "s1", WINDOW + 2  # `always` trains its third version at this batch
LATER = (THIRD, THIRD + 1, THIRD + 2)  # the policy trains its second one in one of these


@dataclass(frozen=True)
class Mean:
    """The mean of the window; in trouble with one stream from its third version on."""

    trouble: str = ""
    at: tuple[int, ...] = tuple(range(THIRD, DAYS))
    name: str = "mean"
    warm_up: int = 0

    def fit(self, series, first, last, seed):
        ill = series.unique_id == TROUBLED and last in self.at
        if ill and self.trouble == "raises":
            raise ValueError("no convergence")
        if ill and self.trouble == "hangs":
            time.sleep(60)
        if ill and self.trouble == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        return Fitted(float(np.nanmean(series.y[first:last])), self.trouble if ill else "")


@dataclass(frozen=True)
class Fitted:
    mean: float
    trouble: str

    def predict(self, series, first, last):
        shape = (last - first, series.y.shape[1])
        if self.trouble == "nan":
            return np.full(shape, np.nan)
        if self.trouble == "length":
            return np.full((last - first, series.y.shape[1] + 1), self.mean)
        return np.full(shape, self.mean)

    def held_out(self, series, first, last):
        return np.full((last - first, series.y.shape[1]), self.mean)


def played(model, **settings):
    chosen = {"policies": [POLICY], "window": WINDOW, "n_jobs": 2, "time_limit": 20.0}
    return mlma.replay(HISTORY, model=model, **{**chosen, **settings})


@pytest.fixture(scope="module")
def healthy():
    return played(Mean())


def runs(result):
    """Losses, fits and decisions of every policy that does not follow another one's fits."""
    return {run.label: run for run in result.record.runs if run.role != "matched"}


def same(one, other, rows):
    ours, theirs = runs(one), runs(other)
    assert list(ours) == list(theirs)
    for label, run in ours.items():
        np.testing.assert_array_equal(run.loss[rows], theirs[label].loss[rows])
        np.testing.assert_array_equal(run.fits[rows], theirs[label].fits[rows])
        np.testing.assert_array_equal(run.retrained[rows], theirs[label].retrained[rows])


STAYED = "played, but a training failed and the old version stayed"


def note_of(result):
    """What the first failure said, after all streams were played and one counted."""
    assert result.failures == {}
    assert list(result.record.ids) == ["s0", "s1", "s2"]
    told = {one.reason: one for one in result.left_out}[STAYED]
    assert told.examples == (TROUBLED,)
    return told.note


@pytest.fixture(scope="module")
def raising():
    return played(Mean("raises", at=LATER))


def test_a_model_that_raises_at_its_third_fit_keeps_its_second_version(raising, healthy):
    assert "ValueError: no convergence" in note_of(raising)
    same(raising, healthy, [0, 2])
    always, whole = runs(raising)["always"], runs(healthy)["always"]
    assert always.fits.tolist() == [DAYS - WINDOW, DAYS - WINDOW - 3, DAYS - WINDOW]
    assert not always.retrained[1, LATER].any()
    assert whole.retrained[1, LATER].all()
    np.testing.assert_array_equal(always.loss[1, :THIRD], whole.loss[1, :THIRD])
    np.testing.assert_array_equal(always.loss[1, THIRD + 3 :], whole.loss[1, THIRD + 3 :])
    policy = next(run for run in raising.record.runs if run.evidence is not None)
    failed = policy.evidence.reason == Reason.FAILED
    assert np.flatnonzero(failed.any(axis=1)).tolist() == [1]  # its policy met the trouble too
    assert set(np.flatnonzero(failed[1]) + 1) <= set(LATER)


def test_a_model_that_hangs_is_stopped_and_costs_its_stream_the_new_version_only(raising):
    hanging = played(Mean("hangs", at=LATER), time_limit=1.0)
    assert "TimeLimitError" in note_of(hanging)
    assert "raise `time_limit`" in str(hanging.left_out[0])
    same(hanging, raising, [0, 1, 2])


def test_a_model_that_kills_its_process_costs_its_stream_the_new_version_only(raising):
    killing = played(Mean("kills", at=LATER))
    assert "its worker died" in note_of(killing)
    same(killing, raising, [0, 1, 2])


def test_a_model_that_kills_its_process_at_first_leaves_its_stream_out(healthy):
    killing = played(Mean("kills", at=(WINDOW,)))
    assert list(killing.failures) == [TROUBLED]
    assert "its worker died" in killing.failures[TROUBLED]
    kept, whole = runs(killing), runs(healthy)
    for label in ("never", "always"):
        np.testing.assert_array_equal(kept[label].loss, whole[label].loss[[0, 2]])


def test_without_a_time_limit_a_killed_worker_of_a_schedule_leaves_its_stream_out(healthy):
    killing = played(Mean("kills"), policies=["never"], time_limit=None)
    assert list(killing.failures) == [TROUBLED]
    assert "its worker died" in killing.failures[TROUBLED]
    np.testing.assert_array_equal(
        runs(killing)["always"].loss, runs(healthy)["always"].loss[[0, 2]]
    )


def test_a_time_limit_that_nothing_reaches_changes_no_bit(healthy):
    same(played(Mean(), time_limit=None), healthy, [0, 1, 2])
    same(played(Mean(), n_jobs=1), healthy, [0, 1, 2])


@pytest.mark.parametrize(
    ("trouble", "words"), [("nan", "returned NaN"), ("length", "Expected a numpy array of floats")]
)
def test_forecasts_that_are_none_never_go_live(trouble, words, healthy):
    """Where forecasts come with the fit, a version without any does not go live at all."""
    result = played(Mean(trouble), policies=[POLICY, "never"])
    told = result.failures.get(TROUBLED) or note_of(result)
    assert words in told
    assert f"stream `{TROUBLED}`" in told
    kept = list(result.record.ids)
    at = [row for row, name in enumerate(["s0", "s1", "s2"]) if name in kept]
    np.testing.assert_array_equal(runs(result)["never"].loss, runs(healthy)["never"].loss[at])


def test_a_frame_with_the_wrong_times_names_stream_and_slot():
    def shifted(model, history, future):
        late = pl.col("ds").dt.offset_by("1h")
        return future.select("unique_id", late, y_hat=pl.lit(1.0))

    wrong = FrameForecaster(fit=lambda train: None, predict=shifted, name="late")
    with pytest.raises(DataError, match=r"failed on all 3 streams.*late.*ds"):
        played(wrong, time_limit=None)


def test_a_model_that_needs_more_history_than_there_is_says_how_much():
    greedy = FrameForecaster(
        fit=lambda train: None,
        predict=lambda model, history, future: np.zeros(future.height),
        name="greedy",
        warm_up=90,
    )
    with pytest.raises(DataError, match=r"failed on all 3 streams.*Expected 90 batches"):
        played(greedy)


@dataclass(frozen=True)
class Locked(Mean):
    """What no process can be handed."""

    lock: Any = field(default_factory=threading.Lock)


def test_a_model_that_cannot_be_pickled_is_an_error_before_any_work():
    seen = []
    with pytest.raises(SettingsError, match=r"cannot be pickled.*`lock`.*n_jobs=1"):
        played(Locked(), progress=lambda label, done, total: seen.append(label))
    assert seen == []


def test_a_model_that_cannot_be_pickled_runs_in_this_process(healthy):
    same(played(Locked(), n_jobs=1, time_limit=None), healthy, [0, 1, 2])


@dataclass(frozen=True)
class Extra(Mean):
    def fit(self, series, first, last, seed):
        raise MissingExtraError("Model `mean`", "lightgbm")


@pytest.mark.parametrize("time_limit", [None, 20.0])
@pytest.mark.parametrize("policies", [[POLICY], ["never"]])
def test_a_missing_library_is_told_with_what_to_install(policies, time_limit):
    with pytest.raises(MissingExtraError, match=r'pip install "mlma\[lightgbm\]"'):
        played(Extra(), policies=policies, time_limit=time_limit)
