"""What a stream is, from its number alone: place, vehicle, level, life.

Takes the number of a shelf of streams, gives one row per stream. Next are the breaks and the
demand.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlma.adapters.platform.draws import SHELF, Keys, Purpose, Thing, chances, keys_of, normals
from mlma.adapters.platform.profiles import (
    AREA_TYPES,
    VEHICLE_LEVELS,
    VEHICLES,
    Rhythm,
    effective_mean,
)
from mlma.adapters.platform.settings import Platform

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FOREVER = np.int64(2**62)
_LARGEST_VARIANCE = 1.0  # of a common shock, see `Platform.together`
_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Traits:
    """One row per stream, all arrays ``(n_streams,)``.

    number, key
        number of the stream and its key for chance.
    city, area, area_type, vehicle
        codes; areas are numbered over all cities.
    mean
        mean demand of a slot on a working day in spring, float64.
    phase
        by which the daily profile comes later, in steps of five minutes.
    response
        standard deviation of the logarithm of the common shocks.
    zero_probability
        0 for streams that are not zero-inflated.
    dead
        always 0.
    birth, death
        first day with actuals, and first day without; counted from the start of the platform.
    """

    number: Ints
    key: Keys
    city: Ints
    area: Ints
    area_type: Ints
    vehicle: Ints
    mean: Floats
    phase: Ints
    response: Floats
    zero_probability: Floats
    dead: Bools
    birth: Ints
    death: Ints

    def rows(self, rows: slice) -> "Traits":
        """Return some rows, as views."""
        return Traits(*(getattr(self, spec.name)[rows] for spec in fields(self)))

    def ids(self) -> list[str]:
        """Return the names of the streams."""
        return names_of(self.number)


def names_of(numbers: ArrayLike) -> list[str]:
    """Return the names of numbered streams.

    >>> names_of([0, 4])
    ['area000000-bike', 'area000001-scooter']
    """
    kinds = len(VEHICLES)
    return [f"area{n // kinds:06d}-{VEHICLES[n % kinds]}" for n in np.asarray(numbers).tolist()]


def shelf_traits(platform: Platform, rhythm: Rhythm, seed: int, shelf: int) -> Traits:
    """Return the streams ``shelf * SHELF`` to ``(shelf + 1) * SHELF - 1``."""
    number = np.arange(shelf * SHELF, (shelf + 1) * SHELF, dtype=np.int64)
    area, vehicle = np.divmod(number, len(VEHICLES))
    key, place = keys_of(Thing.STREAM, number), keys_of(Thing.AREA, area)
    city = _picked(chances(seed, place, Purpose.CITY), platform.cities)
    area_type = _picked(chances(seed, place, Purpose.AREA_TYPE), len(AREA_TYPES))
    # Two thirds of the variance of the log level are the area's, one third the stream's own.
    log_level = np.sqrt(2 / 3) * normals(seed, place, Purpose.AREA_LEVEL)
    log_level += np.sqrt(1 / 3) * normals(seed, key, Purpose.STREAM_LEVEL)
    level = platform.demand * VEHICLE_LEVELS[vehicle] / VEHICLE_LEVELS[1]
    mean = level * np.exp(platform.spread * log_level) * rhythm.hours
    zeros = chances(seed, key, Purpose.ZEROS) < platform.zero_inflated
    birth = _births(platform, seed, key)
    return Traits(
        number=number,
        key=key,
        city=city,
        area=area,
        area_type=area_type,
        vehicle=vehicle,
        mean=mean,
        phase=_picked(chances(seed, place, Purpose.PHASE), 13) - 6,
        response=_response(platform, mean * effective_mean(rhythm.steps)[area_type]),
        zero_probability=np.where(zeros, platform.zero_probability, 0.0),
        dead=chances(seed, key, Purpose.DEAD) < platform.dead,
        birth=birth,
        death=_deaths(platform, seed, key, birth),
    )


def _picked(chance: Floats, count: int) -> Ints:
    return np.minimum((chance * count).astype(np.int64), count - 1)


def _births(platform: Platform, seed: int, key: Keys) -> Ints:
    born = chances(seed, key, Purpose.BORN) < platform.births
    day = 1 + (chances(seed, key, Purpose.BIRTH) * 364).astype(np.int64)
    return np.where(born, day, 0)


def _deaths(platform: Platform, seed: int, key: Keys, birth: Ints) -> Ints:
    """Return the day of death: a constant hazard, so that it does not depend on the horizon."""
    if platform.deaths == 0:
        return np.full(len(key), FOREVER)
    hazard = -np.log1p(-min(platform.deaths, 1 - 1e-9)) / _YEAR
    days = -np.log(chances(seed, key, Purpose.DEATH)) / hazard
    return np.asarray(birth + 1 + np.minimum(days, 1e9).astype(np.int64))


def _response(platform: Platform, mean: Floats) -> Floats:
    """Return the log-scale of common shocks that gives them the share ``together``.

    With a common factor of variance v, a gamma factor of variance g and Poisson counts of mean m,
    the share is ``v m^2 / (m + m^2 (v + g + v g))``; solved for v.
    """
    share, own = platform.together, platform.overdispersion
    left = 1 - share * (1 + own)
    if left <= 0:
        variance = np.full(len(mean), _LARGEST_VARIANCE)
    else:
        variance = np.minimum(share * (1 / mean + own) / left, _LARGEST_VARIANCE)
    made: Floats = np.sqrt(np.log1p(variance))
    return made
