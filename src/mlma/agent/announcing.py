"""Announcing: what of a commit the outside is told, and which re-trainings are asked for.

Takes the entries of a commit and the memory after it, gives requests and events. Their ids are the
same whoever computes them.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from mlma.agent.exclusions import NOTHING_LEFT_OUT, Exclusions
from mlma.agent.judging import Registered, number_or_none
from mlma.agent.watch import Memory
from mlma.domain.ledger import CycleEntry, CycleInfo, Decided, Event, OpenRequest
from mlma.domain.periods import Periods, moment_of
from mlma.domain.requests import RetrainingRequest, Span, digest, request_id
from mlma.domain.verdicts import Reason

MOST_IN_EVENT = 500
"""Decisions that one message may hold."""

_TOLD = ("retrain", "hold", "defer", "switch", "escalate")


@dataclass(frozen=True, slots=True)
class Outstanding:
    """What is asked for already.

    requests
        that are open or claimed.
    answered
        streams whose fit has ended, and counts from the next cycle on.
    ordered
        streams that a person asks for, in an order that counts from the next cycle on.
    held
        streams of which the agent may ask nothing: frozen, pinned, or in a muted event.
    budget
        requests that are made in a cycle at most; None = no limit.
    """

    requests: Sequence[OpenRequest]
    answered: Container[str] = ()
    ordered: Container[str] = ()
    held: Container[str] = ()
    budget: int | None = None

    def waits(self, name: str) -> bool:
        """Return whether a stream that nobody is asked for yet is not to be asked for now."""
        return name in self.answered or name in self.ordered or name in self.held

    def left(self, cycle: int, stale: Container[str]) -> int | None:
        """Return how many requests a cycle may still make; None = no limit.

        One that was judged anew has made some already.
        """
        if self.budget is None:
            return None
        made = [one.request for one in self.requests if one.request.id not in stale]
        own = sum(not one.by and one.evidence.get("cycle") == cycle for one in made)
        return max(self.budget - own, 0)


def wanted(
    entry: CycleEntry,
    memory: Memory,
    registered: Registered,
    outstanding: Outstanding,
    left_out: Mapping[str, Exclusions],
) -> tuple[tuple[RetrainingRequest, ...], tuple[str, ...]]:
    """Return the new requests after an entry, and the ids of those that are not wanted any more.

    Among the new ones are those under other terms than before: their ids stay.

    A stream whose re-training is pending has one request. One that nobody has claimed is withdrawn
    where a revised batch no longer asks for it. Streams whose fit has ended are not asked for once
    more, nor those that are held. Under a budget the streams that lose most come first, and the
    others wait: they are pending without a request. ``left_out`` says what may not be trained on.
    """
    asked = {one.request.unique_id: one for one in outstanding.requests}
    decided = {one.stream: one for one in entry.decided}
    pending = {registered.names[row]: int(row) for row in np.flatnonzero(memory.state.pending)}
    stale = tuple(
        one.request.id
        for name, one in asked.items()
        if name not in pending and name not in outstanding.ordered and one.status == "open"
    )
    waiting = [
        name for name in sorted(pending) if name not in asked and not outstanding.waits(name)
    ]
    left = outstanding.left(entry.info.cycle, stale)
    if left is not None and len(waiting) > left:
        stake = lost(entry)
        waiting.sort(key=lambda name: (-stake.get(pending[name], 0.0), name))
        waiting = waiting[:left]
    new = [
        _request(
            pending[name],
            name,
            entry,
            memory,
            told=decided.get(pending[name]),
            out=left_out.get(name),
        )
        for name in waiting
    ]
    new += _renewed(outstanding.requests, pending, left_out)
    return tuple(new), stale


def _renewed(
    requests: Sequence[OpenRequest], pending: Container[str], left_out: Mapping[str, Exclusions]
) -> list[RetrainingRequest]:
    """Return the requests that nobody has claimed and whose terms are others by now."""
    made = []
    for one in requests:
        asked = one.request
        if one.status != "open" or asked.kind != "retrain" or asked.unique_id not in pending:
            continue
        out = left_out.get(asked.unique_id, NOTHING_LEFT_OUT)
        if (asked.exclude, asked.train_from) != (out.spans, out.train_from):
            made.append(replace(asked, exclude=out.spans, train_from=out.train_from))
    return made


def lost(entry: CycleEntry) -> dict[int, float]:
    """Return by row how much more than expected the streams of a cycle lost, over their slots."""
    made = entry.evidence
    with np.errstate(over="ignore", invalid="ignore"):
        more = (made["loss"] - np.exp(made["reference_log"].astype(np.float64))) * made["n"]
    known = np.isfinite(more)
    return dict(zip(entry.streams[known].tolist(), more[known].tolist(), strict=True))


def _request(
    row: int,
    name: str,
    entry: CycleEntry,
    memory: Memory,
    *,
    told: Decided | None,
    out: Exclusions | None,
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
    out = out or NOTHING_LEFT_OUT
    return RetrainingRequest(
        id=request_id(name, version, cycle, loss),
        unique_id=name,
        reason=reason,
        version=version,
        cycle=cycle,
        asked_at=entry.info.judged_at,
        evidence=evidence,
        exclude=out.spans,
        train_from=out.train_from,
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
    head = head_document(info, periods)

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
        yield event("requests", number, {"requests": [request_document(one) for one in asked]})
    if withdrawn:
        yield event("requests", -1, {"withdrawn": list(withdrawn)})


def head_document(info: CycleInfo, periods: Periods) -> dict[str, Any]:
    """Return of which cycle a message tells."""
    return {
        "cycle": info.cycle,
        "revision": info.revision,
        "period": info.period,
        "begins": moment_of(periods.start(info.period)).isoformat(),
        "judged_at": info.judged_at.isoformat(),
    }


def ordered_events(
    requests: Sequence[RetrainingRequest],
    withdrawn: Sequence[str],
    *,
    at: datetime,
    newest: CycleInfo | None,
    periods: Periods,
) -> Iterator[Event]:
    """Yield what trainers are told of requests that an order made or withdrew between two cycles.

    ``newest`` is the head of the newest cycle; None = there was none yet.
    """
    head = {} if newest is None else head_document(newest, periods)
    for asked in _parts(requests):
        key = digest(["requests", *(one.id for one in asked)])
        yield Event(key, "requests", at, {**head, "requests": [request_document(x) for x in asked]})
    if withdrawn:
        key = digest(["withdrawn", at.isoformat(), *sorted(withdrawn)])
        yield Event(key, "requests", at, {**head, "withdrawn": list(withdrawn)})


def _parts(many: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(many), MOST_IN_EVENT):
        yield many[first : first + MOST_IN_EVENT]


def _shown(one: Decided, registered: Registered) -> dict[str, Any]:
    shown = asdict(one)
    del shown["cycle"], shown["revision"]
    shown["unique_id"] = registered.names[shown.pop("stream")]
    return shown


def request_document(one: RetrainingRequest) -> dict[str, Any]:
    """Return a request in plain values, as messages tell it."""
    return asdict(one) | {
        "asked_at": one.asked_at.isoformat(),
        "evidence": dict(one.evidence),
        "exclude": spans_document(one.exclude),
        "train_from": None if one.train_from is None else one.train_from.isoformat(),
    }


def spans_document(spans: Sequence[Span]) -> list[list[str]]:
    """Return spans of time in plain values."""
    return [[begins.isoformat(), ends.isoformat()] for begins, ends in spans]
