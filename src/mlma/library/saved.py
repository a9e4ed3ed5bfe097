"""A saved agent: one npz file of plain arrays and a line of JSON; nothing is pickled.

Takes an agent's settings, names and state, gives them back the same to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from os import PathLike
from typing import Any

import numpy as np

from mlma.domain.columns import Columns
from mlma.domain.errors import StateError
from mlma.domain.fleet import Audit, FleetState, GroupColumns
from mlma.domain.moments import Moments
from mlma.domain.profiles import ProfileMoments
from mlma.domain.state import AgentState, LossWindow, ReferenceState, Waiting
from mlma.library.archives import read_columns, write_columns

FORMAT = 2
SETTINGS = ("policy", "loss", "batch", "slot", "seed", "id_column", "ds_column", "y", "y_hat")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What an agent remembered of some streams at one time: names, and their rows of the state."""

    ids: tuple[str, ...]
    state: AgentState


@dataclass(frozen=True, slots=True)
class SavedAgent:
    """What is written: settings as plain values, names and tags of streams, state.

    ``tags`` holds the values of each tag by stream, streams to come included.
    """

    settings: dict[str, Any]
    ids: list[str]
    tags: dict[str, dict[str, str]]
    state: AgentState
    fleet: FleetState


def write_agent(path: str | PathLike[str], saved: SavedAgent) -> None:
    """Write the file, or leave the old one as it was.

    Raises
    ------
    StateError
        The file cannot be written.
    """
    fleet = {"names": saved.fleet.names, "cycle": saved.fleet.cycle}
    head = {
        "format": FORMAT,
        "settings": saved.settings,
        "ids": saved.ids,
        "tags": saved.tags,
        "fleet": fleet,
    }
    columns = {
        **saved.state.flat("stream."),
        **saved.fleet.groups.flat("group."),
        **{f"audit.{name}": np.asarray(value) for name, value in _items(saved.fleet.audit)},
    }
    write_columns(path, "agent", head, columns)


def read_agent(path: str | PathLike[str]) -> SavedAgent:
    """Return what `write_agent` wrote.

    Raises
    ------
    StateError
        The file is missing, damaged or of another version.
    """
    head, columns = read_columns(path, "agent")
    made_in = head.get("format")
    if made_in != FORMAT:
        raise StateError(
            f"{path} was saved in format {made_in}. Expected {FORMAT}. "
            f"Hint: load it with the version of mlma that wrote it.",
        )
    try:
        settings = {name: head["settings"][name] for name in SETTINGS}
        tags = {name: dict(values) for name, values in head["tags"].items()}
        state, fleet = _record(AgentState, columns, "stream."), _fleet(head, columns)
        saved = SavedAgent(settings, head["ids"], tags, state, fleet)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateError(f"{path} lacks {error}: it is damaged.") from error
    if not (_as_long_as(saved.ids, state) and _as_long_as(fleet.names, fleet.groups)):
        raise StateError(f"{path} is damaged: its columns are not as long as its lists of names.")
    return saved


def _as_long_as(names: Sequence[str], record: Columns) -> bool:
    return {len(column) for column in record.flat().values()} == {len(names)}


_PARTS: dict[str, type[Columns]] = {
    "reference": ReferenceState,
    "moments": Moments,
    "waiting": Waiting,
    "window": LossWindow,
    "slot_profile": ProfileMoments,
}
_OPTIONAL = ("window", "slot_profile")


def _items(record: Any) -> list[tuple[str, Any]]:
    return [(spec.name, getattr(record, spec.name)) for spec in fields(record)]


def _record(kind: Any, columns: dict[str, Any], path: str) -> Any:
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


def _fleet(head: dict[str, Any], columns: dict[str, Any]) -> FleetState:
    counts = {spec.name: columns[f"audit.{spec.name}"] for spec in fields(Audit)}
    plain: dict[str, Any] = {
        name: value if value.ndim else float(value) for name, value in counts.items()
    }
    groups = _record(GroupColumns, columns, "group.")
    return FleetState(
        tuple(head["fleet"]["names"]), groups, int(head["fleet"]["cycle"]), Audit(**plain)
    )
