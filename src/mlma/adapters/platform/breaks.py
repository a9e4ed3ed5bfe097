"""Planted breaks: what goes wrong with which stream, from when to when, and by how much.

Takes some streams and a horizon, gives the ground truth; and for one day what it does to
the demand. Time is cut into epochs of ``break_every`` days after ``quiet_days``; in each epoch a
stream has at most one break of its own and one of its city's, so that nothing depends on the
horizon that is asked for.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.platform.draws import Purpose, Thing, chances, keys_of
from mlma.adapters.platform.profiles import STEPS, Rhythm
from mlma.adapters.platform.settings import PLANTABLE, Platform
from mlma.adapters.platform.traits import FOREVER, Traits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NONE, KINDS = -1, (*PLANTABLE, "group")
LEVEL, SHAPE, VARIANCE, DRIFT, STUCK, ZERO, GROUP = range(7)


@dataclass(frozen=True, slots=True)
class Breaks:
    """Planted breaks of some streams, all arrays ``(n_streams, places)``.

    kind
        int64 index of `KINDS`; `NONE` = no break in this place.
    start, stop
        int64, first slot of the break and first slot after it, counted from the start of the
        platform; `FOREVER` = it stays. For a drift, ``stop`` is where the new level is reached.
    size
        float64, relative change; hours for ``shape``, the value shown for ``stuck`` and ``zero``.
    """

    kind: Ints
    start: Ints
    stop: Ints
    size: Floats

    def rows(self, rows: slice) -> "Breaks":
        """Return some rows, as views."""
        return Breaks(self.kind[rows], self.start[rows], self.stop[rows], self.size[rows])


@dataclass(frozen=True, slots=True)
class Effects:
    """What breaks do to one day. Shapes ``(n_streams, 1)`` or ``(n_streams, slots)``.

    ``factor`` multiplies the demand, ``shift`` delays the profile (steps of five minutes),
    ``spread`` multiplies the overdispersion, ``shown`` is what a faulty sensor shows; NaN = sound.
    ``spread`` and ``shown`` are None where no stream has such a break.
    """

    factor: Floats
    shift: Ints
    spread: Floats | None
    shown: Floats | None


def epochs(platform: Platform, days: int) -> int:
    """Return the number of epochs that begin before the end of a horizon."""
    return max(0, -(-(days - platform.quiet_days) // platform.break_every))


def planted_breaks(
    platform: Platform, rhythm: Rhythm, seed: int, traits: Traits, days: int
) -> Breaks:
    """Return the breaks of some streams that begin before day ``days``.

    None begins before the stream's birth or after its death, and none in a dead stream.
    """
    count = epochs(platform, days)
    own = _own(platform, rhythm, seed, traits, count)
    group = _group(platform, rhythm, seed, traits, count)
    kind, start, stop, size = (
        np.concatenate(pair, axis=1) for pair in zip(own, group, strict=True)
    )
    day = start // rhythm.slots
    lives = (day >= traits.birth[:, None]) & (day < traits.death[:, None]) & ~traits.dead[:, None]
    return Breaks(np.where(lives & (day < days), kind, NONE), start, stop, size)


def city_breaks(platform: Platform, rhythm: Rhythm, seed: int, count: int) -> tuple[Bools, Ints]:
    """Return whether half of a city breaks in an epoch, and in which slot: ``(cities, count)``."""
    key = keys_of(Thing.CITY, np.arange(platform.cities))[:, None]
    epoch = np.arange(count)
    begins = chances(seed, key, Purpose.GROUP, epoch) < platform.group_breaks
    return begins, _begun(platform, rhythm, chances(seed, key, Purpose.GROUP_START, epoch))


def effects(breaks: Breaks, rhythm: Rhythm, day: int) -> Effects:
    """Return what breaks do on one day."""
    first = day * rhythm.slots
    time = first + np.arange(rhythm.slots)
    begun = (breaks.kind != NONE) & (breaks.start < first + rhythm.slots)
    past = begun & (np.where(breaks.kind == DRIFT, breaks.stop, breaks.start) <= first)
    return Effects(
        factor=_factor(breaks, begun, past, time),
        shift=_shift(breaks, begun, past, time),
        spread=_spread(breaks, begun & (breaks.kind == VARIANCE), time),
        shown=_shown(breaks, begun & (breaks.stop > first), time),
    )


def _own(
    platform: Platform, rhythm: Rhythm, seed: int, traits: Traits, count: int
) -> tuple[Ints, Ints, Ints, Floats]:
    epoch = np.arange(count)

    def drawn(purpose: Purpose) -> Floats:
        return chances(seed, traits.key[:, None], purpose, epoch)

    wanted = np.array([PLANTABLE.index(kind) for kind in platform.kinds], dtype=np.int64)
    kind = wanted[(drawn(Purpose.BREAK_KIND) * len(wanted)).astype(np.int64)]
    start = _begun(platform, rhythm, drawn(Purpose.BREAK_START))
    fault = platform.fault_days * (0.5 + drawn(Purpose.BREAK_LENGTH)) * rhythm.slots
    drift = np.int64(max(1, round(platform.drift_days * rhythm.slots)))
    length = np.where(kind == DRIFT, drift, np.maximum(1, fault.astype(np.int64)))
    # A fault ends with its epoch at the latest, so that the next one cannot lie over it.
    ends = (platform.quiet_days + (epoch + 1) * platform.break_every) * rhythm.slots
    length = np.where(kind == DRIFT, length, np.minimum(length, ends - start))
    lasting = np.isin(kind, (LEVEL, SHAPE, VARIANCE))
    chance = drawn(Purpose.BREAK_SIZE)
    levels = np.array(platform.level_sizes, dtype=np.float64)
    by_kind = [
        levels[(chance * len(levels)).astype(np.int64)],
        np.full(chance.shape, float(platform.shift_hours)),
        np.full(chance.shape, float(platform.variance_size)),
        np.full(chance.shape, float(platform.drift_size)),
        1 + np.floor(2 * chance * traits.mean[:, None]),
        np.zeros(chance.shape),
    ]
    return (
        np.where(drawn(Purpose.BREAK) < platform.breaks, kind, NONE),
        start,
        np.where(lasting, FOREVER, start + length),
        np.choose(kind, by_kind),
    )


def _group(
    platform: Platform, rhythm: Rhythm, seed: int, traits: Traits, count: int
) -> tuple[Ints, Ints, Ints, Floats]:
    begins, start = city_breaks(platform, rhythm, seed, count)
    epoch = np.arange(count)
    member = chances(seed, traits.key[:, None], Purpose.GROUP_MEMBER, epoch) < 0.5
    shape = member.shape
    return (
        np.where(begins[traits.city] & member, GROUP, NONE),
        start[traits.city],
        np.full(shape, FOREVER),
        np.full(shape, float(platform.group_size)),
    )


def _begun(platform: Platform, rhythm: Rhythm, chance: Floats) -> Ints:
    """Return the first slot of a break per epoch, uniform inside its epoch."""
    epoch = np.arange(chance.shape[1])
    slots = (chance * platform.break_every * rhythm.slots).astype(np.int64)
    return (platform.quiet_days + epoch * platform.break_every) * rhythm.slots + slots


def _places(which: Bools) -> list[tuple[Ints, int]]:
    """Return the index of every place in which something is on: its rows and its number."""
    found = [(np.flatnonzero(which[:, place]), place) for place in range(which.shape[1])]
    return [(rows, place) for rows, place in found if len(rows)]


def _factor(breaks: Breaks, begun: Bools, past: Bools, time: Ints) -> Floats:
    changes = np.isin(breaks.kind, (LEVEL, DRIFT, GROUP))
    # Down the rows of a contiguous array the product is taken one by one, so that places of a
    # longer horizon, still 1, change no last bit.
    sizes = np.ascontiguousarray(np.where(past & changes, 1 + breaks.size, 1.0).T)
    factor: Floats = sizes.prod(axis=0)[:, None]
    running = _places(begun & ~past & changes)
    if running:
        factor = factor * np.ones(len(time))
    for at in running:
        factor[at[0]] *= 1 + breaks.size[at][:, None] * _reached(breaks, at, time)
    return factor


def _reached(breaks: Breaks, at: tuple[Ints, int], time: Ints) -> Floats:
    """Return the share of the change that is there: a step, or a ramp for a drift."""
    start = breaks.start[at][:, None]
    ramp = np.clip((time - start) / (breaks.stop[at][:, None] - start), 0.0, 1.0)
    made: Floats = np.where(breaks.kind[at][:, None] == DRIFT, ramp, time >= start)
    return made


def _shift(breaks: Breaks, begun: Bools, past: Bools, time: Ints) -> Ints:
    shape = breaks.kind == SHAPE
    steps = np.where(shape, np.rint(breaks.size * STEPS / 24), 0).astype(np.int64)
    shift: Ints = np.where(past, steps, 0).sum(axis=1)[:, None]
    running = _places(begun & ~past & shape)
    if running:
        shift = shift + np.zeros(len(time), dtype=np.int64)
    for at in running:
        shift[at[0]] += steps[at][:, None] * (time >= breaks.start[at][:, None])
    return shift


def _spread(breaks: Breaks, wide: Bools, time: Ints) -> Floats | None:
    if not wide.any():
        return None
    made: Floats = np.ones((len(wide), len(time)))
    for at in _places(wide):
        made[at[0]] *= 1 + breaks.size[at][:, None] * (time >= breaks.start[at][:, None])
    return made


def _shown(breaks: Breaks, going: Bools, time: Ints) -> Floats | None:
    faulty = going & np.isin(breaks.kind, (STUCK, ZERO))
    if not faulty.any():
        return None
    made = np.full((len(faulty), len(time)), np.nan)
    for at in _places(faulty):
        start, stop = breaks.start[at][:, None], breaks.stop[at][:, None]
        on = (time >= start) & (time < stop)
        made[at[0]] = np.where(on, breaks.size[at][:, None], made[at[0]])
    return made
