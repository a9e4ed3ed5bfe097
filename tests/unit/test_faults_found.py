"""Faults that the harness of benchmarks/faults found, each as small as it can be shown."""

from datetime import datetime, timedelta

import polars as pl
import pytest

from live_agents import FIRST, fleet, live_agent, on_day, parcels, push

START = datetime(2024, 1, 1)
FRAME = fleet(days=6, streams=4)
YOUNG = "mlma(level=0.01, pool=1, max_age=3, review_age=None)"


def test_rows_that_come_while_a_batch_is_gathered_are_judged():
    agent, store, clock = live_agent(complete_share=1.0)
    today = on_day(FRAME, 0)
    first, rest = today.head(10), today.tail(len(today) - 10)
    store.register(sorted(set(today["unique_id"])))
    store.accept(parcels(first, store.streams(), "forecasts"))
    read = store.parcels

    def parcels_and_more_come(kind, period, *, after=0):
        found = read(kind, period, after=after)
        if kind == "forecasts" and store.parcels is not read:
            store.parcels = read
            store.accept(parcels(rest, store.streams(), "forecasts"))
            store.accept(parcels(today, store.streams(), "actuals"))
        return found

    store.parcels = parcels_and_more_come
    clock.day(1)
    agent.tick()
    agent.tick()
    (info,) = store.cycles()
    _, evidence = store.evidence(info.cycle)
    assert evidence["forecasts"].tolist() == [6, 6, 6, 6]
    assert evidence["n"].tolist() == [6, 6, 6, 6]


def requested(store):
    return [(one.request.unique_id, one.request.version) for _, one in store.requests()]


def first_asked():
    """Return the day on which a re-training is asked for first, and of which stream."""
    agent, store, clock = live_agent(policy=YOUNG, complete_share=1.0)
    for day in range(5):
        push(store, on_day(FRAME, day))
        clock.day(day + 1)
        agent.tick()
        if requested(store):
            return day, requested(store)[0][0]
    raise AssertionError("nothing is asked for")


def test_a_fit_that_ended_is_not_asked_for_again_when_its_batch_is_opened_again():
    last, name = first_asked()
    hour = timedelta(hours=1)
    agent, store, clock = live_agent(policy=YOUNG, complete_share=1.0, timeout=hour)
    late = (pl.col("unique_id") == name) & (pl.col("ds") >= START + timedelta(days=last))
    for day in range(last + 1):
        today = on_day(FRAME, day)
        push(store, today, kinds=("forecasts",))
        push(store, today.filter(~late), kinds=("actuals",))
        clock.day(day + 1, hours=2)
        agent.tick()
    assert (name, 1) in requested(store)
    agent.deployed([name])
    push(store, on_day(FRAME, last).filter(late), kinds=("actuals",))
    (revised,) = agent.tick()
    assert revised.revision == 1
    assert requested(store).count((name, 1)) == 1


def test_a_fit_that_ends_while_its_stream_is_judged_is_not_asked_for_again():
    last, name = first_asked()
    agent, store, clock = live_agent(policy=YOUNG, complete_share=1.0)
    push(store, FRAME.filter(pl.col("ds") < START + timedelta(days=last + 2)))
    clock.day(last + 1)
    agent.tick()
    assert (name, 1) in requested(store)
    read = store.actions

    def actions_and_a_version_goes_live(**wanted):
        found = read(**wanted)
        if store.actions is not read:
            store.actions = read
            agent.deployed([name])
        return found

    store.actions = actions_and_a_version_goes_live
    clock.day(last + 2)
    agent.tick()
    assert requested(store).count((name, 1)) == 1


@pytest.mark.parametrize("restarted", [False, True])
def test_an_empty_period_whose_rows_come_before_the_next_is_judged_is_judged(restarted):
    settings = {"complete_share": 1.0, "timeout": timedelta(hours=1)}
    agent, store, clock = live_agent(**settings)
    push(store, on_day(FRAME, 0))
    clock.day(2, hours=2)
    push(store, on_day(FRAME, 2), kinds=("forecasts",))
    agent.tick()  # of day 1 nothing came in time
    push(store, on_day(FRAME, 1), kinds=("actuals",))
    agent.tick()  # these alone are nothing to judge
    if restarted:
        agent, _, _ = live_agent(store, clock, **settings)
    push(store, on_day(FRAME, 1), kinds=("forecasts",))
    agent.tick()
    push(store, on_day(FRAME, 2), kinds=("actuals",))
    clock.day(3, hours=2)
    agent.tick()
    assert [info.period - FIRST for info in store.cycles()] == [0, 1, 2]
