"""Where a store keeps its files: a folder, or any address that fsspec knows.

Takes names that the store made itself, gives bytes. Files are written once, as a whole or not at
all, and never changed. Next are bundles and the deployment log.
"""

import os
import tempfile
from collections.abc import Iterable
from os import PathLike, fspath
from pathlib import Path
from typing import Protocol

from mlma.domain.errors import ArtefactError

_UNFINISHED = ".unfinished-"


class Files(Protocol):
    """The verbs of a store's files; names are relative and made by the store."""

    where: str

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a new file as a whole; raises ``ArtefactError`` where that is impossible."""
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return bytes ``start`` to ``stop - 1``; None = no such file; raises ``ArtefactError``."""
        ...

    def names(self, folder: str, suffix: str) -> list[str]:
        """Return the names of finished files in a folder, sorted; empty without such a folder."""
        ...


def files_at(url: str | PathLike[str]) -> Files:
    """Return the files at a path or an address.

    Raises
    ------
    MissingExtraError
        The address needs fsspec, which is not installed.
    """
    text = fspath(url)
    if text.startswith("file://"):
        return LocalFiles(text.removeprefix("file://"))
    if "://" in text or "::" in text:
        from mlma.adapters.artefacts.remote import RemoteFiles

        return RemoteFiles(text)
    return LocalFiles(text)


class LocalFiles:
    """Files below a folder, which is made when the first one is written."""

    def __init__(self, folder: str | PathLike[str]) -> None:
        self._root = Path(folder)
        self.where = str(self._root)

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write to a temporary file beside it, flush it to the disk, and give it its name."""
        target = self._root / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, unfinished = tempfile.mkstemp(dir=target.parent, prefix=_UNFINISHED)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.writelines(chunks)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(unfinished, target)
            except BaseException:
                Path(unfinished).unlink(missing_ok=True)
                raise
            _flush(target.parent)
        except OSError as error:
            raise not_written(self.where, error.strerror or error) from error

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return bytes ``start`` to ``stop - 1``, or None without such a file."""
        try:
            with (self._root / name).open("rb") as file:
                file.seek(start)
                return file.read(-1 if stop is None else stop - start)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise not_read(self.where, name, error.strerror or error) from error

    def names(self, folder: str, suffix: str) -> list[str]:
        """Return the names of finished files in a folder, sorted."""
        try:
            found = os.listdir(self._root / folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise not_read(self.where, folder, error.strerror or error) from error
        return sorted(n for n in found if n.endswith(suffix) and not n.startswith(_UNFINISHED))


def _flush(folder: Path) -> None:
    """Make a new name in a folder survive a power cut, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def not_written(where: str, why: object) -> ArtefactError:
    """Return the error for a store that cannot be written."""
    return ArtefactError(
        f"The model store at {where} cannot be written: {why}. Expected a place where files can "
        f"be made. Hint: check the path and its permissions; nothing was changed."
    )


def not_read(where: str, name: str, why: object) -> ArtefactError:
    """Return the error for a file of a store that cannot be read."""
    return ArtefactError(f"{name} of the model store at {where} cannot be read: {why}.")
