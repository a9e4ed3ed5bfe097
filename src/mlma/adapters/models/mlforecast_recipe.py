"""What an `mlforecast.MLForecast` must be like to be shared, and how far back it reads.

Takes a recipe and a grid, gives the recipe checked, or one made for the grid. Next is `mlforecast`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from mlma.adapters.models.features import Features
from mlma.adapters.models.rhythm import DAY, WEEK, day_slots
from mlma.domain.errors import SettingsError
from mlma.domain.streams import Grid

_HOUR = np.timedelta64(1, "h")


@dataclass(frozen=True, slots=True)
class FromGrid:
    """A recipe that follows the grid: lags as in `Features`, the mean of a week, the calendar.

    Parameters
    ----------
    estimator
        a scikit-learn regressor.
    lags
        in slots; None = whole days, the shortest eight that are at least one batch long, and the
        mean of the week before the cutoff's distance.
    date_features
        names as MLForecast knows them; None = hour and minute where slots are shorter, weekday.
    """

    estimator: Any
    lags: tuple[int, ...] | None = None
    date_features: tuple[str, ...] | None = None

    def __call__(self, grid: Grid) -> Any:
        """Return an `MLForecast` for this grid."""
        import pandas as pd
        from mlforecast import MLForecast
        from mlforecast.lag_transforms import RollingMean

        lags, rolling = self.lags, {}
        if lags is None:
            lags = Features().lags(grid)
            rolling = {grid.slots: [RollingMean(max(7 * day_slots(grid), 2))]}
        settings: dict[str, Any] = {"lag_transforms": rolling}
        settings["freq"] = pd.tseries.frequencies.to_offset(pd.Timedelta(grid.step))
        return MLForecast(
            models={"model": clone(self.estimator)},
            lags=list(lags),
            date_features=list(_calendar(grid, self.date_features)),
            **settings,  # a list of transforms of one kind is no list of transforms to mypy
        )


def _calendar(grid: Grid, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    if wanted is not None:
        return wanted
    made: tuple[str, ...] = ("hour",) if grid.step < DAY else ()
    made += ("minute",) if grid.step % _HOUR != np.timedelta64(0) else ()
    return made if grid.step % WEEK == np.timedelta64(0) else (*made, "dayofweek")


def check_shareable(recipe: Any) -> None:
    """Raise ``SettingsError`` unless a recipe can be shared on some grid.

    It has exactly one model, and no lag transform that looks at several streams at once
    (``global_``, ``groupby``, ``partition_by``): a member is forecast by itself, too.
    """
    if not (hasattr(recipe, "models") and hasattr(recipe, "ts")):
        raise SettingsError(
            f"A shared MLForecast must be an `mlforecast.MLForecast`, or a function that makes one "
            f"for a grid. Got {recipe!r:.60}."
        )
    models = list(recipe.models)
    if len(models) != 1:
        raise SettingsError(
            f"A shared MLForecast must have one model. Got {len(models)}: {', '.join(models)}. "
            f"Hint: name the one that is meant: MLForecastShared(recipe, model=...)."
        )
    for transforms in recipe.ts.lag_transforms.values():
        for one in transforms:
            if any(getattr(one, kind, None) for kind in ("global_", "groupby", "partition_by")):
                raise SettingsError(
                    f"Lag transforms of a shared MLForecast must look at one stream each. "
                    f"Got {one!r}. Hint: without `global_`, `groupby` and `partition_by`."
                )


def checked_recipe(recipe: Any, grid: Grid) -> Any:
    """Return a recipe, on one thread, that can be shared on this grid.

    Raises
    ------
    SettingsError
        It cannot be shared at all, or its ``freq`` is not the slot of the grid.
    """
    check_shareable(recipe)
    _check_freq(recipe.freq, grid)
    recipe.ts.num_threads = 1
    return recipe


def _check_freq(freq: Any, grid: Grid) -> None:
    import pandas as pd

    slots = grid.start.astype("datetime64[ns]") + np.arange(4) * grid.step
    try:
        made = pd.date_range(slots[0], periods=4, freq=freq).to_numpy()
    except (ValueError, TypeError) as error:
        raise _wrong_freq(freq, grid) from error
    if not np.array_equal(made, slots):
        raise _wrong_freq(freq, grid)


def _wrong_freq(freq: Any, grid: Grid) -> SettingsError:
    import pandas as pd

    step = pd.tseries.frequencies.to_offset(pd.Timedelta(grid.step))
    return SettingsError(
        f"`freq` of MLForecast must be the length of a slot, {step.freqstr}, of a grid that starts "
        f"at {grid.start}. Got {freq!r}."
    )


def lookback(ts: Any) -> int:
    """Return how many slots before a slot its features read, at least one.

    Transforms that read all of the past (expanding, exponentially weighted) count as their lag.
    """
    bounded = [getattr(one, "update_samples", 1) for one in ts.transforms.values()]
    reach = [1, *ts.lags, *(lag + 1 for lag in ts.lag_transforms), *bounded]
    differences = [sum(getattr(one, "differences", ())) for one in ts.target_transforms or ()]
    return int(max(reach) + sum(differences))


def direct(ts: Any, slots: int) -> bool:
    """Return whether every feature of a batch is known at its cutoff, and only from a few slots.

    Then many cutoffs share one pass over the history: lags of at least a batch, transforms with a
    bounded window, no transform of the target.
    """
    from mlforecast import lag_transforms as known

    bounded = tuple(
        getattr(known, prefix + kind)
        for prefix in ("Rolling", "SeasonalRolling")
        for kind in ("Mean", "Std", "Min", "Max", "Quantile")
    )
    plain = all(isinstance(one, bounded) for group in ts.lag_transforms.values() for one in group)
    return (
        plain and not ts.target_transforms and min([slots, *ts.lags, *ts.lag_transforms]) >= slots
    )
