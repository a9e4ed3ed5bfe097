"""What the agent remembers, as named columns and plain values, and back.

A saved agent and a snapshot of the live agent are made of this. Nothing is pickled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.domain.columns import Columns
from mlma.domain.errors import StateError
from mlma.domain.fleet import Audit, FleetState, GroupColumns
from mlma.domain.moments import Moments
from mlma.domain.profiles import ProfileMoments
from mlma.domain.state import AgentState, LossWindow, ReferenceState, Waiting

_PARTS: dict[str, type[Columns]] = {
    "reference": ReferenceState,
    "moments": Moments,
    "waiting": Waiting,
    "window": LossWindow,
    "slot_profile": ProfileMoments,
}
_OPTIONAL = ("window", "slot_profile")


def columns_of(state: AgentState, fleet: FleetState) -> dict[str, NDArray[Any]]:
    """Return the columns of streams (``stream.``), groups (``group.``) and audit (``audit.``)."""
    counts = {spec.name: getattr(fleet.audit, spec.name) for spec in fields(Audit)}
    return {
        **state.flat("stream."),
        **fleet.groups.flat("group."),
        **{f"audit.{name}": np.asarray(value) for name, value in counts.items()},
    }


def head_of(fleet: FleetState) -> dict[str, Any]:
    """Return what the fleet remembers beside its columns, in plain values."""
    return {"names": list(fleet.names), "cycle": fleet.cycle}


def remembered(
    head: Mapping[str, Any], columns: Mapping[str, NDArray[Any]], n_streams: int, where: str
) -> tuple[AgentState, FleetState]:
    """Return what `columns_of` and `head_of` wrote; ``where`` names it in messages.

    Raises
    ------
    StateError
        Something is missing, or not as long as it should be.
    """
    try:
        state = _record(AgentState, columns, "stream.")
        fleet = _fleet(head, columns)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateError(f"{where} lacks {error}: it is damaged.") from error
    if not (_as_long_as(n_streams, state) and _as_long_as(len(fleet.names), fleet.groups)):
        raise StateError(f"{where} is damaged: its columns are not as long as its lists of names.")
    return state, fleet


def _as_long_as(n: int, record: Columns) -> bool:
    return {len(column) for column in record.flat().values()} == {n}


def _record(kind: Any, columns: Mapping[str, Any], path: str) -> Any:
    """Return the record whose columns start with ``path``."""
    made: dict[str, Any] = {}
    for spec in fields(kind):
        name = path + spec.name
        if spec.name not in _PARTS:
            made[spec.name] = columns[name]
        elif spec.name in _OPTIONAL and not any(one.startswith(f"{name}.") for one in columns):
            made[spec.name] = None
        else:
            made[spec.name] = _record(_PARTS[spec.name], columns, f"{name}.")
    return kind(**made)


def _fleet(head: Mapping[str, Any], columns: Mapping[str, Any]) -> FleetState:
    counts = {spec.name: columns[f"audit.{spec.name}"] for spec in fields(Audit)}
    plain: dict[str, Any] = {
        name: value if value.ndim else float(value) for name, value in counts.items()
    }
    groups = _record(GroupColumns, columns, "group.")
    names: Sequence[str] = head["names"]
    return FleetState(tuple(names), groups, int(head["cycle"]), Audit(**plain))
