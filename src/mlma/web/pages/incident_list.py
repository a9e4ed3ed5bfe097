"""The list of incidents: which are shown, in which order, and what is shown of each.

Takes the store, gives incidents by the loss at stake. Next are the pages of incidents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.domain.incidents import (
    INCIDENT_KINDS,
    UNFINISHED,
    Incident,
    IncidentKind,
    IncidentState,
)
from mlma.domain.ledger import CycleInfo
from mlma.ports.store import Store
from mlma.web.face import Desk
from mlma.web.pages.loss_shelf import MemberLosses, shelf_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

VIEWS = ("desk", "snoozed", "resolved", "all")
"""What is on the desk; what is put aside; what is done with; everything."""
KIND_WORDS: dict[IncidentKind, str] = {
    "fleet": "fleet-wide",
    "group": "group",
    "data": "data fault",
    "event": "during an event",
    "model": "model that will not heal",
    "trainer": "trainer",
}
SIZE = 25
CYCLES = 28
_MOST = 2_000


@dataclass(frozen=True, slots=True)
class Asked:
    """Which incidents are asked for; empty = whatever."""

    view: str = "desk"
    kind: str = ""
    scope: str = ""

    def fits(self, one: Incident, now: datetime) -> bool:
        """Return whether an incident is one of them."""
        return (
            (self.view == "all" or place_of(one, now) == self.view)
            and self.kind in {"", one.kind}
            and self.scope.lower() in one.scope.lower()
        )


def place_of(one: Incident, now: datetime) -> str:
    """Return where an incident lies: on the desk, put aside, or done with."""
    if one.state == "resolved":
        return "resolved"
    asleep = one.state == "snoozed" and (one.snoozed_until is None or one.snoozed_until > now)
    return "snoozed" if asleep else "desk"


def incidents_of(store: Store, asked: Asked, now: datetime) -> tuple[list[Incident], bool]:
    """Return the incidents that are asked for, and whether there may be more.

    What is not done with comes by the loss at stake; what is, the newest first.
    """
    states: Sequence[IncidentState] = ("resolved",) if asked.view == "resolved" else UNFINISHED
    found = store.incidents(states=None if asked.view == "all" else states, limit=_MOST)
    fitting = [one for one in found if asked.fits(one, now)]
    if asked.view in {"desk", "snoozed"}:
        fitting.sort(key=rank)
    return fitting, len(found) == _MOST


def rank(one: Incident) -> tuple[bool, float, int, str]:
    """Return what incidents are sorted by: those that nobody has taken on, the most at stake."""
    return (one.state == "acknowledged", -one.stake, -one.opened_cycle, one.id)


def counts_of(store: Store, now: datetime) -> dict[str, int]:
    """Return how many incidents lie on the desk and are put aside."""
    counts = {"desk": 0, "snoozed": 0}
    for one in store.incidents(states=UNFINISHED, limit=_MOST):
        counts[place_of(one, now)] += 1
    return counts


def kinds() -> list[tuple[str, str]]:
    """Return the kinds to choose from."""
    return [(kind, KIND_WORDS[kind]) for kind in INCIDENT_KINDS]


def recent_ratios(at: Desk, shown: Sequence[Incident]) -> dict[str, Floats]:
    """Return mean loss over mean reference of the members of incidents in the newest cycles."""
    heads = at.room.store.cycles(newest_first=True, limit=CYCLES)[::-1]
    shelf = shelf_of(at.room)
    return {one.id: shelf.ratios(_rows(one), heads) for one in shown if one.members}


def around(at: Desk, one: Incident, before: int = 21, after: int = 21) -> MemberLosses:
    """Return the losses of an incident's members around its opening."""
    last = max(one.opened_cycle + after, min(one.updated_cycle, one.opened_cycle + 4 * after))
    first = max(one.opened_cycle - before, 1)
    return _losses(at, one, at.room.store.cycles(first=first, last=last))


def _losses(at: Desk, one: Incident, heads: Sequence[CycleInfo]) -> MemberLosses:
    return shelf_of(at.room).members(_rows(one), heads)


def _rows(one: Incident) -> Ints:
    return np.array(one.members, dtype=np.int64)


def frame_of(found: Sequence[Incident]) -> pl.DataFrame:
    """Return incidents as a table."""
    columns: dict[str, Any] = {
        "id": pl.String,
        "kind": pl.String,
        "scope": pl.String,
        "state": pl.String,
        "streams": pl.Int64,
        "stake": pl.Float64,
        "effect": pl.Float64,
        "opened_cycle": pl.Int64,
        "opened_at": pl.Datetime("us", "UTC"),
        "updated_cycle": pl.Int64,
        "closed_cycle": pl.Int64,
        "closed_at": pl.Datetime("us", "UTC"),
        "closed_by": pl.String,
        "snoozed_until": pl.Datetime("us", "UTC"),
        "told": pl.Boolean,
        "cause": pl.String,
        "done": pl.String,
        "advice": pl.String,
    }
    rows = [[getattr(one, name) for name in columns] for one in found]
    return pl.DataFrame(rows, schema=columns, orient="row")
