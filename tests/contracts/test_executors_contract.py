"""What every executor keeps: in this process, in processes of this machine, on Ray."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from executor_tasks import (
    Counted,
    bits,
    dies_at,
    fails_at,
    forecasts,
    hangs_deaf,
    hangs_in_python,
    killed_once,
    lock,
    marks,
    missing,
    naps,
    pause,
    stream,
    total,
    unfit,
)
from mlma.adapters.executors.local import LocalExecutor
from mlma.adapters.executors.ray import RayExecutor
from mlma.domain.errors import ExecutorError, MissingExtraError, ModelError, TimeLimitError

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning:ray")

LIMIT = 0.5


def new_executor(kind: str, time_limit: float | None = None):
    if kind == "here":
        return LocalExecutor(n_jobs=1, time_limit=time_limit)
    if kind == "apart":
        return LocalExecutor(n_jobs=2, time_limit=time_limit)
    return RayExecutor(n_jobs=2, time_limit=time_limit)


@pytest.fixture(scope="module")
def ray_instance() -> Iterator[None]:
    if find_spec("ray") is None:
        pytest.skip("Ray, of the extra `ray`, is not installed")
    with new_executor("ray") as executor:
        assert list(executor.map(pow, [(2, 3)])) == [8]
        yield


@pytest.fixture(params=["here", "apart", "ray"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("ray_instance")
    return request.param


@pytest.fixture(params=["apart", "ray"])
def apart(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("ray_instance")
    return request.param


def test_answers_come_in_the_order_of_the_tasks(kind: str) -> None:
    tasks = [(0.02 * (k % 3 == 0), k) for k in range(60)]
    napping = list(new_executor(kind).map(naps, tasks))
    assert napping == list(range(60))


def test_no_task_gives_no_answer(kind: str) -> None:
    assert list(new_executor(kind).map(pow, [])) == []


def test_nothing_runs_before_the_first_answer_is_asked_for(kind: str, tmp_path: Path) -> None:
    answers = new_executor(kind).map(marks, [(k, tmp_path) for k in range(3)])
    time.sleep(0.2)
    assert not list(tmp_path.iterdir())
    assert next(answers) == 0
    assert list(answers) == [1, 2]


def test_bits_are_those_of_a_bare_loop(kind: str) -> None:
    series = [stream(seed) for seed in range(4)]
    models = ("ridge", "lightgbm(n_estimators=10)")
    tasks = [(model, series[seed], seed) for model in models for seed in range(4)]
    answers = list(new_executor(kind).map(forecasts, tasks))
    assert all(
        np.array_equal(answer, forecasts(*task)) and answer.flags.writeable
        for answer, task in zip(answers, tasks, strict=True)
    )


def test_an_error_comes_in_its_turn_with_its_type(kind: str) -> None:
    answers = new_executor(kind).map(fails_at, [(k, 3) for k in range(50)])
    assert [next(answers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ModelError, match="task 3 failed"):
        next(answers)


def test_an_error_of_a_task_is_none_of_lost(kind: str) -> None:
    with pytest.raises(MissingExtraError, match="`lightgbm`"):
        list(new_executor(kind).map(missing, [(), ()], lost=lambda error: None))


def test_an_error_that_cannot_travel_is_told(apart: str) -> None:
    with pytest.raises(ExecutorError, match="UnfitError: cannot be made anew"):
        list(new_executor(apart).map(unfit, [(), ()]))


def test_an_answer_that_cannot_travel_is_told(apart: str) -> None:
    with pytest.raises(ExecutorError, match="answer of a task, a `lock`, cannot be pickled"):
        list(new_executor(apart).map(lock, [(1,), (2,)]))


@pytest.mark.parametrize("limit", [None, 60.0])
def test_a_worker_killed_in_the_middle_of_a_fit_loses_nothing(
    apart: str, limit: float | None, tmp_path: Path
) -> None:
    series = [stream(seed) for seed in range(4)]
    tasks = [("ridge", series[seed], seed) for seed in range(4)] * 3
    mortal = partial(killed_once, tmp_path / "mark")
    answers = list(new_executor(apart, limit).map(mortal, tasks))
    assert (tmp_path / "mark").exists()
    assert all(
        np.array_equal(answer, forecasts(*task))
        for answer, task in zip(answers, tasks, strict=True)
    )


@pytest.mark.parametrize("limit", [None, 60.0])
def test_a_task_whose_worker_dies_twice_is_lost_and_no_other(
    apart: str, limit: float | None, tmp_path: Path
) -> None:
    tasks = [(k, 7, tmp_path) for k in range(30)]
    answers = list(new_executor(apart, limit).map(dies_at, tasks, "train", lost=repr))
    assert [answers[k] for k in range(30) if k != 7] == [k for k in range(30) if k != 7]
    assert answers[7].startswith("ExecutorError('Task 8 of 30 of `train` was lost")
    assert len(list(tmp_path.iterdir())) == 2


def test_without_lost_a_death_is_raised_in_its_turn(apart: str, tmp_path: Path) -> None:
    answers = new_executor(apart).map(dies_at, [(k, 2, tmp_path) for k in range(6)])
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(ExecutorError, match="Task 3 of 6 was lost: its worker died 2 times"):
        next(answers)


def test_a_loop_over_the_limit_is_lost_and_no_other(kind: str) -> None:
    tasks = [(k, 7) for k in range(30)]
    answers = list(new_executor(kind, LIMIT).map(hangs_in_python, tasks, lost=type))
    assert answers == [TimeLimitError if k == 7 else k for k in range(30)]


def test_a_deaf_call_over_the_limit_is_lost_and_no_other(apart: str) -> None:
    tasks = [(k, 7) for k in range(30)]
    answers = list(new_executor(apart, LIMIT).map(hangs_deaf, tasks, lost=type))
    assert answers == [TimeLimitError if k == 7 else k for k in range(30)]


def test_without_lost_the_limit_is_raised_in_its_turn(kind: str) -> None:
    answers = new_executor(kind, LIMIT).map(hangs_in_python, [(0, 1), (1, 1), (2, 1)], "train")
    assert next(answers) == 0
    with pytest.raises(TimeLimitError, match=r"Task 2 of 3 .* was stopped: it may take 0\.5 s"):
        next(answers)


def test_an_alarm_that_was_set_before_still_rings(kind: str) -> None:
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rang.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        assert list(new_executor(kind, LIMIT).map(abs, [(-1,), (-2,)])) == [1, 2]
        time.sleep(0.4)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rang == [signal.SIGALRM]


@pytest.mark.parametrize("limit", [None, 60.0])
def test_closing_early_ends_what_runs(apart: str, limit: float | None) -> None:
    tasks = [(k, 0.1 if k < 2 else 120.0) for k in range(6)]
    answers = new_executor(apart, limit).map(pause, tasks)
    workers = {next(answers), next(answers)}
    time.sleep(0.3)  # both have begun the next
    answers.close()
    assert os.getpid() not in workers
    assert all(gone(worker) for worker in workers)


def test_an_executor_serves_again_after_an_early_end(kind: str) -> None:
    executor = new_executor(kind)
    answers = executor.map(pow, [(k, 2) for k in range(100)])
    next(answers)
    answers.close()
    assert list(executor.map(pow, [(3, 2), (4, 2)])) == [9, 16]


def test_workers_that_die_between_two_calls_are_replaced() -> None:
    executor = new_executor("apart")
    for _ in range(2):
        workers = set(executor.map(pause, [(k, 0.2) for k in range(4)]))
        assert len(workers) == 2
        for worker in workers:
            os.kill(worker, signal.SIGKILL)


def test_two_calls_may_take_turns(kind: str) -> None:
    executor = new_executor(kind)
    first, second = (executor.map(pow, [(k, n) for k in range(40)]) for n in (1, 2))
    assert [(a, b) for a, b in zip(first, second, strict=True)] == [(k, k * k) for k in range(40)]


def test_a_shared_argument_travels_once_to_a_worker_or_the_store(apart: str) -> None:
    Counted.times = 0
    shared = Counted()
    tasks = [(shared, k) for k in range(300)]
    sums = list(new_executor(apart).map(total, tasks))
    assert sums == [60_000.0 + k for k in range(300)]
    assert 1 <= Counted.times <= 2  # two workers; or one store


def test_large_arrays_arrive_read_only_with_their_bits(apart: str) -> None:
    large = np.asfortranarray(np.random.default_rng(0).normal(size=(400, 500)))
    tasks = [({"nested": large}, k) for k in range(3)]
    assert list(new_executor(apart).map(bits, tasks)) == [(False, large.tobytes("F"))] * 3


def test_ray_that_was_there_before_stays(ray_instance: None) -> None:
    import ray

    with RayExecutor() as second:
        assert list(second.map(pow, [(2, 3)])) == [8]
    assert ray.is_initialized()
    with pytest.raises(
        ExecutorError, match=r"is connected to `.*` already. Expected `127.0.0.1:1`"
    ):
        list(RayExecutor("127.0.0.1:1").map(pow, [(2, 3)]))


JOINS = """
import os, sys, time
from mlma.adapters.executors.ray import RayExecutor

