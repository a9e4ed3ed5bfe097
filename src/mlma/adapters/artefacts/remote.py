"""Files of a store at any address that fsspec knows: ``memory://``, ``s3://``, ``gs://``...

Takes names, gives bytes, as `mlma.adapters.artefacts.files` does for a folder. An object store puts
a file as a whole or not at all; elsewhere a cut file is noticed by its seal or its hash.
"""

from collections.abc import Iterable
from importlib.util import find_spec

from mlma.adapters.artefacts.files import not_read, not_written
from mlma.domain.errors import ArtefactError, MissingExtraError, SettingsError


class RemoteFiles:
    """Files below an address; needs the extra ``artefacts``.

    Raises
    ------
    MissingExtraError
        fsspec is not installed.
    SettingsError
        fsspec does not know the kind of address.
    ArtefactError
        fsspec needs a further library for it, or cannot reach it.
    """

    def __init__(self, url: str) -> None:
        if find_spec("fsspec") is None:
            raise MissingExtraError(f"A model store at {url}", "artefacts")
        from fsspec.core import url_to_fs

        try:
            self._system, root = url_to_fs(url)
        except ImportError as error:
            raise ArtefactError(
                f"A model store at {url} needs one more library: {error}."
            ) from error
        except ValueError as error:
            raise SettingsError(
                f"The address of a model store must be a path or one that fsspec knows. "
                f"Got {url}: {error}."
            ) from error
        self._root = root.rstrip("/")
        self.where = url

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Put the file in one piece."""
        target = f"{self._root}/{name}"
        try:
            self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(target, b"".join(chunks))
        except Exception as error:  # each kind of store has errors of its own
            raise not_written(self.where, error) from error

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return bytes ``start`` to ``stop - 1``, or None without such a file."""
        try:
            read = self._system.cat_file(f"{self._root}/{name}", start=start, end=stop)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise not_read(self.where, name, error) from error
        return bytes(read)

    def names(self, folder: str, suffix: str) -> list[str]:
        """Return the names of files in a folder, sorted; asks anew every time."""
        try:
            self._system.invalidate_cache()
            found = self._system.ls(f"{self._root}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise not_read(self.where, folder, error) from error
        names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in names if name.endswith(suffix))
