"""Incidents of a live agent: written with the cycle, kept by the store, withdrawn by late rows."""

import numpy as np

from live_agents import fleet, live_agent, on_day, played, push
from mlma.domain.incidents import BY_ITSELF, WITHDRAWN
from mlma.steps.trace import traces_of

SOON = "mlma(level=0.01, pool=1, max_age=None, review_age=None, min_reference_batches=6)"
"""A policy that can tell after a week."""


def test_requests_that_nobody_answers_come_to_the_desk_and_leave_it_when_they_are_answered():
    agent, store, clock = live_agent(policy=SOON)
    frame = fleet(days=20, breaks_at=10)
    played(frame, 18, agent, store, clock)
    found = {one.kind: one for one in store.incidents(states=("open",))}
    assert found["trainer"].evidence["part"] == "unanswered"
    names = [one.request.unique_id for _, one in store.requests(status=("open",))]
    assert found["trainer"].streams == len(names)
    agent.deployed(names)
    for day in range(18, 20):
        push(store, on_day(frame, day))
        clock.day(day + 1)
        agent.tick()
    (closed,) = store.incidents(ids=[found["trainer"].id])
    assert (closed.state, closed.closed_by) == ("resolved", BY_ITSELF)


def test_missing_actuals_of_all_are_one_incident_that_late_rows_withdraw():
    agent, store, clock = live_agent()
    frame = fleet(days=6, breaks_at=99)
    played(frame, 4, agent, store, clock)
    push(store, on_day(frame, 4), kinds=("forecasts",))
    clock.day(5, hours=7)  # judged with what is there
    agent.tick()
    (made,) = store.incidents()
    assert (made.kind, made.scope, made.streams) == ("data", "fleet", 12)
    push(store, on_day(frame, 4), kinds=("actuals",))
    clock.day(5, hours=9)
    agent.tick()
    (gone,) = store.incidents()
    assert (gone.id, gone.state, gone.closed_by) == (made.id, "resolved", WITHDRAWN)


def test_an_agent_that_starts_anew_remembers_what_an_incident_is_made_of():
    agent, store, clock = live_agent(policy=SOON)
    frame = fleet(days=12, breaks_at=7)
    played(frame, 10, agent, store, clock)
    other, *_ = live_agent(store, clock, holder="two", policy=SOON)
    snapshot = store.snapshot()
    traces = traces_of(snapshot.columns, 12)
    assert traces.troubled.any()
    agent.surrender()
    for day in range(10, 12):
        push(store, on_day(frame, day))
        clock.day(day + 1)
        other.tick()
    one, again, clock_two = live_agent(policy=SOON)
    played(frame, 12, one, again, clock_two)
    assert store.incidents() == again.incidents()
    for name, column in traces_of(store.snapshot().columns, 12).flat().items():
        np.testing.assert_array_equal(
            traces_of(again.snapshot().columns, 12).flat()[name], column, err_msg=name
        )
