"""What a worker does with a request for re-training: it calls the function of the user.

Takes the name of a function and a request, gives an answer of plain values: losses held out, or
what went wrong. Next is the trainer, which records it.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from traceback import format_exc, format_exception_only
from typing import Any, TypeVar

from mlma.domain.errors import MlmaError, SettingsError
from mlma.domain.rows import LossRows
from mlma.ports import Executor, RetrainingRequest

T = TypeVar("T")

_LONGEST_ERROR = 500


@dataclass(frozen=True, slots=True)
class FitAnswer:
    """What became of one request.

    held_out
        losses of the new version on slots that it was not trained on; None = none were given.
    artefact
        what the function calls the model; empty = it did not tell.
    error
        last line of what went wrong, ``trace`` all of it; empty = the new version is live.
    """

    held_out: LossRows | None = None
    artefact: str = ""
    error: str = ""
    trace: str = ""


def function_from(spec: str) -> Callable[[RetrainingRequest], Any]:
    """Return the function that ``package.module:function`` names.

    The folder in which the agent was started is looked through too.

    Raises
    ------
    SettingsError
        There is no such module or function, or the module cannot be imported.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise _no_function(spec, "Expected package.module:function")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = import_module(module_name)
    except Exception as error:
        why = f"`{module_name}` cannot be imported: {type(error).__name__}: {error}"
        raise _no_function(spec, why) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise _no_function(spec, f"`{module_name}` has no function `{name}`")
    return function  # type: ignore[no-any-return]  # of the user


def carry_out(spec: str, request: RetrainingRequest) -> FitAnswer:
    """Return what the function of the user made of a request; it never raises.

    ``spec`` is empty where there is no function for such requests.
    """
    if not spec:
        told = f"`{request.kind}` of [retraining] names no function that brings a version back"
        return FitAnswer(error=told)
    try:
        made, artefact = _taken_apart(function_from(spec)(request))
        rows = None if made is None else held_out(made, request.unique_id)
        return FitAnswer(held_out=rows, artefact=artefact)
    except (Exception, SystemExit) as error:
        last = format_exception_only(error)[-1].strip()
        if isinstance(error, MlmaError):
            last = str(error)
        return FitAnswer(error=last[:_LONGEST_ERROR], trace=format_exc())


def _taken_apart(made: Any) -> tuple[Any, str]:
    """Return the frame and the name of the model that a function returned: either, both or none."""
    if isinstance(made, str):
        return None, made
    if isinstance(made, tuple) and len(made) == 2:
        return made[0], str(made[1] or "")
    return made, ""


def held_out(frame: Any, unique_id: str) -> LossRows | None:
    """Return the losses that a function returned; None = a frame without rows.

    Raises
    ------
    DataError
        It is no frame with ``unique_id, ds, loss``, or is of another stream.
    """
    from mlma.adapters.frames.losses import read_losses
    from mlma.domain.errors import DataError

    rows = read_losses(frame)
    if rows.ds is None:
        raise DataError("The frame of held-out losses has no column `ds`.")
    if set(rows.ids) - {unique_id}:
        raise DataError(
            f"The frame of held-out losses must be of {unique_id}. Got {', '.join(rows.ids[:3])}."
        )
    return rows if len(rows.loss) else None


class ApartExecutor:
    """One worker process for one caller: a single task runs apart, too, and can be ended.

    ``time_limit`` is in seconds per task, None = no limit.
    """

    def __init__(self, time_limit: float | None = None) -> None:
        self.time_limit = time_limit

    def map(
        self,
        function: Callable[..., T],
        tasks: Sequence[tuple[Any, ...]],
        label: str = "",
        *,
        lost: Callable[[Exception], T] | None = None,
    ) -> Iterator[T]:
        """Yield ``function(*task)`` for each task, in order, as `mlma.ports.Executor` has it."""
        from mlma.adapters.executors.ledger import Ledger
        from mlma.adapters.executors.processes import apart

        ledger = Ledger(len(tasks), 1, 0.1, lost, label, self.time_limit)
        return apart(function, tasks, ledger)


def executors(spec: str, jobs: int | None, time_limit: float | None) -> list[Executor]:
    """Return the executors of a trainer, each for a thread of its own.

    ``local`` gives one worker process per core (or ``jobs``); ``threads`` runs in this process,
    without a time limit, for functions that are quick; anything else is what `executor_from` knows.
    """
    from joblib import cpu_count

    from mlma.adapters.executors.local import LocalExecutor
    from mlma.adapters.executors.registry import executor_from

    if spec == "local":
        return [ApartExecutor(time_limit) for _ in range(jobs or cpu_count())]
    if spec == "threads":
        return [LocalExecutor(n_jobs=1) for _ in range(jobs or cpu_count())]
    return [executor_from(spec, jobs, time_limit)]


def _no_function(spec: str, why: str) -> SettingsError:
    return SettingsError(
        f"`function` of `[retraining]` must name a function as package.module:function. "
        f"Got `{spec}`. {why}."
    )
