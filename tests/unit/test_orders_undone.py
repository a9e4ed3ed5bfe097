"""Undo: what is taken back, what rests on it, and undo of undo."""

import pytest

from engineers import ANN, BOB, BROKEN, GHENT, NAMES, QUICK, day, incident, judged_fleet, office
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.errors import ConflictError, DataError
from mlma.domain.orders import (
    Acknowledge,
    CancelEvent,
    Declare,
    Freeze,
    LabelBatches,
    Pin,
    Plan,
    Rejudge,
    Resolve,
    Retrain,
    RollBack,
    SetBudget,
    SwitchPolicy,
    Undo,
    Unfreeze,
)
from mlma.domain.selectors import Selector
from mlma.domain.verdicts import Reason

BRUGES = Selector(tags=("city=Bruges",))


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    path = tmp_path_factory.mktemp("judged") / "store.db"
    judged_fleet(path)
    return path


@pytest.fixture(scope="module")
def judged_quickly(tmp_path_factory):
    path = tmp_path_factory.mktemp("judged") / "store.db"
    judged_fleet(path, QUICK)
    return path


@pytest.fixture
def seen(tmp_path, judged_quickly):
    """An office in which the break of the first stream was seen."""
    with office(tmp_path, judged_quickly, QUICK) as made:
        yield made


@pytest.fixture
def at(tmp_path, judged):
    with office(tmp_path, judged) as made:
        yield made


def label(first, last, selector=BROKEN, label="broken"):
    return LabelBatches(selector=selector, begins=day(first), ends=day(last), label=label)


def revisions(at):
    return [info.revision for info in at.store.cycles()]


def test_an_undone_freeze_never_was(at):
    first = at.order(Freeze(selector=BROKEN, until=day(30)))
    second = at.order(Freeze(selector=GHENT))
    made = at.look(Undo(action=second))
    assert made.sentence == (
        f"Undoes action {second} (freeze by user:ann, 2024-01-13 00:00 UTC); 3 things change."
    )
    assert [(one.unique_id, one.before) for one in made.changes] == [
        ("shop 00", "frozen"),
        ("shop 02", "frozen"),
        ("shop 04", "frozen"),
    ]
    at.order(Undo(action=second))
    assert {name: one.action for name, one in at.desk.standing().frozen.items()} == {
        "shop 00": first
    }


def test_an_order_that_a_later_one_rests_on_says_which(at):
    first = at.order(Freeze(selector=GHENT))
    second = at.order(Unfreeze(selector=BROKEN), by=BOB)
    with pytest.raises(
        ConflictError,
        match=rf"Action {first} \(freeze\) cannot be undone: a later one rests on it, action "
        rf"{second} \(unfreeze by user:bob, .*undo action {second} first",
    ):
        at.order(Undo(action=first))
    at.order(Undo(action=second))
    at.order(Undo(action=first))
    assert not at.desk.standing().frozen


def test_several_that_rest_on_it_are_undone_from_the_last_one(at):
    first = at.order(Pin(selector=GHENT))
    at.order(Pin(selector=BROKEN))
    last = at.order(Pin(selector=BROKEN))
    with pytest.raises(ConflictError, match=rf"2 later ones rest on it.*undo action {last} first"):
        at.order(Undo(action=first))


@pytest.mark.parametrize(
    "later",
    [Freeze(selector=BRUGES), Plan(selector=GHENT, at=day(40)), SetBudget(per_cycle=2)],
    ids=["other streams", "another facet", "the fleet"],
)
def test_what_touches_something_else_rests_on_nothing(at, later):
    first = at.order(Freeze(selector=GHENT))
    at.order(later)
    at.order(Undo(action=first))
    assert first in at.desk.standing().undone


def test_a_policy_of_the_fleet_rests_on_those_of_some_streams(at):
    first = at.order(SwitchPolicy(selector=GHENT, policy="never"))
    at.order(SwitchPolicy(selector=Selector(), everything=True, policy="mlma(level=0.02)"))
    with pytest.raises(ConflictError, match=r"policy by user:ann"):
        at.order(Undo(action=first))


