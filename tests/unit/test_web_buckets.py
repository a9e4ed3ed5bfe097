import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlma.web.buckets import Buckets


class Seconds:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_no_limit_never_waits():
    free = Buckets(0)
    assert [free.take("a", 10**9) for _ in range(3)] == [0.0] * 3
    free.charge("a", 10**9)
    assert free.wait("a") == 0.0


def test_names_have_buckets_of_their_own():
    clock = Seconds()
    calls = Buckets(1, clock)
    assert calls.take("a") == 0.0
    assert calls.take("b") == 0.0
    assert calls.take("a") == pytest.approx(60.0)


def test_a_debt_makes_those_who_come_next_wait_until_it_is_paid():
    clock = Seconds()
    rows = Buckets(60, clock)
    assert rows.wait("a") == 0.0
    rows.charge("a", 180)
    assert rows.wait("a") == pytest.approx(121.0)
    clock.now = 121.0
    assert rows.wait("a") == 0.0


def test_what_is_refused_takes_nothing():
    clock = Seconds()
    calls = Buckets(2, clock)
    calls.take("a", 2)
    waits = [calls.take("a") for _ in range(5)]
    assert waits == [waits[0]] * 5


def test_memory_is_bounded_however_many_names_come():
    calls = Buckets(10, Seconds())
    for number in range(30_000):
        calls.take(str(number))
    assert len(calls._buckets) <= 10_000


@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=200))
def test_no_minute_sees_more_than_twice_the_limit(pauses):
    clock = Seconds()
    calls = Buckets(10, clock)
    taken = []
    for pause in pauses:
        clock.now += pause
        if calls.take("a") == 0.0:
            taken.append(clock.now)
    for at in taken:
        assert sum(at <= one < at + 60 for one in taken) <= 20
