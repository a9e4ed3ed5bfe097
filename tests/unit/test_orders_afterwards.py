"""Orders afterwards: labels, verdicts, cycles opened again, events, ways back to old versions."""

from dataclasses import replace

import pytest

from engineers import ANN, BROKEN, DAYS, GHENT, NAMES, QUICK, day, judged_fleet, office
from live_agents import live_agent
from mlma.agent.recomputing import read_entry
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.errors import ConflictError, DataError, SettingsError
from mlma.domain.ledger import Commit
from mlma.domain.orders import (
    CancelEvent,
    Declare,
    LabelBatches,
    Overrule,
    Rejudge,
    RollBack,
)
from mlma.domain.selectors import Selector
from mlma.domain.verdicts import Reason, Verdict
from mlma.service.engineering import EngineersDesk


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


def broken(first, last, selector=BROKEN, label="broken", **more):
    return LabelBatches(selector=selector, begins=day(first), ends=day(last), label=label, **more)


def revised(at, cycle, **columns):
    """Write another revision of a cycle, and of those after it, some columns changed."""
    entries = []
    for number in range(cycle, DAYS + 1):
        entry = read_entry(at.store, number)
        evidence = entry.evidence.copy()
        if number == cycle:
            for name, (row, value) in columns.items():
                evidence[name][row] = value
        info = replace(entry.info, revision=entry.info.revision + 1, closed="revised")
        entries.append(replace(entry, info=info, evidence=evidence))
    at.store.commit(Commit(tuple(entries), at.store.snapshot()))


# Labels.


def test_a_dry_run_of_a_label_tells_what_judging_anew_changes_and_writes_nothing(seen):
    made = seen.look(broken(9, DAYS))
    assert made.sentence.startswith(
        "Labels 3 batches of 1 stream (shop 00) as broken; 3 cycles are judged anew"
    )
    assert made.counts["cycles judged anew"] == 3
    assert made.total >= 3
    assert {one.unique_id for one in made.changes} == {"shop 00"}
    assert {one.cycle for one in made.changes} == {10, 11, 12}
    assert [info.revision for info in seen.store.cycles()] == [0] * DAYS
    assert seen.kinds() == []


def test_a_label_is_carried_out_as_its_dry_run_said(seen):
    made = seen.look(broken(9, DAYS))
    seen.order(broken(9, DAYS), after=made.after)
    seen.agent.tick()
    assert [info.revision for info in seen.store.cycles()] == [0] * 9 + [1] * 3
    told = [one.after.partition(":")[0] for one in made.changes if one.what == "verdict"]
    records = seen.store.history(0)[1][-3:]
    assert [Verdict(int(one)).label for one in records["verdict"]] == told
    assert records["reason"].tolist() == [Reason.EXCLUDED] * 3


def test_a_label_must_end_after_it_begins():
    with pytest.raises(DataError, match=r"must end after it begins"):
        broken(5, 5)


def test_a_label_of_batches_that_are_not_judged_says_so(at):
    made = at.look(broken(20, 21))
    assert made.warnings == ("No batch of this span is judged yet: it counts once one is.",)
    assert made.sentence.endswith("nothing that is judged changes.")


def test_a_label_is_refused_on_a_batch_that_was_revised_meanwhile(at):
    seen = {"10": 0, "11": 0}
    revised(at, 10, loss=(0, 99.0))
    with pytest.raises(ConflictError, match=r"Cycle 10 was judged anew at .* revision is 1"):
        at.order(broken(9, 11, revisions=seen))
    assert at.kinds() == []


def test_a_label_goes_through_where_a_revision_left_its_streams_as_they_were(at):
    revised(at, 10, loss=(3, 99.0))
    at.order(broken(9, 11, revisions={"10": 0, "11": 0}))
    assert at.kinds() == ["label"]


def test_a_revision_that_never_was_is_a_conflict(at):
    with pytest.raises(ConflictError, match=r"Cycle 10"):
        at.order(broken(9, 11, revisions={"10": 7}))


def test_revisions_are_told_by_cycle(at):
    with pytest.raises(DataError, match=r"by number of the cycle. Got 'ten'"):
        at.order(broken(9, 11, revisions={"ten": 1}))


# Verdicts and cycles.


