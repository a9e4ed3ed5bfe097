"""A saved agent: one npz file of plain arrays and a line of JSON; nothing is pickled.

Takes an agent's settings, names and state, gives them back the same to the bit.
"""

from dataclasses import dataclass
from os import PathLike
from typing import Any

from mlma.agent.remembered import columns_of, head_of, remembered
from mlma.domain.errors import StateError
from mlma.domain.fleet import FleetState
from mlma.domain.state import AgentState
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
    head = {
        "format": FORMAT,
        "settings": saved.settings,
        "ids": saved.ids,
        "tags": saved.tags,
        "fleet": head_of(saved.fleet),
    }
    write_columns(path, "agent", head, columns_of(saved.state, saved.fleet))


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
        ids, kept = list(head["ids"]), head["fleet"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateError(f"{path} lacks {error}: it is damaged.") from error
    state, fleet = remembered(kept, columns, len(ids), str(path))
    return SavedAgent(settings, ids, tags, state, fleet)
