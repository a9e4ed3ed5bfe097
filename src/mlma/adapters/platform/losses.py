"""Streams of losses without models: for trying a monitor on a million streams.

Takes settings, gives losses of a block of streams on one day. A Gaussian AR(1) inside the day is
turned into gamma-type losses by the cube of Wilson and Hilferty (1931): with ``u = 1 / (9 shape)``,
``(1 - u + x sqrt(u))^3`` is close to a gamma number of this shape over its mean; its own mean is
``1 - u^3``. The cube costs a fraction of an inverse distribution function.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.platform.breaks import Breaks, effects
from mlma.adapters.platform.draws import BLOCK, Purpose, chances, generator
from mlma.adapters.platform.profiles import Rhythm
from mlma.adapters.platform.settings import Platform, is_number
from mlma.adapters.platform.traits import Traits
from mlma.domain.errors import SettingsError

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossStreams:
    """What the loss streams are like.

    phi
        correlation of neighbouring slots inside a day; several values are given to the streams at
        equal shares. Days are independent.
    shape
        of the gamma-type marginal: 1 is like an exponential; squared coefficient of variation
        ``1 / shape``.
    season
        amplitude of the daily season of the loss level.
    weekend
        relative change of the loss on Saturday and Sunday.
    tail
        None, or the index of a Pareto-type tail above 1: losses are multiplied by independent
        inverse gamma numbers of mean 1; below 2 their variance is infinite.
    together
        share of the Gaussian variance that all streams have in common: about the cross-stream
        correlation, of slots and of day means.
    rise, rises
        relative size of a planted rise, and its probability per stream in every ``break_every``
        days of the platform after its ``quiet_days``; a rise stays.
    """

    phi: float | tuple[float, ...] = 0.3
    shape: float = 2.0
    season: float = 0.3
    weekend: float = 0.2
    tail: float | None = None
    together: float = 0.0
    rise: float = 0.3
    rises: float = 0.1

    def __post_init__(self) -> None:
        phis = self.phis
        good = len(phis) > 0 and all(is_number(phi, 0) and phi < 1 for phi in phis)
        self._check("phi", good, "at least 0 and below 1, or a tuple of such numbers")
        self._check("shape", is_number(self.shape, 0.5), "a number, at least 0.5")
        self._check("season", is_number(self.season, 0) and self.season < 1, "from 0, below 1")
        tail = self.tail is None or (is_number(self.tail, 1) and self.tail > 1)
        self._check("tail", tail, "None or a number above 1")
        for name in ("weekend", "rise"):
            value = getattr(self, name)
            self._check(name, is_number(value, -1) and value > -1, "a relative change above -1")
        for name in ("together", "rises"):
            self._check(name, is_number(getattr(self, name), 0, 1), "a share from 0 to 1")

    @property
    def phis(self) -> tuple[float, ...]:
        """The values of ``phi`` as a tuple."""
        return self.phi if isinstance(self.phi, tuple) else (self.phi,)

    def on(self, platform: Platform) -> Platform:
        """Return a platform whose breaks are the rises, and whose streams all live."""
        return replace(
            platform,
            kinds=("level",),
            level_sizes=(self.rise,),
            breaks=self.rises,
            group_breaks=0.0,
            births=0.0,
            deaths=0.0,
            dead=0.0,
        )

    def _check(self, setting: str, good: bool, expected: str) -> None:
        if not good:
            got = getattr(self, setting)
            raise SettingsError(f"`{setting}` of `LossStreams` must be {expected}. Got {got!r}.")


@dataclass(frozen=True, slots=True)
class LossWeather:
    """What one day has in common: its weekday, Monday = 0, and a path, ``(slots,)``."""

    day: int
    weekday: int
    common: Singles


def common_path(losses: LossStreams, rhythm: Rhythm, seed: int, day: int) -> Singles:
    """Return what all streams have in common on one day, ``(slots,)``, standard normal."""
    chance = generator(seed, Purpose.LOSS_COMMON, 0, day)
    path = chance.standard_normal((rhythm.slots, 1), dtype=np.float32)
    return _autoregressive(path, np.array([np.mean(losses.phis)]))[:, 0]


def block_losses(
    losses: LossStreams,
    rhythm: Rhythm,
    seed: int,
    streams: tuple[Traits, Breaks],
    today: LossWeather,
) -> Singles:
    """Return the losses of a block on one day, ``(BLOCK, slots) float32``, 0 or above."""
    traits, breaks = streams
    chance = generator(seed, Purpose.LOSS, int(traits.number[0]) // BLOCK, today.day)
    phis = np.array(losses.phis)
    phi = phis[(chances(seed, traits.key, Purpose.PHI) * len(phis)).astype(np.int64)]
    # Time-major while the day is walked through: each step is one contiguous row.
    path = _autoregressive(chance.standard_normal((rhythm.slots, BLOCK), dtype=np.float32), phi)
    path *= np.float32(np.sqrt(1 - losses.together))
    path += np.float32(np.sqrt(losses.together)) * today.common[:, None]
    made = np.ascontiguousarray(_gamma_like(path, losses.shape).T)
    if losses.tail is not None:
        heavy = chance.standard_gamma(losses.tail, made.shape, dtype=np.float32)
        made *= np.float32(losses.tail - 1) / np.maximum(heavy, np.float32(1e-6))
    weekend = 1 + losses.weekend * (today.weekday >= 5)
    made *= (traits.mean / rhythm.hours * weekend)[:, None].astype(np.float32)
    made *= _season(losses, rhythm, traits)
    made *= effects(breaks, rhythm, today.day).factor.astype(np.float32)
    return made


def _autoregressive(noise: Singles, phi: Floats) -> Singles:
    """Return stationary AR(1) paths down the first axis, in place."""
    keep = phi.astype(np.float32)
    fresh = np.sqrt(1 - phi**2).astype(np.float32)
    noise[1:] *= fresh
    for slot in range(1, len(noise)):
        noise[slot] += keep * noise[slot - 1]
    return noise


def _gamma_like(path: Singles, shape: float) -> Singles:
    unit = 1 / (9 * shape)
    path *= np.float32(np.sqrt(unit))
    path += np.float32(1 - unit)
    np.maximum(path, np.float32(0), out=path)
    made: Singles = path * path * path
    made /= np.float32(1 - unit**3)
    return made


def _season(losses: LossStreams, rhythm: Rhythm, traits: Traits) -> Singles:
    """Return the daily season, mean 1; an outer product instead of a sine per slot."""
    day = 2 * np.pi * (np.arange(rhythm.slots) + 0.5) / rhythm.slots
    phase = 2 * np.pi * traits.phase[:, None] / 288
    wave = np.sin(day) * np.cos(phase) - np.cos(day) * np.sin(phase)
    made: Singles = (1 - losses.season * wave).astype(np.float32)
    return made
