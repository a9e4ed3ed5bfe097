"""Telling: what of the desk the outside is told with a commit, incidents and a digest.

Takes a cycle and the incidents before and after it, gives events. They go through the outbox to
webhooks and alerts; their ids are the same whoever computes them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mlma.agent.announcing import head_document
from mlma.agent.judging import Registered
from mlma.domain.incidents import WITHDRAWN, Incident
from mlma.domain.ledger import CycleEntry, CycleInfo, Event
from mlma.domain.periods import Periods
from mlma.domain.requests import digest

Change = Literal["opened", "escalated", "resolved", "withdrawn"]

MOST_IN_DIGEST = 100
"""Incidents that a digest lists, the largest stake first; the others are counted."""
MOST_NAMES = 20
"""Streams of an incident that a message names."""

_GROWN, _MANY = 2, 10


@dataclass(frozen=True, slots=True)
class Told:
    """An incident, what became of it, and what was at stake before."""

    incident: Incident
    change: Change | None = None
    stake_before: float = 0.0


def desk_events(
    entry: CycleEntry,
    changed: Sequence[Incident],
    known: Sequence[Incident],
    registered: Registered,
    periods: Periods,
) -> Iterator[Event]:
    """Yield what of the desk the outside is told of a commit: incidents, then one digest.

    Parameters
    ----------
    entry
        the newest one of the commit.
    changed
        incidents that are new or changed (`Commit.incidents`).
    known
        incidents as they stood before: those that were given to `incidents_after`.
    """
    told = told_of(changed, known)
    head = head_document(entry.info, periods)
    for one in told:
        if one.change is not None:
            key = digest(["incident", one.incident.id, one.change, head["cycle"], head["revision"]])
            yield _incident(key, one, entry.info.judged_at, head, registered.names)
    if entry.info.revision == 0 or any(one.change for one in told):
        yield _digest(told, head, entry, registered.names)


def settled_event(
    before: Incident,
    after: Incident,
    *,
    at: datetime,
    newest: CycleInfo,
    names: Sequence[str],
    periods: Periods,
) -> Event | None:
    """Return the event about what a person did to an incident; None = nobody has to be told.

    Told are an incident that somebody resolved, and one that somebody opened again.

    Parameters
    ----------
    at
        when it was ordered.
    newest
        head of the newest cycle.
    """
    change = _change(before, after)
    if change is None or before.unfinished == after.unfinished:
        return None
    key = digest(["incident", after.id, change, at.isoformat()])
    one = Told(after, change, before.stake)
    return _incident(key, one, at, head_document(newest, periods), names)


def told_of(changed: Sequence[Incident], known: Sequence[Incident]) -> list[Told]:
    """Return the incidents that are on the desk now or just left it, the largest stake first."""
    before = {one.id: one for one in known}
    after = before | {one.id: one for one in changed}
    told = []
    for key, incident in after.items():
        was = before.get(key)
        change = _change(was, incident)
        if change is not None or incident.unfinished:
            told.append(Told(incident, change, 0.0 if was is None else was.stake))
    return sorted(told, key=lambda one: (-max(one.incident.stake, one.stake_before), _key(one)))


def _incident(
    key: str, one: Told, at: datetime, head: dict[str, Any], names: Sequence[str]
) -> Event:
    return Event(key, "incident", at, {**head, "change": one.change, **_shown(one, names)})


def _change(was: Incident | None, now: Incident) -> Change | None:
    if was is None or not was.unfinished:
        return "opened" if now.unfinished else None
    if not now.unfinished:
        return "withdrawn" if now.closed_by == WITHDRAWN else "resolved"
    return "escalated" if _escalated(was, now) else None


def _escalated(was: Incident, now: Incident) -> bool:
    """Whether an incident calls anew: another cause, awake again, or much larger at once."""
    grown = now.streams >= _MANY and now.streams >= _GROWN * was.streams
    awake = was.state == "snoozed" and now.state == "open"
    return now.kind != was.kind or awake or grown


def _digest(
    told: Sequence[Told], head: dict[str, Any], entry: CycleEntry, names: Sequence[str]
) -> Event:
    """Return what a cycle comes to; counts of changes, and of the incidents that are left."""
    info, summary = entry.info, entry.info.summary
    counts = {
        change: sum(one.change == change for one in told)
        for change in ("opened", "escalated", "resolved", "withdrawn")
    }
    waiting = sum(one.incident.state == "open" for one in told)
    unfinished = sum(one.incident.unfinished for one in told)
    document = {
        **head,
        "streams": info.streams,
        "verdicts": dict(summary.get("verdicts", {})),
        "decisions": dict(summary.get("decisions", {})),
        **counts,
        "open": waiting,
        "unfinished": unfinished,
        "incidents": [
            {"change": one.change, **_shown(one, names)} for one in told[:MOST_IN_DIGEST]
        ],
        "more": max(len(told) - MOST_IN_DIGEST, 0),
    }
    key = digest(["digest", info.cycle, info.revision])
    return Event(key, "digest", info.judged_at, document)


def _shown(one: Told, names: Sequence[str]) -> dict[str, Any]:
    incident = one.incident
    return {
        "incident": incident.id,
        "path": f"/incidents/{incident.id}",
        "kind": incident.kind,
        "scope": incident.scope,
        "state": incident.state,
        "streams": incident.streams,
        "unique_ids": [names[row] for row in incident.members[:MOST_NAMES]],
        "stake": incident.stake,
        "stake_before": one.stake_before,
        "effect": incident.effect,
        "cause": incident.cause,
        "done": incident.done,
        "advice": incident.advice,
        "suggests": list(incident.suggests),
        "opened_cycle": incident.opened_cycle,
        "opened_at": incident.opened_at.isoformat(),
        "closed_by": incident.closed_by,
    }


def _key(one: Told) -> tuple[int, str]:
    return one.incident.opened_cycle, one.incident.id
