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
        The folder is missing or cannot be written.
    """
    target = Path(path)
    head = json.dumps({"format": FORMAT, "settings": saved.settings, "ids": saved.ids})
    columns = {"head": np.frombuffer(head.encode(), dtype=np.uint8), **_flat(saved.state)}
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise StateError(f"The agent cannot be saved to {target}: {error}.") from error
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
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
        head = json.loads(columns.pop("head").tobytes().decode())
    except FileNotFoundError as error:
        raise StateError(f"There is no saved agent at {path}.") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StateError(f"{path} is not a saved agent, or it is damaged: {error}.") from error
    if head.get("format") != FORMAT:
        raise StateError(
            f"{path} was saved in format {head.get('format')}. Expected {FORMAT}. "
            f"Hint: load it with the version of mlma that wrote it.",
        )
    try:
        return SavedAgent(head["settings"], head["ids"], _state(columns))
    except KeyError as error:
        raise StateError(f"{path} lacks {error}: it is damaged.") from error


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
    optional = {"losses", "anchor_losses"}
    reference = ReferenceState(
        **{
            spec.name: columns.get(f"reference.{spec.name}")
            if spec.name in optional
            else columns[f"reference.{spec.name}"]
            for spec in fields(ReferenceState)
        },
    )
    names = [spec.name for spec in fields(AgentState) if spec.name != "reference"]
    return AgentState(reference=reference, **{name: columns[name] for name in names})
