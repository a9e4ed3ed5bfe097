"""`mlma.simulate`: a last-mile platform of any size, with ground truth.

Takes numbers and settings, gives a `Simulated`: frames for small sizes, daily blocks for any.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.platform.frames import actuals_frame, events_frame, streams_frame, truth_frame
from mlma.adapters.platform.losses import LossStreams
from mlma.adapters.platform.profiles import Rhythm
from mlma.adapters.platform.settings import Platform, is_whole, platform_from
from mlma.adapters.platform.traits import names_of
from mlma.adapters.platform.world import World
from mlma.domain.durations import duration, duration_text
from mlma.domain.errors import SettingsError, unknown_name

__all__ = [
    "DemandDay",
    "LossDay",
    "LossStreams",
    "Platform",
    "Simulated",
    "SimulatedLosses",
    "simulate",
]

Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

_MOST_STREAMS, _MOST_DAYS = 10**9, 36_525
_MOST_ROWS = 100_000_000


def simulate(
    streams: int = 1000,
    days: int = 180,
    *,
    slot: str | timedelta = "1h",
    seed: int = 0,
    platform: Platform | str | None = None,
    **settings: Any,
) -> "Simulated":
    """Return a simulated platform; nothing is generated before it is asked for.

    The values of a stream and a slot depend on settings, slot length and seed only: not on how many
    streams or days are asked for, nor on order or blocks.

    Parameters
    ----------
    streams, days
        how many; a stream is a type of vehicle in an area of a city.
    slot
        length of a slot: a multiple of five minutes that divides a day, ``"15m"`` or ``"1h"``.
    platform
        a `Platform`, or its text form ``"platform(together=0.77)"``.
    settings
        fields of `Platform` that differ.

    Raises
    ------
    SettingsError
        A setting is unknown or out of range.

    >>> made = simulate(streams=3, days=2, births=0.0, missing=0.0)
    >>> len(made.to_df())
    144
    """
    _check("streams", is_whole(streams, 1, _MOST_STREAMS), streams, f"from 1 to {_MOST_STREAMS}")
    _check("days", is_whole(days, 1, _MOST_DAYS), days, f"from 1 to {_MOST_DAYS}")
    _check("seed", is_whole(seed, 0, 2**63 - 1), seed, "a whole number, 0 or more")
    chosen = platform_from(platform, settings)
    return Simulated(World(chosen, _rhythm(slot), int(seed), int(streams), int(days)))


@dataclass(frozen=True, slots=True)
class DemandDay:
    """Actuals of some streams on one day.

    start
        first slot, datetime64[us], wall clock.
    codes
        ``(n_streams,) int64``, numbers of the streams; rows of `Simulated.streams`.
    y
        ``(n_streams, slots) float32``, counts; NaN = the stream does not live, or never reported.
    delay_seconds
        ``(n_streams, slots) float32``, from the end of the slot to the arrival of its actual; NaN
        where ``y`` is NaN.
    """

    day: int
    start: np.datetime64
    codes: Ints
    y: Singles
    delay_seconds: Singles

    @property
    def ids(self) -> list[str]:
        """Names of the streams, made when asked for."""
        return names_of(self.codes)


@dataclass(frozen=True, slots=True)
class LossDay:
    """Losses of some streams on one day: ``losses`` is ``(n_streams, slots) float32``."""

    day: int
    start: np.datetime64
    codes: Ints
    losses: Singles

    @property
    def ids(self) -> list[str]:
        """Names of the streams, made when asked for."""
        return names_of(self.codes)


class Simulated:
    """A simulated platform: frames, or daily blocks with bounded memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def platform(self) -> Platform:
        """Its settings."""
        return self.world.platform

    @property
    def slots(self) -> int:
        """Slots in a day."""
        return self.world.rhythm.slots

    def batches(
        self,
        first_day: int = 0,
        last_day: int | None = None,
        *,
        streams_per_batch: int | None = None,
    ) -> Iterator[DemandDay]:
        """Yield the actuals of the days ``first_day`` to ``last_day - 1``, day by day.

        With ``streams_per_batch`` each day comes in parts of so many streams, and no more than one
        part is held. A million streams of 96 slots take 384 MB for counts and as much for delays.

        >>> day = next(simulate(streams=5, days=10).batches(streams_per_batch=2))
        >>> day.y.shape
        (2, 24)
        """
        parts = _parts(self.world, first_day, last_day, streams_per_batch)
        return (self.batch(*part) for part in parts)

    def batch(self, day: int, first: int = 0, last: int | None = None) -> DemandDay:
        """Return the actuals of the streams ``first`` to ``last - 1`` on any one day."""
        low, high = _range("streams", first, last, self.world.streams)
        _range("days", day, None, self.world.days)
        y = self.world.demand(day, low, high)
        delay = self.world.delays(day, low, y)
        codes = np.arange(low, high, dtype=np.int64)
        return DemandDay(day, self.world.start_of(day), codes, y, delay)

    def to_df(self, *, arrivals: bool = False) -> pl.DataFrame:
        """Return all actuals: ``unique_id, ds, y`` and the tags, by stream and time.

        With ``arrivals`` the column ``arrived_at`` tells when an actual came. Actuals that never
        came have no row.

        Raises
        ------
        SettingsError
            More than 100 million rows; use `batches`.
        """
        world = self.world
        rows = world.streams * world.days * self.slots
        if rows > _MOST_ROWS:
            raise SettingsError(
                f"`to_df` holds at most {_MOST_ROWS} rows. Got {rows}: {world.streams} streams, "
                f"{world.days} days, {self.slots} slots. Hint: use `batches()`.",
            )
        y = np.empty((world.streams, world.days, self.slots), dtype=np.float32)
        delay = np.empty_like(y) if arrivals else None
        for day in range(world.days):
            y[:, day] = world.demand(day, 0, world.streams)
            if delay is not None:
                delay[:, day] = world.delays(day, 0, y[:, day])
        flat = (world.streams, -1)
        return actuals_frame(world, y.reshape(flat), None if delay is None else delay.reshape(flat))

    @cached_property
    def streams(self) -> pl.DataFrame:
        """One row per stream: name, tags, nature, first day and first day without actuals."""
        return streams_frame(self.world)

    @cached_property
    def truth(self) -> pl.DataFrame:
        """Planted breaks, one row per stream and break: ``unique_id, kind, start, end, size``.

        ``end`` is the first slot after the break, null = it stays; for a ``drift`` the slot at
        which the new level is reached. ``size``: relative change; hours for ``shape``, the value
        shown for ``stuck`` and ``zero``, relative rise of the overdispersion for ``variance``.
        ``group`` is a level break that half of a city's streams have together.
        """
        return truth_frame(self.world)

    @cached_property
    def events(self) -> pl.DataFrame:
        """What concerns many streams: ``kind, scope, start, end, size``.

        Kinds: ``holiday`` and ``shock`` (``size`` = relative change of the demand; null for
        holidays, which differ by type of area) and ``group`` (half of the city's streams break).
        ``scope`` is ``fleet`` or the name of a city.
        """
        return events_frame(self.world)

    def losses_batches(
        self,
        losses: LossStreams | None = None,
        *,
        first_day: int = 0,
        last_day: int | None = None,
        streams_per_batch: int | None = None,
        **settings: Any,
    ) -> "SimulatedLosses":
        """Return streams of losses, without models: to be iterated, day by day.

        ``settings`` are fields of `LossStreams`; the days and parts are those of `batches`. All
        streams live on all days.

        >>> made = simulate(streams=4, days=2).losses_batches(phi=0.6)
        >>> [day.losses.shape for day in made]
        [(4, 24), (4, 24)]
        """
        world, chosen = self.world, _loss_streams(losses, settings)
        plain = replace(world, platform=chosen.on(world.platform), _shelves={})
        parts = (first_day, last_day, streams_per_batch)
        _parts(world, *parts)
        return SimulatedLosses(plain, chosen, parts)

    def __repr__(self) -> str:
        world = self.world
        return (
            f"Simulated({world.streams} streams, {world.days} days of {self.slots} slots, "
            f"seed {world.seed})"
        )


