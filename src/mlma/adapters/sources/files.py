"""The files of a source: which there are, and which are none of its business.

Takes a file, a folder or a pattern, gives files in the order in which they overrule each other.
Next is the folder, which reads them.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from mlma.domain.errors import SourceError

SUFFIXES = (".parquet", ".csv")
_UNFINISHED = (".tmp", ".crc", ".part", ".partial", ".inprogress", ".lock")
_WILD = "*?["


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it is now.

    place
        path below the root of the source, with ``/``; it decides which file is later.
    partitions
        what its folders tell: ``date=2024-03-31`` is the value of a column.
    """

    path: str
    place: str
    size: int
    mtime_ns: int
    partitions: tuple[tuple[str, str], ...] = ()

    @property
    def is_csv(self) -> bool:
        """Whether it is CSV; else it is Parquet."""
        return self.path.lower().endswith(".csv")

    @property
    def mark(self) -> str:
        """Text that changes when the file is written again."""
        return f"{self.place}:{self.size}:{self.mtime_ns}"


def source_files(path: str) -> list[SourceFile]:
    """Return the files of a path, a folder or a pattern, later ones last.

    Hidden files, those that start with ``_`` and unfinished ones (``.tmp`` and the like) are left
    alone, and so are their folders; a folder such as ``_year=2024`` is a partition.

    Raises
    ------
    SourceError
        There is no such folder or file, or it holds files of other kinds only.
    """
    root = _root(path)
    if not os.path.lexists(root):
        raise SourceError(
            f"`{path}` does not exist. Expected a .parquet or .csv file, a folder of them, or a "
            f"pattern. Hint: relative paths start at {Path.cwd()}; is the disk there?",
        )
    below = _matching(path) if _is_pattern(path) else _below(path)
    found = sorted((os.path.relpath(file, root).replace(os.sep, "/"), file) for file in below)
    known = [(place, file) for place, file in found if file.lower().endswith(SUFFIXES)]
    if found and not known:
        raise SourceError(
            f"`{path}` holds no .parquet or .csv file. Got `{found[0][0]}`"
            f"{f' and {len(found) - 1} more' if len(found) > 1 else ''}. "
            f"Hint: write Parquet; files that are still written may be called .tmp.",
        )
    return [made for place, file in known if (made := _seen(place, file)) is not None]


def _is_pattern(path: str) -> bool:
    return any(mark in path for mark in _WILD) and not os.path.lexists(path)


def _root(path: str) -> str:
    """Return the folder that places are counted from."""
    if not _is_pattern(path):
        return path if os.path.isdir(path) or not os.path.lexists(path) else os.path.dirname(path)
    parts = Path(path).parts
    wild = next(at for at, part in enumerate(parts) if any(mark in part for mark in _WILD))
    return str(Path(*parts[:wild])) if wild else "."


def _matching(pattern: str) -> Iterator[str]:
    for match in glob(pattern, recursive=True):
        if not _is_ours(os.path.basename(match)):
            continue
        # A pattern such as year=*/** names folders and their files: each file counts once.
        if not os.path.isdir(match):
            yield match
        elif "**" not in pattern:
            yield from _below(match)


def _below(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    for folder, folders, files in os.walk(path, onerror=_unreadable, followlinks=True):
        folders[:] = [name for name in folders if _is_ours(name)]
        yield from (os.path.join(folder, name) for name in files if _is_ours(name))


def _is_ours(name: str) -> bool:
    if name.startswith(".") or name.lower().endswith(_UNFINISHED):
        return False
    return not name.startswith("_") or "=" in name


def _seen(place: str, file: str) -> SourceFile | None:
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return None  # it went away since the folder was listed
    except OSError as error:
        raise _refused(file, error) from error
    parts = Path(file).parts[:-1]
    # polars reads partitions off the whole path: name them all.
    pairs = tuple(part.partition("=")[::2] for part in parts if "=" in part)
    return SourceFile(file, place, status.st_size, status.st_mtime_ns, pairs)


def _unreadable(error: OSError) -> None:
    raise _refused(str(error.filename), error)


def _refused(path: str, error: OSError) -> SourceError:
    return SourceError(f"`{path}` cannot be read: {error.strerror or error}.")
