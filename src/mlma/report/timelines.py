"""The replay over time: the fleet in weeks, and single streams in full, within a data budget.

Takes the record of a replay, gives arrays and a JSON text that the page carries. Next are the
charts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.domain.runs import PolicyRun, Replayed
from mlma.domain.verdicts import Reason, Verdict
from mlma.report.figures import (
    ALARMS,
    TellingStream,
    batches_per_week,
    headline,
    telling_streams,
)
from mlma.report.requests import MARKED, marks, retraining_reasons
from mlma.report.words import excess

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MOST_BLOCKS = 400
CURVE_POINTS = 400


@dataclass(frozen=True, slots=True)
class FleetTimeline:
    """The fleet per block of ``batches`` batches: a week, or more where history is long.

    All arrays ``(n_blocks,)``; NaN = no stream to tell.

    ``low``, ``median`` and ``high`` are the 10th, 50th and 90th percentile over streams of the
    loss relative to always. ``degraded`` is the share of streams with a degraded batch.
    ``retrainings`` counts per reason.
    """

    starts: NDArray[np.datetime64]
    batches: int
    low: Floats
    median: Floats
    high: Floats
    degraded: Floats
    retrainings: dict[Reason, NDArray[np.int64]]


def lanes(run: PolicyRun) -> list[Reason]:
    """Return the reasons for which this run re-trained, then what else happened, as shown."""
    found = set(np.unique(retraining_reasons(run)[run.retrained]).tolist()) or {0}
    beside = set(np.unique(marks(run)).tolist()) - found
    order = [*ALARMS, Reason.FOLLOW_UP, Reason.REVIEW, Reason.MAX_AGE]
    known = [reason for reason in order if reason in found]
    known += [reason for reason in Reason if reason in found and reason not in order]
    return known + [reason for reason in MARKED if reason in beside]


def played_span(replayed: Replayed) -> tuple[int, int]:
    """Return the first batch that any policy has a loss for, and one past the last."""
    played = np.zeros(replayed.grid.n_batches, dtype=np.bool_)
    for run in replayed.runs:
        played |= np.isfinite(run.loss).any(axis=0)
    batches = np.flatnonzero(played)
    return (int(batches[0]), int(batches[-1]) + 1) if batches.size else (0, 0)


def fleet_timeline(replayed: Replayed, run: PolicyRun) -> FleetTimeline:
    """Return the fleet under one run, in weeks (or more than one week where history is long)."""
    first, last = played_span(replayed)
    size = block_batches(replayed)
    low, median, high = _percentiles(_relative_blocks(replayed, run, first, last, size))
    reasons = retraining_reasons(run)[:, first:last]
    retrained = run.retrained[:, first:last]
    counts = {
        reason: blocks(retrained & (reasons == reason), size).sum(axis=(0, 2))
        for reason in Reason
        if (retrained & (reasons == reason)).any()
    }
    return FleetTimeline(
        starts=replayed.grid.batch_starts()[first:last:size],
        batches=size,
        low=low,
        median=median,
        high=high,
        degraded=_degraded_share(run, first, last, size),
        retrainings=counts,
    )


def block_batches(replayed: Replayed) -> int:
    """Return how many batches a block of the fleet's timelines has."""
    first, last = played_span(replayed)
    week = max(1.0, batches_per_week(replayed.grid))
    weeks = max(1, int(np.ceil((last - first) / week / MOST_BLOCKS)))
    return max(1, round(week * weeks))


def _relative_blocks(
    replayed: Replayed, run: PolicyRun, first: int, last: int, size: int
) -> Floats:
    """Return the loss relative to always, ``(n_streams, n_blocks)``; NaN = undefined."""
    own, always = run.loss[:, first:last], replayed.always.loss[:, first:last]
    shared = np.isfinite(own) & np.isfinite(always)
    total = blocks(np.where(shared, own, 0.0), size).sum(axis=2)
    yardstick = blocks(np.where(shared, always, 0.0), size).sum(axis=2)
    told = np.isfinite(replayed.relative_loss(run))[:, None] & (yardstick > 0)
    return ratio(total, yardstick, told)


def ratio(top: NDArray[Any], bottom: NDArray[Any], told: Bools) -> Floats:
    """Return ``top / bottom`` where ``told``; NaN elsewhere."""
    answer = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=answer, where=told)
    return answer


