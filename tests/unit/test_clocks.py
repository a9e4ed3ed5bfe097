"""Clocks: time never goes back, neither that of the wall nor a simulated one."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mlma.adapters.sources.clocks import SimulatedClock, WallClock
from mlma.domain.errors import DataError, StateError

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


class Machine:
    """A machine whose clock can be set; its seconds only grow."""

    def __init__(self) -> None:
        self.shown, self.seconds = NOON, 0.0

    def clock(self) -> WallClock:
        return WallClock(wall=lambda: self.shown, steady=lambda: self.seconds)

    def wait(self, seconds: float) -> None:
        self.shown += timedelta(seconds=seconds)
        self.seconds += seconds

    def set(self, by: timedelta) -> None:
        self.shown += by


class Memory:
    """The settings of a store."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def setting(self, name: str) -> str | None:
        return self.kept.get(name)

    def remember(self, name: str, value: str) -> None:
        self.kept[name] = value


def test_the_wall_clock_tells_the_time_in_utc() -> None:
    now = WallClock().now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_clock_that_jumps_back_holds_still_until_its_time_is_reached_again() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wait(60)
    assert clock.now() == NOON + timedelta(seconds=60)
    machine.set(timedelta(seconds=-30))
    for _ in range(3):
        assert clock.now() == NOON + timedelta(seconds=60)
        machine.wait(9)
    machine.wait(4)
    assert clock.now() == NOON + timedelta(seconds=61)
    assert [jump.seconds for jump in clock.jumps] == [-30]
    assert clock.jumped == 1


def test_only_big_jumps_forward_are_reported() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.set(timedelta(seconds=59))
    assert clock.now() == NOON + timedelta(seconds=59)
    assert clock.jumps == ()
    machine.wait(7200)
    clock.now()
    assert clock.jumps == ()
    machine.set(timedelta(hours=2))
    assert clock.now() == machine.shown
    assert [(jump.at, jump.seconds) for jump in clock.jumps] == [(machine.shown, 7200)]


def test_jumps_are_counted_though_only_the_last_hundred_are_kept() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(150):
        machine.set(timedelta(hours=1))
        clock.now()
    assert len(clock.jumps) == 100
    assert clock.jumped == 150


def test_a_simulated_clock_stands_where_it_was_set_and_the_store_remembers() -> None:
    store = Memory()
    clock = SimulatedClock(store)
    assert clock.now() == datetime(1970, 1, 1, tzinfo=UTC)
    berlin = timezone(timedelta(hours=1))
    assert clock.advance(NOON.astimezone(berlin)) == NOON
    assert SimulatedClock(store).now() == NOON
    assert clock.now().tzinfo is UTC
    assert clock.advance(NOON) == NOON


def test_a_simulated_clock_refuses_to_go_back_and_names_both_times() -> None:
    clock = SimulatedClock(Memory())
    clock.advance(NOON)
    with pytest.raises(DataError, match=r"shows 2025-03-01T12:00.*got 2025-03-01T11:59"):
        clock.advance(NOON - timedelta(minutes=1))
    assert clock.now() == NOON


def test_a_simulated_clock_needs_a_zone() -> None:
    with pytest.raises(DataError, match=r"must have a zone. Got 2025-03-01T12:00:00. Hint"):
        SimulatedClock(Memory()).advance(NOON.replace(tzinfo=None))


def test_a_store_that_remembers_no_time_is_an_error() -> None:
    store = Memory()
    store.remember("clock", "noon")
    with pytest.raises(StateError, match=r"`clock` of the store must be a time. Got 'noon'"):
        SimulatedClock(store).now()
