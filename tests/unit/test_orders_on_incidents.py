"""Orders on incidents: who is at it, what is put aside, which alarms were right."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from engineers import ANN, BOB, DAYS, day, incident, judged_fleet, office
from mlma.domain.errors import ConflictError, DataError
from mlma.domain.orders import Acknowledge, Confirm, Deny, ReopenIncident, Resolve, Snooze


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    path = tmp_path_factory.mktemp("judged") / "store.db"
    judged_fleet(path)
    return path


@pytest.fixture
def at(tmp_path, judged):
    with office(tmp_path, judged) as made:
        made.show(incident())
        yield made


def test_an_incident_that_is_not_there_is_told(at):
    with pytest.raises(DataError, match=r"There is no incident 'i2'"):
        at.look(Acknowledge(incident="i2"))


def test_somebody_is_at_it(at):
    made = at.look(Acknowledge(incident="i1"))
    assert made.sentence == (
        "Acknowledges the incident of city=Ghent: Losses of 3 streams rose together."
    )
    assert [(one.what, one.before, one.after) for one in made.changes] == [
        ("state", "open", "acknowledged")
    ]
    number = at.order(Acknowledge(incident="i1"))
    (one,) = at.store.incidents()
    assert (one.state, one.changed) == ("acknowledged", number)
    assert at.store.actions(start=number)[0].cycle == DAYS


def test_two_engineers_at_one_incident_the_second_is_told_who_was_first(at):
    seen = at.store.incidents()[0].changed
    number = at.order(Acknowledge(incident="i1", seen=seen), by=BOB)
    with pytest.raises(
        ConflictError,
        match=rf"action {number} \(acknowledge by user:bob, 2024-01-13 00:00 UTC\)",
    ):
        at.order(Resolve(incident="i1", seen=seen))
    assert at.store.incidents()[0].state == "acknowledged"


def test_two_engineers_at_the_very_same_moment_just_one_is_first(at):
    def act(by):
        try:
            return at.order(Acknowledge(incident="i1", seen=0), by=by)
        except ConflictError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(act, [f"user:{number}" for number in range(4)]))
    assert sum(isinstance(one, int) for one in made) == 1
    assert at.kinds() == ["acknowledge"]


def test_without_what_was_seen_the_second_is_told_too(at):
    at.order(Acknowledge(incident="i1"), by=BOB)
    with pytest.raises(ConflictError, match=r"is acknowledged already: action .*user:bob"):
        at.order(Acknowledge(incident="i1"))


def test_an_incident_is_put_aside_until_a_time_ahead(at):
    with pytest.raises(DataError, match=r"`until` of `snooze` must lie ahead"):
        at.look(Snooze(incident="i1", until=day(1)))
    at.order(Snooze(incident="i1", until=day(20)))
    assert at.store.incidents()[0].snoozed_until == day(20)
    at.order(Acknowledge(incident="i1"))
    assert at.store.incidents()[0].snoozed_until is None


def test_a_resolved_incident_says_by_whom_and_is_reopened(at):
    with pytest.raises(ConflictError, match=r"is open. Expected a resolved one"):
        at.look(ReopenIncident(incident="i1"))
    at.order(Resolve(incident="i1"))
    (one,) = at.store.incidents()
    assert (one.closed_by, one.closed_at, one.closed_cycle) == (ANN, day(DAYS), DAYS)
    with pytest.raises(ConflictError, match=r"resolved .by user:ann, .*reopen it first"):
        at.order(Acknowledge(incident="i1"))
    at.order(ReopenIncident(incident="i1"))
    (one,) = at.store.incidents()
    assert (one.state, one.closed_by, one.closed_at, one.closed_cycle) == ("open", "", None, None)


def test_an_alarm_is_confirmed_or_denied_whatever_its_state(at):
    at.order(Resolve(incident="i1"))
    at.order(Deny(incident="i1"))
    assert at.store.incidents()[0].told is False
    (change,) = at.look(Confirm(incident="i1")).changes
    assert (change.before, change.after) == ("false", "right")
    at.order(Confirm(incident="i1"))
    assert (at.store.incidents()[0].told, at.store.incidents()[0].state) == (True, "resolved")
    with pytest.raises(ConflictError, match=r"its alarm confirmed already"):
        at.order(Confirm(incident="i1"))
