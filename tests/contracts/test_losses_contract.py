"""What every loss promises, whatever it measures."""

import pickle

import joblib
import numpy as np
import pytest

from mlma.domain.errors import SettingsError
from mlma.stats.losses import LOSSES, Loss, loss_from

RNG = np.random.default_rng(2)
Y = RNG.gamma(2.0, 3.0, (4, 5, 6))
Y_HAT = RNG.gamma(2.0, 3.0, (4, 5, 6))
SCALE = np.array([0.5, 1.0, 2.0, 4.0])[:, None, None]
NAMES = [*sorted(LOSSES), "pinball(q=0.9)", "tweedie(power=1.2)"]


def mean_of_both(y, y_hat):
    return np.abs(y - y_hat) + (y - y_hat) ** 2


@pytest.mark.parametrize("name", NAMES)
class TestEveryLoss:
    def test_losses_have_the_shape_of_the_observed_values(self, name):
        loss = loss_from(name)
        assert loss(Y, Y_HAT, SCALE).shape == Y.shape
        assert loss(Y[0, 0], Y_HAT[0, 0], 1.0).shape == (6,)
        assert loss(Y[:0], Y_HAT[:0], 1.0).shape == (0, 5, 6)

    def test_losses_are_positive_and_a_perfect_forecast_loses_nothing(self, name):
        loss = loss_from(name)
        assert (loss(Y, Y_HAT, SCALE) > 0).all()
        perfect = loss(Y, Y, SCALE)
        assert (perfect >= 0).all()
        np.testing.assert_allclose(perfect, 0.0, atol=1e-12)

    def test_forecast_further_away_loses_more(self, name):
        loss = loss_from(name)
        for direction in (1.0, -1.0):
            near = loss(Y + 20, Y + 20 + direction, SCALE)
            assert (loss(Y + 20, Y + 20 + 2 * direction, SCALE) > near).all()

    def test_missing_values_have_no_loss(self, name):
        y, y_hat = Y.copy(), Y_HAT.copy()
        y[0, 0, 0], y_hat[1, 1, 1] = np.nan, np.nan
        losses = loss_from(name)(y, y_hat, SCALE)
        assert np.isnan(losses[0, 0, 0])
        assert np.isnan(losses[1, 1, 1])
        assert np.isnan(losses).sum() == 2

    def test_extreme_values_warn_of_nothing(self, name):
        y = np.array([0.0, 1e300, 1e-300, 0.0, np.nan, np.inf, -1.0])
        y_hat = np.array([0.0, 0.0, -1e300, np.inf, np.nan, np.inf, 1.0])
        assert loss_from(name)(y, y_hat, 1.0).shape == (7,)

    def test_negative_values_have_no_loss_where_the_loss_forbids_them(self, name):
        loss = loss_from(name)
        told = loss(np.array([-1.0, 1.0]), np.array([1.0, 1.0]), 1.0)
        assert np.isnan(told[0]) == loss.forbids_negative
        assert told[1] == 0

    def test_scale_matters_just_where_it_is_needed(self, name):
        loss = loss_from(name)
        same = np.allclose(loss(Y, Y_HAT, 1.0), loss(Y, Y_HAT, 2.0))
        assert same != loss.needs_scale

    def test_scale_of_a_loss_that_needs_none_is_1(self, name):
        loss = loss_from(name)
        scale = loss.scale_from(Y.reshape(4, 30), 6)
        assert scale.shape == (4,)
        assert (scale == 1).all() != loss.needs_scale

    def test_inputs_are_left_as_they_were(self, name):
        y, y_hat = Y.copy(), Y_HAT.copy()
        loss_from(name)(y, y_hat, SCALE)
        np.testing.assert_array_equal(y, Y)
        np.testing.assert_array_equal(y_hat, Y_HAT)

    def test_pickled_loss_is_the_same_loss(self, name):
        loss = loss_from(name)
        copied = pickle.loads(pickle.dumps(loss))
        np.testing.assert_array_equal(copied(Y, Y_HAT, SCALE), loss(Y, Y_HAT, SCALE))

    def test_name_is_text_that_gives_the_loss_again(self, name):
        loss = loss_from(name)
        assert loss.description
        assert loss_from(loss.name).name == loss.name
        assert loss_from(loss) is loss

    def test_unknown_setting_is_named(self, name):
        with pytest.raises(SettingsError, match="Unknown setting of"):
            loss_from(f"{name.split('(')[0]}(colour=1)")


def test_loss_of_the_user_runs_in_a_worker_process():
    threshold = 2.0
    loss = loss_from(lambda y, y_hat: np.where(np.abs(y - y_hat) > threshold, 1.0, 0.0))
    here = loss(Y, Y_HAT)
    (there,) = joblib.Parallel(n_jobs=2, backend="loky")([joblib.delayed(loss)(Y, Y_HAT)])
    np.testing.assert_array_equal(there, here)


def test_loss_of_the_user_carries_its_name_and_its_missing_values():
    loss = loss_from(mean_of_both)
    assert isinstance(loss, Loss)
    assert loss.name == "mean_of_both"
    y = Y.copy()
    y[0, 0, 0] = np.nan
    assert np.isnan(loss(y, Y_HAT)).sum() == 1
