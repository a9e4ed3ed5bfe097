"""Scores of a detector: false alarms, events found, delays, common shocks.

Takes alarms ``(n_days, n_streams)`` and the truth, gives numbers. Next are the tables.

Batches are counted from 1 at the first batch that is mostly broken, so that a break found in that
batch, or in the part of a batch before it, has a delay of 1. Healthy batches are those of streams
before their break, and of streams without one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quality.truth import KINDS, WINDOW, Common
from quality.worlds import World

if TYPE_CHECKING:
    from quality.detectors import Detection

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVELS = (0.05, 0.01, 0.001)

SMALLEST_EFFECT = 0.1
"""What raises the mean loss by less is no event, and alarms on it are not false."""


@dataclass(frozen=True, slots=True)
class EventScores:
    """How well planted breaks are found; all are shares."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class KindScores:
    """How well the breaks of one kind are found.

    ``median_delay`` is in batches, infinite where half of the breaks are never found.
    """

    events: int
    found: float
    median_delay: float
    effect: float


@dataclass(frozen=True, slots=True)
class CommonScores:
    """What becomes of what many streams have in common; the first four are shares.

    as_one
        reported as one finding of the right scope, and as no other.
    reported
        reported as a finding of the right scope, among others perhaps.
    alone
        streams hit that raised an alarm on their own.
    alarmed
        streams hit that raised an alarm, be it as part of a finding.
    events, effect
        how many there are, and the median relative rise of the losses.
    """

    as_one: float
    reported: float
    alone: float
    alarmed: float
    events: int
    effect: float


def healthy_batches(world: World) -> Bools:
    """Return which batches are healthy, ``(n_days, n_streams)``; those of the reference are not."""
    day = np.arange(world.shape[0])[:, None]
    return (day >= world.reference) & (day < world.truth.touched)


def false_alarms_per_batch(alarms: Bools, world: World) -> float:
    """Return the share of healthy batches with an alarm."""
    return float(alarms[healthy_batches(world)].mean())


def false_retrainings(alarms: Bools, world: World) -> float:
    """Return alarms in healthy batches per 1,000 streams and week of daily batches."""
    return 7000.0 * false_alarms_per_batch(alarms, world)


def realised_levels(p_values: Floats, world: World) -> dict[float, float]:
    """Return the share of healthy batches with a p-value at or below each nominal level."""
    told = p_values[healthy_batches(world)]
    told = told[np.isfinite(told)]
    return {level: float((told <= level).mean()) if len(told) else np.nan for level in LEVELS}


def counted(world: World) -> Bools:
    """Return which streams have a break that counts as an event, ``(n_streams,)``."""
    truth, days = world.truth, world.shape[0]
    inside = (truth.start >= world.reference) & (truth.start + WINDOW <= days)
    return inside & (np.nan_to_num(truth.effect) >= SMALLEST_EFFECT)


def delays(alarms: Bools, world: World) -> Floats:
    """Return batches until each break is found, ``(n_streams,)``; inf = never, NaN = no event."""
    day, truth = np.arange(world.shape[0])[:, None], world.truth
    found = alarms & (day >= truth.touched) & (day < truth.start + WINDOW)
    first = np.where(found.any(axis=0), found.argmax(axis=0), np.inf)
    waited = np.maximum(first - truth.start + 1, 1.0)
    return np.where(counted(world), waited, np.nan)


def event_scores(alarms: Bools, world: World, fleet: World | None = None) -> EventScores:
    """Return precision, recall and F1 over events: each break found counts once.

    Every alarm in a healthy batch is a false one; further alarms of a broken stream are neither.
    A detector that saw a subsample of ``fleet``, richer in breaks, is scored as if it found the
    same share of the fleet's breaks and raised false alarms in it at the same rate.
    """
    fleet = world if fleet is None else fleet
    waited, events = delays(alarms, world), int(counted(fleet).sum())
    told = waited[~np.isnan(waited)]
    recall = float(np.isfinite(told).mean()) if len(told) else np.nan
    found = events * np.nan_to_num(recall)
    false = false_alarms_per_batch(alarms, world) * healthy_batches(fleet).sum()
    precision = found / (found + false) if found + false else np.nan
    f1 = 2 * found / (found + false + events) if false + events else np.nan
    return EventScores(float(precision), recall, float(f1))


def kind_scores(alarms: Bools, world: World) -> dict[str, KindScores]:
    """Return the scores of every kind of break that has events."""
    waited, made = delays(alarms, world), {}
    for kind in KINDS:
        rows = (world.truth.kind == kind) & ~np.isnan(waited)
        if rows.any():
            mine = np.sort(waited[rows])
            median = float(mine[(len(mine) - 1) // 2])  # inf where fewer than half are found
            effect = float(np.median(world.truth.effect[rows]))
            made[kind] = KindScores(len(mine), float(np.isfinite(mine).mean()), median, effect)
    return made


def common_scores(pairs: Sequence[tuple["Detection", World]], kind: str) -> CommonScores | None:
    """Return the scores of one kind of `Common`, of all worlds together; None = there are none."""
    events = [
        (seen, one)
        for seen, world in pairs
        for one in world.common
        if one.kind == kind and one.last < world.shape[0] and one.effect >= SMALLEST_EFFECT
    ]
    if not events:
        return None
    told = [_scopes(seen, one) for seen, one in events]
    scopes = [one.scope for _, one in events]
    return CommonScores(
        as_one=float(np.mean([mine == [one] for mine, one in zip(told, scopes, strict=True)])),
        reported=float(np.mean([one in mine for mine, one in zip(told, scopes, strict=True)])),
        alone=_share([(seen.alone, one) for seen, one in events]),
        alarmed=_share([(seen.alarms, one) for seen, one in events]),
        events=len(events),
        effect=float(np.median([one.effect for _, one in events])),
    )


def _scopes(seen: "Detection", event: Common) -> list[str]:
    """Return the scopes of the findings about an event, one entry each.

    A finding of another city says nothing about an event of this one; but if the fleet is hit, all
    findings are about it.
    """
    scopes = [scope for day, scope in seen.findings if event.first <= day <= event.last]
    return [scope for scope in scopes if "fleet" in (event.scope, scope) or scope == event.scope]


def _share(events: Sequence[tuple[Bools, Common]]) -> float:
    """Return the share of the streams hit with an alarm while the event is on."""
    hit = [alarms[one.first : one.last + 1, one.members].any(axis=0) for alarms, one in events]
    everyone = np.concatenate(hit)
    return float(everyone.mean()) if len(everyone) else np.nan
