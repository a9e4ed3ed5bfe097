"""Functions as users write them: good ones, others that fail, hang or return rubbish."""

import os
import signal
import sys
import time
from pathlib import Path


def fine(request):
    return None


def named(request):
    return f"model of {request.unique_id}"


def back(request):
    assert (request.kind, request.restores, request.artefact) == ("restore", 1, "first model")


def gone(request):
    raise FileNotFoundError(f"{request.artefact} is gone")


def marked(request):
    """Leave a mark in the folder that the environment names, one for each call."""
    folder = Path(os.environ["MARKS"])
    (folder / f"{request.unique_id}-{time.monotonic_ns()}").touch()


def slow_and_marked(request):
    marked(request)
    time.sleep(0.3)


def held_out(request):
    import numpy as np
    import polars as pl

    start = np.datetime64("2023-12-25", "us")
    ds = start + np.timedelta64(3600 * 10**6, "us") * np.arange(48)
    return pl.DataFrame({"unique_id": [request.unique_id] * 48, "ds": ds, "loss": [0.5] * 48})


def of_another(request):
    import polars as pl

    return held_out(request).with_columns(unique_id=pl.lit("another"))


def without_times(request):
    return held_out(request).drop("ds")


def rubbish(request):
    return 42


def failing(request):
    if request.unique_id.endswith("b"):
        raise RuntimeError(f"no data for {request.unique_id}")


def exiting(request):
    sys.exit(3)


def hanging(request):
    if request.unique_id.endswith("b"):
        while True:
            time.sleep(0.01)


def dying(request):
    if request.unique_id.endswith("b"):
        os.kill(os.getpid(), signal.SIGKILL)


NO_FUNCTION = 3
