"""The simulated world: answers for any day and any range of streams, and remembers nothing of them.

Takes settings, seed and a horizon; gives dense arrays. Next is the library, which makes frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.platform.breaks import Breaks, planted_breaks
from mlma.adapters.platform.demand import block_delays, block_demand, weather
from mlma.adapters.platform.draws import BLOCK, SHELF
from mlma.adapters.platform.losses import LossStreams, LossWeather, block_losses, common_path
from mlma.adapters.platform.profiles import Rhythm, weekday_of
from mlma.adapters.platform.settings import Platform
from mlma.adapters.platform.traits import Traits, shelf_traits

Singles = NDArray[np.float32]
Streams = tuple[Traits, Breaks]

_KEPT = 16
"""Shelves of traits and breaks that are kept for the next question: about 20 MB."""


@dataclass(frozen=True, slots=True)
class World:
    """A platform of ``streams`` streams, for ``days`` days.

    ``_shelves`` only saves time: what is not in it is made again, the same to the bit.
    """

    platform: Platform
    rhythm: Rhythm
    seed: int
    streams: int
    days: int
    _shelves: dict[int, Streams] = field(default_factory=dict, compare=False)

    def block(self, number: int) -> Streams:
        """Return traits and breaks of one block, all its streams."""
        shelf, place = divmod(number * BLOCK, SHELF)
        rows = slice(place, place + BLOCK)
        traits, breaks = self._shelf(shelf)
        return traits.rows(rows), breaks.rows(rows)

    def demand(self, day: int, first: int, last: int) -> Singles:
        """Return counts of the streams ``first`` to ``last - 1`` on one day.

        ``(last - first, slots) float32``; NaN = no actual.
        """
        today = weather(self.platform, self.rhythm, self.seed, day)
        y = np.empty((last - first, self.rhythm.slots), dtype=np.float32)
        for block, mine, theirs in _pieces(first, last):
            streams = self.block(block)
            y[theirs] = block_demand(self.platform, self.rhythm, self.seed, streams, today)[mine]
        return y

    def delays(self, day: int, first: int, y: Singles) -> Singles:
        """Return the delays of the counts ``y`` of the streams from ``first`` on, in seconds.

        ``(n_streams, slots) float32``; NaN where ``y`` is NaN.
        """
        delay = np.empty_like(y)
        for block, mine, theirs in _pieces(first, first + len(y)):
            whole = block_delays(self.platform, self.rhythm, self.seed, block, day)
            delay[theirs] = whole[mine]
        delay[np.isnan(y)] = np.nan
        return delay

    def losses(self, losses: LossStreams, day: int, first: int, last: int) -> Singles:
        """Return losses of the streams ``first`` to ``last - 1``, ``(last - first, slots)``."""
        made = np.empty((last - first, self.rhythm.slots), dtype=np.float32)
        date = np.datetime64(self.platform.start, "D") + day
        common = common_path(losses, self.rhythm, self.seed, day)
        today = LossWeather(day, weekday_of(date), common)
        for block, mine, theirs in _pieces(first, last):
            streams = self.block(block)
            made[theirs] = block_losses(losses, self.rhythm, self.seed, streams, today)[mine]
        return made

    def known(self) -> Iterator[Streams]:
        """Yield traits and breaks of all streams, part by part."""
        for shelf in range(-(-self.streams // SHELF)):
            traits, breaks = self._shelf(shelf)
            asked = slice(0, self.streams - shelf * SHELF)
            yield traits.rows(asked), breaks.rows(asked)

    def start_of(self, day: int) -> np.datetime64:
        """Return the first slot of a day, datetime64[us]."""
        return np.datetime64(self.platform.start, "us") + np.timedelta64(day, "D")

    def _shelf(self, number: int) -> Streams:
        if number not in self._shelves:
            traits = shelf_traits(self.platform, self.rhythm, self.seed, number)
            breaks = planted_breaks(self.platform, self.rhythm, self.seed, traits, self.days)
            if len(self._shelves) >= _KEPT:
                del self._shelves[next(iter(self._shelves))]  # the oldest
            self._shelves[number] = (traits, breaks)
        return self._shelves[number]


def _pieces(first: int, last: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield each block of a range of streams, the rows in the block, and the rows in the answer."""
    for block in range(first // BLOCK, -(-last // BLOCK)):
        low, high = max(first, block * BLOCK), min(last, (block + 1) * BLOCK)
        yield (
            block,
            slice(low - block * BLOCK, high - block * BLOCK),
            slice(low - first, high - first),
        )
