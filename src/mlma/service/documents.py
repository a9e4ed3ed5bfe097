"""Files in TOML: read, or refused with what is wrong.

Takes a path, gives plain tables. The settings of the service and those of the commands come next.
"""

import tomllib
from pathlib import Path
from typing import Any

from mlma.domain.errors import SettingsError


def document(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises
    ------
    SettingsError
        The file cannot be read, or is no TOML.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"The configuration {path} cannot be read: {reason}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The configuration {path} is not UTF-8 text.") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"The configuration {path} is not TOML: {error}.") from error
