"""The course of the fleet: its key metrics over time, out of the heads of cycles.

Takes heads, gives columns for charts and sheets. No record of a stream is read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.domain.ledger import CycleInfo
from mlma.domain.periods import Periods
from mlma.domain.verdicts import Verdict

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

WEEK = np.timedelta64(7, "D")
VERDICTS = tuple(
    one.label
    for one in (
        *(Verdict.HEALTHY, Verdict.IMPROVED, Verdict.UNCLEAR, Verdict.WAITING, Verdict.DEGRADED),
    )
)
"""In the order in which their shares stand on one another."""


@dataclass(frozen=True)
class Course:
    """Heads of cycles, oldest first, and what they tell, all ``(n_cycles,)``; NaN = not told."""

    heads: Sequence[CycleInfo]
    periods: Periods

    def __len__(self) -> int:
        return len(self.heads)

    @cached_property
    def times(self) -> Times:
        """Start of each batch, on the clock by which periods are cut."""
        starts = [self.periods.wall_start(one.period) for one in self.heads]
        return np.array(starts, dtype="datetime64[us]")

    @cached_property
    def above_reference(self) -> Floats:
        """By how much the mean loss exceeds what the references expect, 0.1 = 10 %."""
        return _excess(self._fleet("loss"), self._fleet("reference_loss"))

    @cached_property
    def above_benchmark(self) -> Floats:
        """By how much the mean loss exceeds that of the benchmark, of streams that have both."""
        return _excess(self._fleet("benchmarked_loss"), self._fleet("benchmark"))

    @cached_property
    def loss(self) -> Floats:
        """Mean loss of the streams."""
        return self._fleet("loss")

    @cached_property
    def age(self) -> Floats:
        """Median age of the live versions, in batches."""
        return self._fleet("age")

    @cached_property
    def complete(self) -> Floats:
        """Share of the batches whose actuals were there in time."""
        return self._told(lambda summary: summary.get("complete"))

    @cached_property
    def streams(self) -> Floats:
        """Streams of each cycle."""
        return np.array([one.streams for one in self.heads], dtype=np.float64)

    @cached_property
    def alarms(self) -> Floats:
        """Alarms."""
        return self._told(lambda summary: summary.get("alarms"))

    def share(self, verdict: str) -> Floats:
        """Return the share of streams of a verdict."""
        return self._count("verdicts", verdict) / np.where(self.streams > 0, self.streams, np.nan)

    def decisions(self, decision: str) -> Floats:
        """Return how many streams had a decision."""
        return self._count("decisions", decision)

    @property
    def weeks(self) -> float:
        """Length in weeks, periods without a cycle included."""
        if not self.heads:
            return 0.0
        n_periods = self.heads[-1].period - self.heads[0].period + 1
        return float(n_periods * self.periods.batch / WEEK)

    def audited(self, name: str) -> Floats:
        """Return what each cycle added to a count of the audit; the first one adds nothing.

        A count that falls was started anew.
        """
        counts = self._told(lambda summary: (summary.get("audit") or {}).get(name))
        return np.maximum(np.diff(counts, prepend=counts[:1]), 0.0)

    def per_1000_week(self, amount: float) -> float:
        """Return an amount per 1,000 streams and week; NaN without a stream."""
        size = float(self.streams.mean()) * self.weeks if len(self) else 0.0
        return 1_000.0 * amount / size if size else float("nan")

    def frame(self) -> pl.DataFrame:
        """Return all of it, one row per cycle."""
        heads = self.heads
        return pl.DataFrame(
            {
                "cycle": pl.Series([one.cycle for one in heads], dtype=pl.Int64),
                "revision": pl.Series([one.revision for one in heads], dtype=pl.Int64),
                "ds": pl.Series(self.times, dtype=pl.Datetime("us")),
                "streams": pl.Series(self.streams).cast(pl.Int64),
                "loss": self.loss,
                "above_reference": self.above_reference,
                "above_benchmark": self.above_benchmark,
                **{name: self.share(name) for name in VERDICTS},
                "retrainings": self.decisions("retrain"),
                "deferred": self.decisions("defer"),
                "escalated": self.decisions("escalate"),
                "alarms": self.alarms,
                "false_retrainings_expected": self.audited("expected_alarms"),
                "false_retrainings_realised": self.audited("mirror_alarms"),
                "median_age": self.age,
                "complete": self.complete,
            }
        )

    def _fleet(self, name: str) -> Floats:
        return self._told(lambda summary: (summary.get("fleet") or {}).get(name))

    def _count(self, kind: str, name: str) -> Floats:
        return self._told(lambda summary: (summary.get(kind) or {}).get(name, 0))

    def _told(self, read: Callable[[Mapping[str, Any]], Any]) -> Floats:
        values = (read(one.summary) for one in self.heads)
        return np.array([np.nan if one is None else one for one in values], dtype=np.float64)


def _excess(loss: Floats, expected: Floats) -> Floats:
    return loss / np.where(expected > 0, expected, np.nan) - 1


def last_known(values: Floats) -> float:
    """Return the last number; NaN = there is none."""
    told = values[np.isfinite(values)]
    return float(told[-1]) if len(told) else float("nan")
