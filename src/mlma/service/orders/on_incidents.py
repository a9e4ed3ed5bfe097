"""Orders about incidents, looked at: who is at it, what is done with, which alarms were right.

Takes an order and what is known, gives its draft.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlma.domain.errors import ConflictError, DataError
from mlma.domain.incidents import Incident
from mlma.domain.orders import (
    Acknowledge,
    Confirm,
    Deny,
    OnIncident,
    ReopenIncident,
    Resolve,
    Snooze,
)
from mlma.service.orders.draft import Change, Draft, Known, told, when
from mlma.service.orders.incident_state import incident_state, with_state


def on_incident(order: OnIncident, known: Known) -> Draft:
    """Look at what somebody does to an incident.

    Raises
    ------
    DataError
        There is no such incident.
    ConflictError
        Somebody acted on it since it was seen, or it stands already as it is wanted.
    """
    incident = incident_of(order.incident, known)
    _check_seen(order, incident, known)
    made = _changed(order, incident, known)
    before, after = incident_state(incident), incident_state(made)
    if before == after:
        raise ConflictError(
            f"The incident of {incident.scope} is {_standing(incident)} "
            f"already{_by_whom(incident, known)}."
        )
    changes = [
        Change("", None, name, _shown(before[name]), _shown(after[name]))
        for name in before
        if before[name] != after[name]
    ]
    return Draft(
        sentence=f"{_VERBS[type(order)]} the incident of {incident.scope}: {incident.cause}",
        named=False,
        changes=changes,
        payload={"before": before, "after": after},
        incidents=(made,),
        cycle=known.cycle,
    )


def incident_of(one: str, known: Known) -> Incident:
    """Return an incident.

    Raises
    ------
    DataError
        There is none of this id.
    """
    found = known.store.incidents(ids=[one])
    if not found:
        raise DataError(
            f"There is no incident {one[:80]!r}. Hint: `mlma incidents` lists those that there are."
        )
    return found[0]


def back(incident: Incident, payload: Mapping[str, Any], known: Known) -> Incident:
    """Return an incident as it was before an action of this payload.

    What the agent did to it since stays.
    """
    now, before, after = incident_state(incident), payload["before"], payload["after"]
    same = all(now[name] == after[name] for name in now if name != "told")
    kept = before if same else now
    return with_state(incident, {**kept, "told": before["told"]})


def _check_seen(order: OnIncident, incident: Incident, known: Known) -> None:
    if order.seen is None or order.seen == incident.changed:
        return
    action = known.action(incident.changed)
    who = "somebody" if action is None else told(action)
    raise ConflictError(
        f"The incident of {incident.scope} was changed since it was looked at: {who}. It is "
        f"{_standing(incident)}. Nothing was written. Hint: look at it again."
    )


def _changed(order: OnIncident, incident: Incident, known: Known) -> Incident:
    open_again = replace(
        incident,
        state="open",
        closed_cycle=None,
        closed_at=None,
        closed_by="",
        snoozed_until=None,
    )
    if isinstance(order, Confirm | Deny):
        return replace(incident, told=isinstance(order, Confirm))
    if isinstance(order, ReopenIncident):
        if incident.state != "resolved":
            by = _by_whom(incident, known)
            raise ConflictError(
                f"The incident of {incident.scope} is {incident.state}{by}. "
                f"Expected a resolved one."
            )
        return open_again
    if incident.state == "resolved":
        by = _by_whom(incident, known)
        raise ConflictError(
            f"The incident of {incident.scope} is resolved{by}. Expected one that is not. "
            f"Hint: reopen it first."
        )
    if isinstance(order, Snooze):
        _check_until(order, known)
        return replace(open_again, state="snoozed", snoozed_until=order.until)
    if isinstance(order, Acknowledge):
        return replace(open_again, state="acknowledged")
    return replace(
        open_again,
        state="resolved",
        closed_cycle=known.cycle,
        closed_at=known.now,
        closed_by=known.by,
    )


def _check_until(order: Snooze, known: Known) -> None:
    if order.until.tzinfo is None or order.until <= known.now:
        raise DataError(
            f"`until` of `snooze` must lie ahead of {known.now.isoformat()}, with its time zone. "
            f"Got {order.until.isoformat()}."
        )


def _standing(incident: Incident) -> str:
    if incident.told is None:
        return incident.state
    return f"{incident.state}, its alarm {'confirmed' if incident.told else 'denied'}"


def _by_whom(incident: Incident, known: Known) -> str:
    if incident.state == "resolved" and incident.closed_by:
        moment = "" if incident.closed_at is None else f", {when(incident.closed_at)}"
        return f" (by {incident.closed_by}{moment})"
    action = known.action(incident.changed)
    return "" if action is None else f": {told(action)}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "right" if value else "false"
    return "" if value is None else str(value)


_VERBS: dict[type[OnIncident], str] = {
    Acknowledge: "Acknowledges",
    Snooze: "Snoozes",
    Resolve: "Resolves",
    ReopenIncident: "Reopens",
    Confirm: "Says that the alarm was right of",
    Deny: "Says that the alarm was false of",
}
