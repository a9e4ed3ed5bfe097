"""Pointwise losses against scikit-learn, and the scale against a slow loop."""

import math

import numpy as np
import pytest
from sklearn import metrics

from mlma.stats.losses import loss_from, seasonal_scale

RNG = np.random.default_rng(11)
Y = np.concatenate([RNG.poisson(3.0, 200).astype(float), np.zeros(20)])
Y_HAT = RNG.gamma(2.0, 2.0, 220) + 0.01

CASES = [
    ("absolute", metrics.mean_absolute_error, {}),
    ("squared", metrics.mean_squared_error, {}),
    ("pinball(q=0.9)", metrics.mean_pinball_loss, {"alpha": 0.9}),
    ("pinball", metrics.mean_pinball_loss, {"alpha": 0.5}),
    ("poisson", metrics.mean_poisson_deviance, {}),
    ("tweedie", metrics.mean_tweedie_deviance, {"power": 1.5}),
    ("tweedie(power=1.1)", metrics.mean_tweedie_deviance, {"power": 1.1}),
]


@pytest.mark.parametrize(("name", "oracle", "settings"), CASES)
def test_mean_of_the_losses_is_the_metric_of_scikit_learn(name, oracle, settings):
    expected = oracle(Y, Y_HAT, **settings)
    np.testing.assert_allclose(loss_from(name)(Y, Y_HAT).mean(), expected, rtol=1e-9)


@pytest.mark.parametrize(("name", "oracle", "settings"), CASES)
def test_each_loss_is_the_metric_of_its_own_pair(name, oracle, settings):
    losses = loss_from(name)(Y[:30], Y_HAT[:30])
    expected = [oracle([y], [f], **settings) for y, f in zip(Y[:30], Y_HAT[:30], strict=True)]
    np.testing.assert_allclose(losses, expected, rtol=1e-9, atol=1e-12)


def slow_scale(series, season, squared):
    steps = [
        abs(series[t] - series[t - season])
        for t in range(season, len(series))
        if math.isfinite(series[t]) and math.isfinite(series[t - season])
    ]
    if not steps or max(steps) == 0:
        return 1.0
    mean = sum(step ** (2 if squared else 1) for step in steps) / len(steps)
    return math.sqrt(mean) if squared else mean


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("season", [1, 7, 40, 60])
def test_seasonal_scale_equals_the_slow_loop(season, squared):
    y = RNG.gamma(2.0, 50.0, (12, 50))
    y[RNG.random(y.shape) < 0.3] = np.nan
    y[0], y[1] = 5.0, np.nan
    expected = [slow_scale(series, season, squared) for series in y]
    np.testing.assert_allclose(seasonal_scale(y, season, squared=squared), expected, rtol=1e-9)


def test_scaled_losses_of_the_seasonal_naive_forecast_average_one():
    y = RNG.gamma(2.0, 50.0, (5, 400))
    for name in ("mase", "rmsse"):
        loss = loss_from(name)
        losses = loss(y[:, 7:], y[:, :-7], loss.scale_from(y, 7)[:, None])
        np.testing.assert_allclose(losses.mean(axis=1), 1.0, rtol=1e-9)
