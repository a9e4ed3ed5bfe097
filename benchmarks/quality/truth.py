"""What is planted in a world: breaks of single streams, and what many have in common.

Takes a simulated platform, gives its truth in batches, counted from the first one after the fit of
the frozen model. Next are the worlds.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from mlma.library.simulate import Simulated

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIT = 56
"""Days on which the frozen model is fitted."""

WINDOW = 28
"""Batches in which a break for good must be found."""

NEVER = 1 << 40

KINDS = (
    *("level +50 %", "level -40 %", "level +20 %", "shape", "variance", "drift"),
    *("stuck", "zero"),
)


@dataclass(frozen=True, slots=True)
class Truth:
    """The planted break of each stream, at most one; all arrays ``(n_streams,)``.

    kind
        one of `KINDS`; "" = none.
    touched, start
        int64, the first batch in which a slot is broken, and the first in which most slots are;
        `NEVER` = no break.
    end
        int64, first batch after the break; `NEVER` = it stays.
    effect
        float64, relative rise of the mean loss while the break is on; NaN = no break.
    """

    kind: NDArray[np.str_]
    touched: Ints
    start: Ints
    end: Ints
    effect: Floats

    @classmethod
    def none(cls, n: int) -> "Truth":
        """Return the truth about streams that never break."""
        touched, start, end = np.full((3, n), NEVER)
        return cls(np.full(n, "", dtype="<U16"), touched, start, end, np.full(n, np.nan))

    def columns(self) -> tuple[NDArray[np.generic], ...]:
        """Return all columns, in order."""
        return self.kind, self.touched, self.start, self.end, self.effect

    def of(self, rows: Ints) -> "Truth":
        """Return the truth about some streams."""
        return Truth(*(column[rows] for column in self.columns()))


@dataclass(frozen=True, slots=True)
class Common:
    """Something that many streams have in common.

    scope
        ``fleet`` or ``city=NAME``.
    kind
        ``fleet shock``, ``city shock`` (over after one to three days) or ``group break`` (half of a
        city, for good).
    first, last
        first batch of it, and the last one in which it may be found.
    members
        ``(n_streams,) bool``, whom it hits.
    effect
        relative rise of the mean loss of the members from ``first`` to ``last``.
    """

    scope: str
    kind: str
    first: int
    last: int
    members: NDArray[np.bool_]
    effect: float = np.nan


def truth_of(made: Simulated) -> Truth:
    """Return the truth without effects; batches are counted from the start of the reference."""
    truth, frame = Truth.none(made.world.streams), made.truth
    rows = dict(zip(made.streams["unique_id"], range(made.world.streams), strict=True))
    zero = _zero(made)
    for name, kind, start, end, size in frame.iter_rows():
        if kind == "group":
            continue  # it is told in `World.common`
        at = rows[name]
        truth.kind[at] = f"level {100 * size:+.0f} %" if kind == "level" else kind
        begins = (np.datetime64(start) - zero) / np.timedelta64(1, "D")
        truth.touched[at], truth.start[at] = int(begins), round(begins)
        if end is not None:
            truth.end[at] = int(np.ceil((np.datetime64(end) - zero) / np.timedelta64(1, "D")))
    return truth


def effects(losses: Singles, calm: Singles, truth: Truth) -> Floats:
    """Return the relative rise of the mean loss from start to end of each break."""
    day = np.arange(len(losses))[:, None]
    on = (day >= truth.start) & (day < truth.end)
    means, without = losses.mean(axis=2), calm.mean(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (means * on).sum(axis=0) / (without * on).sum(axis=0) - 1.0


def effect(losses: Singles, calm: Singles, event: Common) -> float:
    """Return the relative rise of the mean loss of those whom an event hits."""
    days = slice(event.first, event.last + 1)
    mean, without = (one[days][:, event.members].mean() for one in (losses, calm))
    return float(mean / without - 1.0)


def common_of(made: Simulated, city: NDArray[np.str_]) -> tuple[Common, ...]:
    """Return shocks and group breaks that begin after the reference."""
    broken = made.truth.filter(made.truth["kind"] == "group")["unique_id"]
    half = made.streams["unique_id"].is_in(broken.implode()).to_numpy()
    events = made.events.filter(made.events["kind"] != "holiday")
    rows = [row for row in events.iter_rows() if batch_of(made, row[2]) >= reference_of(made)]
    found = []
    for kind, scope, start, end, _ in rows:
        first, fleet = batch_of(made, start), scope == "fleet"
        inside = np.ones(len(city), dtype=np.bool_) if fleet else city == scope
        name = scope if fleet else f"city={scope}"
        if kind == "group":
            found.append(Common(name, "group break", first, first + WINDOW - 1, inside & half))
        else:
            label = "fleet shock" if fleet else "city shock"
            found.append(Common(name, label, first, first + (end - start).days, inside))
    return tuple(one for one in found if one.members.any())


def batch_of(made: Simulated, time: datetime) -> int:
    """Return the batch in which a time lies, counted from the first one after the fit."""
    return int((np.datetime64(time) - _zero(made)) // np.timedelta64(1, "D"))


def _zero(made: Simulated) -> np.datetime64:
    return np.datetime64(made.platform.start, "us") + np.timedelta64(FIT, "D")


def reference_of(made: Simulated) -> int:
    """Return the first batch after the reference."""
    return made.platform.quiet_days - FIT