def _percentiles(values: Floats) -> Floats:
    """Return the 10th, 50th and 90th percentile over streams, ``(3, n_blocks)``."""
    answer = np.full((3, values.shape[1]), np.nan)
    some = np.isfinite(values).any(axis=0)
    if some.any():
        answer[:, some] = np.nanpercentile(values[:, some], [10, 50, 90], axis=0)
    return answer


def _degraded_share(run: PolicyRun, first: int, last: int, size: int) -> Floats:
    played = blocks(np.isfinite(run.loss[:, first:last]), size).any(axis=2).sum(axis=0)
    if run.evidence is None:
        return np.full(len(played), np.nan)
    degraded = run.evidence.verdict[:, first:last] == Verdict.DEGRADED
    streams = blocks(degraded, size).any(axis=2).sum(axis=0)
    return ratio(streams, played, played > 0)


def blocks(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Return ``(n_streams, n_blocks, size)``; the last block is filled up with zeros."""
    n, length = values.shape
    n_blocks = -(-length // size)
    padded = np.zeros((n, n_blocks * size), dtype=values.dtype)
    padded[:, :length] = values
    return padded.reshape(n, n_blocks, size)


def smoothed(values: Floats, window: int) -> Floats:
    """Return centred running means over ``window`` batches; NaN where fewer than a third is there.

    >>> smoothed(np.array([[1.0, 2.0, 3.0, np.nan]]), 3)
    array([[1.5, 2. , 2.5, 3. ]])
    """
    n, length = values.shape
    there = np.isfinite(values)
    sums = np.zeros((2, n, length + 1))
    sums[0, :, 1:] = np.cumsum(np.where(there, values, 0.0), axis=1)
    sums[1, :, 1:] = np.cumsum(there, axis=1)
    centre = np.arange(length)
    start = np.maximum(centre - (window - 1) // 2, 0)
    stop = np.minimum(centre + window // 2 + 1, length)
    total, count = sums[:, :, stop] - sums[:, :, start]
    enough = count >= max(1.0, window / 3)
    return ratio(total, count, enough)


def stream_data(replayed: Replayed, budget: int) -> str:
    """Return the JSON of the single-stream timelines, at most ``budget`` bytes of ASCII.

    The telling streams come first, then the others by loss. Where the telling ones do not fit
    batch by batch, points become weekly means; after that, fewer streams are carried. The text
    holds no ``<``, ``>`` or ``&``, so that it can stand in a script element.
    """
    run = headline(replayed) or replayed.always
    telling = telling_streams(replayed)
    week = max(1, round(batches_per_week(replayed.grid)))
    for coarse in (False, True):
        sheet = _Sheet.of(replayed, run, week, coarse=coarse)
        head = _json(sheet.head)
        rows = [_json(sheet.stream(stream)) for stream in telling]
        if coarse or len(head) + sum(map(len, rows)) + len(rows) < budget:
            break
    rows += _others(sheet, telling, budget - len(head) - sum(map(len, rows)) - len(rows))
    while rows and len(head) + sum(map(len, rows)) + len(rows) >= budget:
        rows.pop()
    return f'{head[:-1]},"streams":[{",".join(rows)}]}}'


def _others(sheet: "_Sheet", telling: Sequence[TellingStream], room: int) -> list[str]:
    """Return as many of the other streams as there is room for, largest loss first."""
    shown = {stream.row for stream in telling}
    relative = sheet.replayed.relative_loss(sheet.run)
    found: list[str] = []
    for row in np.argsort(-relative, kind="stable"):
        if int(row) in shown:
            continue
        text = _json(sheet.stream(TellingStream(int(row), "Other streams")))
        room -= len(text) + 1
        if room <= 0:
            break
        found.append(text)
    return found


@dataclass(frozen=True, slots=True)
class _Sheet:
    """All that the timelines of single streams share; rows are made one at a time."""

    replayed: Replayed
    run: PolicyRun
    first: int
    last: int
    point: int  # batches per point of the loss
    stride: int  # batches per point of the curves
    week: int
    relative: Floats
    reasons: NDArray[np.int8]
    beside: NDArray[np.int8]

    @classmethod
    def of(cls, replayed: Replayed, run: PolicyRun, week: int, *, coarse: bool) -> "_Sheet":
        first, last = played_span(replayed)
        fitting = -(-(last - first) // CURVE_POINTS)
        stride = max(week, fitting) if coarse else max(1, min(week, fitting))
        relative, reasons, beside = replayed.relative_loss(run), retraining_reasons(run), marks(run)
        point = stride if coarse else 1
        return cls(replayed, run, first, last, point, stride, week, relative, reasons, beside)

    @property
    def head(self) -> dict[str, Any]:
        grid = self.replayed.grid
        start = grid.batch_starts()[self.first] if self.last else grid.start
        return {
            "policy": self.run.label,
            "watches": self.run.evidence is not None,
            "start": int(start.astype("datetime64[ms]").astype(np.int64)),
            "batch": float(grid.batch / np.timedelta64(1, "ms")),
            "point": self.point,
            "stride": self.stride,
            "length": self.last - self.first,
            "lanes": [int(reason) for reason in lanes(self.run)],
        }

    def stream(self, stream: TellingStream) -> dict[str, Any]:
        row, run = stream.row, self.run
        loss = run.loss[row : row + 1, self.first : self.last]
        retrained = np.flatnonzero(run.retrained[row, self.first : self.last])
        reasons = self.reasons[row, self.first : self.last][retrained]
        beside = self.beside[row, self.first : self.last]
        tags = [f"{name}: {labels[row]}" for name, labels in self.replayed.tags.items()]
        return {
            "id": self.replayed.ids[row],
            "row": row,
            "why": stream.why,
            "tags": tags,
            "relative": excess(self.relative[row]),
            "loss": _rounded(self._points(loss)),
            "mean": self._curve(loss),
            **{name: self._baseline(name, row) for name in ("always", "never")},
            "retrained": {"at": retrained.tolist(), "why": reasons.tolist()},
            "beside": {"at": np.flatnonzero(beside).tolist(), "why": beside[beside > 0].tolist()},
            **self._seen(row, loss),
        }

    def _points(self, loss: Floats) -> Floats:
        return loss[0] if self.point == 1 else smoothed(loss, self.point)[0, :: self.point]

    def _curve(self, values: Floats) -> list[float | None]:
        return _rounded(smoothed(values, max(self.week, self.stride))[0, :: self.stride])

    def _baseline(self, name: str, row: int) -> list[float | None] | None:
        run = next((run for run in self.replayed.runs if run.label == name), None)
        if run is None or run is self.run:
            return None
        return self._curve(run.loss[row : row + 1, self.first : self.last])

    def _seen(self, row: int, loss: Floats) -> dict[str, Any]:
        """Return alarms, the expectation and the band that holds 90 % of the healthy batches."""
        evidence = self.run.evidence
        if evidence is None:
            return {"alarms": None, "degraded": None, "reference": None, "band": None}
        span = slice(self.first, self.last)
        verdict = evidence.verdict[row, span]
        expected = evidence.reference_loss[row : row + 1, span]
        alarmed = evidence.alarm[row, span]
        degraded = (verdict == Verdict.DEGRADED) & ~alarmed
        effect, at_once = evidence.effect[row, span], evidence.p_adjusted[row, span]
        return {
            "alarms": _marks(alarmed, loss[0], effect, evidence.p_evidence[row, span]),
            "degraded": _marks(degraded, loss[0], effect, at_once),
            "reference": self._curve(expected),
            "band": _healthy_band(loss[0], smoothed(expected, self.week)[0], verdict),
        }


def _marks(where: Bools, loss: Floats, effect: Floats, p_value: Floats) -> dict[str, Any]:
    at = np.flatnonzero(where)
    return {
        "at": at.tolist(),
        "loss": _rounded(loss[at]),
        "effect": _rounded(effect[at], 3),
        "p": _rounded(p_value[at], 2),
    }


def _healthy_band(loss: Floats, expected: Floats, verdict: NDArray[np.int8]) -> list[float] | None:
    """Return the 5th and 95th percentile of loss / expectation over healthy batches."""
    told = (verdict == Verdict.HEALTHY) & np.isfinite(loss) & (expected > 0)
    if told.sum() < 20:
        return None
    low, high = np.percentile(loss[told] / expected[told], [5, 95])
    return [float(f"{low:.3g}"), float(f"{high:.3g}")]


def _rounded(values: Floats, digits: int = 4) -> list[float | None]:
    """Return numbers of ``digits`` significant digits, None for NaN: short in JSON."""
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in values.tolist()]


def _json(value: object) -> str:
    return script_json(json.dumps(value, separators=(",", ":"), allow_nan=False))


def script_json(text: str) -> str:
    r"""Return JSON that cannot close or open an element when it stands in a script element.

    >>> script_json('"</script>"')
    '"\\u003c/script\\u003e"'
    """
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
