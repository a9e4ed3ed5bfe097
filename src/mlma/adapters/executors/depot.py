"""Large arrays of one call in files, each written once; workers map them read-only.

Takes an array, gives the name of its file. Next is the worker that opens it.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
from joblib.externals.loky.backend import resource_tracker
from numpy.typing import NDArray

from mlma.adapters.executors.parcels import is_large_array

_IN_MEMORY = Path("/dev/shm")


class Depot:
    """Files of arrays, in memory where the system has room for them there.

    A tracker process removes them should this one be killed. Where a file cannot be written the
    array travels with its task.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._held: dict[int, tuple[NDArray[Any], str | None]] = {}  # held: an id stays its own

    def name(self, part: object) -> str | None:
        """Return the file of a large array, None for anything else."""
        if not is_large_array(part):
            return None
        if id(part) not in self._held:
            array = cast("NDArray[Any]", part)
            self._held[id(part)] = (array, self._written(array))
        return self._held[id(part)][1]

    def _written(self, array: NDArray[Any]) -> str | None:
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="mlma-", dir=_root(array.nbytes)))
                resource_tracker.register(str(self._folder), "folder")
            file = self._folder / f"{len(self._held)}.npy"
            np.save(file, array, allow_pickle=False)
        except OSError:
            return None
        return str(file)

    def close(self) -> None:
        """Remove the files; whoever has mapped one keeps it."""
        self._held.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            resource_tracker.unregister(str(self._folder), "folder")
            self._folder = None


def _root(nbytes: int) -> Path | None:
    """Return the folder of shared memory if there is room for much more than ``nbytes``."""
    if not os.access(_IN_MEMORY, os.W_OK):
        return None
    return _IN_MEMORY if shutil.disk_usage(_IN_MEMORY).free > 16 * nbytes + 2**30 else None


def mapped(file: str) -> NDArray[Any]:
    """Return the array of a file, read-only."""
    return np.load(file, mmap_mode="r").view(np.ndarray)  # type: ignore[no-any-return]  # numpy
