"""A small seeded replay with ridge, whose summary is written down."""

import numpy as np
import pytest

from histories import fleet, replayed

ONE_MODEL = "mlma(pool=1, level=0.01, adjustment=0)"
BY_BATCH = "mlma(pool=1, level=0.05, accumulate='none', follow_ups=())"
WITH_POOL = "mlma(level=0.01, adjustment=0)"
POLICIES = [ONE_MODEL, BY_BATCH, WITH_POOL, "periodic(every=14)", "periodic(pool=4, every=14)"]
COLUMNS = ("role", "loss", "worst", "fits", "fits_share", "retrainings", "alarms", "phases")
LABOUR = (19.0217391, 66.576087)  # one incident, which stays; nobody knows of the other policies
SUMMARY = {
    "seasonal_naive": ("baseline", 1.24549246, 1.25484044, 0, 0, 0, 0, 1),
    "never": ("baseline", 1.08459521, 1.30060355, 1, 0.0108695652, 0, 0, 1),
    "always": ("baseline", 1, 1, 92, 1, 91, 0, 1),
    ONE_MODEL: ("policy", 1.02280795, 1.05345449, 2, 0.0217391304, 1, 0.25, 1),
    BY_BATCH: ("policy", 1.03209016, 1.12192916, 2.25, 0.0244565217, 1.25, 1.25, 1),
    WITH_POOL: ("policy", 1.01090725, 1.08683039, 5.25, 0.0570652174, 2.25, 0.75, 1),
    "periodic(every=14)": ("policy", 1.02737375, 1.14284184, 7.25, 0.0788043478, 6.5, 0, 3),
    "periodic(pool=4, every=14)": (
        *("policy", 1.01257307, 1.14244794, 9.5, 0.10326087, 6.5, 0, 1),
    ),
    "periodic(every=92.0)": ("matched", 1.05876146, 1.23980067, 2, 0.0217391304, 1, 0, 3),
    "random(rate=0.01087)": ("matched", 1.05440414, 1.25398026, 2.25, 0.0244565217, 0.75, 0, 3),
    "periodic(every=73.6)": ("matched", 1.06518081, 1.26232179, 2.25, 0.0244565217, 1.5, 0, 3),
    "random(rate=0.01359)": ("matched", 1.05424037, 1.25398026, 2.5, 0.027173913, 0.75, 0, 3),
    "periodic(every=21.65)": ("matched", 1.03481329, 1.16858664, 5.25, 0.0570652174, 4.5, 0, 3),
    "random(rate=0.0462)": ("matched", 1.04890175, 1.20327611, 5.83333333, 0.0634057971, 3.5, 0, 3),
    "periodic(pool=8, every=40.89)": (
        *("matched", 1.017526, 1.11912997, 5.5, 0.0597826087, 2.5, 0, 1),
    ),
}


@pytest.fixture(scope="module")
def summary():
    result = replayed(fleet(4, 120), policies=POLICIES, phases=3, seed=1)
    return {row["policy"]: row for row in result.summary().rows(named=True)}


def test_the_policies_are_those_that_are_written_down(summary):
    assert list(summary) == list(SUMMARY)


@pytest.mark.parametrize("policy", SUMMARY)
def test_the_summary_is_the_one_that_is_written_down(policy, summary):
    role, *figures = SUMMARY[policy]
    assert summary[policy]["role"] == role
    got = [summary[policy][name] for name in COLUMNS[1:]]
    np.testing.assert_allclose(got, figures, rtol=1e-6)
    labour = LABOUR if policy in (ONE_MODEL, BY_BATCH, WITH_POOL) else (np.nan, np.nan)
    got = [summary[policy][name] for name in ("incidents", "minutes")]
    np.testing.assert_allclose(got, labour, rtol=1e-6)
