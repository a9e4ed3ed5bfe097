"""Frames of the simulated platform: actuals in long form, streams, planted breaks, events.

Takes the dense arrays of the world, gives polars frames. Next is the user.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.platform.breaks import KINDS, NONE, Breaks, city_breaks, epochs
from mlma.adapters.platform.profiles import AREA_TYPES, VEHICLES
from mlma.adapters.platform.shocks import events_between, is_holiday
from mlma.adapters.platform.traits import FOREVER, Traits, names_of
from mlma.adapters.platform.world import World

Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

_DAY = np.timedelta64(1, "D")
_TAGS = ("city", "area", "area_type", "vehicle")
_SPAN: dict[str, Any] = {"start": pl.Datetime("us"), "end": pl.Datetime("us"), "size": pl.Float64}


def actuals_frame(world: World, y: Singles, delay: Singles | None) -> pl.DataFrame:
    """Return ``unique_id, ds, y``, ``arrived_at`` if asked for, and the tags; NaN has no row.

    ``y`` and ``delay`` are ``(n_streams, n_slots)``.
    """
    rows, at = np.nonzero(np.isfinite(y))
    times = world.start_of(0) + world.rhythm.step * np.arange(y.shape[1])
    streams = streams_frame(world)
    names = streams["unique_id"].gather(rows)
    columns: dict[str, Any] = {"unique_id": names, "ds": times[at], "y": y[rows, at].astype(float)}
    if delay is not None:
        micros = (delay[rows, at].astype(np.float64) * 1e6).astype("timedelta64[us]")
        columns["arrived_at"] = times[at] + world.rhythm.step + micros
    return pl.DataFrame({**columns, **{tag: streams[tag].gather(rows) for tag in _TAGS}})


def streams_frame(world: World) -> pl.DataFrame:
    """Return one row per stream: name, tags, nature, first day and first day without actuals."""
    return pl.concat([_described(world, traits) for traits, _ in world.known()])


def _described(world: World, traits: Traits) -> pl.DataFrame:
    born, dies = traits.birth, traits.death
    lasts = dies >= world.days  # a death beyond the horizon is not known yet
    day = np.where(lasts, 0, dies) * _DAY + world.start_of(0)
    return pl.DataFrame(
        {
            "unique_id": traits.ids(),
            "city": _city_names(world, traits.city),
            "area": [f"area{area:06d}" for area in traits.area.tolist()],
            "area_type": pl.Series(AREA_TYPES).gather(traits.area_type),
            "vehicle": pl.Series(VEHICLES).gather(traits.vehicle),
            "zero_inflated": traits.zero_probability > 0,
            "dead": traits.dead,
            "born": world.start_of(0) + born * _DAY,
            "died": np.where(lasts, np.datetime64("NaT"), day),
        },
    )


def truth_frame(world: World) -> pl.DataFrame:
    """Return one row per planted break: ``unique_id, kind, start, end, size``."""
    frames = [_broken(world, traits, breaks) for traits, breaks in world.known()]
    return pl.concat(frames)


def _broken(world: World, traits: Traits, breaks: Breaks) -> pl.DataFrame:
    rows, places = np.nonzero(breaks.kind != NONE)
    start, stop = breaks.start[rows, places], breaks.stop[rows, places]
    columns = {
        "unique_id": pl.Series(names_of(traits.number[rows]), dtype=pl.String),
        "kind": pl.Series(KINDS).gather(breaks.kind[rows, places]),
        "start": _time(world, start),
        "end": np.where(stop == FOREVER, np.datetime64("NaT"), _time(world, stop % FOREVER)),
        "size": breaks.size[rows, places],
    }
    order = np.lexsort((start, rows))
    return pl.DataFrame(columns, schema_overrides=_SPAN)[order]


def events_frame(world: World) -> pl.DataFrame:
    """Return holidays, shocks and group breaks: ``kind, scope, start, end, size``, by start."""
    frames = [_holidays(world), _shocks(world), _groups(world)]
    return pl.concat(frames).sort("start", "kind", "scope")


def _holidays(world: World) -> pl.DataFrame:
    dates = np.datetime64(world.platform.start, "D") + np.arange(world.days)
    free = [date for date in dates if is_holiday(world.platform, date)]
    start = np.array(free, dtype="datetime64[us]")
    return _events(["holiday"] * len(free), ["fleet"] * len(free), start, start + _DAY, None)


def _shocks(world: World) -> pl.DataFrame:
    events = events_between(world.platform, world.seed, 0, world.days)
    start = world.start_of(0) + events.first * _DAY
    scope = _scopes(world, events.city)
    return _events(["shock"] * len(scope), scope, start, start + events.days * _DAY, events.size)


def _groups(world: World) -> pl.DataFrame:
    count = epochs(world.platform, world.days)
    begins, start = city_breaks(world.platform, world.rhythm, world.seed, count)
    city, epoch = np.nonzero(begins & (start < world.days * world.rhythm.slots))
    time = _time(world, start[city, epoch])
    size = np.full(len(city), world.platform.group_size)
    scope = _scopes(world, city)
    return _events(["group"] * len(city), scope, time, np.full(len(city), "NaT"), size)


def _events(kind: list[str], scope: list[str], start: Any, end: Any, size: Any) -> pl.DataFrame:
    columns = {
        "kind": pl.Series(kind, dtype=pl.String),
        "scope": pl.Series(scope, dtype=pl.String),
        "start": start,
        "end": np.asarray(end, dtype="datetime64[us]"),
        "size": pl.Series([None] * len(kind), dtype=pl.Float64) if size is None else size,
    }
    return pl.DataFrame(columns, schema_overrides=_SPAN)


def _time(world: World, slots: Ints) -> NDArray[np.datetime64]:
    made: NDArray[np.datetime64] = world.start_of(0) + slots * world.rhythm.step
    return made


def _scopes(world: World, city: Ints) -> list[str]:
    names = _city_names(world, np.maximum(city, 0))
    return ["fleet" if code < 0 else name for code, name in zip(city, names, strict=True)]


def _city_names(world: World, city: Ints) -> list[str]:
    width = len(str(world.platform.cities - 1))
    return [f"city{code:0{width}d}" for code in city.tolist()]
