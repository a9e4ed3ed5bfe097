"""Demand of a block of streams on one day, and when its actuals arrive.

Takes traits, breaks and a day, gives counts and delays. Poisson-gamma: the mean of a slot is the
product of level, profiles, season, events, breaks and common shocks; a gamma factor of mean 1 and
variance ``overdispersion`` multiplies it; the count is Poisson.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.platform.breaks import Breaks, Effects, effects
from mlma.adapters.platform.draws import BLOCK, Purpose, generator
from mlma.adapters.platform.profiles import (
    STEPS,
    Rhythm,
    daily_tables,
    week_factors,
    weekday_of,
    year_factor,
)
from mlma.adapters.platform.settings import Platform
from mlma.adapters.platform.shocks import common_shocks, event_factors, is_holiday
from mlma.adapters.platform.traits import Traits

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_LARGEST_MEAN = 1e6  # float32 counts exactly up to 1.6e7; nothing real comes near


@dataclass(frozen=True, slots=True)
class Weather:
    """What one day has in common for all streams.

    ``profile`` ``(types, 2 * STEPS)``, ``week`` ``(types,)``, ``year`` a number, ``events``
    ``(cities,)``, ``common`` ``(cities, slots)`` standard normal.
    """

    day: int
    profile: Floats
    week: Floats
    year: float
    events: Floats
    common: Floats


def weather(platform: Platform, rhythm: Rhythm, seed: int, day: int) -> Weather:
    """Return what day ``day`` has in common for all streams."""
    date = np.datetime64(platform.start, "D") + day
    weekday = weekday_of(date)
    holiday = is_holiday(platform, date)
    return Weather(
        day=day,
        profile=daily_tables(rhythm.steps)[int(holiday or weekday >= 5)],
        week=week_factors(weekday, holiday),
        year=year_factor(date, platform.yearly),
        events=event_factors(platform, seed, day),
        common=common_shocks(platform, rhythm, seed, day),
    )


def mean_demand(traits: Traits, rhythm: Rhythm, today: Weather, changed: Effects) -> Floats:
    """Return the mean of every slot given the common shocks, ``(n_streams, slots)``."""
    level = traits.mean * today.year * today.week[traits.area_type] * today.events[traits.city]
    # Two days stand in each row of the table, so that a shift needs no modulus per slot.
    at = (traits.area_type * 2 * STEPS)[:, None] + -(traits.phase[:, None] + changed.shift) % STEPS
    profile = today.profile.reshape(-1)[at + rhythm.steps * np.arange(rhythm.slots)]
    response = traits.response[:, None].astype(np.float32)
    common = today.common.astype(np.float32)[traits.city]
    shock = np.exp(response * common - response * response / 2)  # mean 1
    mean: Floats = level[:, None] * changed.factor * profile * shock
    return np.minimum(mean, _LARGEST_MEAN)


def block_demand(
    platform: Platform, rhythm: Rhythm, seed: int, streams: tuple[Traits, Breaks], today: Weather
) -> Singles:
    """Return the counts of a block, ``(BLOCK, slots) float32``; NaN = never reported, or no life.

    The draws are those of the whole block: what is not alive is drawn all the same.
    """
    traits, breaks = streams
    changed = effects(breaks, rhythm, today.day)
    rate = mean_demand(traits, rhythm, today, changed)
    chance = generator(seed, Purpose.DEMAND, int(traits.number[0]) // BLOCK, today.day)
    if platform.overdispersion > 0:
        rate *= _gamma(chance, platform.overdispersion, changed.spread, rate.shape)
    y = chance.poisson(rate).astype(np.float32)
    sparse = np.flatnonzero(traits.zero_probability > 0)
    empty = chance.random((len(sparse), rhythm.slots), dtype=np.float32)
    y[sparse] *= empty >= traits.zero_probability[sparse, None]
    if changed.shown is not None:
        y = np.where(np.isnan(changed.shown), y, changed.shown).astype(np.float32)
    y[traits.dead] = 0.0
    y[chance.random(y.shape, dtype=np.float32) < platform.missing] = np.nan
    y[(today.day < traits.birth) | (today.day >= traits.death)] = np.nan
    return y


def block_delays(platform: Platform, rhythm: Rhythm, seed: int, block: int, day: int) -> Singles:
    """Return when the counts of a block arrive, ``(BLOCK, slots) float32``.

    Seconds after the end of the slot. Exponential, and for a share ``late`` of the stream-days one
    further exponential delay that all slots of the day share.
    """
    chance = generator(seed, Purpose.ARRIVAL, block, day)
    scale = np.float32(60 * platform.delay_minutes)
    delay = chance.standard_exponential((BLOCK, rhythm.slots), dtype=np.float32) * scale
    is_late = chance.random(BLOCK) < platform.late
    held = 3600 * platform.late_hours * chance.standard_exponential(BLOCK)
    delay += np.where(is_late, held, 0.0).astype(np.float32)[:, None]
    return delay


def _gamma(
    chance: np.random.Generator,
    overdispersion: float,
    spread: Floats | None,
    shape: tuple[int, ...],
) -> Floats:
    """Return gamma factors of mean 1 and the given variance."""
    if spread is None:
        return chance.standard_gamma(1 / overdispersion, shape) * overdispersion
    variance = overdispersion * spread
    made: Floats = chance.standard_gamma(1 / variance) * variance
    return made
