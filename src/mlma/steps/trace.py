"""Trace: what is remembered of each stream from cycle to cycle, so that incidents can be told.

Takes nothing, gives the columns that `follow` reads and writes, and what it reads of a cycle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns
from mlma.domain.verdicts import Reason, Verdict

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Shorts = NDArray[np.int16]
Bools = NDArray[np.bool_]

CALENDAR_CLASSES = 7
NO_TROUBLE = -1

START_SHARE = 0.5
"""Share of zero losses that a new stream is thought to have."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how much until something is an incident. Times are in batches.

    tries, unhealed, forgotten
        alarms of one trouble, or batches after its first alarm, at which a loss that is not back is
        an incident; a trouble without an alarm for so long is forgotten, if it is none.
    healed, risen
        a mean loss at most so much above its level before the alarm is back; one above it by more
        than the larger one is not. What chance does is added to both.
    missing, flat
        batches without actuals, and without a reference that can tell anything.
    chance
        a run of zero losses is a dead sensor when it is less likely than this.
    linger, couple
        an incident that closed itself so lately is opened again; findings within so many cycles
        around a common one belong to it.
    back
        share of the members that must be back for an incident to close itself.
    failures, unanswered
        failed fits with the same error within a week; batches until an answer is overdue.
    """

    tries: int = 3
    unhealed: int = 35
    forgotten: int = 56
    healed: float = 0.05
    risen: float = 0.10
    missing: int = 3
    flat: int = 7
    chance: float = 1e-6
    linger: int = 7
    couple: int = 2
    back: float = 0.8
    failures: int = 3
    unanswered: int = 3


@dataclass(frozen=True, slots=True)
class Traces(Columns):
    """One row per registered stream.

    usual
        ``(n, 7) float32``, log loss that the reference expected of a batch of each class of the
        calendar, last time it was healthy; NaN = never.
    excess, noise
        float32, mean rise of log losses above it since the alarm or the newest version, less what
        its groups have in common; and standard error of one batch.
    averaged
        int16, batches in that mean.
    settled, calm
        float32 and int16, mean rise, common part included, and its batches since the last
        degraded one or the newest version.
    batches, quiet
        int16, batches since the first alarm of a trouble, -1 = none; and since the last alarm.
    alarms, asked, fits
        int16, alarms, re-trainings asked for and new versions of the last trouble.
    version
        int32, newest version; 0 = the stream was in no cycle yet.
    cause
        int64, code of the incident of which the trouble is part; 0 = none.
    missed, gone, untold, zeros
        int16, batches in a row without actuals, without forecasts, with a reference that cannot
        tell, with a loss of exactly 0.
    longest
        int16, longest time without forecasts after which the stream came back.
    zero_share
        float32, share of batches whose loss is exactly 0.
    hole
        int64, code of the incident about missing data; 0 = none.
    """

    usual: Singles
    excess: Singles
    noise: Singles
    averaged: Shorts
    settled: Singles
    calm: Shorts
    batches: Shorts
    quiet: Shorts
    alarms: Shorts
    asked: Shorts
    fits: Shorts
    version: NDArray[np.int32]
    cause: Ints
    missed: Shorts
    gone: Shorts
    longest: Shorts
    untold: Shorts
    zeros: Shorts
    zero_share: Singles
    hole: Ints

    @classmethod
    def new(cls, n: int) -> "Traces":
        """Return the traces of streams that were in no cycle yet."""

        def count() -> Shorts:
            return np.zeros(n, dtype=np.int16)

        def single(value: float = 0.0) -> Singles:
            return np.full(n, value, dtype=np.float32)

        return cls(
            usual=np.full((n, CALENDAR_CLASSES), np.nan, dtype=np.float32),
            excess=single(),
            noise=single(),
            averaged=count(),
            settled=single(),
            calm=count(),
            batches=np.full(n, NO_TROUBLE, dtype=np.int16),
            quiet=count(),
            alarms=count(),
            asked=count(),
            fits=count(),
            version=np.zeros(n, dtype=np.int32),
            cause=np.zeros(n, dtype=np.int64),
            missed=count(),
            gone=count(),
            longest=count(),
            untold=count(),
            zeros=count(),
            zero_share=single(START_SHARE),
            hole=np.zeros(n, dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.cause)

    def widened(self, n: int) -> "Traces":
        """Return the traces with room for ``n`` streams."""
        return self if n <= len(self) else self.joined(Traces.new(n - len(self)))

    @property
    def troubled(self) -> Bools:
        """Which streams had an alarm whose loss is not back."""
        return np.asarray(self.batches != NO_TROUBLE)


@dataclass(frozen=True, slots=True)
class Seen(Columns):
    """What a cycle saw of the streams in it; all ``(n,)``, as in `mlma.domain.ledger.EVIDENCE`.

    reference
        log of the loss that is expected; NaN = none.
    common
        rise that a stream's groups have in common, in standard errors of a batch; 0 = none.
    aside
        bool, the batch does not count: it is excluded, or in an event that is muted.
    """

    n: Ints
    forecasts: Ints
    loss: Floats
    reference: Floats
    spread: Floats
    common: Floats
    calendar: Ints
    version: Ints
    alarm: Bools
    verdict: NDArray[np.int8]
    decision: NDArray[np.int8]
    reason: NDArray[np.int8]
    aside: Bools

    @property
    def told(self) -> Bools:
        """Which batches have a loss that counts."""
        return np.asarray((self.n > 0) & np.isfinite(self.loss) & ~self.aside)

    @property
    def hit(self) -> Bools:
        """Which streams are degraded or alarm."""
        worse = self.alarm | (self.verdict == Verdict.DEGRADED)
        return np.asarray(worse & ~self.aside)


def seen_of(evidence: NDArray[np.void], muted: Bools) -> Seen:
    """Return what the records of a cycle say; ``muted (n,)``: whom no incident is about."""
    return Seen(
        n=evidence["n"].astype(np.int64),
        forecasts=evidence["forecasts"].astype(np.int64),
        loss=evidence["loss"].astype(np.float64),
        reference=evidence["reference_log"].astype(np.float64),
        spread=evidence["spread"].astype(np.float64),
        common=np.maximum(np.nan_to_num(evidence["common"].astype(np.float64)), 0.0),
        calendar=evidence["calendar"].astype(np.int64),
        version=evidence["version"].astype(np.int64),
        alarm=evidence["alarm"].astype(np.bool_),
        verdict=evidence["verdict"].copy(),
        decision=evidence["decision"].copy(),
        reason=evidence["reason"].copy(),
        aside=(evidence["excluded"] != 0) | muted | (evidence["reason"] == Reason.EXCLUDED),
    )


def columns_of(traces: Traces, path: str = "incidents.") -> dict[str, NDArray[np.generic]]:
    """Return the traces as named columns, for a snapshot."""
    return dict(traces.flat(path))


def traces_of(
    columns: Mapping[str, NDArray[np.generic]], n: int, path: str = "incidents."
) -> Traces:
    """Return the traces that `columns_of` wrote, with room for ``n`` streams.

    A snapshot without them (of a version that had none) says that nothing is known.
    """
    new = Traces.new(0)
    if any(path + spec.name not in columns for spec in fields(Traces)):
        return Traces.new(n)
    return new.refilled(columns, path).widened(n)
