"""Gathering: rows of one period meet, whatever their order, and become losses.

Takes rows as they arrive, gives counts per stream and the losses of their pairs. Next is judging.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import batch_summary
from mlma.domain.inbox import KINDS, NO_CUTOFF, Kind, Rows
from mlma.stats.losses import Loss

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_BLOCK = 65_536
"""Streams that are scored at a time: what is made on the way stays small."""


@dataclass(slots=True)
class Table:
    """The values of one kind, one row per stream, one column per slot; NaN = none.

    Of several rows of a slot the one with the latest cutoff stays, of equal cutoffs the last to
    arrive: a row without a cutoff is older than any with one.
    """

    value: Floats
    cutoff: Ints | None = None
    rows: int = 0

    def put(self, rows: Rows) -> None:
        """Write rows into their places."""
        self.rows += len(rows)
        cell = rows.stream.astype(np.int64) * self.value.shape[1] + rows.place
        values, cells = self.value.reshape(-1), cell
        if rows.cutoff is None and self.cutoff is None:
            values[cells] = rows.value
            return
        if self.cutoff is None:
            self.cutoff = np.full(self.value.shape, NO_CUTOFF)
        made = np.full(len(rows), NO_CUTOFF) if rows.cutoff is None else rows.cutoff
        fresh = rows.value
        if (made[1:] < made[:-1]).any():  # the latest cutoff has to be written last
            order = np.argsort(made, kind="stable")
            cells, made, fresh = cells[order], made[order], fresh[order]
        cutoffs = self.cutoff.reshape(-1)
        newer = made >= cutoffs[cells]
        if not newer.all():
            cells, made, fresh = cells[newer], made[newer], fresh[newer]
        values[cells] = fresh
        cutoffs[cells] = made

    def widened(self, n_streams: int) -> None:
        """Make room for more streams."""
        more = n_streams - len(self.value)
        if more > 0:
            shape = (more, self.value.shape[1])
            self.value = np.concatenate([self.value, np.full(shape, np.nan)])
            if self.cutoff is not None:
                self.cutoff = np.concatenate([self.cutoff, np.full(shape, NO_CUTOFF)])

    def counts(self) -> Ints:
        """Return how many slots of each stream have a value, ``(n_streams,)``."""
        return np.asarray((~np.isnan(self.value)).sum(axis=1))


@dataclass(slots=True)
class Gathering:
    """All rows of one period that are there so far.

    through
        number of the last parcel in it.
    stamps
        what the sources said of their rows when they were read, by source.
    """

    period: int
    width: int
    n_streams: int
    through: int = 0
    stamps: dict[str, str] = field(default_factory=dict)
    tables: dict[Kind, Table] = field(default_factory=dict)

    def put(self, kind: Kind, rows: Rows) -> None:
        """Take rows in."""
        if len(rows):
            self.table(kind).put(rows)

    def table(self, kind: Kind) -> Table:
        """Return the table of a kind."""
        if kind not in self.tables:
            self.tables[kind] = Table(np.full((self.n_streams, self.width), np.nan))
        return self.tables[kind]

    def widened(self, n_streams: int) -> None:
        """Make room for more streams."""
        self.n_streams = max(n_streams, self.n_streams)
        for table in self.tables.values():
            table.widened(self.n_streams)

    def counts(self) -> tuple[Ints, Ints]:
        """Return forecasts and pairs of each stream, both ``(n_streams,)``."""
        nothing = np.zeros(self.n_streams, dtype=np.int64)
        if "forecasts" not in self.tables:
            return nothing, nothing
        made = self.tables["forecasts"]
        if "actuals" not in self.tables:
            return made.counts(), nothing
        seen = self.tables["actuals"].value
        pairs = (~(np.isnan(made.value) | np.isnan(seen))).sum(axis=1)
        return made.counts(), np.asarray(pairs)

    def account(self) -> dict[str, int]:
        """Return plain counts: rows of each kind, and those that others overruled."""
        counts: dict[str, int] = {}
        for kind in KINDS:
            if kind in self.tables:
                table = self.tables[kind]
                counts[kind] = table.rows
                counts[f"{kind} overruled"] = table.rows - int(table.counts().sum())
        return counts


@dataclass(frozen=True, slots=True)
class Scored:
    """The loss batches of some streams; all ``(n,)``.

    n, mean
        losses in the batch and their mean, NaN = none.
    lost
        pairs that have no finite loss.
    losses
        ``(n, width)`` single losses by time, NaN behind the last one; None = not wanted.
    """

    n: Ints
    mean: Floats
    lost: int
    losses: Floats | None = None


def scored(
    y: Floats, y_hat: Floats, at: Ints, loss: Loss, *, told: Bools, keep: bool, in_place: bool
) -> Scored:
    """Return the loss batches of the streams ``at``; of those not ``told`` nothing is read.

    ``keep``: single losses are wanted. ``in_place``: each loss in the place of its slot, rather
    than one behind the other.
    """
    parts = [at[first : first + _BLOCK] for first in range(0, len(at), _BLOCK)]
    masks = [told[first : first + _BLOCK] for first in range(0, len(at), _BLOCK)]
    made, lost = [], 0
    for rows, mask in zip(parts, masks, strict=True):
        losses, without = _losses(y[rows], y_hat[rows], loss, mask)
        lost += without
        packed = losses if in_place else _by_time(losses)
        made.append(packed if in_place else packed[:, : _used(packed)])
    width = y.shape[1] if in_place else max((part.shape[1] for part in made), default=1) or 1
    summaries = [batch_summary(_as_wide(part, width)) for part in made]
    single = np.concatenate([_as_wide(part, width) for part in made]) if keep and made else None
    n = np.concatenate([one for one, _ in summaries]) if made else np.zeros(0, dtype=np.int64)
    mean = np.concatenate([one for _, one in summaries]) if made else np.zeros(0)
    return Scored(n, mean, lost, single)


def _losses(y: Floats, y_hat: Floats, loss: Loss, told: Bools) -> tuple[Floats, int]:
    missing = np.isnan(y) | np.isnan(y_hat) | ~told[:, None]
    if not missing.any():
        losses = np.asarray(loss(y.ravel(), y_hat.ravel())).reshape(y.shape)
    else:
        losses = np.full(y.shape, np.nan)
        losses[~missing] = loss(y[~missing], y_hat[~missing])
    broken = ~np.isfinite(losses) & ~missing
    if broken.any():
        losses = np.where(broken, np.nan, losses)
    return losses, int(broken.sum())


def _by_time(losses: Floats) -> Floats:
    """Return the losses with the missing ones behind the others."""
    missing = np.isnan(losses)
    holed = np.flatnonzero(missing.any(axis=1))
    if len(holed):
        losses = losses.copy()
        order = np.argsort(missing[holed], axis=1, kind="stable")
        losses[holed] = np.take_along_axis(losses[holed], order, axis=1)
    return losses


def _used(part: Floats) -> int:
    filled = np.flatnonzero((~np.isnan(part)).any(axis=0))
    return int(filled[-1]) + 1 if len(filled) else 0


def _as_wide(part: Floats, width: int) -> Floats:
    if part.shape[1] >= width:
        return part[:, :width]
    missing = np.full((len(part), width - part.shape[1]), np.nan)
    return np.concatenate([part, missing], axis=1)
