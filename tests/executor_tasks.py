"""Tasks for executors: they fit, fail, hang and die. Quick to import, as workers do that."""

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np

from mlma.domain.errors import MissingExtraError, ModelError
from mlma.domain.streams import Grid, Series


def stream(seed: int) -> Series:
    grid = Grid(np.datetime64("2024-01-01", "us"), np.timedelta64(3600 * 10**6, "us"), 24, 60)
    y = np.random.default_rng(seed).gamma(5.0, size=(60, 24))
    return Series(f"stream {seed}", grid, y, np.empty((60, 24, 0)))


def forecasts(model: str, series: Series, seed: int) -> np.ndarray:
    from mlma.adapters.models.registry import forecaster_from

    return forecaster_from(model).fit(series, 14, 50, seed).predict(series, 50, 60)


def killed_once(mark: Path, model: str, series: Series, seed: int) -> np.ndarray:
    """A fit in whose middle the worker is killed, the first time."""
    if seed == 1 and not mark.exists():
        mark.touch()
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()
        while True:
            forecasts(model, series, seed)
    return forecasts(model, series, seed)


def dies_at(k: int, where: int, folder: Path) -> int:
    if k == where:
        (folder / f"{time.monotonic_ns()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return k


def fails_at(k: int, where: int) -> int:
    if k == where:
        raise ModelError(f"task {k} failed")
    return k


def marks(k: int, folder: Path) -> int:
    (folder / f"{k}").touch()
    return k


def hangs_in_python(k: int, where: int) -> int:
    while k == where:
        try:
            time.sleep(0.01)
        except Exception:  # as a guard around a model would
            continue
    return k


def hangs_deaf(k: int, where: int) -> int:
    if k == where:  # holds the interpreter, heeds no signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        ctypes.PyDLL(None).sleep(120)
    return k


def pause(k: int, seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def naps(seconds: float, k: int) -> int:
    time.sleep(seconds)
    return k


def missing() -> None:
    raise MissingExtraError("The model `lightgbm`", "lightgbm")


class UnfitError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__("cannot be made anew from one argument")


def unfit() -> None:
    raise UnfitError(1, 2)


def lock(_: int) -> object:
    return threading.Lock()


def total(part: "Counted", k: int) -> float:
    return float(part.load.sum()) + k


def bits(part: dict[str, np.ndarray], k: int) -> tuple[bool, bytes]:
    return part["nested"].flags.writeable, part["nested"].tobytes("F")


class Counted:
    """Counts how often it is pickled in this process."""

    times = 0

    def __init__(self) -> None:
        self.load = np.ones(60_000)

    def __getstate__(self) -> dict[str, np.ndarray]:
        Counted.times += 1
        return self.__dict__
