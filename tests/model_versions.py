"""Streams, fitted models and new versions for tests of the model store."""

import numpy as np

from mlma.adapters.models.registry import forecaster_from
from mlma.domain.streams import Grid, Series
from mlma.domain.versions import NewVersion
from mlma.library.versions import fingerprint

FIRST, LAST = 14, 49


def stream(name="a", seed=3):
    """Eight weeks of hourly values with a daily pattern and a few gaps."""
    grid = Grid(np.datetime64("2024-01-01", "us"), np.timedelta64(3600 * 10**6, "us"), 24, 56)
    rng = np.random.default_rng(seed)
    day = 50.0 + 40.0 * np.sin(2 * np.pi * (np.arange(24) - 8) / 24)
    y = day * rng.gamma(20.0, 1 / 20.0, size=(56, 24))
    y[20, 3:7] = np.nan
    return Series(name, grid, y, rng.normal(size=(56, 24, 1)))


def fitted_of(model, series=None):
    """A model trained on the window of `FIRST` to `LAST`."""
    return forecaster_from(model).fit(series or stream(), FIRST, LAST, 5)


def forecasts(fitted, series=None):
    return fitted.predict(series or stream(), LAST, 56)


def new(fitted=None, streams="a", **changes):
    """A version as a cycle would save it; ridge unless another model is given."""
    described = {
        "trained_from": "2024-01-15",
        "trained_until": "2024-02-19",
        "seed": 5,
        "fit_seconds": 0.25,
        "data_fingerprint": fingerprint(stream(), FIRST, LAST),
        "forecaster_name": "ridge",
        **changes,
    }
    return NewVersion(fitted_of("ridge") if fitted is None else fitted, streams, **described)
