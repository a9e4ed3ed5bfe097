"""The benchmark of the pool: kept forecasts change nothing, and like is put beside like."""

import sys
from pathlib import Path

import numpy as np
import pytest

import mlma
from mlma.adapters.frames.history import read_history
from mlma.adapters.models.registry import forecaster_from

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from quality import pool_policies
from quality.kept import Kept

PLAYED = {"policies": ["mlma(max_age=14)"], "window": 28, "n_jobs": 1, "progress": False}


class Counted:
    """A forecaster that counts its fits."""

    def __init__(self):
        self.inner, self.fits = forecaster_from("ridge"), 0
        self.name, self.warm_up = self.inner.name, self.inner.warm_up

    def fit(self, *window, **settings):
        self.fits += 1
        return self.inner.fit(*window, **settings)


@pytest.fixture(scope="module")
def frame():
    return mlma.simulate(2, 60, seed=0, births=0.0, dead=0.0).to_df()


def test_a_replay_on_kept_forecasts_equals_one_without_them(frame):
    plain, kept = mlma.replay(frame, **PLAYED).record, Kept(forecaster_from("ridge"))
    for _ in range(2):
        record = mlma.replay(frame, model=kept, **PLAYED).record
        for run in plain.runs:
            np.testing.assert_array_equal(record.run(run.label).loss, run.loss)
            np.testing.assert_array_equal(record.run(run.label).fits, run.fits)


def test_the_second_replay_trains_only_what_forecasts_more_than_its_first_batch(frame):
    counted = Counted()
    kept = Kept(counted)
    series = read_history(frame).panel.series(0)
    first = kept.fit(series, 0, 28, 0).predict(series, 28, 29)
    assert counted.fits == 1
    np.testing.assert_array_equal(kept.fit(series, 0, 28, 0).predict(series, 28, 29), first)
    assert counted.fits == 1
    kept.fit(series, 0, 28, 0).predict(series, 28, 30)
    assert counted.fits == 2


def test_what_re_trains_on_dates_is_shown_only_at_about_the_same_fits(frame):
    record = mlma.replay(frame, **PLAYED).record
    rows = dict(pool_policies.rows(record))
    pool = rows["mlma(max_age=14)"].fits.sum()
    dated = [run for label, run in rows.items() if label.startswith("- periodic")]
    assert dated
    for run in dated:
        assert abs(run.fits.sum() / pool - 1) < pool_policies.NEAR
