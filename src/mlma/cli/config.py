"""Settings from a configuration file: the table ``[replay]`` of ``mlma.toml``.

Order of precedence: command line, environment (``MLMA_MODEL`` and the like), file, default.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlma.domain.errors import SettingsError, unknown_name


def table_of(path: Path, name: str, known: Iterable[str]) -> dict[str, Any]:
    """Return one table of a TOML file, its keys checked.

    Raises
    ------
    SettingsError
        The file is missing or no TOML, or a key is unknown.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise SettingsError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The configuration {path} is not UTF-8 text.") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"The configuration {path} is not TOML: {error}.") from error
    for table in document:
        if table != name:
            raise unknown_name(f"table in {path}", table, [name])
    settings = document.get(name, {})
    names = list(known)
    for key in settings:
        if key.replace("-", "_") not in names:
            raise unknown_name(f"key of [{name}] in {path}", key, names)
    return {key.replace("-", "_"): value for key, value in settings.items()}
