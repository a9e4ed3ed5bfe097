"""Worlds of losses with planted breaks, made by `mlma.simulate`: what a detector is shown.

Takes sizes and a seed, gives losses and the truth about them. Next are the detectors.

Losses of a loss world are simulated as such. Those of a demand world are absolute errors of a
frozen calendar profile: the mean per weekday or weekend and slot of the first `FIT` days, which are
over when the reference begins, so that the reference is out-of-sample. The same world is made once
more with nothing planted, so that it is known by how much a break raises the losses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import mlma
from mlma.library.simulate import Simulated
from quality.truth import FIT, KINDS, Common, Truth, batch_of, common_of, effect, effects, truth_of

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PLANTED = ("shocks_per_year", "group_breaks", "breaks")

_NOTHING = (
    *("yearly", "births", "deaths", "dead", "late", "missing", "zero_inflated"),
    *_PLANTED,
)

CLEAN = {**dict.fromkeys(_NOTHING, 0.0), "holidays": ()}
"""A platform on which nothing happens but what is planted."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a world is: streams, monitored days, length of a slot; and its seed."""

    streams: int = 1000
    days: int = 84
    slot: str = "1h"
    seed: int = 0
    reference: int = 28


@dataclass(frozen=True, slots=True)
class World:
    """What a detector is shown, and the truth that it is not.

    losses
        ``(n_days, n_streams, slots) float32``; the first ``reference`` days are the reference.
    calendar
        ``(n_days,) int8``, 0 = Monday to Friday, 1 = weekend.
    city
        ``(n_streams,)``, tag of each stream.
    """

    name: str
    losses: Singles
    reference: int
    calendar: NDArray[np.int8]
    city: NDArray[np.str_]
    truth: Truth
    common: tuple[Common, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Number of days and of streams."""
        return self.losses.shape[0], self.losses.shape[1]

    def of(self, rows: Ints) -> "World":
        """Return the world of some streams."""
        hits = tuple(replace(one, members=one.members[rows]) for one in self.common)
        losses, city, truth = self.losses[:, rows], self.city[rows], self.truth.of(rows)
        return replace(self, losses=losses, city=city, truth=truth, common=hits)


def loss_world(name: str, size: Size, **settings: object) -> World:
    """Return break-free losses; ``settings`` are fields of `mlma.LossStreams`."""
    days = size.reference + size.days
    made = mlma.simulate(size.streams, days, slot=size.slot, seed=size.seed)
    losses = np.stack([day.losses for day in made.losses_batches(rises=0.0, **settings)])
    city = made.streams["city"].to_numpy().astype(str)
    return World(name, losses, size.reference, calendar_of(made), city, Truth.none(size.streams))


def demand_world(name: str, size: Size, **settings: object) -> World:
    """Return losses of a frozen model of demand; ``settings`` are fields of `mlma.Platform`.

    Breaks begin after the reference; those of the last days of the world are planted too, and the
    scores leave them out, because nobody could know whether they are found in time.
    """
    quiet = FIT + size.reference
    days = quiet + size.days
    clean = {**CLEAN, "quiet_days": quiet, "break_every": size.days}
    made = _simulated(size, days, {**clean, **settings})
    calendar = calendar_of(made)
    losses = frozen_losses(demand_of(made), calendar)
    truth, city = truth_of(made), made.streams["city"].to_numpy().astype(str)
    common = common_of(made, city)
    if common or (truth.kind != "").any():
        calm = _simulated(size, days, {**clean, **settings, **dict.fromkeys(_PLANTED, 0.0)})
        without = frozen_losses(demand_of(calm), calendar)
        truth = replace(truth, effect=effects(losses, without, truth))
        common = tuple(replace(one, effect=effect(losses, without, one)) for one in common)
    return World(name, losses, size.reference, calendar[FIT:], city, truth, common)


def shock_world(name: str, size: Size, **settings: object) -> World:
    """Return a demand world with a shock of the fleet after the reference and none in it.

    The seed is the first one of a thousand of its own that has it.
    """
    settings = {"shocks_per_year": 6.0, **settings}
    days = FIT + size.reference + size.days
    for seed in range(1000 * size.seed, 1000 * size.seed + 1000):
        made = mlma.simulate(1, days, seed=seed, **{**CLEAN, **settings})
        fleet = made.events.filter(made.events["scope"] == "fleet")["start"]
        batches = [batch_of(made, time) for time in fleet]
        if batches and min(batches) >= size.reference and max(batches) < size.days:
            return demand_world(name, replace(size, seed=seed), **settings)
    raise ValueError("no seed has such a shock")


def calendar_of(made: Simulated) -> NDArray[np.int8]:
    """Return the class of each day, ``(n_days,) int8``: 1 = weekend."""
    first = np.datetime64(made.platform.start, "D")
    days = first + np.arange(made.world.days)
    weekday = (days.astype(np.int64) + 3) % 7
    return (weekday >= 5).astype(np.int8)


def demand_of(made: Simulated) -> Singles:
    """Return the demand, ``(n_days, n_streams, slots) float32``."""
    return np.stack([day.y for day in made.batches()])


def frozen_losses(y: Singles, calendar: NDArray[np.int8]) -> Singles:
    """Return absolute errors after the fit of the profile, ``(n_days - FIT, n_streams, slots)``."""
    profile = np.stack([y[:FIT][calendar[:FIT] == kind].mean(axis=0) for kind in (0, 1)])
    return np.abs(y[FIT:] - profile[calendar[FIT:]])


def subsample(world: World, streams: int) -> World:
    """Return fewer streams: two thirds that break, by turns of each kind, and healthy ones."""
    kind = world.truth.kind
    turns = [np.flatnonzero(kind == one) for one in KINDS]
    place = np.concatenate([np.arange(len(rows)) for rows in turns])
    broken = np.concatenate(turns)[np.argsort(place, kind="stable")][: 2 * streams // 3]
    healthy = np.flatnonzero(kind == "")[: streams - len(broken)]
    return world.of(np.sort(np.concatenate([broken, healthy])))


def healthy_streams(world: World, streams: int) -> World:
    """Return the world of a few streams that never break."""
    return world.of(np.flatnonzero(world.truth.kind == "")[:streams])


def side_by_side(worlds: Sequence[World]) -> World:
    """Return fleets of one kind as one world; what their streams have in common is left out."""
    first, truths = worlds[0], [one.truth for one in worlds]
    columns = zip(*(one.columns() for one in truths), strict=True)
    truth = Truth(*map(np.concatenate, columns))
    losses = np.concatenate([one.losses for one in worlds], axis=1)
    city = np.concatenate([one.city for one in worlds])
    return replace(first, losses=losses, city=city, truth=truth, common=())


def _simulated(size: Size, days: int, settings: dict[str, object]) -> Simulated:
    return mlma.simulate(size.streams, days, slot=size.slot, seed=size.seed, **settings)
