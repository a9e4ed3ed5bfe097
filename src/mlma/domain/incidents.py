"""Incidents: what an engineer sees instead of alarms, one per common cause.

Takes nothing, gives the nouns. `mlma.steps.group` makes them, `mlma.domain.orders` acts on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

IncidentState = Literal["open", "acknowledged", "snoozed", "resolved"]
INCIDENT_STATES: tuple[IncidentState, ...] = get_args(IncidentState)

IncidentKind = Literal["fleet", "group", "data", "event", "model", "trainer"]
INCIDENT_KINDS: tuple[IncidentKind, ...] = get_args(IncidentKind)
"""``fleet`` and ``group``: losses rose together; ``data``: actuals are missing or sensors dead;
``event``: alarms inside an event that is not muted; ``model``: re-training does not help a stream;
``trainer``: re-trainings fail, or nobody carries them out."""

UNFINISHED: tuple[IncidentState, ...] = ("open", "acknowledged", "snoozed")
BY_ITSELF = "agent"
"""Who resolved an incident whose cause went away."""
WITHDRAWN = "withdrawn"
"""Who resolved an incident that a batch which was judged anew no longer shows."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Alarms with a common cause.

    id
        the same whoever computes it from the ledger.
    scope
        ``fleet``, ``tag=value``, the name of a stream, or ``37 streams``.
    state
        set by people, but for ``resolved``, which the agent sets when the loss has recovered.
    opened_cycle, opened_at
        the cycle that showed it first, and when that was judged (clock of the agent).
    closed_cycle, closed_at, closed_by
        None and empty while it is not resolved; ``closed_by``: a name, `BY_ITSELF`, `WITHDRAWN`.
    updated_cycle
        the last cycle in which its cause was seen.
    members
        rows of the registry, ascending; of the largest ones at most `MOST_MEMBERS`.
    streams
        how many streams it has.
    stake
        loss at stake: by how much the members' losses of the newest batch exceed their references,
        each a mean per slot times its slots, added up. 0 where nothing was lost.
    effect
        median relative rise of the members' losses; None = not known.
    cause, done, advice
        sentences: what is seen, what the agent did, what it suggests.
    suggests
        kinds of orders (`mlma.domain.orders`) that the page offers, the best first.
    evidence
        plain values behind the sentences.
    snoozed_until
        None unless snoozed.
    changed
        number of the last action on it; 0 = none. Who acts tells which he has seen.
    told
        True = an engineer said that the alarm was right, False = that it was false, None = neither.
    """

    id: str
    kind: IncidentKind
    scope: str
    state: IncidentState
    opened_cycle: int
    opened_at: datetime
    updated_cycle: int
    streams: int
    members: tuple[int, ...] = ()
    stake: float = 0.0
    effect: float | None = None
    cause: str = ""
    done: str = ""
    advice: str = ""
    suggests: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    closed_cycle: int | None = None
    closed_at: datetime | None = None
    closed_by: str = ""
    snoozed_until: datetime | None = None
    changed: int = 0
    told: bool | None = None

    @property
    def unfinished(self) -> bool:
        """Whether it is still on the desk."""
        return self.state in UNFINISHED


MOST_MEMBERS = 1_000
