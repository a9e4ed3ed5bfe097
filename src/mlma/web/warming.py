"""Warming: what pages read of a cycle is laid out as soon as it is judged, before anybody looks.

Takes the desk of an app, keeps its reading room warm in a thread. Without it the first visitor
after a cycle waits for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from mlma.service.loops import Loop
from mlma.web.face import Desk
from mlma.web.pages.loss_shelf import shelf_of

_LOOK_SECONDS = 2.0
_END_SECONDS = 5.0


@contextmanager
def kept_warm(app: FastAPI) -> Iterator[None]:
    """Keep the pages of an app warm until left."""
    loop = Loop("pages", Warmer(app.state.desk).look)
    loop.start()
    try:
        yield
    finally:
        loop.stop()
        loop.join(_END_SECONDS)


class Warmer:
    """Lays out the newest cycle once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._warm: tuple[int, int] | None = None

    def look(self) -> float:
        """Lay out the newest cycle if it is a new one; return the seconds until the next look."""
        room = self._desk.room
        newest = room.newest()
        if newest is not None and (newest.cycle, newest.revision) != self._warm:
            room.sheet()
            shelf_of(room).cycle(newest)
            self._desk.service.engineering.standing()
            self._warm = newest.cycle, newest.revision
        return _LOOK_SECONDS
