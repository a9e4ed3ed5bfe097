"""What executors cost: fits of a second through each of them, against bare loops on every core.

    python benchmarks/speed/executors.py [--quick] [--repeats 3] [--jobs 2] [--no-ray] [--limit 60]
        [--models ridge lightgbm]

Three ways take turns within each repetition, so that a noisy machine strikes all of them:

- bare: one plain process per job, which has made its streams itself before the clock starts, loops
  over its share of the fits (every second one, with two jobs) and throws each version away; the
  time is that of the slowest. Nothing travels: no executor can be faster, save by sharing better.
- local: `LocalExecutor(jobs).map(train, tasks)`, until the last version is here.
- ray: `RayExecutor(n_jobs=jobs).map(train, tasks)`, the same.

Workers are started and have imported everything before. A task is what `mlma.agent.training.train`
does: a fit on a window of 84 days, hourly, a fit for 14 held-out days where the model does not give
them free, and forecasts of 28 days; all of it comes back. The tasks go from date to date and, at
each, from stream to stream, as a replay does. Seconds are of this machine: read the shares. The
load that is printed is the average of a minute before and after; on a quiet machine it rises to
about the number of jobs.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.executors.crew import ONE_THREAD
from mlma.adapters.executors.local import LocalExecutor
from mlma.adapters.executors.ray import RayExecutor
from mlma.adapters.executors.threads import one_thread
from mlma.adapters.models.guard import GuardedForecaster
from mlma.adapters.models.registry import forecaster_from
from mlma.domain.streams import Grid, Series
from mlma.ports import FittedForecaster, Forecaster

WINDOW, HELD_OUT, HORIZON, DAYS = 84, 14, 28, 365

Task = tuple[Forecaster, Series, int]
Floats = NDArray[np.float64]


def stream(seed: int) -> Series:
    """Return a year of hourly gamma noise around a daily and weekly profile."""
    rng = np.random.default_rng(seed)
    hours = np.arange(DAYS * 24)
    level = 1 + 0.8 * np.sin(2 * np.pi * (hours % 24 - 8) / 24)
    y = level * np.where(hours // 24 % 7 >= 5, 0.7, 1.0) * rng.gamma(20.0, size=len(hours))
    step = np.timedelta64(3600 * 10**6, "us")
    grid = Grid(np.datetime64("2024-01-01", "us"), step, 24, DAYS)
    return Series(f"s{seed:04d}", grid, y.reshape(DAYS, 24), np.empty((DAYS, 24, 0)))


def train(
    forecaster: Forecaster, series: Series, at: int
) -> tuple[FittedForecaster, Floats, Floats]:
    """Return a model that goes live at batch ``at``, what it held out and its first forecasts."""
    first, held_out = at - WINDOW, at - HELD_OUT
    fitted = forecaster.fit(series, first, at, 0)
    judged = fitted.held_out(series, held_out, at)
    if judged is None:
        judged = forecaster.fit(series, first, held_out, 0).predict(series, held_out, at)
    return fitted, judged, fitted.predict(series, at, at + HORIZON)


def tasks_of(model: str, fits: int, per_stream: int) -> list[Task]:
    """Return ``fits`` tasks, ``per_stream`` for each stream, date after date."""
    forecaster = GuardedForecaster(forecaster_from(model))
    streams = [stream(seed) for seed in range(fits // per_stream)]
    dates = [WINDOW + 14 + 14 * k for k in range(per_stream)]
    return [(forecaster, series, date) for date in dates for series in streams]


def bare(pipe: Connection, arguments: tuple[str, int, int], place: int, jobs: int) -> None:
    """A plain process: loops over its share of the fits each time it is told to."""
    share = tasks_of(*arguments)[place::jobs]
    with one_thread():
        for task in share[:20]:
            train(*task)
        pipe.send(0.0)
        while pipe.recv():
            start = time.perf_counter()
            for task in share:
                train(*task)
            pipe.send(time.perf_counter() - start)


@contextmanager
def bare_loops(arguments: tuple[str, int, int], jobs: int) -> Iterator[Callable[[], float]]:
    """Give a function that runs all fits in plain processes and returns the seconds."""
    context = multiprocessing.get_context("spawn")
    os.environ.update(ONE_THREAD)  # as workers have it
    pipes, processes = [], []
    for place in range(jobs):
        here, there = context.Pipe()
        process = context.Process(target=bare, args=(there, arguments, place, jobs))
        process.start()
        pipes.append(here)
        processes.append(process)
    for pipe in pipes:
        pipe.recv()

    def once() -> float:
        for pipe in pipes:
            pipe.send(True)
        return float(max(pipe.recv() for pipe in pipes))

    yield once
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(False)
        process.join()


def through(executor: Any, tasks: list[Task]) -> Callable[[], float]:
    """Return a function that runs all fits through an executor and returns the seconds."""
    list(executor.map(train, tasks[:40]))

    def once() -> float:
        start = time.perf_counter()
        for _ in executor.map(train, tasks, "train"):
            pass
        return time.perf_counter() - start

    return once


def measure(arguments: tuple[str, int, int], asked: argparse.Namespace) -> None:
    tasks = tasks_of(*arguments)
    with bare_loops(arguments, asked.jobs) as alone:
        ways = {"bare": alone, "local": through(LocalExecutor(asked.jobs), tasks)}
        if asked.limit:
            ways["local, limit"] = through(LocalExecutor(asked.jobs, asked.limit), tasks)
        if not asked.no_ray:
            ways["ray"] = through(RayExecutor(n_jobs=asked.jobs), tasks)
        if asked.limit and not asked.no_ray:
            limited = RayExecutor(n_jobs=asked.jobs, time_limit=asked.limit)
            ways["ray, limit"] = through(limited, tasks)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        before = os.getloadavg()[0]
        for _ in range(asked.repeats):
            for way, once in ways.items():
                seconds[way].append(once())
    print_rows(arguments, seconds, before)


def print_rows(
    arguments: tuple[str, int, int], seconds: dict[str, list[float]], before: float
) -> None:
    """Print a row per way; shares are medians of the quotients within a repetition."""
    model, fits, _ = arguments
    for way, taken in seconds.items():
        of_bare, of_local = (
            statistics.median(a / b for a, b in zip(seconds[base], taken, strict=True))
            for base in ("bare", "local")
        )
        print(
            f"| {fits} {model} | {way} | {' '.join(f'{s:.2f}' for s in taken)} "
            f"| {fits / statistics.median(taken):.0f} | {of_bare:.0%} | {of_local:.0%} "
            f"| {before:.1f}, {os.getloadavg()[0]:.1f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the fits")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--limit", type=float, help="measure with this time limit as well")
    parser.add_argument("--models", nargs="+", default=["ridge", "lightgbm"])
    asked = parser.parse_args()
    share = 10 if asked.quick else 1
    print("| fits | way | seconds | fits a second | of bare | of local | load before, after |")
    print("|---|---|---|---|---|---|---|")
    for model, fits, per_stream in (("ridge", 2000, 10), ("lightgbm", 500, 5)):
        if model in asked.models:
            measure((model, fits // share, per_stream), asked)


if __name__ == "__main__":
    main()
