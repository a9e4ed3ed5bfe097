"""Simulated streams of losses: marginals, correlations, planted rises."""

import numpy as np
import polars as pl
import pytest

from mlma.domain.errors import SettingsError
from mlma.library.simulate import LossStreams, simulate

FLAT = {"season": 0.0, "weekend": 0.0, "rises": 0.0, "phi": 0.0}


def losses(streams, days, slot="1h", seed=0, platform=None, **settings):
    made = simulate(streams, days, slot=slot, seed=seed, **{"spread": 0.0, **(platform or {})})
    return made.losses_batches(**{**FLAT, **settings})


def scaled(made):
    """Losses over the level of their stream, ``(n_streams, days, slots)``."""
    cube = np.stack([day.losses for day in made], axis=1).astype(float)
    return cube / made.world.block(0)[0].mean[: len(cube), None, None] * made.world.rhythm.hours


@pytest.mark.parametrize("shape", [1.0, 2.0, 8.0])
def test_losses_have_the_moments_of_a_gamma(shape):
    from scipy import stats

    x = scaled(losses(200, 20, shape=shape)).ravel()
    assert abs(x.mean() - 1) < 4 * np.sqrt(1 / shape / len(x)) + 0.002
    assert abs(x.var() * shape - 1) < 0.05
    quantiles = stats.gamma.ppf([0.1, 0.5, 0.9, 0.99], shape, scale=1 / shape)
    assert np.allclose(np.quantile(x, [0.1, 0.5, 0.9, 0.99]), quantiles, rtol=0.03, atol=0.01)
    assert x.min() >= 0


def test_neighbouring_slots_correlate_by_phi_and_days_do_not():
    x = scaled(losses(200, 8, "15m", phi=0.6, shape=8.0))
    x -= x.mean()
    inside = (x[:, :, 1:] * x[:, :, :-1]).mean() / x.var()
    across = (x[:, 1:, 0] * x[:, :-1, -1]).mean() / x.var()
    assert abs(inside - 0.6) < 0.02
    assert abs(across) < 0.1


def test_several_phis_are_given_at_equal_shares():
    x = scaled(losses(256, 20, "15m", phi=(0.0, 0.9), shape=8.0))
    x -= x.mean(axis=(1, 2), keepdims=True)
    own = (x[:, :, 1:] * x[:, :, :-1]).mean(axis=(1, 2)) / x.var(axis=(1, 2))
    high = own > 0.45
    assert abs(high.mean() - 0.5) < 4 * 0.5 / 16
    assert abs(own[high].mean() - 0.9) < 0.05
    assert abs(own[~high].mean()) < 0.02


def test_losses_of_streams_correlate_at_077_when_asked():
    x = scaled(losses(60, 60, together=0.77, phi=0.3)).reshape(60, -1)
    correlation = np.corrcoef(x)[~np.eye(60, dtype=bool)].mean()
    assert abs(correlation - 0.77) < 0.04
    apart = scaled(losses(60, 60)).reshape(60, -1)
    assert abs(np.corrcoef(apart)[~np.eye(60, dtype=bool)].mean()) < 0.005


def test_losses_have_a_daily_season_and_a_weekend():
    x = scaled(losses(256, 28, season=0.5, weekend=0.4))
    weekday = np.arange(28) % 7
    ratio = x[:, weekday >= 5].mean() / x[:, weekday < 5].mean()
    assert abs(ratio - 1.4) < 0.02
    day = x.mean(axis=(0, 1)) / x.mean()
    assert 1.4 < day.max() < 1.55
    assert 0.45 < day.min() < 0.6


def test_a_heavy_tail_keeps_the_mean_and_gives_the_tail_its_index():
    made = losses(256, 60, "15m", tail=3.0)
    x = np.sort(scaled(made).ravel())
    assert abs(x.mean() - 1) < 0.02
    top = x[-2000:]  # Hill (1975) estimator of the tail index
    hill = 1 / np.mean(np.log(top / top[0]))
    assert abs(hill - 3.0) < 0.5


def test_a_planted_rise_lifts_the_loss_by_its_size():
    platform = {"quiet_days": 28, "break_every": 28}
    made = losses(200, 84, rise=0.3, rises=1.0, platform=platform)
    flat = scaled(made).reshape(200, -1)
    first = made.truth.group_by("unique_id", maintain_order=True).agg(pl.col("start").first())
    names = {name: row for row, name in enumerate(made.batch(0).ids)}
    ratios = []
    for name, start in first.iter_rows():
        at = int((start - made.world.start_of(0).item()).total_seconds() // 3600)
        if at <= 42 * 24:
            x = flat[names[name]]
            ratios.append(x[at : at + 14 * 24].mean() / x[at - 28 * 24 : at].mean())
    assert set(made.truth["kind"]) == {"level"}
    assert set(made.truth["size"]) == {0.3}
    assert len(ratios) > 60
    assert abs(np.mean(ratios) - 1.3) < 4 * np.std(ratios) / np.sqrt(len(ratios)) + 0.01


def test_no_loss_stream_dies_or_breaks_unless_asked():
    made = simulate(300, 200, births=0.9, deaths=0.9, dead=0.5, breaks=1.0, group_breaks=1.0)
    calm = made.losses_batches(rises=0.0)
    assert len(calm.truth) == 0
    assert calm.truth.schema == made.truth.schema
    assert (calm.batch(199).losses > 0).mean() > 0.99


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"phi": 1.0}, "phi"),
        ({"phi": ()}, "phi"),
        ({"phi": (0.1, -0.1)}, "phi"),
        ({"shape": 0.1}, "shape"),
        ({"season": 1.0}, "season"),
        ({"tail": 1.0}, "tail"),
        ({"rise": -1.0}, "rise"),
        ({"together": 2.0}, "together"),
        ({"seson": 0.3}, "did you mean `season`"),
        ({"first_day": 9}, "days"),
    ],
)
def test_a_bad_setting_of_losses_is_named(settings, named):
    with pytest.raises(SettingsError, match=named):
        simulate(5, 5).losses_batches(**settings)


def test_loss_streams_are_written_as_record_or_settings():
    made = simulate(5, 5)
    one = made.losses_batches(LossStreams(phi=0.6, tail=4.0)).batch(3).losses
    two = made.losses_batches(LossStreams(tail=4.0), phi=0.6).batch(3).losses
    assert np.array_equal(one, two)
