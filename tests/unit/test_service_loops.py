"""A loop does one thing again and again, waits after errors, and ends when it is told to."""

import itertools
import logging
from threading import Event
from time import monotonic, sleep

from mlma.domain.errors import StoreError
from mlma.service.loops import Loop, stopped
from threads import until


def started(step, **settings):
    loop = Loop("test", step, **settings)
    loop.start()
    return loop


def test_a_step_is_called_when_its_time_has_come():
    calls = []

    def step():
        calls.append(monotonic())
        return 0.01

    loop = started(step)
    until(lambda: len(calls) >= 3)
    assert stopped([loop], 5.0)
    assert all(after - before >= 0.01 for before, after in itertools.pairwise(calls))


def test_a_poke_calls_it_at_once_and_one_during_a_step_is_not_lost():
    calls, inside, go = [], Event(), Event()

    def step():
        calls.append(1)
        inside.set()
        go.wait(5.0)

    loop = started(step)
    assert inside.wait(5.0)
    loop.poke()
    go.set()
    until(lambda: len(calls) == 2)
    loop.poke()
    until(lambda: len(calls) == 3)
    assert stopped([loop], 5.0)


def test_an_error_is_counted_logged_and_followed_by_a_pause(caplog):
    times = []

    def step():
        times.append(monotonic())
        if len(times) <= 3:
            raise StoreError("It is gone.") if len(times) < 3 else ZeroDivisionError("oh")
        return 60.0

    with caplog.at_level(logging.WARNING):
        loop = started(step, first=0.02, longest=0.1)
        loop.poke()  # does not shorten the pause
        until(lambda: loop.facts.steps == 5)  # the poke is not lost
    pauses = [after - before for before, after in itertools.pairwise(times[:4])]
    assert pauses[0] >= 0.01
    assert pauses[1] >= 0.02
    assert pauses[2] >= 0.04
    facts = loop.facts
    assert (facts.failures, facts.errors, facts.last_error) == (0, 3, "ZeroDivisionError: oh")
    assert "test failed (1 in a row)" in caplog.text
    assert "Traceback" in caplog.text
    assert loop.alive
    assert stopped([loop], 5.0)
    assert not loop.alive


def test_a_step_that_takes_too_long_is_left_behind():
    go = Event()
    loop = started(lambda: go.wait(5.0) and None)
    assert not stopped([loop], 0.05)
    assert loop.stopping
    go.set()
    assert loop.join(5.0)


def test_a_loop_that_never_ran_is_stopped_at_once():
    assert stopped([Loop("idle", lambda: None)], 0.0)


def test_an_error_while_it_is_being_stopped_is_no_alarm(caplog):
    inside, go = Event(), Event()

    def step():
        inside.set()
        go.wait(5.0)
        raise StoreError("It is closed.")

    with caplog.at_level(logging.INFO):
        loop = started(step)
        assert inside.wait(5.0)
        loop.stop()
        go.set()
        assert loop.join(5.0)
    assert loop.facts.errors == 0
    assert [one.levelname for one in caplog.records] == ["INFO"]


def test_many_nudges_make_one_step_and_a_poke_does_not_wait_for_them():
    steps = []
    loop = Loop("nudged", lambda: steps.append(monotonic()), breath=0.3)
    loop.start()
    until(lambda: steps)
    began = monotonic()
    while monotonic() - began < 0.2:
        loop.nudge()
        sleep(0.005)
    assert len(steps) == 1
    until(lambda: len(steps) == 2)
    assert steps[1] - began >= 0.3
    loop.nudge()
    loop.poke()
    until(lambda: len(steps) == 3)
    loop.stop()
    assert loop.join(5)
