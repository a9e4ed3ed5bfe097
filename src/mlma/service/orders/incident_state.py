"""What people set of an incident, in plain values: kept with an action, so that it can be undone.

Takes an incident, gives values for JSON, and back.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from mlma.domain.incidents import Incident

_PLAIN = ("state", "closed_cycle", "closed_by", "told")
_MOMENTS = ("closed_at", "snoozed_until")


def incident_state(incident: Incident) -> dict[str, Any]:
    """Return what people set of an incident."""
    made = {name: getattr(incident, name) for name in _PLAIN}
    for name in _MOMENTS:
        moment: datetime | None = getattr(incident, name)
        made[name] = None if moment is None else moment.isoformat()
    return made


def with_state(incident: Incident, state: Mapping[str, Any]) -> Incident:
    """Return an incident with what `incident_state` wrote."""
    told = dict(state)
    for name in _MOMENTS:
        told[name] = None if told[name] is None else datetime.fromisoformat(told[name])
    return replace(incident, **told)
