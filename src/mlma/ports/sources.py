"""Ports of what comes in and of time: sources that are asked, and clocks."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from mlma.domain.inbox import Kind, Rows
from mlma.domain.leftovers import LeftOut


class Source(Protocol):
    """Forecasts or actuals that lie elsewhere and are read there, period by period."""

    @property
    def name(self) -> str:
        """Name for messages."""
        ...

    @property
    def kind(self) -> Kind:
        """What its rows are."""
        ...

    def frames(self, start: np.datetime64, end: np.datetime64) -> Iterator[Any]:
        """Yield polars frames with the rows of slots in ``[start, end)``, wall clock or UTC.

        Columns ``unique_id, ds`` and ``y_hat`` (perhaps ``cutoff``) or ``y``. Each frame fits into
        memory; later frames overrule earlier ones. Raises ``SourceError`` where it cannot be read.
        """
        ...

    def stamp(self, start: np.datetime64, end: np.datetime64) -> str:
        """Return a text that changes whenever the rows of these slots may have changed."""
        ...


class Feed(Protocol):
    """A stream of messages that is consumed: rows go into the inbox, offsets with them."""

    @property
    def name(self) -> str:
        """Name for messages and offsets."""
        ...

    @property
    def kind(self) -> Kind:
        """What its rows are."""
        ...

    def poll(self, seconds: float) -> tuple[Any, dict[str, str]] | None:
        """Return a polars frame of new rows and the offsets after it; None = nothing came."""
        ...

    def stored(self, offsets: dict[str, str]) -> None:
        """Take note that the rows up to these offsets are durable."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the time, with a time zone."""
        ...


class RowSource(Protocol):
    """A source whose rows are sorted into periods and whose streams are registered."""

    @property
    def name(self) -> str:
        """Name for messages."""
        ...

    @property
    def kind(self) -> Kind:
        """What its rows are."""
        ...

    def rows(self, period: int) -> Iterator[Rows]:
        """Yield the rows of a period in pieces; later ones overrule earlier ones."""
        ...

    def stamp(self, period: int) -> str:
        """Return a text that changes whenever the rows of a period may have changed."""
        ...

    def left_out(self, period: int) -> tuple[LeftOut, ...]:
        """Return what was not used when the period was last read."""
        ...
