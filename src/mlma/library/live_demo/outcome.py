"""The outcome: what the agent found and mended, held against what was planted.

Takes the diary of a play and the ledger it left, gives numbers. Breaks are judged by the truth of
the simulation, which the agent never sees.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.agent.verification import verified
from mlma.domain.errors import ModelError
from mlma.library.live_demo.plan import HISTORY_DAYS, WARM_UP_DAYS, WINDOW_DAYS, Plan
from mlma.library.live_demo.platform import DeliveryPlatform
from mlma.library.live_demo.play import Diary
from mlma.library.live_demo.training import fit
from mlma.ports.store import Store
from mlma.steps.labour import played_labour

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOUND_DAYS, MEND_DAYS, LAST_DAYS = 28, 14, 7
HEALED_WITHIN = 0.15
_ALARMS = ("loss above", "the stream was dead")
_FOLLOW_UP, _REVIEW = "follow-up", "review"
_FINDING = "part of a finding"


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted break and what became of it.

    day
        of its start, from 0 = first day that was played.
    found
        days until the agent wanted a re-training for it; None = it did not.
    excess
        loss of the live model on the last days relative to that of a model which is trained on the
        days since the break only, each held out; None = too early to tell.
    """

    stream: str
    kind: str
    size: float
    day: int
    found: int | None
    excess: float | None

    @property
    def healed(self) -> bool:
        """Whether the loss is back to what a model can reach since the break."""
        return self.found is not None and self.excess is not None and self.excess <= HEALED_WITHIN


