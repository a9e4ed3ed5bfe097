"""The ledger: what is written once and never changed; everything else is derived from it.

Per cycle one record per stream (`EVIDENCE`): what the cycle read, and what it saw and decided.
Beside it actions, decisions in words, requests for re-training, and events for the outside. Takes
what the cycle gives, gives what the store writes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.domain.incidents import Incident
from mlma.domain.requests import RetrainingRequest
from mlma.domain.verdicts import RECORD_FLOATS, CycleRecord

Ints = NDArray[np.int64]

EVIDENCE = np.dtype(
    [
        ("loss", "<f8"),  # mean loss of the batch; NaN = none, or too few
        ("benchmark", "<f8"),  # mean loss of the benchmark; NaN = none
        *((name, "<f4") for name in RECORD_FLOATS if name != "loss"),
        ("n", "<i4"),  # pairs in the batch; -1 = the stream was not in the cycle
        ("forecasts", "<i4"),  # slots with a forecast
        ("age", "<i4"),
        ("version", "<i4"),
        ("calendar", "i1"),
        ("excluded", "i1"),
        ("alarm", "i1"),
        ("verdict", "i1"),
        ("decision", "i1"),
        ("reason", "i1"),
    ]
)
"""One record per stream and cycle, 74 bytes. What was read is kept to the bit, what was derived in
single precision: it can be computed again."""

ABSENT = -1
"""``n`` of a stream that was not in the cycle."""

_CODES = ("alarm", "verdict", "decision", "reason")


def packed(record: CycleRecord, **beside: NDArray[Any] | int | float) -> NDArray[np.void]:
    """Return the record of a cycle as rows of `EVIDENCE`; ``beside`` are its other columns."""
    made = np.zeros(len(record.loss), dtype=EVIDENCE)
    for name in ("n", *RECORD_FLOATS, *_CODES):
        made[name] = getattr(record, name)
    for name, column in beside.items():
        made[name] = column
    return made


def unpacked(evidence: NDArray[np.void]) -> CycleRecord:
    """Return rows of `EVIDENCE` as the record of a cycle."""
    floats = {name: evidence[name].astype(np.float64) for name in RECORD_FLOATS}
    return CycleRecord(
        n=evidence["n"].astype(np.int64),
        alarm=evidence["alarm"].astype(np.bool_),
        verdict=evidence["verdict"].copy(),
        decision=evidence["decision"].copy(),
        reason=evidence["reason"].copy(),
        **floats,
    )


@dataclass(frozen=True, slots=True)
class CycleInfo:
    """The head of a cycle.

    cycle, revision
        number of the cycle, from 1; how often its batch was opened again.
    period
        number of its period; no two cycles have the same.
    judged_at
        when, by the clock of the agent.
    through
        number of the last parcel that was there when it was judged.
    closed
        why the batch was judged: ``complete``, ``timeout`` or ``revised``.
    streams
        how many were in the cycle.
    policy, seed
        under which it was judged.
    summary
        plain values: streams per verdict and decision, rows left out and why, findings, audit,
        seconds.
    """

    cycle: int
    revision: int
    period: int
    judged_at: datetime
    through: int
    closed: str
    streams: int = 0
    policy: str = ""
    seed: int = 0
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decided:
    """One verdict or decision that somebody may want to see: everything but a healthy `keep`.

    ``before`` is the verdict and decision of the revision before, such as ``degraded/retrain``;
    empty in a first revision.
    """

    cycle: int
    revision: int
    stream: int
    verdict: str
    decision: str
    reason: str
    loss: float | None
    effect: float | None
    p_value: float | None
    before: str = ""


@dataclass(frozen=True, slots=True)
class CycleEntry:
    """All that one revision of one cycle adds to the ledger.

    streams
        ``(n,) int64``, rows of the registry, ascending.
    evidence
        ``(n,)`` of dtype `EVIDENCE`.
    losses
        single losses ``(n, width) float64`` where the test reads them; None = their mean is all.
    """

    info: CycleInfo
    streams: Ints
    evidence: NDArray[np.void]
    decided: tuple[Decided, ...] = ()
    losses: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the agent after a cycle: a head of plain values, and named columns.

    Columns that start with ``stream.`` have one entry per registered stream of that time.
    """

    cycle: int
    head: Mapping[str, Any]
    columns: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Action:
    """Something that was done to the agent, by a person or a trainer; recorded before it acts.

    number
        place in the order of actions, from 1; 0 = not recorded yet.
    kind
        ``deployed`` or ``failed`` (a re-training), ``tags``, or one of `mlma.domain.orders`.
    cycle
        the cycle before which it was carried out; of one about an incident, the newest cycle when
        it was recorded; None = not carried out yet.
    """

    kind: str
    payload: Mapping[str, Any]
    at: datetime
    by: str = ""
    why: str = ""
    number: int = 0
    cycle: int | None = None


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request for a re-training and what became of it.

    status
        ``open``, ``claimed`` (a fit is running), ``done``, ``failed`` or ``withdrawn`` (a revised
        batch no longer asks for it).
    """

    request: RetrainingRequest
    status: str = "open"
    attempts: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell the outside: written with the cycle, delivered afterwards.

    id
        the same whoever computes it: a receiver that has seen it need not act again.
    kind
        ``decisions``, ``findings``, ``requests``, ``revised``, ``incident``, ``digest``,
        ``action`` or ``test``.
    """

    id: str
    kind: str
    at: datetime
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to one target.

    status
        ``waiting``, ``delivered`` or ``given_up``.
    """

    event: Event
    target: str
    status: str = "waiting"
    attempts: int = 0
    next_at: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to decide: of all instances on one store just one holds it.

    ``token`` grows with every change of hands, so that a holder who was asleep is noticed.
    """

    holder: str
    token: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction of the agent writes, all or nothing.

    entries
        one for a new cycle; several where a batch was opened again: the cycles since.
    snapshot
        the state afterwards.
    applied
        numbers of the actions that were carried out, and before which cycle.
    requests, withdrawn
        new requests for re-training; ids of open ones that are no longer wanted.
    events, targets
        what to tell, and the names of those who are told.
    incidents
        those that are new or changed; what people did to one in the meantime (``state``,
        ``snoozed_until``, ``changed``, ``told``) is kept, unless the commit resolves it.
    """

    entries: tuple[CycleEntry, ...]
    snapshot: Snapshot
    applied: Mapping[int, int] = field(default_factory=dict)
    requests: tuple[RetrainingRequest, ...] = ()
    withdrawn: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    targets: tuple[str, ...] = ()
    incidents: tuple[Incident, ...] = ()