def test_an_overruled_verdict_is_of_a_cycle_that_there_is(at):
    with pytest.raises(DataError, match=r"`cycle` of `overrule` .* Got 99. Known: 1 to 12"):
        at.look(Overrule(selector=BROKEN, cycle=99, verdict="healthy"))


def test_an_overruled_verdict_is_of_streams_that_were_in_the_cycle(at):
    at.store.register(["newcomer"])
    newcomer = Selector(unique_ids=("newcomer",))
    with pytest.raises(DataError, match=r"Cycle 12 has no batch of newcomer"):
        at.look(Overrule(selector=newcomer, cycle=12, verdict="healthy"))
    both = Selector(unique_ids=("newcomer", "shop 01"))
    made = at.look(Overrule(selector=both, cycle=12, verdict="degraded"))
    assert made.streams == ("shop 01",)
    assert made.warnings == ("1 of the streams were not in the cycle.",)


def test_an_overruled_verdict_counts_as_its_dry_run_said(at):
    order = Overrule(selector=Selector(unique_ids=("shop 03",)), cycle=12, verdict="degraded")
    made = at.look(order)
    assert any(one.unique_id == "shop 03" and one.what == "verdict" for one in made.changes)
    at.order(order)
    at.agent.tick()
    assert at.store.cycles(newest_first=True, limit=1)[0].revision == 1


def test_an_overruled_verdict_is_refused_where_the_batch_was_revised(at):
    revised(at, 12, verdict=(0, 2))
    with pytest.raises(ConflictError, match=r"Cycle 12 was judged anew"):
        at.order(Overrule(selector=BROKEN, cycle=12, verdict="healthy", revision=0))


def test_a_cycle_is_opened_again_only_while_its_rows_are_there(at):
    made = at.look(Rejudge(cycle=12))
    assert made.streams == tuple(NAMES)
    assert made.warnings
    at.store.forget(10**6)
    with pytest.raises(DataError, match=r"The rows of cycle 12 are gone"):
        at.order(Rejudge(cycle=12))


# Events.


def event(first, last, id="kermis", name="Kermis", selector=GHENT, **more):
    return CalendarEvent(id, name, "holiday", day(first), day(last), selector, **more)


def test_an_event_that_ends_before_it_starts_is_refused():
    with pytest.raises(DataError, match=r"must end after it begins"):
        event(5, 4)


def test_an_event_tells_the_judged_batches_that_it_touches(at):
    made = at.look(Declare(event=event(9, 40)))
    assert made.counts["batches touched"] == 3
    assert made.counts["cycles judged anew"] == 3
    assert made.streams == tuple(NAMES[::2])
    ahead = at.look(Declare(event=event(30, 40)))
    assert ahead.counts == {"batches touched": 0, "cycles judged anew": 0}


def test_an_event_of_nobody_is_refused(at):
    with pytest.raises(DataError, match=r"city=Gent"):
        at.look(Declare(event=event(20, 21, selector=Selector(tags=("city=Gent",)))))


def test_an_event_of_everybody_needs_no_stream_yet():
    agent, store, clock = live_agent()
    desk = EngineersDesk(store, agent, clock)
    holiday = Declare(event=event(20, 21, selector=Selector()))
    assert desk.rehearse(holiday, ANN).streams == ()
    desk.carry_out(holiday, ANN)
    assert set(desk.standing().events) == {"kermis"}


def test_an_event_needs_an_id(at):
    with pytest.raises(DataError, match=r"`id` of an event"):
        at.look(Declare(event=event(20, 21, id=" ")))


def test_an_event_that_overlaps_another_one_of_the_same_streams_names_it(at):
    at.order(Declare(event=event(20, 25)))
    fair = event(24, 30, id="fair", name="Fair", selector=Selector(search="shop 02"))
    with pytest.raises(DataError, match=r"'Fair' overlaps 'Kermis' .*overlap = true"):
        at.order(Declare(event=fair))
    made = at.look(Declare(event=fair, overlap=True))
    assert made.warnings[0].startswith("It overlaps 'Kermis'")


@pytest.mark.parametrize(
    ("first", "last", "selector"),
    [(25, 30, GHENT), (22, 23, Selector(tags=("city=Bruges",)))],
    ids=["afterwards", "other streams"],
)
def test_events_that_do_not_meet_do_not_overlap(at, first, last, selector):
    at.order(Declare(event=event(20, 25)))
    at.order(Declare(event=event(first, last, id="other", name="Other", selector=selector)))
    assert set(at.desk.standing().events) == {"kermis", "other"}


