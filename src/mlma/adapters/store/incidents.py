"""Incidents: what the agent sees of them and what people do to them, in one row each.

Takes those of a commit or of an action, writes them over what is there; gives them to the desk.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from math import isnan
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, select

from mlma.adapters.store.bulk import insert_all, slices
from mlma.adapters.store.codec import micros, moment, named, plain, read, written
from mlma.adapters.store.part import Part
from mlma.adapters.store.schema import ACTIONS, INCIDENTS
from mlma.domain.errors import ConflictError, StoreError, unknown_name
from mlma.domain.incidents import BY_ITSELF, INCIDENT_STATES, WITHDRAWN, Incident

Rows = Row[tuple[Any, ...]]

_AS_IT_IS = ("scope", "streams", "effect", "cause", "done", "advice", "closed_by", "told")
_LISTS = ("members", "suggests")
_MOMENTS = ("opened_at", "closed_at", "snoozed_until")
_CLOSING = ("state", "closed_cycle", "closed_at", "closed_by", "snoozed_until")
_PEOPLES = (*_CLOSING, "told")
_NOT_YET = 2**62


class IncidentsPart(Part):
    """Incidents by id."""

    def incidents(
        self,
        *,
        ids: Sequence[str] | None = None,
        states: Iterable[str] | None = None,
        touched_since: int | None = None,
        limit: int | None = None,
        start: int = 0,
    ) -> list[Incident]:
        """Return incidents, the newest opened first, those of one cycle by stake and id.

        The larger stake comes first. ``touched_since``: those not resolved, and those opened,
        updated or closed in this cycle or a later one. ``start`` leaves so many out.
        """
        asked = self._ordered(states, touched_since)
        with self._database.read() as connection:
            if ids is None:
                return [
                    _incident(row) for row in connection.execute(asked.limit(limit).offset(start))
                ]
            found: list[Rows] = []
            for some in slices(list(dict.fromkeys(ids))):
                found += connection.execute(asked.where(INCIDENTS.c.id.in_(some)))
        found.sort(key=lambda row: (-row.opened_cycle, -row.stake, row.id))
        end = None if limit is None else start + limit
        return [_incident(row) for row in found[start:end]]

    def _ordered(self, states: Iterable[str] | None, touched_since: int | None) -> Select[Any]:
        table = INCIDENTS.c
        asked = select(INCIDENTS)
        if states is not None:
            asked = asked.where(table.state.in_(list(states)))
        opened: ColumnElement[int] = table.opened_cycle
        if touched_since is not None:
            asked = asked.where(table.touched >= touched_since)
            opened = opened + 0  # else SQLite walks through all in order to find the few
        return asked.order_by(opened.desc(), table.stake.desc(), self._bytewise(table.id))


def write_seen(
    connection: Connection, incidents: Sequence[Incident], judged_at: datetime | None
) -> None:
    """Write what the agent sees; what people did meanwhile stays (`_as_seen`)."""
    there = _there(connection, incidents)
    _write(
        connection,
        {
            one.id: _as_seen(one, there[one.id], judged_at) if one.id in there else one
            for one in incidents
        },
    )


def write_changed(connection: Connection, incidents: Sequence[Incident], number: int) -> None:
    """Write what people did to incidents with the action of a number.

    Where a later cycle has seen one since it was read, what the cycle saw stays.

    Raises
    ------
    ConflictError
        Somebody was first at one of them, or it is not there.
    """
    there = _there(connection, incidents)
    made: dict[str, Incident] = {}
    for one in incidents:
        known = there.get(one.id)
        if one.changed != (known.changed if known else 0):
            raise _was_first(connection, one, known)
        newest = known if known and known.updated_cycle > one.updated_cycle else one
        made[one.id] = replace(newest, **_fields(one, _PEOPLES), changed=number)
    _write(connection, made)


def _as_seen(new: Incident, known: Incident, judged_at: datetime | None) -> Incident:
    """Return an incident as the agent sees it, with what people did to it.

    What a person resolved stays resolved by that person, whatever the agent says. Else the agent
    resolves, and opens again what it resolved itself; who acknowledged or snoozed one is left in
    peace, but for a snooze that is over.
    """
    new = replace(new, changed=known.changed, told=known.told)
    if known.state == "resolved" and known.closed_by not in (BY_ITSELF, WITHDRAWN):
        return replace(new, **_fields(known, _CLOSING))
    if new.state == "resolved":
        return replace(new, snoozed_until=None)
    over = known.snoozed_until is not None and (
        judged_at is not None and known.snoozed_until <= judged_at
    )
    if known.state == "resolved" or (known.state == "snoozed" and over):
        return new
    return replace(new, **_fields(known, _CLOSING))


def _fields(incident: Incident, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(incident, name) for name in names}


def _was_first(connection: Connection, one: Incident, known: Incident | None) -> ConflictError:
    if known is None:
        return ConflictError(f"There is no incident {one.id} that action {one.changed} changed.")
    asked = select(ACTIONS).where(ACTIONS.c.number == known.changed)
    row = connection.execute(asked).first()
    words = f"action {known.changed}"
    if row is not None:
        words += f", `{row.kind}` by {row.by or 'nobody named'} at {moment(row.at).isoformat()}"
    return ConflictError(
        f"Incident {one.id} was changed meanwhile: {words}. Expected action {one.changed} to be "
        f"the last on it; now it is {known.state}. Nothing was written. Hint: look at it again."
    )


def _there(connection: Connection, incidents: Sequence[Incident]) -> dict[str, Incident]:
    there: dict[str, Incident] = {}
    for some in slices([one.id for one in incidents]):
        found = connection.execute(select(INCIDENTS).where(INCIDENTS.c.id.in_(some)))
        there.update((row.id, _incident(row)) for row in found)
    return there


def _write(connection: Connection, incidents: Mapping[str, Incident]) -> None:
    for some in slices(list(incidents)):
        connection.execute(delete(INCIDENTS).where(INCIDENTS.c.id.in_(some)))
    insert_all(connection, INCIDENTS, _columns(list(incidents.values())))


def _columns(incidents: Sequence[Incident]) -> dict[str, list[object]]:
    return {
        "id": [named(one.id, "The id of an incident") for one in incidents],
        "kind": [plain(one.kind) for one in incidents],
        "state": [_state(one) for one in incidents],
        "opened_cycle": [int(one.opened_cycle) for one in incidents],
        "updated_cycle": [int(one.updated_cycle) for one in incidents],
        "closed_cycle": [_whole(one.closed_cycle) for one in incidents],
        "touched": [_touched(one) for one in incidents],
        "stake": [0.0 if isnan(one.stake) else float(one.stake) for one in incidents],
        "changed": [one.changed for one in incidents],
        "document": [_document(one) for one in incidents],
    }


def _state(incident: Incident) -> str:
    if incident.state not in INCIDENT_STATES:
        raise StoreError(str(unknown_name("state", str(incident.state), INCIDENT_STATES)))
    return incident.state


def _whole(number: int | None) -> int | None:
    return None if number is None else int(number)


def _touched(incident: Incident) -> int:
    """Return the last cycle that changed it, so that one index finds it."""
    if incident.unfinished:
        return _NOT_YET
    cycles = (incident.opened_cycle, incident.updated_cycle, incident.closed_cycle or 0)
    return int(max(cycles))


def _document(incident: Incident) -> str:
    times = {
        name: None if at is None else micros(at) for name, at in _fields(incident, _MOMENTS).items()
    }
    kept = _fields(incident, (*_AS_IT_IS, *_LISTS, "evidence"))
    return written(kept | times)


def _incident(row: Rows) -> Incident:
    kept = read(row.document)
    for name in _MOMENTS:
        kept[name] = None if kept[name] is None else moment(kept[name])
    for name in _LISTS:
        kept[name] = tuple(kept[name])
    return Incident(
        id=row.id,
        kind=row.kind,
        state=row.state,
        opened_cycle=row.opened_cycle,
        updated_cycle=row.updated_cycle,
        closed_cycle=row.closed_cycle,
        stake=row.stake,
        changed=row.changed,
        **kept,
    )
