"""The story of a stream: its batches, decisions and versions, as the ledger has them.

Takes the reading room and the row of a stream, gives columns for charts and lists.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.agent.cycle import monitor_of
from mlma.domain.ledger import CycleInfo
from mlma.domain.periods import Periods
from mlma.domain.settings import policy_from
from mlma.stats.dial import WEEK, Limits, limits_of
from mlma.web.reading import ReadingRoom, history_frame

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

_Z = 1.645
"""Nine of ten batches of a healthy stream lie within so many standard errors."""
_LONG = np.timedelta64(7, "D")


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the model of a stream, while it was live.

    first, last
        batches in which it was live; ``age`` in the last one.
    loss, effect
        means over its batches; NaN = not told.
    """

    number: int
    first: np.datetime64
    last: np.datetime64
    batches: int
    age: int
    loss: float
    effect: float
    live: bool


@dataclass(frozen=True)
class Story:
    """Batches of one stream, oldest first; columns are ``(n,)``.

    frame
        in the columns of the library's frames.
    records
        of dtype `EVIDENCE`.
    """

    heads: Sequence[CycleInfo]
    records: NDArray[np.void]
    frame: pl.DataFrame
    periods: Periods

    def __len__(self) -> int:
        return len(self.heads)

    @cached_property
    def times(self) -> Times:
        """Start of each batch, on the clock by which periods are cut."""
        starts = [self.periods.wall_start(one.period) for one in self.heads]
        return np.array(starts, dtype="datetime64[us]")

    def numbers(self, name: str) -> Floats:
        """Return a column; NaN = not told."""
        return self.frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()

    def texts(self, name: str) -> list[str]:
        """Return a column of words."""
        return [one or "" for one in self.frame[name].cast(pl.String).to_list()]

    @cached_property
    def band(self) -> tuple[Floats, Floats]:
        """Between which losses nine of ten healthy batches lie."""
        reference = self.records["reference_log"].astype(np.float64)
        width = _Z * self.records["spread"].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.exp(reference - width), np.exp(reference + width)

    @cached_property
    def limits(self) -> Limits:
        """Evidence at which the newest policy raises an alarm."""
        monitor = monitor_of(policy_from(self.heads[-1].policy or "mlma"))
        return limits_of(monitor, float(_LONG / self.periods.batch) if len(self) else WEEK)

    @cached_property
    def versions(self) -> list[Version]:
        """Versions, newest first."""
        number = self.records["version"].astype(np.int64)
        edges = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
        ends = np.append(edges, len(number))[1:]
        loss, effect = self.numbers("loss"), self.numbers("effect")
        counted = self.records["excluded"] == 0  # events and labels say nothing of a version
        loss, effect = np.where(counted, loss, np.nan), np.where(counted, effect, np.nan)
        made = [
            Version(
                number=int(number[start]),
                first=self.times[start],
                last=self.times[stop - 1],
                batches=int(stop - start),
                age=int(self.records["age"][stop - 1]),
                loss=_mean(loss[start:stop]),
                effect=_mean(effect[start:stop]),
                live=bool(stop == len(number)),
            )
            for start, stop in zip(edges, ends, strict=True)
        ]
        return made[::-1]

    @cached_property
    def decided(self) -> list[int]:
        """Entries in which something was decided, or the loss was not as usual; newest first.

        Those that an event or a label took out are among them.
        """
        decision, verdict = self.texts("decision"), self.texts("verdict")
        excluded = self.records["excluded"] != 0
        return [
            at
            for at in range(len(self) - 1, -1, -1)
            if decision[at] != "keep" or verdict[at] in {"degraded", "improved"} or excluded[at]
        ]

    def sheet(self) -> pl.DataFrame:
        """Return all batches, one row each."""
        heads = self.heads
        beside = pl.DataFrame(
            {
                "cycle": pl.Series([one.cycle for one in heads], dtype=pl.Int64),
                "revision": pl.Series([one.revision for one in heads], dtype=pl.Int64),
                "ds": pl.Series(self.times, dtype=pl.Datetime("us")),
            }
        )
        return pl.concat([beside, self.frame], how="horizontal")


def story_of(room: ReadingRoom, row: int, heads: Sequence[CycleInfo]) -> Story:
    """Return the story of a stream in some cycles, oldest first."""
    first, last = (heads[0].cycle, heads[-1].cycle) if heads else (1, 0)
    cycles, records = room.store.history(row, first=first, last=last)
    known = {one.cycle: one for one in heads}
    there = np.array([one in known for one in cycles.tolist()], dtype=np.bool_)
    mine = [known[one] for one in cycles[there].tolist()]
    frame = history_frame(records[there], [one.policy for one in mine])
    return Story(mine, records[there], frame, room.periods)


def _mean(values: Floats) -> float:
    told = values[np.isfinite(values)]
    return float(told.mean()) if len(told) else float("nan")
