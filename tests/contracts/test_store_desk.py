"""What every store keeps to at the desk: orders, incidents, runs of the lab, terms of requests."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from mlma.domain.errors import ConflictError, StoreError
from mlma.domain.incidents import BY_ITSELF, INCIDENT_STATES, MOST_MEMBERS, WITHDRAWN, Incident
from mlma.domain.lab import LabRun
from mlma.domain.ledger import Action, Event
from mlma.domain.orders import AFTERWARDS, AHEAD, ON_INCIDENTS
from stores import KINDS, MINUTE, NOW, SHARED, asked, commit, entry, place_of, together

DAY = timedelta(days=1)
FREEZE = Action("freeze", {"unique_ids": ["a"]}, NOW, "user:ann")
ACKNOWLEDGE = Action("acknowledge", {"incident": "i"}, NOW, "user:ann", cycle=1)
RESOLVE = replace(ACKNOWLEDGE, kind="resolve", by="user:bob")


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    with place_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=SHARED)
def shared(request, tmp_path):
    with place_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def store(place):
    return place.open()


def incident(name="i", **settings):
    """Return an open incident of two streams."""
    values = {"opened_cycle": 1, "opened_at": NOW, "updated_cycle": 1, "stake": 2.5, "streams": 2}
    return Incident(name, "group", "city=Ghent", **{"state": "open", **values, **settings})


def resolved(name="i", by=BY_ITSELF, cycle=2, **settings):
    """Return an incident that somebody resolved."""
    closing = {"closed_cycle": cycle, "closed_at": NOW + DAY, "closed_by": by}
    return incident(name, state="resolved", **closing, **settings)


FULL = Incident(
    id="ü 1",
    kind="model",
    scope='stream "<b>"\0',
    state="snoozed",
    opened_cycle=3,
    opened_at=NOW,
    updated_cycle=5,
    streams=37,
    members=(0, 7, 2**31),
    stake=float("inf"),
    effect=-0.25,
    cause="Losses rose by 25 %: 日本 🚲.",
    done="2 re-trainings.",
    advice="Pin \ud800 it.",
    suggests=("pin", "policy"),
    evidence={"cycles": [1, 2], "none": None, "why": {"n": 3.5}},
    snoozed_until=NOW + DAY,
    told=False,
)


# Incidents of a commit.


@pytest.mark.parametrize("one", [FULL, incident(), resolved(effect=0.0, told=True)])
def test_an_incident_comes_back_as_it_was_written(store, one):
    store.commit(commit(entry(1), incidents=(one,)))
    assert store.incidents() == [one]
    assert store.incidents(ids=[one.id, "nobody", one.id]) == [one]


def test_numbers_of_numpy_in_an_incident_become_plain_ones(store):
    made = incident(
        opened_cycle=np.int64(1),
        members=tuple(np.arange(3)),
        stake=np.float64(1.5),
        evidence={"losses": np.array([0.5, np.nan]), "n": np.int32(4)},
    )
    store.commit(commit(entry(1), incidents=(made,)))
    (found,) = store.incidents()
    assert (found.opened_cycle, found.members, found.stake) == (1, (0, 1, 2), 1.5)
    assert found.evidence["n"] == 4
    assert np.isnan(found.evidence["losses"][1])


def test_a_stake_that_is_no_number_counts_as_none(store):
    made = incident(stake=float("nan"), effect=float("nan"))
    store.commit(commit(entry(1), incidents=(made, incident("j", stake=0.5))))
    assert [(one.id, one.stake) for one in store.incidents()] == [("j", 0.5), ("i", 0.0)]


def test_incidents_come_newest_first_then_by_stake_then_by_name(store):
    made = [
        incident("b", opened_cycle=1, stake=1.0),
        incident("A", opened_cycle=1, stake=1.0),
        incident("a", opened_cycle=1, stake=1.0),
        incident("ä", opened_cycle=1, stake=1.0),
        incident("z", opened_cycle=1, stake=9.0),
        incident("y", opened_cycle=2, updated_cycle=2, stake=0.0),
    ]
    store.commit(commit(entry(1), incidents=tuple(made)))
    order = ["y", "z", "A", "a", "b", "ä"]
    assert [one.id for one in store.incidents()] == order
    assert [one.id for one in store.incidents(limit=2)] == order[:2]
    assert [one.id for one in store.incidents(start=2, limit=3)] == order[2:5]
    assert [one.id for one in store.incidents(start=4)] == order[4:]
    assert [one.id for one in store.incidents(ids=order[::-1], start=1, limit=4)] == order[1:5]
    assert store.incidents(ids=[]) == []


def test_incidents_are_found_by_state_and_by_the_cycle_that_touched_them(store):
    made = {
        "old but open": incident("1"),
        "old but snoozed": incident("2", state="snoozed", snoozed_until=NOW + DAY),
        "old and resolved": resolved("3", cycle=2),
        "resolved later": resolved("4", cycle=5),
        "seen after it was resolved": resolved("5", cycle=2, updated_cycle=6),
        "opened later": resolved("6", cycle=2, opened_cycle=7),
    }
    store.commit(commit(entry(1), incidents=tuple(made.values())))

    def found(**settings):
        return "".join(sorted(one.id for one in store.incidents(**settings)))

    assert found(states=["open"]) == "1"
    assert found(states=["snoozed", "resolved"]) == "23456"
    assert found(states=[]) == ""
    assert found(touched_since=2) == "123456"
    assert found(touched_since=3) == "12456"
    assert found(touched_since=6) == "1256"
    assert found(touched_since=8) == "12"
    assert found(touched_since=6, states=["resolved"], ids=["5", "1"]) == "5"


def test_a_commit_changes_what_the_agent_sees_and_keeps_what_people_did(store):
    store.commit(commit(entry(1), incidents=(incident(),)))
    ours = replace(incident(), state="acknowledged", told=True)
    store.act([ACKNOWLEDGE], incidents=[ours])
    seen = incident(updated_cycle=2, stake=4.0, streams=9, cause="more", effect=0.5)
    store.commit(commit(entry(2), incidents=(seen,)))
    assert store.incidents() == [replace(seen, state="acknowledged", told=True, changed=1)]


def test_a_commit_resolves_and_opens_again_what_it_resolved_itself(store):
    store.commit(commit(entry(1), incidents=(incident("i"), incident("j"))))
    store.act([ACKNOWLEDGE], incidents=[replace(incident(), state="acknowledged", told=False)])
    gone = (resolved(), resolved("j", WITHDRAWN))
    store.commit(commit(entry(2), incidents=gone))
    assert store.incidents() == [replace(gone[0], changed=1, told=False), gone[1]]
    back = (incident(updated_cycle=3), incident("j", updated_cycle=3))
    store.commit(commit(entry(3), incidents=back))
    assert store.incidents() == [replace(back[0], changed=1, told=False), back[1]]


@pytest.mark.parametrize("seen", [incident(updated_cycle=9, stake=7.0), resolved(cycle=9)])
def test_what_a_person_resolved_stays_resolved_by_that_person(store, seen):
    store.commit(commit(entry(1), incidents=(incident(),)))
    ours = resolved(by="user:bob", cycle=1)
    store.act([RESOLVE], incidents=[ours])
    store.commit(commit(entry(9), incidents=(seen,)))
    expected = replace(
        ours, changed=1, updated_cycle=seen.updated_cycle, stake=seen.stake, snoozed_until=None
    )
    assert store.incidents() == [expected]


def test_what_a_person_opened_again_is_open(store):
    store.commit(commit(entry(1), incidents=(resolved(),)))
    reopen = replace(RESOLVE, kind="reopen")
    store.act([reopen], incidents=[incident()])
    store.commit(commit(entry(2), incidents=(incident(updated_cycle=2),)))
    assert store.incidents() == [incident(updated_cycle=2, changed=1)]


@pytest.mark.parametrize(("days", "state"), [(1, "snoozed"), (2, "open"), (3, "open")])
def test_a_snooze_lasts_until_it_is_over(store, days, state):
    store.commit(commit(entry(1), incidents=(incident(),)))
    until = NOW + 2 * DAY
    store.act([ACKNOWLEDGE], incidents=[incident(state="snoozed", snoozed_until=until)])
    judged = entry(2, judged_at=NOW + days * DAY)
    store.commit(commit(judged, incidents=(incident(updated_cycle=2),)))
    (found,) = store.incidents()
    assert (found.state, found.snoozed_until) == (state, until if state == "snoozed" else None)


def test_a_commit_resolves_a_snoozed_incident(store):
    snoozed = incident(state="snoozed", snoozed_until=NOW + 9 * DAY)
    store.commit(commit(entry(1), incidents=(snoozed,)))
    store.commit(commit(entry(2), incidents=(resolved(snoozed_until=NOW + 9 * DAY),)))
    assert store.incidents() == [resolved()]


def test_an_incident_of_several_entries_is_written_once_as_the_last_says(store):
    made = (incident(stake=1.0), incident(stake=2.0))
    store.commit(commit(entry(1), entry(2), incidents=made))
    assert store.incidents() == [made[1]]


WRONG = {
    "an unknown state": incident(state="closed"),
    "a NUL in its id": incident("a\0b"),
    "a time without a zone": incident(opened_at=NOW.replace(tzinfo=None)),
    "evidence of objects": incident(evidence={"what": object()}),
    "a number that no database takes": incident(opened_cycle=2**80),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_incident_that_cannot_be_kept_leaves_nothing_of_its_commit(store, wrong):
    full = commit(
        entry(1),
        incidents=(incident("fine"), WRONG[wrong]),
        requests=(asked("a"),),
        events=(Event("e", "incident", NOW, {}),),
        targets=("x",),
    )
    with pytest.raises(StoreError):
        store.commit(full)
    assert (store.cycles(), store.incidents(), store.requests(), store.deliveries()) == ([],) * 4


def test_pruning_leaves_incidents_alone(store):
    made = (incident(), resolved("j"))
    store.commit(commit(entry(1), incidents=made))
    for cycle in (2, 3):
        store.commit(commit(entry(cycle)))
    store.prune(snapshots_before=99, superseded_before=99, events_before=NOW + 99 * DAY)
    assert store.incidents() == list(made)


# Actions and what comes of them.


def test_an_action_is_recorded_with_all_that_comes_of_it(store):
    store.commit(commit(entry(1), requests=(asked("a"), asked("b")), incidents=(incident(),)))
    ours = incident(state="acknowledged")
    number = store.act(
        [FREEZE, ACKNOWLEDGE],
        finished={"a": "failed"},
        requested=[asked("c")],
        withdrawn=["b"],
        incidents=[ours],
        after=0,
        events=[Event("e", "action", NOW, {"text": "ü"})],
        targets=["x", "y"],
    )
    assert number == 2
    assert store.actions() == [replace(FREEZE, number=1), replace(ACKNOWLEDGE, number=2)]
    statuses = {one.request.id: one.status for _, one in store.requests()}
    assert statuses == {"a": "failed", "b": "withdrawn", "c": "open"}
    assert store.incidents() == [replace(ours, changed=2)]
    assert [(one.event.id, one.target) for one in store.due(NOW, 9)] == [("e", "x"), ("e", "y")]


def test_an_action_of_a_known_cycle_does_not_wait_for_one(store):
    store.act([FREEZE, ACKNOWLEDGE])
    assert [one.kind for one in store.actions(pending=True)] == ["freeze"]
    assert [one.kind for one in store.actions(cycles=(1, 1))] == ["acknowledge"]
    with pytest.raises(ConflictError, match="Action 2 cannot be carried out before cycle 2"):
        store.commit(commit(entry(1), applied={2: 2}))


def test_actions_are_found_by_several_kinds(store):
    store.act([FREEZE, ACKNOWLEDGE, replace(FREEZE, kind="tags")])
    found = store.actions(kind=("freeze", "acknowledge"))
    assert [one.kind for one in found] == ["freeze", "acknowledge"]
    assert store.actions(kind=()) == []


LATE = {
    "a request that is finished": {"finished": {"done": "done"}},
    "an incident that somebody changed": {"incidents": [incident(changed=7)]},
    "an incident that is not there": {"incidents": [incident("nobody", changed=1)]},
    "an order since": {"after": 0},
    "an event of objects": {"events": [Event("e", "action", NOW, {"what": object()})]},
}


@pytest.mark.parametrize("late", LATE)
def test_an_action_that_fails_late_leaves_nothing(store, late):
    store.commit(commit(entry(1), requests=(asked("done"), asked("a")), incidents=(incident(),)))
    store.act([FREEZE], finished={"done": "done"})
    good = {
        "requested": [asked("new")],
        "withdrawn": ["a"],
        "incidents": [incident(state="acknowledged")],
        "events": [Event("f", "action", NOW, {})],
        "targets": ["x"],
        "finished": {"a": "done"},
    }
    with pytest.raises(StoreError):
        store.act([ACKNOWLEDGE], **(good | LATE[late]))
    assert [one.kind for one in store.actions()] == ["freeze"]
    assert [one.status for _, one in store.requests()] == ["done", "open"]
    assert store.incidents() == [incident()]
    assert store.deliveries() == []
    assert store.act([FREEZE]) == 2


def test_who_acts_on_what_was_known_is_told_who_was_first(store):
    for kind in (one.kind for one in (*AHEAD, *AFTERWARDS)):
        known = store.act([FREEZE])
        store.act([replace(FREEZE, kind=kind, by="user:bob")] * 2)
        when = r"2024-05-06T07:08:09.123456\+00:00"
        words = rf"action {known + 1}, `{kind}` by user:bob at {when}.*after action {known}\."
        with pytest.raises(ConflictError, match=words):
            store.act([FREEZE], after=known)
        assert store.act([FREEZE], after=known + 2) == known + 3
        assert store.act([FREEZE]) == known + 4


def test_what_trainers_do_meanwhile_or_somebody_to_an_incident_is_no_conflict(store):
    store.act([FREEZE])
    others = ("deployed", "failed", "tags", *(one.kind for one in ON_INCIDENTS))
    store.act([replace(FREEZE, kind=kind) for kind in others])
    assert store.act([FREEZE], after=1) == 2 + len(others)


def test_who_acts_on_an_incident_is_told_who_was_first(store):
    store.commit(commit(entry(1), incidents=(incident(),)))
    store.act([RESOLVE], incidents=[resolved(by="user:bob")])
    words = r"Incident i .* action 1, `resolve` by user:bob at 2024-05-06.*now it is resolved"
    with pytest.raises(ConflictError, match=words):
        store.act([ACKNOWLEDGE], incidents=[incident(state="acknowledged")])
    store.act([ACKNOWLEDGE], incidents=[incident(state="acknowledged", changed=1)])
    assert store.incidents() == [incident(state="acknowledged", changed=2)]


def test_incidents_are_changed_by_an_action_only(store):
    with pytest.raises(StoreError, match="changed by an action"):
        store.act([], incidents=[incident()])
    assert store.incidents() == []


def test_an_action_on_an_incident_keeps_what_a_later_cycle_saw(store):
    store.commit(commit(entry(1), incidents=(incident(),)))
    (looked_at,) = store.incidents()
    seen = incident(updated_cycle=2, stake=9.0, cause="more", members=(1, 2))
    store.commit(commit(entry(2), incidents=(seen,)))
    store.act([ACKNOWLEDGE], incidents=[replace(looked_at, state="acknowledged", told=True)])
    assert store.incidents() == [replace(seen, state="acknowledged", told=True, changed=1)]


def test_an_action_may_change_all_of_an_incident(store):
    store.commit(commit(entry(1), incidents=(incident(),)))
    ours = incident(state="acknowledged", done="frozen", evidence={"n": 1})
    store.act([ACKNOWLEDGE], incidents=[ours, incident("new")])
    found = {one.id: one for one in store.incidents()}
    assert found == {"i": replace(ours, changed=1), "new": incident("new", changed=1)}


# Terms of requests.


def restore(name):
    """Return a request whose every term is unusual."""
    return replace(
        asked(name),
        kind="restore",
        exclude=((NOW, NOW + MINUTE), (NOW + DAY, NOW + 2 * DAY)),
        train_from=NOW - DAY,
        restores=0,
        artefact="models:/bikes/7 ü",
        by="user:ann",
    )


def test_the_terms_of_a_request_come_back_as_they_were_asked(store):
    asks = [restore("r"), asked("usual"), replace(asked("x"), exclude=((NOW, NOW + DAY),))]
    store.act([FREEZE], requested=asks[:1])
    store.commit(commit(entry(1), requests=tuple(asks[1:])))
    assert [one.request for _, one in store.requests()] == asks
    assert [one.request for one in store.claim(9)] == asks


def test_terms_of_a_request_change_while_no_fit_runs(store):
    names = ("claimed", "done", "open", "withdrawn")
    store.commit(commit(entry(1), requests=tuple(asked(name) for name in names)))
    store.claim(2)
    store.act([FREEZE], finished={"done": "done"}, withdrawn=["withdrawn"])
    store.act([FREEZE], requested=[restore(name) for name in names])
    found = [(one.request, one.status) for _, one in store.requests()]
    assert found == [
        (asked("claimed"), "claimed"),
        (asked("done"), "done"),
        (restore("open"), "open"),
        (restore("withdrawn"), "open"),
    ]


def test_what_is_asked_twice_at_once_is_asked_once(store):
    store.act([FREEZE], requested=[asked("a"), restore("a")])
    assert [one.request for _, one in store.requests()] == [restore("a")]


# Runs of the lab.


def run(name="r", at: datetime = NOW, **settings):
    """Return a run that waits."""
    return LabRun(name, at, "user:ann", "mlma(level=0.01) ü", **settings)


def test_a_run_of_the_lab_comes_back_as_it_was_written(store):
    full = run(
        per_cycle=0,
        first=1,
        last=52,
        status="done",
        progress=1.0,
        result={"real": {"loss": 0.5}, "cycles": [{"n": 1, "loss": None}]},
        error="none\0",
    )
    store.put_lab_run(run("plain", NOW + MINUTE))
    store.put_lab_run(full)
    assert store.lab_runs() == [run("plain", NOW + MINUTE), full]


def test_runs_come_newest_first_then_by_name(store):
    for name, at in (("b", NOW), ("A", NOW), ("a", NOW), ("z", NOW + MINUTE)):
        store.put_lab_run(run(name, at))
    order = ["z", "A", "a", "b"]
    assert [one.id for one in store.lab_runs()] == order
    assert [one.id for one in store.lab_runs(limit=2)] == order[:2]
    assert [one.id for one in store.lab_runs(ids=["b", "nobody", "z"])] == ["z", "b"]
    assert [one.id for one in store.lab_runs(ids=order[::-1], limit=3)] == order[:3]
    assert store.lab_runs(ids=[]) == []


def test_the_progress_of_a_run_is_written_over(store):
    for progress in (0.0, 0.5, 1.0):
        store.put_lab_run(run(status="running", progress=progress))
    assert store.lab_runs() == [run(status="running", progress=1.0)]
    store.put_lab_run(run(status="done", result={"a": 1}))
    assert store.lab_runs() == [run(status="done", result={"a": 1})]


@pytest.mark.parametrize("ended", ["done", "failed", "cancelled"])
def test_a_run_that_has_ended_is_not_begun_again(store, ended):
    store.put_lab_run(run(status=ended))
    for status in ("waiting", "running"):
        store.put_lab_run(run(status=status, progress=0.5))
    assert store.lab_runs() == [run(status=ended)]


def test_a_run_of_an_unknown_status_is_refused(store):
    with pytest.raises(StoreError, match="Unknown status `finished`"):
        store.put_lab_run(run(status="finished"))
    assert store.lab_runs() == []


# Several at once, and many.


def test_of_two_engineers_on_one_incident_exactly_one_is_first(shared):
    first, second = shared.open(), shared.open()
    first.commit(commit(entry(1), incidents=(incident(),)))
    for turn in range(5):
        changed = first.incidents()[0].changed
        ours = incident(state="acknowledged", changed=changed)
        theirs = resolved(by="user:bob", changed=changed)
        answers = together(
            lambda ours=ours: first.act([ACKNOWLEDGE], incidents=[ours]),
            lambda theirs=theirs: second.act([RESOLVE], incidents=[theirs]),
        )
        lost = [one for one in answers if isinstance(one, ConflictError)]
        assert len(lost) == 1
        winner = next(one for one in answers if not isinstance(one, ConflictError))
        assert f"action {winner}, `" in str(lost[0])
        (found,) = first.incidents()
        assert (found.changed, winner) == (turn + 1, turn + 1)
        assert found.state == ("acknowledged" if answers[0] == winner else "resolved")


def test_of_two_engineers_who_saw_the_same_difference_exactly_one_acts(shared):
    first, second = shared.open(), shared.open()
    for turn in range(5):
        answers = together(
            lambda turn=turn: first.act([FREEZE], after=turn),
            lambda turn=turn: second.act([FREEZE], after=turn),
        )
        kinds = sorted(type(one).__name__ for one in answers)
        assert kinds == ["ConflictError", "int"]
    assert len(first.actions()) == 5


def test_an_agent_and_an_engineer_at_once_lose_nothing(shared):
    first, second = shared.open(), shared.open()
    first.commit(commit(entry(1), incidents=(incident(),)))

    def judges():
        for cycle in range(2, 12):
            seen = incident(updated_cycle=cycle, stake=float(cycle))
            first.commit(commit(entry(cycle), incidents=(seen,)))

    def acts():
        for _ in range(10):
            (looked_at,) = second.incidents()
            second.act([ACKNOWLEDGE], incidents=[replace(looked_at, state="acknowledged")])

    assert together(judges, acts) == [None, None]
    (found,) = first.incidents()
    assert (found.updated_cycle, found.stake, found.changed) == (11, 11.0, 10)
    assert found.state == "acknowledged"


def test_two_workers_that_begin_a_run_write_it_once(shared):
    first, second = shared.open(), shared.open()
    for number in range(5):
        one = run(str(number), status="running")
        assert together(
            lambda one=one: first.put_lab_run(one), lambda one=one: second.put_lab_run(one)
        ) == [None, None]
    assert len(first.lab_runs()) == 5


def test_very_many_incidents_are_written_and_found(store):
    made = tuple(
        incident(str(number), opened_cycle=number, state=state, closed_cycle=number)
        for number in range(1, 11_001)
        for state in [INCIDENT_STATES[number % 4]]
    )
    store.commit(commit(entry(1), incidents=made))
    store.commit(commit(entry(2), incidents=made))
    assert len(store.incidents(ids=[one.id for one in made])) == len(made)
    assert [one.id for one in store.incidents(ids=[one.id for one in made], limit=1)] == ["11000"]
    assert [one.opened_cycle for one in store.incidents(start=10_998)] == [2, 1]
    assert len(store.incidents(touched_since=10_900)) == len(made) * 3 // 4 + 25


def test_an_incident_of_the_whole_fleet_keeps_its_members(store):
    members = tuple(range(0, 100 * MOST_MEMBERS, 100))
    fleet = replace(incident(streams=100_000, members=members), kind="fleet", scope="fleet")
    store.commit(commit(entry(1), incidents=(fleet,)))
    store.act([ACKNOWLEDGE], incidents=[replace(fleet, state="acknowledged")])
    assert store.incidents() == [replace(fleet, state="acknowledged", changed=1)]
