"""Pools over a season, against loops that can be read aloud."""

import numpy as np
import pytest

from mlma.domain.pools import PoolState
from mlma.stats import fast
from mlma.stats.losses import absolute, loss_from, mase, poisson, squared
from mlma.steps.pool import admitted, combined, learnt, learnt_from, places_for
from pools import RULES, SlowPool

N, PLACES, SLOTS, SEASON = 6, 4, 6, 90
CLASSES = np.array([2, 0, 0, 1, 2, 1], dtype=np.int8)
KINDS = 3


@pytest.fixture(autouse=True, params=[False, True] if fast.AVAILABLE else [False])
def compiled(request, monkeypatch):
    monkeypatch.setattr(fast, "AVAILABLE", request.param)


def season(rng):
    """Actuals with gaps and a break, and the forecasts of whoever stands in each place."""
    y = rng.gamma(4.0, 2.0, (SEASON, N, SLOTS))
    bias = rng.normal(0, 2, (SEASON, N, PLACES, 1)) + rng.normal(0, 2, (1, N, PLACES, 1))
    forecasts = y[:, :, None] + bias + rng.normal(0, 1, (SEASON, N, PLACES, SLOTS))
    y[rng.random(y.shape) < 0.05] = np.nan
    y[40, 2] = np.nan
    y[60:] *= 3
    return y, forecasts


def entries(rng):
    """Which streams get a new version before each batch."""
    due = rng.random((SEASON, N)) < 0.08
    due[0] = True
    return due


def slow_season(rule, y, forecasts, due):
    """Forecasts and weights of each class, stream by stream, slot by slot."""
    made = np.empty((SEASON, N, SLOTS))
    for row in range(N):
        pools = [SlowPool(rule, PLACES) for _ in range(KINDS)]
        born = [-1] * PLACES
        for batch in range(SEASON):
            if due[batch, row]:
                place = born.index(min(born))
                born[place] = batch
                for pool in pools:
                    pool.enter(place)
            for slot in range(SLOTS):
                pool = pools[CLASSES[slot]]
                made[batch, row, slot] = pool.forecast(forecasts[batch, row, :, slot])
            for kind, pool in enumerate(pools):
                at = (kind == CLASSES) & ~np.isnan(y[batch, row])
                away = np.abs(forecasts[batch, row][:, at] - y[batch, row, at])
                pool.learn(list(away.mean(axis=1)) if at.any() else [np.nan] * PLACES)
    return made


def quick_season(rule, y, forecasts, due, *, whole=True):
    state = PoolState.empty(N, KINDS, PLACES)
    made = np.empty((SEASON, N, SLOTS))
    for batch in range(SEASON):
        rows = np.flatnonzero(due[batch])
        state = admitted(state, rows, places_for(state, rows, PLACES), batch, rule)
        made[batch] = combined(state, forecasts[batch], CLASSES, rule)
        if whole:
            state = learnt_from(state, y[batch], forecasts[batch], CLASSES, rule, loss=absolute())
        else:
            losses = np.abs(forecasts[batch] - y[batch][:, None])
            state = learnt(state, losses, CLASSES, rule)
    return made


@pytest.mark.parametrize("whole", [True, False], ids=["from forecasts", "from losses"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_forecasts_of_a_season_are_those_of_the_slow_loop(rule, whole):
    rng = np.random.default_rng(31)
    (y, forecasts), due = season(rng), entries(rng)
    slow = slow_season(rule, y, forecasts, due)
    np.testing.assert_allclose(
        quick_season(rule, y, forecasts, due, whole=whole), slow, rtol=2e-5, atol=2e-5
    )


def test_single_precision_forecasts_give_the_same_to_single_precision():
    rng = np.random.default_rng(32)
    (y, forecasts), due = season(rng), entries(rng)
    slow = slow_season(RULES[0], y, forecasts, due)
    made = quick_season(RULES[0], y.astype(np.float32), forecasts.astype(np.float32), due)
    np.testing.assert_allclose(made, slow, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "loss",
    [absolute(), squared(), mase(), loss_from("rmsse"), poisson(), loss_from("pinball(q=0.9)")],
    ids=lambda loss: loss.name,
)
def test_losses_made_on_the_way_are_those_of_the_loss(loss):
    rng = np.random.default_rng(33)
    y, forecasts = season(rng)
    y, forecasts = np.abs(y[3]), np.abs(forecasts[3])
    y[1], y[2, 0] = np.nan, np.nan
    scale = rng.gamma(2.0, 1.0, N)
    pointwise = loss(
        np.broadcast_to(y[:, None], forecasts.shape).copy(), forecasts, scale[:, None, None]
    )
    rows = np.arange(N)
    state = PoolState.empty(N, KINDS, PLACES)
    for place in range(PLACES):
        state = admitted(state, rows, np.full(N, place), place, RULES[0])
    one = learnt(state, pointwise, CLASSES, RULES[0])
    other = learnt_from(state, y, forecasts, CLASSES, RULES[0], loss=loss, scale=scale)
    np.testing.assert_allclose(other.unit, one.unit, rtol=1e-5)
    np.testing.assert_allclose(other.scores, one.scores, rtol=1e-4, atol=1e-5)