def test_an_event_is_edited_under_its_id_and_tells_what_changes(at):
    at.order(Declare(event=event(20, 25)))
    made = at.look(Declare(event=event(20, 27, mute=False)))
    assert made.sentence.startswith("Changes the event 'Kermis'")
    assert [(one.what, one.before, one.after) for one in made.changes] == [
        ("ends", day(25).isoformat(), day(27).isoformat()),
        ("mute", "yes", "no"),
    ]
    at.order(Declare(event=event(20, 27, mute=False)))
    assert at.desk.standing().events["kermis"].ends == day(27)


def test_an_event_that_is_not_there_cannot_be_cancelled(at):
    at.order(Declare(event=event(20, 25)))
    with pytest.raises(SettingsError, match=r"Unknown event `kermes`.*did you mean `kermis`"):
        at.look(CancelEvent(event="kermes"))
    at.order(CancelEvent(event="kermis"))
    assert not at.desk.standing().events


# Back to a former version.


def retrained(at, *names, artefact=""):
    told = dict.fromkeys(names, artefact) if artefact else None
    at.agent.deployed(list(names), artefacts=told, by="key:trainer")
    at.live_on()


def test_a_way_back_tells_versions_and_references_and_asks_the_trainer(at):
    retrained(at, "shop 00")
    made = at.look(RollBack(selector=BROKEN))
    assert made.sentence == (
        "Goes back to the version before of 1 stream (shop 00), model and reference together."
    )
    (change,) = made.changes
    assert change.before.startswith("version 2, reference")
    assert change.after.startswith("version 1, reference 1.")
    at.order(RollBack(selector=BROKEN))
    (request,) = at.open_requests().values()
    assert (request.kind, request.restores, request.version) == ("restore", 1, 2)
    assert request.by == ANN


def test_a_version_that_never_was_is_refused(at):
    with pytest.raises(DataError, match=r"shop 00"):
        at.look(RollBack(selector=BROKEN))
    retrained(at, "shop 00")
    with pytest.raises(DataError, match=r"shop 00"):
        at.look(RollBack(selector=BROKEN, version=7))


def test_a_version_whose_artefact_is_gone_is_refused(at, tmp_path):
    model = tmp_path / "model.pkl"
    model.write_text("a model")
    retrained(at, "shop 00", artefact=str(model))
    retrained(at, "shop 00", artefact="s3://models/3")
    assert at.look(RollBack(selector=BROKEN, version=2)).warnings == ()
    model.unlink()
    with pytest.raises(DataError, match=r"The artefact of version 2 of shop 00 is gone: .*model"):
        at.order(RollBack(selector=BROKEN, version=2))
    assert at.kinds() == []
    assert not at.open_requests()


def test_what_the_trainer_called_a_model_is_asked_for_by_that_name(at):
    retrained(at, "shop 00", artefact="run-7")
    retrained(at, "shop 00", artefact="run-8")
    at.order(RollBack(selector=BROKEN, version=2))
    (request,) = at.open_requests().values()
    assert (request.restores, request.artefact) == (2, "run-7")


def test_a_stream_with_a_version_that_no_cycle_has_seen_is_left_as_it_is(at):
    retrained(at, "shop 00", "shop 02")
    at.agent.deployed(["shop 00"])
    made = at.look(RollBack(selector=Selector(unique_ids=("shop 00", "shop 02"))))
    assert made.streams == ("shop 02",)
    assert made.counts["left as they are"] == 1
    with pytest.raises(DataError, match=r"None of the 1 stream can go back now"):
        at.look(RollBack(selector=BROKEN))


def test_the_former_version_is_live_again_once_the_trainer_says_so(at):
    retrained(at, "shop 00")
    at.live_on()
    before = at.store.history(0)[1]
    at.order(RollBack(selector=BROKEN))
    at.live_on()
    (request,) = at.open_requests().values()
    at.agent.deployed(["shop 00"], requests=[request.id], by="key:trainer")
    at.live_on()
    after = at.store.history(0)[1]
    assert after["version"][-1] == 3
    level = before["reference_log"][before["version"] == 1][-1]
    assert after["reference_log"][-1] == pytest.approx(level, abs=0.3)
