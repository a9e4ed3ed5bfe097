"""Executors by name, and what is said when one cannot be had."""

import socket
import sys
from importlib.util import find_spec

import pytest

from mlma.adapters.executors.local import LocalExecutor
from mlma.adapters.executors.ray import RayExecutor
from mlma.adapters.executors.registry import executor_from
from mlma.domain.errors import ExecutorError, MissingExtraError, SettingsError

ray_is_needed = pytest.mark.skipif(
    find_spec("ray") is None,
    reason="Ray, of the extra `ray`, is not installed",
)


def test_local_is_a_local_executor_with_its_settings() -> None:
    executor = executor_from("local", n_jobs=3, time_limit=5.0)
    assert isinstance(executor, LocalExecutor)
    assert (executor.n_jobs, executor.time_limit) == (3, 5.0)


@ray_is_needed
@pytest.mark.parametrize(
    ("spec", "address"),
    [
        ("ray", None),
        ("ray(address='head:6379')", "head:6379"),
        ("ray://head:10001", "ray://head:10001"),
    ],
)
def test_ray_takes_an_address(spec: str, address: str | None) -> None:
    executor = executor_from(spec, n_jobs=3, time_limit=5.0)
    assert isinstance(executor, RayExecutor)
    assert (executor.address, executor.n_jobs, executor.time_limit) == (address, 3, 5.0)


def test_an_object_with_map_is_returned_as_it_is() -> None:
    mine = LocalExecutor(1)
    assert executor_from(mine, n_jobs=7) is mine


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("locl", "Unknown executor `locl`. Known: local, ray. Hint: did you mean `local`"),
        ("ray(adress='a:1')", "Unknown setting of `ray` `adress`.*did you mean `address`"),
        ("local(n=1)", "`local` has no setting `n`"),
        ("host:6379", "The executor `host:6379` cannot be read"),
        (7, "An executor is a name or an object with `map`. Got int"),
    ],
)
def test_what_is_no_executor_is_told(spec: object, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        executor_from(spec)


@pytest.mark.parametrize("name", ["local", "ray"])
def test_a_limit_that_is_not_above_zero_is_an_error(name: str) -> None:
    with pytest.raises(SettingsError, match=r"`time_limit` of `.*` must be a number of seconds"):
        executor_from(name, time_limit=0)


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=r'pip install "mlma\[ray\]"'):
        executor_from("ray")


@ray_is_needed
def test_an_address_where_nobody_listens_is_told() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ExecutorError, match=f"Ray at `{address}` cannot be reached.*Hint: "):
        list(RayExecutor(address).map(pow, [(2, 3)]))


@ray_is_needed
def test_an_address_where_somebody_else_listens_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(
            ExecutorError, match=r"no answer of Ray\. Expected an answer within 1 s"
        ):
            list(RayExecutor(address, connect_seconds=1.0).map(pow, [(2, 3)]))
