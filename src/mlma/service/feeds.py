"""`FeedWorker`: a stream of messages is consumed, its rows go into the inbox with its offsets.

Takes frames of a feed, stores what is usable and counts the rest. A row is stored once: rows and
offsets are one transaction.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlma.domain.errors import DataError
from mlma.domain.inbox import NamedRows, Parcel
from mlma.domain.leftovers import LeftOut, merge_left_out
from mlma.domain.periods import Periods
from mlma.ports import Feed, Store
from mlma.service.ingest import named, unnamed
from mlma.service.loops import Loop, LoopFacts
from mlma.service.streams import UNKNOWN, StreamRows, UnknownStreamsError

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class FeedFacts:
    """What came through a feed since the start.

    left_out
        rows and messages that were not used, and why.
    """

    rows: int = 0
    polls: int = 0
    left_out: tuple[LeftOut, ...] = ()

    @property
    def bad_rows(self) -> int:
        """How many rows were not used."""
        return sum(entry.count for entry in self.left_out if entry.unit == "rows")


class FeedWorker:
    """Consumes a feed, in a thread.

    Parameters
    ----------
    read
        returns the usable rows of a frame of the feed, with an account of the others; it may raise
        ``DataError`` where the frame is none at all.
    oldest
        returns the number of the oldest period whose rows are kept; None = any.
    stored
        called when new rows are durable.
    """

    def __init__(
        self,
        feed: Feed,
        store: Store,
        registry: StreamRows,
        periods: Periods,
        *,
        read: Callable[[Any], NamedRows],
        oldest: Callable[[], int | None] = lambda: None,
        stored: Callable[[], None] = lambda: None,
    ) -> None:
        self.feed = feed
        self._store, self._registry, self._periods = store, registry, periods
        self._read, self._oldest, self._stored = read, oldest, stored
        self._facts = FeedFacts()
        self._loop = Loop(f"feed {feed.name}", self._step)

    @property
    def facts(self) -> FeedFacts:
        """What came through."""
        return self._facts

    @property
    def loop(self) -> LoopFacts:
        """Whether it goes well."""
        return self._loop.facts

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._loop.alive

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def end(self) -> None:
        """Tell the thread to end, without waiting for it."""
        self._loop.stop()

    def stop(self, timeout: float | None = None) -> bool:
        """End the thread and leave the feed; False = that takes longer."""
        self._loop.stop()
        ended = self._loop.join(timeout)
        if ended:
            self.feed.close()
        return ended

    def _step(self) -> float:
        """Store what came; what could not be stored is given by the feed again."""
        polled = self.feed.poll(POLL_SECONDS)
        if polled is None:
            return 0.0
        frame, offsets = polled
        parcels, left_out = self._parcels(frame)
        self._store.accept(parcels, offsets=offsets)
        self.feed.stored(offsets)
        self._note(parcels, left_out)
        return 0.0

    def _parcels(self, frame: Any) -> tuple[list[Parcel], tuple[LeftOut, ...]]:
        """Return what can be stored of a frame, and what is left out."""
        if not len(frame):
            return [], ()
        try:
            rows = self._read(frame)
        except DataError as error:
            reason = "messages that cannot be read"
            return [], (LeftOut(reason, "rows", len(frame), note=str(error)),)
        left_out = [*rows.left_out]
        rows = self._young(rows, left_out)
        codes = self._known(rows.ids)
        rows = _without(rows, codes[rows.code] == UNKNOWN, "unknown stream", left_out)
        return named(unnamed(rows, self._periods), codes), tuple(left_out)

    def _young(self, rows: NamedRows, left_out: list[LeftOut]) -> NamedRows:
        oldest = self._oldest()
        if oldest is None or not len(rows):
            return rows
        early = self._periods.locate(rows.instant)[0] < oldest
        return _without(rows, early, "older than what is kept", left_out)

    def _known(self, ids: Sequence[str]) -> np.ndarray[Any, Any]:
        """Return rows of the registry, `UNKNOWN` where a stream may not be registered."""
        (answer,) = self._registry.admit([ids])
        if isinstance(answer, UnknownStreamsError):
            return self._registry.find(ids)
        return answer.rows

    def _note(self, parcels: Sequence[Parcel], left_out: tuple[LeftOut, ...]) -> None:
        facts, count = self._facts, sum(len(parcel.rows) for parcel in parcels)
        if left_out:
            log.warning("%s: left out %s", self.feed.name, "; ".join(map(str, left_out)))
        self._facts = replace(
            facts,
            rows=facts.rows + count,
            polls=facts.polls + 1,
            left_out=merge_left_out(facts.left_out, left_out),
        )
        if parcels:
            self._stored()


def _without(
    rows: NamedRows, bad: np.ndarray[Any, np.dtype[np.bool_]], why: str, left_out: list[LeftOut]
) -> NamedRows:
    """Return rows without some, which are added to the account."""
    if not bad.any():
        return rows
    names = tuple(rows.ids[at] for at in np.unique(rows.code[bad])[:3])
    left_out.append(LeftOut(why, "rows", int(bad.sum()), names))
    good = ~bad
    return replace(
        rows,
        code=rows.code[good],
        instant=rows.instant[good],
        value=rows.value[good],
        cutoff=None if rows.cutoff is None else rows.cutoff[good],
    )
