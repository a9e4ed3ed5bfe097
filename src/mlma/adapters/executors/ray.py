"""Calls on Ray: the cores of this machine or of a cluster; needs the extra ``ray``.

Takes a function and tasks, gives the answers in the order of the tasks, the same to the bit as
those of the local executor.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import uuid4

from mlma.adapters.executors.cluster import check_ray, join
from mlma.adapters.executors.ledger import Ledger, Outcome
from mlma.adapters.executors.local import check_settings
from mlma.adapters.executors.parcels import (
    Shared,
    is_large_array,
    pack,
    pack_apart,
    pack_function,
    unpack,
)
from mlma.adapters.executors.remote import carry_out
from mlma.domain.errors import ExecutorError

T = TypeVar("T")

_BATCH_SECONDS = 0.3  # a task of Ray costs about 2 milliseconds
_WORTH_PUTTING_BYTES = 2**20  # a place in the object store costs as much as sending this


class RayExecutor:
    """Runs independent calls as tasks of Ray, here or on a cluster.

    Small tasks travel in batches whose size follows the time they take. An argument that many tasks
    share is put into the object store once, as is every array of a megabyte or more; workers get
    these read-only. A worker or node that dies loses nothing: its tasks are tried anew, once. An
    error in a task is raised here; an error, an interrupt or a generator that is closed early
    cancels the tasks that are out and ends their workers.

    Ray is joined when the first answer is asked for. If this process is connected already, that
    connection is used and left alone; otherwise Ray stays connected for the next call, until
    `close` or the end of the process.

    Parameters
    ----------
    address
        ``"host:port"`` of a cluster's head, ``"auto"`` for the cluster that this machine belongs
        to, ``"ray://host:port"`` (which needs ``ray[client]``), None = ``RAY_ADDRESS`` if it is
        set, or else this machine.
    n_jobs
        how many tasks run at a time; None = one per core.
    time_limit
        seconds that a task may take; None = no limit. With a limit each worker runs its tasks in a
        process of its own beside it, so that a call that heeds no signal can be ended.
    connect_seconds
        how long to wait for a cluster.
    runtime_env
        handed on to ``ray.init``: what the workers of a cluster need.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    SettingsError
        ``n_jobs`` is below 1, or ``time_limit`` is not above 0.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        n_jobs: int | None = None,
        time_limit: float | None = None,
        connect_seconds: float = 20.0,
        runtime_env: dict[str, Any] | None = None,
    ) -> None:
        check_settings("RayExecutor", n_jobs, time_limit)
        check_ray()
        self.address = address
        self.n_jobs = n_jobs
        self.time_limit = time_limit
        self.connect_seconds = connect_seconds
        self.runtime_env = runtime_env
        self._is_mine = False

    def map(
        self,
        function: Callable[..., T],
        tasks: Sequence[tuple[Any, ...]],
        label: str = "",
        *,
        lost: Callable[[Exception], T] | None = None,
    ) -> Iterator[T]:
        """Yield ``function(*task)`` for each task, in order; nothing runs before the first.

        ``lost`` makes the answer of a task that took longer than the time limit, or whose worker
        died twice; None = a ``TimeLimitError`` or ``ExecutorError`` is raised in its turn. An
        ``ExecutorError`` is raised as well if Ray cannot be reached.
        """
        if not tasks:
            return
        self._is_mine |= join(self.address, self.n_jobs, self.connect_seconds, self.runtime_env)
        cores, at_a_time = self._room()
        ledger = Ledger(len(tasks), cores, _BATCH_SECONDS, lost, label, self.time_limit)
        run = _Run(function, tasks, ledger, Shared(tasks), at_a_time)
        try:
            while not ledger.finished:
                run.step()
                for answer in ledger.ready():  # noqa: UP028  # it would close it first
                    yield answer
        finally:
            run.close()

    def _room(self) -> tuple[int, int]:
        """Return how many batches run at a time, and how many are out, so that none waits."""
        import ray

        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cores = max(1, int(resources.get("CPU", 1)))
        if self.n_jobs is not None and self.n_jobs < cores:
            return self.n_jobs, self.n_jobs
        return cores, 2 * cores

    def close(self) -> None:
        """Leave Ray, if this executor joined it."""
        if self._is_mine:
            import ray

            ray.shutdown()
            self._is_mine = False

    def __enter__(self) -> "RayExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class _Run(Generic[T]):
    """One call of ``map``; ``out`` are the batches that Ray has."""

    function: Callable[..., T]
    tasks: Sequence[tuple[Any, ...]]
    ledger: Ledger[T]
    shared: Shared
    at_a_time: int
    out: dict[Any, list[int]] = field(default_factory=dict)
    _remote: Any = None
    _packed: Any = None
    _put: dict[int, tuple[object, int, Any]] = field(default_factory=dict)  # held: for its id
    _call: str = field(default_factory=lambda: uuid4().hex)

    def step(self) -> None:
        """Hand out what can be handed out, wait until a batch is back, see to it."""
        import ray

        if self._remote is None:
            self._packed = ray.put(pack_function(self.function))
            self._remote = ray.remote(num_cpus=1, max_retries=0)(carry_out)
        while len(self.out) < self.at_a_time and (numbers := self.ledger.batch()):
            self._hand_out(numbers)
        for back in ray.wait(list(self.out), num_returns=1)[0]:
            self._hear(back)

    def _hand_out(self, numbers: list[int]) -> None:
        parts: dict[str, object] = {}

        def name(part: object) -> str | None:
            if not self.shared.uses(part) and not is_large_array(part):
                return None
            token = f"{self._call} {id(part)}"
            parts[token] = part
            return token

        tasks = pack([self.tasks[number] for number in numbers], name)
        sent = [(token, *self._part(part)) for token, part in parts.items()]
        stored = [place for _, _, place in sent if not isinstance(place, bytes)]
        told = [(t, size, place if isinstance(place, bytes) else None) for t, size, place in sent]
        limit = self.ledger.time_limit
        self.out[self._remote.remote(self._packed, tasks, limit, told, *stored)] = numbers

    def _part(self, part: object) -> tuple[int, Any]:
        """Return the size of a part, and its bytes or its place in the object store."""
        import ray

        if id(part) not in self._put:
            parcel = pack_apart(part)  # Ray could not import what a worker has not heard of yet
            size = len(parcel[0]) + sum(array.nbytes for array in parcel[1])
            worth = size * max(self.shared.uses(part), 1) >= _WORTH_PUTTING_BYTES
            self._put[id(part)] = (part, size, ray.put(parcel) if worth else None)
        _, size, place = self._put[id(part)]
        return size, pack(part) if place is None else place

    def _hear(self, back: Any) -> None:
        import ray
        from ray import exceptions as known

        died = (
            known.WorkerCrashedError,
            known.NodeDiedError,
            known.LocalRayletDiedError,
            known.OutOfMemoryError,
            known.ObjectLostError,
        )
        numbers = self.out.pop(back)
        try:
            outcome: Outcome = unpack(ray.get(back))
        except died as error:
            self.ledger.died(numbers, numbers, type(error).__name__)
            return
        except known.RayError as error:
            raise _not_fit(error) from error
        self.ledger.take(numbers, outcome)
        for number in numbers[: outcome.reached]:
            for key in self.shared.answered(self.tasks[number]):
                self._put.pop(key, None)

    def close(self) -> None:
        """Cancel what is out and end its workers; forget what is in the object store."""
        with suppress(ImportError):  # an interpreter that ends imports nothing; Ray ends with it
            import ray

            for reference in self.out:
                with suppress(Exception):  # the connection may be what failed
                    ray.cancel(reference, force=True)
        self.out.clear()
        self._put.clear()


def _not_fit(error: Exception) -> ExecutorError:
    told = str(error).strip().splitlines()
    return ExecutorError(
        f"A worker of Ray could not begin: {told[-1] if told else error!r}. Expected mlma and what "
        f"your model needs on every node. Hint: install the same versions there, or name them in "
        f"`runtime_env`."
    )
