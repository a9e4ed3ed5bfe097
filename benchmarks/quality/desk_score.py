"""What the incidents of a fleet are worth: each is held against what was planted.

Takes what was played, gives its figures, lines of the table, and the targets that are missed.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlma.domain.incidents import Incident
from quality.desk_world import DAYS, NEVER, WARM_UP, WEEKS, Planted, World

Ints = NDArray[np.int64]

GRACE = 14
"""Days after its end in which something that was planted still counts as a cause."""
STRONG = 1.4
ENOUGH = 56
"""Days that a break needs to be told: a first re-training, its follow-ups, and two weeks."""

TARGETS = {
    "quiet": "incidents per 1,000 streams and quiet week",
    "per_shock": "incidents per shock of the fleet of +40 % and more",
    "per_weak_shock": "incidents per shock of the fleet of +25 %",
    "told": "lasting breaks that are healed or on the desk, of those eight weeks before the end",
    "spurious": "incidents without a planted cause",
    "same": "the agent's store holds the same incidents",
}

_LOSSES, _DATA = ("break", "group", "fleet"), ("missing", "gone", "dead")
_CAUSES = {
    **dict.fromkeys(("fleet", "group", "event", "model"), _LOSSES),
    "data": _DATA,
    "trainer": ("failing", "silent"),
}


@dataclass
class Opened:
    """An incident, all its members, when it opened, what was planted behind it (-1 = nothing)."""

    incident: Incident
    members: Ints
    day: int
    cause: int = -1


@dataclass
class Played:
    """What came of one fleet.

    on_desk
        ``(n_streams,)``, the last day on which a stream was part of an incident of its own or of
        its group; -1 = none.
    """

    truth: World
    opened: dict[str, Opened] = field(default_factory=dict)
    on_desk: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    retrained: int = 0
    alarms: int = 0
    slowest_ms: float = 0.0
    mean_ms: float = 0.0
    seconds: float = 0.0
    same: bool = True


def cause_of(one: Opened, truth: World) -> int:
    """Return what was planted behind an incident: what holds most of its members; -1 = nothing.

    One of the incident's own scope comes first, then the smallest, so that a single break is no
    shock of the fleet; streams with breaks of their own, or of several groups, count together. A
    break that a re-training healed counts for two more weeks, and no model is past help before its
    break is ten days old.
    """
    shares: list[tuple[bool, int, int]] = []
    smaller = np.zeros(truth.n, dtype=np.bool_)
    member = np.zeros(truth.n, dtype=np.bool_)
    member[one.members] = True
    most, mixed = 0, -1
    for number, planted in enumerate(truth.planted):
        # What opened for a city becomes the incident of the fleet within two days.
        grew = 2 if one.incident.kind == "fleet" else 0
        rows = _active(truth, number, max(one.day, min(one.day + grew, planted.begins)))
        late = one.incident.kind == "model" and one.day - planted.begins < 10
        if planted.kind not in _CAUSES[one.incident.kind] or not len(rows) or late:
            continue
        held = int(member[rows].sum())
        if held and held >= 0.5 * len(one.members):
            shares.append((planted.scope != one.incident.scope, len(planted.rows), number))
        if planted.scope != "fleet" and planted.kind not in ("failing", "silent"):
            smaller[rows] = True
            most, mixed = max((most, mixed), (held, number))
    found = min(shares)[2] if shares else -1
    if (
        most
        and smaller[member].mean() >= 0.5
        and (found < 0 or truth.planted[found].kind == "fleet")
    ):
        return mixed
    return found


def _active(truth: World, number: int, day: int) -> Ints:
    """Return the streams for which something that was planted is going on, or was just now."""
    planted, healed = truth.planted[number], truth.healed[number]
    if not planted.begins <= day < planted.ends + GRACE:
        return planted.rows[:0]
    still = [healed.get(row, NEVER) + GRACE > day for row in planted.rows.tolist()]
    return planted.rows[np.array(still, dtype=np.bool_)]


def quiet_weeks(truth: World) -> list[int]:
    """Return the weeks in which nothing common happens, nor did in the two before."""
    loud = set()
    for one in truth.planted:
        if one.scope or one.kind in ("failing", "silent"):
            first = (one.begins - WARM_UP) // 7
            last = (min(one.ends, one.begins + 1) - 1 - WARM_UP) // 7
            last = max(
                last, ((one.ends if one.ends != NEVER else one.begins + 1) - 1 - WARM_UP) // 7
            )
            loud |= set(range(first, last + 3))
    return [week for week in range(WEEKS) if week not in loud]


def figures(played: Played) -> dict[str, object]:
    """Return the figures of one fleet, plain."""
    truth, opened = played.truth, [one for one in played.opened.values() if one.day >= WARM_UP]
    quiet = quiet_weeks(truth)
    in_quiet = sum((one.day - WARM_UP) // 7 in quiet for one in opened)
    counts = Counter(one.cause for one in opened)

    def per(kind: str, wanted: Callable[[Planted], bool] = lambda _: True) -> list[int]:
        return [
            counts[at]
            for at, one in enumerate(truth.planted)
            if one.kind == kind and wanted(one) and (one.scope or kind in ("failing", "silent"))
        ]

    told, all_told = _told(played, DAYS - ENOUGH), _told(played, DAYS)
    spurious = [one for one in opened if one.cause < 0]
    return {
        "streams": truth.n,
        "seed": truth.seed,
        "incidents": len(opened),
        "kinds": dict(Counter(one.incident.kind for one in opened)),
        "quiet_weeks": len(quiet),
        "quiet": 1000 * in_quiet / truth.n / max(len(quiet), 1),
        "all_weeks": 1000 * len(opened) / truth.n / WEEKS,
        "per_shock": per("fleet", lambda one: one.factor >= STRONG),
        "per_weak_shock": per("fleet", lambda one: one.factor < STRONG),
        "per_group": per("group"),
        "per_fault": per("missing") + per("gone"),
        "per_trainer": per("failing") + per("silent"),
        "told": told,
        "told_all": all_told,
        "holes": _holes(played),
        "spurious": len(spurious) / max(len(opened), 1),
        "spurious_ones": [line_of(one) for one in spurious],
        "closed": sum(one.incident.state == "resolved" for one in opened),
        "alarms": played.alarms,
        "same": played.same,
        "mean_ms": played.mean_ms,
        "slowest_ms": played.slowest_ms,
        "seconds": played.seconds,
    }


def _told(played: Played, before: int) -> dict[str, float]:
    """Return what became of the lasting breaks of single streams, in shares."""
    truth, healed, desk, missed, factors = played.truth, 0, 0, 0, []
    for one, cured in zip(truth.planted, truth.healed, strict=True):
        if one.kind != "break" or one.begins >= before:
            continue
        row = int(one.rows[0])
        if row in cured:
            healed += 1
        elif one.begins <= played.on_desk[row]:
            desk += 1
        else:
            missed += 1
            factors.append(round(one.factor, 2))
    n = max(healed + desk + missed, 1)
    return {
        "breaks": healed + desk + missed,
        "healed": healed / n,
        "desk": desk / n,
        "share": (healed + desk) / n,
        "missed_factors": sorted(factors),  # type: ignore[dict-item]
    }


def _holes(played: Played) -> dict[str, float]:
    """Return the share of holes and dead sensors of single streams that came to the desk."""
    shares = {}
    told = {
        (int(row), one.incident.evidence["fault"])
        for one in played.opened.values()
        if one.incident.kind == "data"
        for row in one.members
    }
    for kind in ("missing", "dead"):
        long = [
            one
            for one in played.truth.planted
            if one.kind == kind and not one.scope and one.ends - one.begins >= 5
        ]
        shares[kind] = sum((int(one.rows[0]), kind) in told for one in long) / max(len(long), 1)
    return shares


def line_of(one: Opened) -> str:
    """Return an incident in a line."""
    return f"day {one.day}: {one.incident.kind} {one.incident.scope}: {one.incident.cause}"


def missed(rows: Sequence[dict[str, object]]) -> list[str]:
    """Return the targets that are not met, in words."""
    made = []
    for row in rows:
        who = f"{row['streams']} streams, seed {row['seed']}"
        checks = {
            "quiet": row["quiet"] <= 1,  # type: ignore[operator]
            "per_shock": set(row["per_shock"]) == {1},  # type: ignore[call-overload]
            "per_weak_shock": set(row["per_weak_shock"]) == {1},  # type: ignore[call-overload]
            "told": row["told"]["share"] >= 0.95,  # type: ignore[index]
            "spurious": row["spurious"] <= 0.01,  # type: ignore[operator]
            "same": row["same"],
        }
        made += [
            f"{who}: {TARGETS[name]}: {row[name]}" for name, good in checks.items() if not good
        ]
    return made


HEAD = (
    "| streams | seed | incidents | per 1,000 streams and quiet week | and any week "
    "| per fleet shock | of +25 % | per group | per fault of data | per fault of the trainer "
    "| breaks healed or on the desk (healed) | of all breaks | holes, dead sensors told "
    "| without a cause | ms per cycle (most) |\n" + "|---" * 15 + "|"
)


def line(row: dict[str, object]) -> str:
    """Return a line of the table."""
    told, every, holes = row["told"], row["told_all"], row["holes"]
    cells = [
        f"{row['streams']:,}",
        row["seed"],
        row["incidents"],
        f"{row['quiet']:.2f}",
        f"{row['all_weeks']:.2f}",
        *(
            " ".join(map(str, row[f"per_{name}"]))
            for name in ("shock", "weak_shock", "group", "fault", "trainer")
        ),  # type: ignore[call-overload]
        f"{told['share']:.1%} ({told['healed']:.1%})",  # type: ignore[index]
        f"{every['share']:.1%}",  # type: ignore[index]
        f"{holes['missing']:.0%}, {holes['dead']:.0%}",  # type: ignore[index]
        f"{row['spurious']:.1%}",
        f"{row['mean_ms']:.0f} ({row['slowest_ms']:.0f})",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"
