"""Follow: what became of the alarm of each stream, and are its data there?

Takes the traces and what a cycle saw, gives the traces after it: is an alarm healed, are actuals
missing, is a sensor dead? Next is `group`, which looks for causes that streams have in common.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.verdicts import Decision, Reason, Verdict
from mlma.steps.trace import NO_TROUBLE, Patience, Seen, Traces

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Shorts = NDArray[np.int16]
Bools = NDArray[np.bool_]

WINDOW = 14
"""Batches over which the rise of a stream in trouble is averaged."""

REFERENCE = 28
"""Batches of a reference: the error of the usual level."""

LARGEST_RISE = 2.0
"""One batch counts as no more, in logs: 7.4 times the usual loss."""

CERTAIN = 3.5
"""Standard errors beyond which a mean rise is no chance: those that alarm are the worst of many."""

LONGEST = np.int16(30_000)
"""Counts stop here."""

LEAST_SHARE = 0.02
"""Smallest share of zero losses that a stream is thought to have."""


def traced(traces: Traces, at: Ints, seen: Seen, patience: Patience) -> Traces:
    """Return the traces after a cycle with the streams in rows ``at``, ascending."""
    own = _with_losses(traces.rows(at), seen)
    own = _with_holes(own, seen)
    own = over(own, _recovered(own, seen, patience) | _forgotten(own, patience))
    after = traces.with_rows(at, own)
    return _without(after, at)


def begun(traces: Traces, at: Ints, reference: Floats, calendar: Ints) -> Traces:
    """Return the traces with a trouble of the streams in rows ``at`` that have none yet."""
    new = ~traces.troubled[at]
    rows = at[new]
    if not len(rows):
        return traces
    own = _begin(
        traces.rows(rows), np.ones(len(rows), dtype=np.bool_), reference[new], calendar[new]
    )
    return traces.with_rows(rows, own)


def over(traces: Traces, gone: Bools) -> Traces:
    """Return the traces with troubles ended; what was done about them is still told."""
    if not gone.any():
        return traces
    nothing = np.int16(0)
    return replace(
        traces,
        batches=np.where(gone, np.int16(NO_TROUBLE), traces.batches),
        quiet=np.where(gone, nothing, traces.quiet),
        averaged=np.where(gone, nothing, traces.averaged),
        calm=np.where(gone, nothing, traces.calm),
        excess=np.where(gone, np.float32(0), traces.excess),
    )


def waiting_anew(traces: Traces, at: Ints) -> Traces:
    """Return the traces in which the troubles of the streams in rows ``at`` start to count anew."""
    rows = at[traces.troubled[at]]
    if not len(rows):
        return traces
    own = traces.rows(rows)
    zero = np.zeros(len(rows), dtype=np.int16)
    return traces.with_rows(rows, replace(own, batches=zero, quiet=zero, alarms=zero))


def unhealed(traces: Traces, patience: Patience) -> Bools:
    """Return which troubles no re-training helps, ``(n_streams,)``."""
    bound = np.maximum(np.log1p(patience.risen), CERTAIN * _error(traces.noise, traces.averaged))
    high = traces.troubled & (traces.averaged >= WINDOW // 2) & (traces.excess > bound)
    long = (traces.batches >= patience.unhealed) & (traces.averaged >= WINDOW)
    return np.asarray(high & (long | (traces.alarms >= patience.tries)))


def faulty(traces: Traces, fault: str, patience: Patience) -> Bools:
    """Return which streams have a fault of their data for long enough, ``(n_streams,)``.

    ``missing``: no actuals; ``gone``: no forecasts; ``dead``: the sensor is dead.
    """
    if fault == "missing":
        return np.asarray(traces.missed >= patience.missing)
    if fault == "gone":
        usual = np.maximum(traces.longest, patience.missing - 1)
        return np.asarray(traces.gone > usual)
    share = np.maximum(traces.zero_share, LEAST_SHARE)
    zeros = traces.zeros * np.log(share) < np.log(patience.chance)
    return np.asarray((traces.untold >= patience.flat) | (zeros & (traces.zeros > 0)))


def holed(traces: Traces, fault: str) -> Bools:
    """Return which streams have a fault now, however short, ``(n_streams,)``."""
    if fault == "missing":
        return np.asarray(traces.missed > 0)
    if fault == "gone":
        return np.asarray(traces.gone > 0)
    return np.asarray((traces.untold > 0) | (traces.zeros > 0))


def _with_losses(own: Traces, seen: Seen) -> Traces:
    """Return the traces with the losses of a batch in them."""
    told = seen.told & (seen.loss > 0)
    version = np.maximum(own.version, seen.version).astype(np.int32)
    newer = (version > own.version) & (own.version > 0)
    own = _calm(own, seen, told)
    own = _begin(own, seen.alarm & ~seen.aside & ~own.troubled, seen.reference, seen.calendar)
    trouble = own.troubled
    rise = np.zeros(len(own))
    usual = own.usual[np.arange(len(own)), seen.calendar].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        rise = np.clip(np.log(seen.loss) - usual, -LARGEST_RISE, LARGEST_RISE)
    counts = trouble & told & np.isfinite(rise)
    alone = rise - seen.common * np.nan_to_num(seen.spread)
    zero = np.int16(0)
    averaged = np.where(newer, zero, own.averaged)
    calm = np.where(newer | seen.hit, zero, own.calm)
    eases = counts & ~seen.hit
    asked = (seen.decision == Decision.RETRAIN) & trouble
    return replace(
        own,
        version=version,
        excess=_mean(own.excess, averaged, alone, counts),
        settled=_mean(own.settled, calm, rise, eases),
        calm=_more(calm, eases),
        noise=np.where(np.isfinite(seen.spread), seen.spread, own.noise).astype(np.float32),
        averaged=_more(averaged, counts),
        batches=_more(own.batches, trouble & told),
        quiet=np.where(seen.alarm, np.int16(0), _more(own.quiet, trouble & told)),
        alarms=_more(own.alarms, seen.alarm & trouble),
        asked=_more(own.asked, asked),
        fits=_more(own.fits, newer & trouble),
    )


def _mean(before: Singles, batches: Shorts, rise: Floats, counts: Bools) -> Singles:
    """Return a running mean with one more batch where it ``counts``; the old lose weight."""
    old = np.where(batches == 0, 0.0, before)
    weight = 1.0 / np.minimum(batches + 1.0, WINDOW)
    made = np.where(counts, old + weight * (np.where(counts, rise, 0.0) - old), before)
    return np.asarray(made, dtype=np.float32)


def _calm(own: Traces, seen: Seen, told: Bools) -> Traces:
    """Return the traces with the usual level of the streams that are healthy."""
    healthy = told & (seen.verdict == Verdict.HEALTHY) & np.isfinite(seen.reference)
    rows = np.flatnonzero(healthy & ~own.troubled & (own.cause == 0))
    usual = own.usual.copy()
    usual[rows, seen.calendar[rows]] = seen.reference[rows]
    return replace(own, usual=usual)


def _begin(own: Traces, starts: Bools, reference: Floats, calendar: Ints) -> Traces:
    """Return the traces with troubles begun; a level that is not known is that of the reference."""
    rows = np.flatnonzero(starts)
    if not len(rows):
        return own
    usual = own.usual.copy()
    classes = calendar[rows]
    known = usual[rows, classes]
    told = np.where(np.isfinite(reference[rows]), reference[rows], np.nan)
    usual[rows, classes] = np.where(np.isfinite(known), known, told)
    zero = np.int16(0)
    counts = {
        name: np.where(starts, zero, getattr(own, name))
        for name in ("averaged", "calm", "batches", "quiet", "alarms", "asked", "fits")
    }
    return replace(own, usual=usual, excess=np.where(starts, np.float32(0), own.excess), **counts)


def _with_holes(own: Traces, seen: Seen) -> Traces:
    there, nothing = seen.n > 0, np.int16(0)
    missing = (seen.forecasts > 0) & ~there & ~seen.aside
    flat = np.isin(seen.reason, (Reason.FLAT, Reason.OUTAGE)) & there & ~seen.aside
    zero = there & (seen.loss == 0) & ~seen.aside
    counted = there & ~seen.aside
    ended = counted & ~zero
    # A run of zeros counts for the share once it is over: before, it may be a dead sensor.
    rest = (1 - own.zero_share) * (1 - 1 / REFERENCE) ** own.zeros
    share = np.where(ended, (1 - rest) * (1 - 1 / REFERENCE), own.zero_share)
    return replace(
        own,
        missed=np.where(there, nothing, _more(own.missed, missing)),
        longest=np.maximum(own.longest, own.gone),
        gone=np.zeros_like(own.gone),
        untold=np.where(counted & ~flat, nothing, _more(own.untold, flat)),
        zeros=np.where(ended, nothing, _more(own.zeros, zero)),
        zero_share=share.astype(np.float32),
    )


def _without(traces: Traces, at: Ints) -> Traces:
    """Return the traces with those counted that were not in the cycle, and were before."""
    absent = np.ones(len(traces), dtype=np.bool_)
    absent[at] = False
    if not absent.any():
        return traces
    return replace(traces, gone=_more(traces.gone, absent & (traces.version > 0)))


def _recovered(own: Traces, seen: Seen, patience: Patience) -> Bools:
    """Return which troubles are over: for a week the loss is back and nothing alarms."""
    week = WINDOW // 2
    bound = np.maximum(np.log1p(patience.healed), _error(own.noise, own.calm))
    calm = (own.calm >= week) & (own.quiet >= week) & (seen.verdict != Verdict.DEGRADED)
    return np.asarray(own.troubled & calm & (own.settled <= bound))


def _forgotten(own: Traces, patience: Patience) -> Bools:
    """Return which troubles are let go; one whose loss is high stays until it is told."""
    long = own.troubled & (own.cause == 0) & (own.quiet > patience.forgotten)
    return np.asarray(long & ~unhealed(own, patience))


def _error(noise: Singles, batches: Shorts) -> Floats:
    """Return the standard error of a mean rise over some batches."""
    many = np.clip(batches, 1, WINDOW).astype(np.float64)
    return np.asarray(noise * np.sqrt(1 / many + 1 / REFERENCE))


def _more(count: Shorts, where: Bools) -> Shorts:
    return np.asarray(
        np.where(where & (count < LONGEST), count + np.int16(1), count), dtype=np.int16
    )
