"""Files of plain arrays and a line of JSON: a saved agent, a saved pool; nothing is pickled.

Takes a head of plain values and named arrays, gives them back the same to the bit.
"""

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import StateError

# What NumPy and JSON raise on a file that is something else, or was cut or changed.
_UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError),
    *(zipfile.BadZipFile, SyntaxError, NotImplementedError),
)


def write_columns(
    path: str | PathLike[str], what: str, head: Mapping[str, Any], columns: Mapping[str, Any]
) -> None:
    """Write the file, or leave the old one as it was; ``what`` names it in messages.

    Raises
    ------
    StateError
        The file cannot be written.
    """
    target = Path(path)
    line = np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)
    try:
        _replace(target, {"head": line, **columns})
    except OSError as error:
        raise StateError(f"The {what} cannot be saved to {target}: {error}.") from error


def read_columns(
    path: str | PathLike[str], what: str
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the head and the columns that `write_columns` wrote.

    Raises
    ------
    StateError
        The file is missing or damaged.
    """
    try:
        # NumPy leaves a file open that it opened itself and could not read.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
        head = json.loads(columns.pop("head").tobytes().decode())
        head.get("format")
    except FileNotFoundError as error:
        raise StateError(f"There is no saved {what} at {path}.") from error
    except _UNREADABLE as error:
        raise StateError(f"{path} is not a saved {what}, or it is damaged: {error}.") from error
    return head, columns


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
