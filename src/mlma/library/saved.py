"""A saved agent: one npz file of plain arrays and a line of JSON; nothing is pickled.

Takes an agent's settings, names and state, gives them back the same to the bit.
"""

import json
import os
import tempfile
import zipfile
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from mlma.domain.errors import StateError
from mlma.domain.state import AgentState, ReferenceState

FORMAT = 1
SETTINGS = ("policy", "loss", "batch", "seed", "id_column", "ds_column", "y", "y_hat")

# What NumPy and JSON raise on a file that is something else, or was cut or changed.
_UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError),
    *(zipfile.BadZipFile, SyntaxError, NotImplementedError),
)


@dataclass(frozen=True, slots=True)
class SavedAgent:
    """What is written: settings as plain values, names of streams, state."""

    settings: dict[str, Any]
    ids: list[str]
    state: AgentState


def write_agent(path: str | PathLike[str], saved: SavedAgent) -> None:
    """Write the file, or leave the old one as it was.

    Raises
    ------
    StateError
        The file cannot be written.
    """
    target = Path(path)
    head = json.dumps({"format": FORMAT, "settings": saved.settings, "ids": saved.ids})
    columns = {"head": np.frombuffer(head.encode(), dtype=np.uint8), **_flat(saved.state)}
    try:
        _replace(target, columns)
    except OSError as error:
        raise StateError(f"The agent cannot be saved to {target}: {error}.") from error


def _replace(target: Path, columns: dict[str, Any]) -> None:
    """Write to a temporary file in the same folder, which then takes the place of the old one."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **columns)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_agent(path: str | PathLike[str]) -> SavedAgent:
    """Return what `write_agent` wrote.

    Raises
    ------
    StateError
        The file is missing, damaged or of another version.
    """
    try:
        # NumPy leaves a file open that it opened itself and could not read.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
        head = json.loads(columns.pop("head").tobytes().decode())
        made_in = head.get("format")
    except FileNotFoundError as error:
        raise StateError(f"There is no saved agent at {path}.") from error
    except _UNREADABLE as error:
        raise StateError(f"{path} is not a saved agent, or it is damaged: {error}.") from error
    if made_in != FORMAT:
        raise StateError(
            f"{path} was saved in format {made_in}. Expected {FORMAT}. "
            f"Hint: load it with the version of mlma that wrote it.",
        )
    try:
        settings = {name: head["settings"][name] for name in SETTINGS}
        saved = SavedAgent(settings, head["ids"], _state(columns))
    except KeyError as error:
        raise StateError(f"{path} lacks {error}: it is damaged.") from error
    lengths = {len(column) for column in _flat(saved.state).values()}
    if lengths != {len(saved.ids)}:
        raise StateError(f"{path} is damaged: its columns are not as long as its list of streams.")
    return saved


def _flat(state: AgentState) -> dict[str, Any]:
    columns = {
        spec.name: getattr(state, spec.name) for spec in fields(state) if spec.name != "reference"
    }
    for spec in fields(state.reference):
        column = getattr(state.reference, spec.name)
        if column is not None:
            columns[f"reference.{spec.name}"] = column
    return columns


def _state(columns: dict[str, Any]) -> AgentState:
    made: dict[str, Any] = {
        name: columns.get(f"reference.{name}") for name in ("losses", "anchor_losses")
    }
    needed = [spec.name for spec in fields(ReferenceState) if spec.name not in made]
    made |= {name: columns[f"reference.{name}"] for name in needed}
    names = [spec.name for spec in fields(AgentState) if spec.name != "reference"]
    return AgentState(reference=ReferenceState(**made), **{name: columns[name] for name in names})