def work(k):
    if k == 1 and not os.path.exists(sys.argv[2]):
        open(sys.argv[2], "w").close()
        os.kill(os.getpid(), 9)
    time.sleep(0.4 if k < 4 else 120)  # long enough to travel alone
    return os.getpid()

def work_with(k, mark):
    sys.argv = ["", "", mark]
    return work(k)

answers = RayExecutor(sys.argv[1]).map(work_with, [(k, sys.argv[2]) for k in range(8)])
first = [next(answers) for _ in range(4)]
try:  # around the line that tells the test to interrupt, which may do so at once
    print(*first, flush=True)
    next(answers)
except KeyboardInterrupt:
    answers.close()
    print("interrupted", flush=True)
    sys.exit(3)
"""


def test_an_interrupt_on_a_cluster_leaves_no_task_behind_and_no_word(
    ray_instance: None, tmp_path: Path
) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    (tmp_path / "script.py").write_text(textwrap.dedent(JOINS))
    command = [sys.executable, tmp_path / "script.py", address, tmp_path / "mark"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as run:
        assert run.stdout is not None
        workers = {int(pid) for pid in run.stdout.readline().split()}
        time.sleep(1.0)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does
        rest, told = run.communicate(timeout=60)
    assert (rest.strip(), told.strip(), run.returncode) == ("interrupted", "", 3)
    assert (tmp_path / "mark").exists()
    assert workers
    assert all(gone(worker) for worker in workers)
    assert list(RayExecutor().map(pow, [(2, 3)])) == [8]  # the cluster goes on


def gone(pid: int, patience: float = 15.0) -> bool:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            if not Path("/proc").is_dir() and pid_answers(pid):
                continue
            return True
        time.sleep(0.1)
    return False


def pid_answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