def test_an_undo_of_what_came_later_leaves_the_earlier_one_free(at):
    first = at.order(SetBudget(per_cycle=2))
    second = at.order(SetBudget(per_cycle=5))
    at.order(Undo(action=second))
    (change,) = at.look(Undo(action=first)).changes
    assert (change.before, change.after) == ("2 re-trainings per cycle", "no limit")
    at.order(Undo(action=first))
    assert at.desk.standing().budget is None


def test_an_undo_can_be_undone(at):
    first = at.order(SetBudget(per_cycle=2))
    undo = at.order(Undo(action=first))
    made = at.look(Undo(action=undo))
    assert "in force again" in made.sentence
    at.order(Undo(action=undo))
    assert at.desk.standing().budget == 2


def test_what_is_undone_already_says_by_whom(at):
    first = at.order(SetBudget(per_cycle=2))
    undo = at.order(Undo(action=first), by=BOB)
    with pytest.raises(ConflictError, match=rf"undone already, by action {undo} .undo by user:bob"):
        at.order(Undo(action=first))


def test_an_order_that_never_was_cannot_be_undone(at):
    with pytest.raises(DataError, match=r"There is no order 99. The last one is .none yet"):
        at.look(Undo(action=99))


def test_what_a_trainer_reported_cannot_be_undone(at):
    number = at.agent.deployed(["shop 00"], by="key:trainer")
    with pytest.raises(DataError, match=r"deployed\) is no order: .*key:trainer.*roll back"):
        at.look(Undo(action=number))


# Batches.


def test_a_label_is_taken_back_and_its_batches_are_judged_anew(seen):
    before = seen.store.history(0)[1].tobytes()
    number = seen.order(label(9, 12))
    seen.agent.tick()
    assert seen.store.history(0)[1].tobytes() != before
    made = seen.look(Undo(action=number))
    assert made.counts["cycles judged anew"] == 3
    assert made.total >= 3
    undo = seen.order(Undo(action=number))
    seen.agent.tick()
    assert seen.store.history(0)[1].tobytes() == before
    assert revisions(seen)[-1] == 2
    seen.order(Undo(action=undo))
    seen.agent.tick()
    assert seen.store.history(0)[1]["reason"][-3:].tolist() == [Reason.EXCLUDED] * 3


def test_labels_of_other_batches_do_not_rest_on_each_other(at):
    first = at.order(label(3, 4))
    at.order(label(9, 10))
    at.order(Undo(action=first))
    again = at.order(label(9, 12, selector=GHENT))
    earlier = at.desk.actions()[1].number
    with pytest.raises(ConflictError, match=f"action {again} "):
        at.order(Undo(action=earlier))


def test_a_cycle_that_was_opened_again_cannot_be_closed(at):
    number = at.order(Rejudge(cycle=12))
    with pytest.raises(DataError, match=r"judged from the rows that are there"):
        at.look(Undo(action=number))


def test_an_event_is_edited_back(at):
    def event(last):
        return CalendarEvent("k", "Kermis", "holiday", day(20), day(last), GHENT)

    first = at.order(Declare(event=event(25)))
    second = at.order(Declare(event=event(30)))
    with pytest.raises(ConflictError, match=f"action {second}"):
        at.order(Undo(action=first))
    at.order(Undo(action=second))
    assert at.desk.standing().events["k"].ends == day(25)
    cancelled = at.order(CancelEvent(event="k"))
    at.order(Undo(action=cancelled))
    assert at.desk.standing().events["k"].ends == day(25)


# Requests and versions.