class SimulatedLosses:
    """Loss streams with planted rises; iterate it as often as you like."""

    def __init__(
        self, world: World, losses: LossStreams, parts: tuple[int, int | None, int | None]
    ) -> None:
        self.world, self.settings, self._parts = world, losses, parts

    def __iter__(self) -> Iterator[LossDay]:
        return (self.batch(*part) for part in _parts(self.world, *self._parts))

    def batch(self, day: int, first: int = 0, last: int | None = None) -> LossDay:
        """Return the losses of the streams ``first`` to ``last - 1`` on any one day."""
        low, high = _range("streams", first, last, self.world.streams)
        _range("days", day, None, self.world.days)
        made = self.world.losses(self.settings, day, low, high)
        return LossDay(day, self.world.start_of(day), np.arange(low, high, dtype=np.int64), made)

    @cached_property
    def truth(self) -> pl.DataFrame:
        """Planted rises, in the columns of `Simulated.truth`."""
        return truth_frame(self.world)


def _rhythm(slot: str | timedelta) -> Rhythm:
    length = duration(slot, "slot")
    minutes = int(length // np.timedelta64(1, "m"))
    whole = length == np.timedelta64(minutes, "m")
    good = whole and minutes > 0 and minutes % 5 == 0 and 1440 % minutes == 0
    got = duration_text(length)
    _check("slot", good, got, "a multiple of five minutes that divides a day")
    return Rhythm(1440 // minutes, minutes)


def _loss_streams(losses: LossStreams | None, settings: dict[str, Any]) -> LossStreams:
    known = [spec.name for spec in fields(LossStreams)]
    for name in settings:
        if name not in known:
            raise unknown_name("setting of `LossStreams`", name, known)
    return replace(losses or LossStreams(), **settings)


def _parts(
    world: World, first_day: int, last_day: int | None, part: int | None
) -> Iterator[tuple[int, int, int]]:
    """Return each day and range of streams; what is wrong is told at once, not at the first day."""
    good = part is None or is_whole(part, 1, _MOST_STREAMS)
    _check("streams_per_batch", good, part, "None or a whole number, at least 1")
    days, n = range(*_range("days", first_day, last_day, world.days)), world.streams
    step = part or n
    return ((day, low, min(low + step, n)) for day in days for low in range(0, n, step))


def _range(what: str, first: int, last: int | None, end: int) -> tuple[int, int]:
    high = end if last is None else last
    good = is_whole(first, 0, end) and is_whole(high, 0, end) and first < high
    _check(what, good, (first, last), f"inside 0 to {end}, the first before the last")
    return first, high


def _check(setting: str, good: bool, got: object, expected: str) -> None:
    if not good:
        raise SettingsError(f"`{setting}` of `simulate` must be {expected}. Got {got!r}.")
