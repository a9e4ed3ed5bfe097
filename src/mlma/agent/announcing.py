"""Announcing: what of a commit the outside is told, and which re-trainings are asked for.

Takes the entries of a commit and the memory after it, gives requests and events. Their ids are the
same whoever computes them.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mlma.agent.judging import Registered, number_or_none
from mlma.agent.watch import Memory
from mlma.domain.ledger import CycleEntry, Decided, Event, OpenRequest
from mlma.domain.periods import Periods, moment_of
from mlma.domain.requests import RetrainingRequest, digest, request_id
from mlma.domain.verdicts import Reason

MOST_IN_EVENT = 500
"""Decisions that one message may hold."""

_TOLD = ("retrain", "hold", "defer", "switch", "escalate")


def wanted(
    entry: CycleEntry,
    memory: Memory,
    registered: Registered,
    outstanding: Sequence[OpenRequest],
    answered: Container[str] = (),
) -> tuple[tuple[RetrainingRequest, ...], tuple[str, ...]]:
    """Return the new requests after an entry, and the ids of those that are not wanted any more.

    A stream whose re-training is pending has one request. One that nobody has claimed is withdrawn
    where a revised batch no longer asks for it. ``answered`` are streams whose fit has ended, and
    counts from the next cycle on: they are not asked for once more.
    """
    asked = {one.request.unique_id: one for one in outstanding}
    decided = {one.stream: one for one in entry.decided}
    pending = {registered.names[row]: int(row) for row in np.flatnonzero(memory.state.pending)}
    new = [
        _request(row, name, entry, memory, decided.get(row))
        for name, row in sorted(pending.items())
        if name not in asked and name not in answered
    ]
    stale = tuple(
        one.request.id
        for name, one in asked.items()
        if name not in pending and one.status == "open"
    )
    return tuple(new), stale


def _request(
    row: int, name: str, entry: CycleEntry, memory: Memory, told: Decided | None
) -> RetrainingRequest:
    place = int(np.searchsorted(entry.streams, row))
    there = place < len(entry.streams) and entry.streams[place] == row
    seen = entry.evidence[place] if there else None
    loss = None if seen is None else number_or_none(seen["loss"])
    version, cycle = int(memory.state.version[row]), int(memory.state.cycle[row])
    evidence: dict[str, Any] = {"cycle": entry.info.cycle, "loss": loss}
    reason = Reason.ALARM.label
    if told is not None:
        reason = told.reason
        evidence |= {"effect": told.effect, "p_value": told.p_value, "verdict": told.verdict}
    return RetrainingRequest(
        id=request_id(name, version, cycle, loss),
        unique_id=name,
        reason=reason,
        version=version,
        cycle=cycle,
        asked_at=entry.info.judged_at,
        evidence=evidence,
    )


def events(
    entry: CycleEntry,
    requests: Sequence[RetrainingRequest],
    withdrawn: Sequence[str],
    registered: Registered,
    periods: Periods,
) -> Iterator[Event]:
    """Yield what of a cycle the outside is told."""
    info = entry.info
    head = {
        "cycle": info.cycle,
        "revision": info.revision,
        "period": info.period,
        "begins": moment_of(periods.start(info.period)).isoformat(),
        "judged_at": info.judged_at.isoformat(),
    }

    def event(kind: str, number: int, document: Mapping[str, Any]) -> Event:
        key = digest([kind, info.cycle, info.revision, number])
        return Event(key, kind, info.judged_at, {**head, **document})

    revised = info.revision > 0
    told = [one for one in entry.decided if (one.before if revised else one.decision in _TOLD)]
    kind = "revised" if revised else "decisions"
    for number, part in enumerate(_parts(told)):
        shown = [_shown(one, registered) for one in part]
        yield event(kind, number, {"decisions": shown})
    found = [one for one in info.summary.get("findings", []) if one["state"] != "open"]
    if found:
        yield event("findings", 0, {"findings": found})
    for number, asked in enumerate(_parts(requests)):
        yield event("requests", number, {"requests": [_request_shown(one) for one in asked]})
    if withdrawn:
        yield event("requests", -1, {"withdrawn": list(withdrawn)})


def _parts(many: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(many), MOST_IN_EVENT):
        yield many[first : first + MOST_IN_EVENT]


def _shown(one: Decided, registered: Registered) -> dict[str, Any]:
    shown = asdict(one)
    del shown["cycle"], shown["revision"]
    shown["unique_id"] = registered.names[shown.pop("stream")]
    return shown


def _request_shown(one: RetrainingRequest) -> dict[str, Any]:
    return asdict(one) | {"asked_at": one.asked_at.isoformat(), "evidence": dict(one.evidence)}
