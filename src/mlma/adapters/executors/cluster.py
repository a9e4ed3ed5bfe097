"""Joining Ray: an instance of this machine, or a cluster by its address.

Takes an address, gives the library once it is connected, or one clear error in bounded time. Ray
itself tries for minutes and then ends the process. Next is `RayExecutor`.
"""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any
from warnings import catch_warnings, simplefilter

from joblib import cpu_count

from mlma.domain.errors import ExecutorError, MissingExtraError

_QUIET = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # workers run in this environment, not in one made anew
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def check_ray() -> None:
    """Raise ``MissingExtraError`` unless Ray is installed."""
    if find_spec("ray") is None:
        raise MissingExtraError("The executor `ray`", "ray")


def join(
    address: str | None, n_jobs: int | None, seconds: float, runtime_env: dict[str, Any] | None
) -> bool:
    """Connect to Ray; return whether that was needed.

    Without an address, and without one in ``RAY_ADDRESS``, Ray is started on this machine.
    """
    check_ray()
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        _check_same(address, ray)
        return False
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    settings: dict[str, Any] = {"runtime_env": runtime_env} if runtime_env else {}
    if address == "local":
        settings |= {"num_cpus": n_jobs or cpu_count(), "include_dashboard": False}
    else:
        _reach(address, seconds)
    try:
        with catch_warnings():  # of what later versions will do
            simplefilter("ignore")
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **settings)
    except (Exception, SystemExit) as error:
        raise _unreachable(address, seconds, str(error)) from error
    _hush(ray)
    return True


def _check_same(address: str | None, ray: Any) -> None:
    """Raise if Ray is connected already, but to another port than was asked for."""
    if address is None or "://" in address or ":" not in address:
        return
    here = str(ray.get_runtime_context().gcs_address)
    if here.rsplit(":", 1)[-1] != address.rsplit(":", 1)[-1]:
        raise ExecutorError(
            f"Ray of this process is connected to `{here}` already. Expected `{address}`. "
            f"Hint: call ray.shutdown() first, or leave the address out to join it."
        )


def _reach(address: str, seconds: float) -> None:
    """Raise unless somebody answers at the address, and, where that can be asked, it is Ray."""
    if ":" in address:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), min(seconds, 5.0)).close()
        except (OSError, ValueError, OverflowError) as error:
            raise _unreachable(address, seconds, str(error)) from error
    if not address.startswith("ray://"):
        _ask_health(address, seconds)


def _ask_health(address: str, seconds: float) -> None:
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check"]
    command += [] if address == "auto" else ["--address", address]
    try:
        asked = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise _unreachable(address, seconds, "no answer of Ray") from error
    if asked.returncode:
        told = asked.stderr.strip().splitlines() or ["no answer of Ray"]
        raise _unreachable(address, seconds, told[-1])


def _unreachable(address: str, seconds: float, why: str) -> ExecutorError:
    return ExecutorError(
        f"Ray at `{address}` cannot be reached: {why.strip().rstrip('.')}. Expected an answer "
        f"within {seconds:g} seconds; no task was run. Hint: `ray start --head --port=6379` starts "
        f"a cluster; check host, port and firewall, and that both sides have the same versions of "
        f"Ray and Python; without an address Ray runs on this machine."
    )


def _hush(ray: Any) -> None:
    """Keep Ray's word about each dead worker from standard output; the ledger sees to those."""
    module = ray._private.worker
    tell: Callable[..., None] | None = getattr(module, "print_to_stdstream", None)
    if tell is None or getattr(tell, "is_hushed", False):
        return

    def told(data: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        if data.get("pid") != "raylet":
            tell(data, *args, **kwargs)

    told.is_hushed = True  # type: ignore[attr-defined]  # a mark on a function
    module.print_to_stdstream = told
