"""The executors by name, and what a user may hand in instead of a name.

Takes a text or an object of the port, gives an executor.
"""

from collections.abc import Callable
from typing import Any, cast

from mlma.adapters.executors.local import LocalExecutor
from mlma.adapters.executors.ray import RayExecutor
from mlma.domain.errors import SettingsError, unknown_name
from mlma.domain.expressions import parse_call
from mlma.ports import Executor


def _ray(n_jobs: int | None, time_limit: float | None, **settings: Any) -> Executor:
    known = ("address", "connect_seconds", "runtime_env")
    for setting in settings:
        if setting not in known:
            raise unknown_name("setting of `ray`", setting, known)
    return RayExecutor(n_jobs=n_jobs, time_limit=time_limit, **settings)


def _local(n_jobs: int | None, time_limit: float | None, **settings: Any) -> Executor:
    if settings:
        raise SettingsError(
            f"The executor `local` has no setting `{next(iter(settings))}`. Hint: `n_jobs` and "
            f"`time_limit` stand beside the executor, for any of them."
        )
    return LocalExecutor(n_jobs, time_limit)


EXECUTORS: dict[str, Callable[..., Executor]] = {"local": _local, "ray": _ray}


def executor_from(
    spec: object, n_jobs: int | None = None, time_limit: float | None = None
) -> Executor:
    """Return the executor that ``spec`` describes.

    Parameters
    ----------
    spec
        ``"local"``, processes of this machine; ``"ray"``, Ray on this machine or at
        ``RAY_ADDRESS``; ``"ray(address='host:port')"`` or ``"ray://host:port"``, a cluster; or an
        object with ``map`` as `mlma.ports.Executor` describes it, which is returned as it is.
    n_jobs
        how many tasks run at a time; None = one per core.
    time_limit
        seconds that a task may take; None = no limit.

    Raises
    ------
    SettingsError
        A name or setting is unknown, or ``spec`` is something else.
    MissingExtraError
        The library behind the name is not installed.

    >>> executor_from("local", n_jobs=3).n_jobs
    3
    """
    if not isinstance(spec, str):
        if callable(getattr(spec, "map", None)):
            return cast("Executor", spec)
        raise SettingsError(
            f"An executor is a name or an object with `map`. Got {type(spec).__name__}. "
            f"Hint: one of {', '.join(EXECUTORS)}."
        )
    if spec.strip().startswith("ray://"):
        return _ray(n_jobs, time_limit, address=spec.strip())
    name, settings = parse_call(spec, "executor")
    if name not in EXECUTORS:
        raise unknown_name("executor", name, EXECUTORS)
    return EXECUTORS[name](n_jobs, time_limit, **settings)