def test_a_retraining_is_withdrawn_while_nobody_has_claimed_it(at):
    number = at.order(Retrain(selector=GHENT))
    at.store.claim(1)
    made = at.look(Undo(action=number))
    assert made.counts == {"re-trainings withdrawn": 2, "running or over": 1}
    assert made.warnings
    undo = at.order(Undo(action=number))
    assert set(at.open_requests()) == {"shop 00"}
    at.order(Undo(action=undo))
    assert set(at.open_requests()) == set(NAMES[::2])


def test_a_retraining_that_is_asked_for_again_stays_asked_for(at):
    number = at.order(Retrain(selector=BROKEN))
    at.live_on()
    undo = at.order(Undo(action=number))
    at.live_on()
    assert not at.open_requests()
    at.order(Undo(action=undo))
    at.live_on()
    assert set(at.open_requests()) == {"shop 00"}


def test_a_retraining_stays_asked_for_while_batches_are_judged_anew(at):
    at.order(Retrain(selector=BROKEN))
    at.order(label(10, 12, selector=Selector(unique_ids=("shop 03",))))
    at.agent.tick()
    assert revisions(at)[-1] == 1
    assert set(at.open_requests()) == {"shop 00"}


def test_a_retraining_that_is_over_says_to_roll_back(at):
    number = at.order(Retrain(selector=BROKEN))
    at.agent.deployed(["shop 00"])
    with pytest.raises(DataError, match=r"running or over\. Hint: roll back"):
        at.order(Undo(action=number))


def went_back(at):
    """Re-train, go back, and have the trainer restore it; return the number of the order."""
    at.agent.deployed(["shop 00"], artefacts={"shop 00": "run-2"})
    at.live_on()
    number = at.order(RollBack(selector=BROKEN))
    restored(at)
    return number


def restored(at):
    (request,) = at.open_requests().values()
    called = {"shop 00": request.artefact} if request.artefact else None
    at.agent.deployed(["shop 00"], requests=[request.id], artefacts=called)
    at.live_on()


def test_the_undo_of_a_way_back_restores_what_was_live_before(at):
    number = went_back(at)
    undo = at.order(Undo(action=number))
    (request,) = at.open_requests().values()
    assert (request.kind, request.restores, request.artefact) == ("restore", 2, "run-2")
    restored(at)
    at.order(Undo(action=undo))
    (request,) = at.open_requests().values()
    assert (request.kind, request.restores) == ("restore", 3)


def test_a_way_back_that_nobody_has_carried_out_is_only_withdrawn(at):
    at.agent.deployed(["shop 00"])
    at.live_on()
    number = at.order(RollBack(selector=BROKEN))
    made = at.look(Undo(action=number))
    assert made.counts == {"versions that come back": 0, "withdrawn": 1}
    at.order(Undo(action=number))
    assert not at.open_requests()


def test_a_plan_is_taken_back_until_its_time_has_come(at):
    number = at.order(Plan(selector=GHENT, at=day(13)))
    undo = at.order(Undo(action=number))
    at.live_on(2)
    assert "retrain" not in at.kinds()
    at.order(Undo(action=undo))
    at.agent.tick()
    retrain = next(one for one in at.desk.actions() if one.kind == "retrain")
    assert retrain.by == ANN
    with pytest.raises((DataError, ConflictError), match=r"cannot be undone"):
        at.order(Undo(action=number))
    at.order(Undo(action=retrain.number))


# Incidents.


def test_what_was_done_to_an_incident_is_taken_back_in_turn(at):
    at.show(incident())
    first = at.order(Acknowledge(incident="i1"))
    second = at.order(Resolve(incident="i1"))
    with pytest.raises(ConflictError, match=f"action {second}"):
        at.order(Undo(action=first))
    at.order(Undo(action=second))
    (one,) = at.store.incidents()
    assert (one.state, one.closed_by, one.closed_at) == ("acknowledged", "", None)
    undo = at.order(Undo(action=first))
    assert at.store.incidents()[0].state == "open"
    at.order(Undo(action=undo))
    assert at.store.incidents()[0].state == "acknowledged"
