"""The local executor: order, bits, threads, errors, interrupts."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from mlma.adapters.executors.local import LocalExecutor
from mlma.adapters.executors.threads import one_thread
from mlma.adapters.models.registry import forecaster_from
from mlma.domain.errors import ModelError, SettingsError
from mlma.domain.streams import Grid, Series


def stream(seed: int) -> Series:
    grid = Grid(np.datetime64("2024-01-01", "us"), np.timedelta64(3600 * 10**6, "us"), 24, 60)
    y = np.random.default_rng(seed).gamma(5.0, size=(60, 24))
    return Series(f"stream {seed}", grid, y, np.empty((60, 24, 0)))


def forecasts(model: str, seed: int) -> np.ndarray:
    series = stream(seed)
    return forecaster_from(model).fit(series, 14, 50, seed).predict(series, 50, 60)


def threads(_: int) -> int:
    return max((pool["num_threads"] for pool in threadpool_info()), default=1)


def process(_: int, pause: float = 0.0) -> int:
    time.sleep(pause)
    return os.getpid()


def fail_at(k: int, where: int) -> int:
    if k == where:
        raise ModelError(f"task {k} failed")
    return k


def writeable(values: np.ndarray) -> tuple[bool, float]:
    return values.flags.writeable, float(values.sum())


def test_the_number_of_workers_changes_no_bit() -> None:
    tasks = [(model, seed) for model in ("ridge", "lightgbm(n_estimators=10)") for seed in range(4)]
    here = list(LocalExecutor(n_jobs=1).map(forecasts, tasks))
    apart = list(LocalExecutor(n_jobs=2).map(forecasts, tasks))
    assert all(np.array_equal(a, b) for a, b in zip(here, apart, strict=True))
    assert not np.array_equal(here[0], here[1])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_answers_come_in_the_order_of_the_tasks(n_jobs: int) -> None:
    tasks = [(k, -1) for k in range(500)]
    assert list(LocalExecutor(n_jobs).map(fail_at, tasks)) == list(range(500))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_no_task_gives_no_answer(n_jobs: int) -> None:
    assert list(LocalExecutor(n_jobs).map(process, [])) == []


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_in_a_task_is_raised_here_with_its_type(n_jobs: int) -> None:
    with pytest.raises(ModelError, match="task 3 failed"):
        list(LocalExecutor(n_jobs).map(fail_at, [(k, 3) for k in range(10)]))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_task_sees_one_thread(n_jobs: int) -> None:
    assert set(LocalExecutor(n_jobs).map(threads, [(k,) for k in range(4)])) == {1}


def test_one_job_runs_in_this_process_and_two_jobs_do_not() -> None:
    assert set(LocalExecutor(n_jobs=1).map(process, [(k,) for k in range(3)])) == {os.getpid()}
    apart = set(LocalExecutor(n_jobs=2).map(process, [(k, 0.2) for k in range(6)]))
    assert len(apart) == 2
    assert os.getpid() not in apart


def test_a_single_task_starts_no_worker() -> None:
    assert list(LocalExecutor(n_jobs=2).map(process, [(0,)])) == [os.getpid()]


def test_large_arrays_reach_the_workers_read_only() -> None:
    large = np.ones((2, 200_000))
    answers = list(LocalExecutor(n_jobs=2).map(writeable, [(large,)] * 3))
    assert answers == [(False, 400_000.0)] * 3


def test_nothing_runs_before_the_first_answer_is_asked_for() -> None:
    ran: list[int] = []
    answers = LocalExecutor(n_jobs=1).map(ran.append, [(1,), (2,)])
    assert ran == []
    list(answers)
    assert ran == [1, 2]


def test_the_callers_threads_are_its_own_between_answers() -> None:
    before = threads(0)
    answers = LocalExecutor(n_jobs=1).map(process, [(k, 0.15) for k in range(2)])
    next(answers)
    assert threads(0) == before
    answers.close()  # type: ignore[attr-defined]  # a generator


def test_a_block_of_one_thread_may_stand_inside_another() -> None:
    before = threads(0)
    with one_thread():
        with one_thread():
            assert threads(0) == 1
        assert threads(0) == 1
    assert threads(0) == before


def test_no_number_of_jobs_means_every_core_and_zero_is_an_error() -> None:
    assert LocalExecutor().n_jobs >= 1
    with pytest.raises(SettingsError, match="`n_jobs` of `LocalExecutor` must be at least 1"):
        LocalExecutor(n_jobs=0)


def test_closing_early_ends_the_workers() -> None:
    tasks = [(k, 0.1 if k < 2 else 120.0) for k in range(6)]
    answers = LocalExecutor(n_jobs=2).map(process, tasks)
    workers = {next(answers), next(answers)}
    answers.close()  # type: ignore[attr-defined]  # a generator
    assert os.getpid() not in workers
    assert all(_gone(worker) for worker in workers)


def test_an_interrupt_leaves_no_worker_behind(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, sys, time
        from mlma.adapters.executors.local import LocalExecutor

        def work(k):
            if k < 2:
                return os.getpid()
            time.sleep(120)

        if __name__ == "__main__":
            answers = LocalExecutor(n_jobs=2).map(work, [(k,) for k in range(6)])
            print(next(answers), next(answers), flush=True)
            try:
                next(answers)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
                sys.exit(3)
        """
    )
    file = tmp_path / "script.py"
    file.write_text(script)
    with subprocess.Popen(
        [sys.executable, file],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        workers = {int(pid) for pid in run.stdout.readline().split()}
        time.sleep(0.5)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: workers get it too
        rest, _ = run.communicate(timeout=30)
        assert rest.strip() == "interrupted"
        assert run.returncode == 3
    assert workers
    assert all(_gone(worker) for worker in workers)


def _gone(pid: int, patience: float = 10.0) -> bool:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