@dataclass(frozen=True, slots=True)
class Outcome:
    """A demo in numbers.

    planted, too_late
        breaks; and those of them that begin in the last week, too late to be found for sure.
    found, days_to_find
        breaks for which a re-training was wanted, and the median of the days until then.
    mendable, healed
        found breaks that are old enough to be mended, and those whose loss is back.
    retrainings, failed
        new versions that went live, and re-trainings that failed.
    alarms, follow_ups, reviews
        re-trainings that were asked for an alarm, on the schedule after one, at an age.
    false_retrainings
        those for an alarm of a stream in which nothing had broken by then.
    expected_false
        false re-trainings that the dial of the policy promises: one in 1,000 streams and a week.
    incidents, on_the_desk
        that were opened, and those that still wait for a person.
    minutes
        of a person that they would take, per 1,000 streams and week.
    fleet_gain, broken_gain
        loss saved by re-training, relative to the first models; of all streams and days, and of
        broken streams since their break.
    pushed, stored, lost
        rows sent and stored; pairs of forecast and actual that the ledger lacks.
    ledger_holds
        whether the ledger, computed once more, came out the same to the bit.
    """

    streams: int
    days: int
    planted: int
    too_late: int
    found: int
    days_to_find: float | None
    mendable: int
    healed: int
    retrainings: int
    alarms: int
    follow_ups: int
    reviews: int
    false_retrainings: int
    expected_false: float
    failed: int
    findings: int
    incidents: int
    on_the_desk: int
    minutes: float
    fleet_gain: float
    broken_gain: float | None
    cycles: int
    revisions: int
    pushed: int
    stored: int
    lost: int
    store_bytes: int | None
    ledger_holds: bool
    seconds: float
    rows_per_second: float
    address: str
    folder: str | None
    breaks: tuple[Planted, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        made = asdict(self)
        made["breaks"] = [
            {**asdict(one), "healed": one.healed, "size": round(one.size, 3)} for one in self.breaks
        ]
        return made


def outcome(
    plan: Plan,
    platform: DeliveryPlatform,
    diary: Diary,
    store_url: str,
    *,
    address: str,
    folder: Path | None = None,
) -> Outcome:
    """Return what came of a play; the store is read, and computed once more.

    Raises
    ------
    StoreError
        The store cannot be read.
    """
    from mlma.adapters.store import open_store

    breaks = _planted(plan, platform, diary)
    found = [one for one in breaks if one.found is not None]
    mendable = [one for one in found if one.excess is not None]
    asked = [*diary.done, *diary.failed]
    why = [one["reason"] for _, one in asked]
    live, never = _losses(platform, diary)
    store = open_store(store_url)
    try:
        ledger = _ledger(plan, platform, store)
    finally:
        store.close()
    return Outcome(
        streams=plan.streams,
        days=plan.days,
        planted=len(breaks),
        too_late=sum(one.day > plan.days - LAST_DAYS for one in breaks),
        found=len(found),
        days_to_find=median(one.found or 0 for one in found) if found else None,
        mendable=len(mendable),
        healed=sum(one.healed for one in mendable),
        retrainings=len(diary.done),
        alarms=sum(_is_alarm(one) for _, one in asked),
        follow_ups=sum(reason.startswith(_FOLLOW_UP) for reason in why),
        reviews=sum(reason.startswith(_REVIEW) for reason in why),
        false_retrainings=_false(plan, asked),
        expected_false=plan.streams * plan.days / 7000.0,
        failed=len(diary.failed),
        findings=len({(one["scope"], one["since"]) for _, one in diary.findings}),
        fleet_gain=_gain(live, never),
        broken_gain=_broken_gain(platform, breaks, live, never),
        cycles=diary.cycles,
        pushed=diary.pushed,
        stored=diary.stored,
        seconds=diary.seconds,
        rows_per_second=diary.pushed / max(diary.seconds, 1e-9),
        address=address,
        folder=None if folder is None else str(folder),
        breaks=tuple(breaks),
        **ledger,
    )


def _planted(plan: Plan, platform: DeliveryPlatform, diary: Diary) -> list[Planted]:
    """Return the planted breaks, by their start."""
    wanted: dict[str, list[int]] = {}
    for day, one in [*diary.decided, *diary.done, *diary.failed]:
        if _is_alarm(one):
            wanted.setdefault(one["unique_id"], []).append(day)
    made = []
    for name, kind, start, _, size in plan.world.truth.sort("start", "unique_id").iter_rows():
        day = _day(plan, start)
        days = [one - day for one in wanted.get(name, []) if 0 <= one - day <= FOUND_DAYS]
        excess = _excess(plan, platform, diary, platform.rows[name], day)
        made.append(Planted(name, kind, size, day, min(days, default=None), excess))
    return made


def _day(plan: Plan, start: datetime) -> int:
    """Return the day of an instant, from 0 = first day that is played."""
    return (start - plan.start(HISTORY_DAYS).replace(tzinfo=None)).days


def _is_alarm(one: dict[str, Any]) -> bool:
    """Return whether a decision or request is for what was seen, not for a schedule."""
    acted = one.get("decision") != "keep" or _FINDING in one["reason"]
    return acted and one["reason"].startswith(_ALARMS)


def _excess(
    plan: Plan, platform: DeliveryPlatform, diary: Diary, row: int, day: int
) -> float | None:
    """Return the loss of the live model on the last days above that of a model since the break."""
    since = plan.days - day - 1  # the day of the break is of both sides
    if since < MEND_DAYS:
        return None
    try:
        series = platform.truth(WARM_UP_DAYS + WINDOW_DAYS).series(row)
        reached = fit(series, min(since, WINDOW_DAYS)).losses[-LAST_DAYS:]
    except ModelError:  # nothing was seen since
        return None
    last = np.abs(diary.live[row, -LAST_DAYS:] - platform.y[row, -LAST_DAYS:])
    both = np.isfinite(reached) & np.isfinite(last)
    level = reached[both].sum()
    return float(last[both].sum() / level - 1.0) if level else None


def _false(plan: Plan, asked: list[tuple[int, dict[str, Any]]]) -> int:
    """Return how often an alarm asked for a stream in which nothing had broken by then."""
    first: dict[str, int] = {}
    for name, _, start, _, _ in plan.world.truth.sort("start", descending=True).iter_rows():
        first[name] = _day(plan, start)
    return sum(
        _is_alarm(one) and day < first.get(one["unique_id"], plan.days) for day, one in asked
    )


def _losses(platform: DeliveryPlatform, diary: Diary) -> tuple[Floats, Floats]:
    """Return the losses of the live and of the first models; NaN = there is no actual."""
    y = platform.y[:, HISTORY_DAYS:]
    return np.abs(diary.live - y), np.abs(diary.never - y)


def _gain(live: Floats, never: Floats) -> float:
    """Return the share of the loss that was saved."""
    return float(1.0 - np.nansum(live) / max(np.nansum(never), 1e-12))


def _broken_gain(
    platform: DeliveryPlatform, breaks: list[Planted], live: Floats, never: Floats
) -> float | None:
    mask = np.zeros(live.shape[:2], dtype=np.bool_)
    for one in breaks:
        mask[platform.rows[one.stream], one.day :] = True
    return _gain(live[mask], never[mask]) if mask.any() else None


def _ledger(plan: Plan, platform: DeliveryPlatform, store: Store) -> dict[str, Any]:
    """Return what the store holds: its size, pairs that it lacks, whether it proves itself."""
    settings = plan.settings()
    cycles = store.cycles()
    names = store.streams()
    there = np.isfinite(platform.y[:, HISTORY_DAYS:]).sum(axis=2)
    least = np.ceil(settings.complete_share * platform.y.shape[2])
    there[there < least] = 0  # too few to be judged
    judged: Ints = np.zeros_like(there)
    first = settings.periods.at(np.datetime64(plan.start(HISTORY_DAYS).replace(tzinfo=None), "us"))
    rows = np.array([platform.rows[name] for name in names], dtype=np.int64)
    for info in cycles:
        streams, evidence = store.evidence(info.cycle)
        judged[rows[streams], info.period - first] = np.maximum(evidence["n"], 0)
    proofs = list(verified(store, settings))
    incidents = store.incidents()
    labour = played_labour(incidents, plan.streams, plan.days / 7)
    return {
        "incidents": len(incidents),
        "on_the_desk": sum(one.unfinished for one in incidents),
        "minutes": labour.minutes_per_1000_week,
        "revisions": sum(info.revision for info in cycles),
        "store_bytes": store.facts().get("bytes"),
        "lost": int(np.abs(there - judged).sum()),
        "ledger_holds": len(proofs) == len(cycles) > 0 and all(one.holds for one in proofs),
    }
