"""Which alarms become incidents: each kind opens, groups, closes, and is withdrawn."""

from dataclasses import replace

import numpy as np
import pytest

from desks import (
    CITIES,
    Fleet,
    degraded,
    finding,
    hit,
    moment,
    request,
    stream_names,
)
from mlma.agent.incident_trainer import signature
from mlma.agent.incidents import columns_of, traces_of
from mlma.agent.standing import Standing
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.incidents import BY_ITSELF, WITHDRAWN
from mlma.domain.orders import ORDERS
from mlma.domain.selectors import Selector
from mlma.domain.verdicts import Decision, Reason, Verdict

GHENT = range(10)


def shocked(fleet, days=2, numbers=range(40), since=None):
    """Let a fleet live through a shock; return what changed on the last day."""
    since = len(fleet.entries) if since is None else since
    for day in range(days):
        state = "open" if day else "opened"
        made = fleet.day(findings=[finding("fleet", since, state, n=40)], **hit(numbers))
    return made


def test_a_quiet_day_changes_nothing():
    fleet = Fleet()
    assert fleet.days(5) == []


def test_an_alarm_that_a_re_training_heals_is_no_incident():
    fleet = Fleet()
    fleet.days(20)
    fleet.day(**hit([3]))
    fleet.day(**degraded([3]))
    assert fleet.days(60, version={3: 2}) == []
    assert not fleet.known


def test_a_shock_of_the_fleet_is_one_incident_with_those_that_are_hit():
    fleet = Fleet()
    fleet.days(20)
    (made,) = shocked(fleet, numbers=range(30))
    assert (made.kind, made.scope, made.state, made.streams) == ("fleet", "fleet", "open", 30)
    assert made.opened_cycle == 21
    assert made.updated_cycle == 22
    assert fleet.members(made) == list(range(30))
    assert made.stake == pytest.approx(30 * 0.5 * 6)
    assert made.effect == pytest.approx(0.5)
    assert "Losses of 40 streams rose together by 40% since 21 March 2024" in made.cause
    assert "30 of them are degraded" in made.cause
    assert "asked for 30 re-trainings" in made.done
    assert len(fleet.known) == 1


def test_findings_of_groups_around_a_shock_belong_to_it():
    fleet = Fleet()
    fleet.days(20)
    fleet.day(findings=[finding("city=Ghent", 20, "opened")], **hit(GHENT))
    both = [finding("fleet", 21, "opened", n=40), finding("city=Ghent", 20)]
    fleet.day(findings=both, **hit(range(40)))
    fleet.day(findings=[*both, finding("city=Liege", 22, "opened")], **hit(range(40)))
    (made,) = fleet.open
    assert (made.kind, made.scope, made.streams) == ("fleet", "fleet", 40)
    assert made.opened_cycle == 21
    assert len(fleet.known) == 1
    assert {one["scope"] for one in made.evidence["findings"]} == {
        *("fleet", "city=Ghent", "city=Liege"),
    }


def test_two_cities_at_once_become_one_where_the_fleet_follows():
    fleet = Fleet()
    fleet.days(20)
    two = [finding("city=Ghent", 20, "opened"), finding("city=Namur", 20, "opened")]
    fleet.day(findings=two, **hit([*GHENT, *range(30, 40)]))
    assert {one.scope for one in fleet.open} == {"city=Ghent", "city=Namur"}
    fleet.day(findings=[finding("fleet", 21, "opened", n=40), *two], **hit(range(40)))
    assert [(one.kind, one.scope, one.streams) for one in fleet.open] == [("fleet", "fleet", 40)]
    (merged,) = [one for one in fleet.known.values() if not one.unfinished]
    assert merged.closed_by == BY_ITSELF
    assert "whole fleet" in merged.done


def test_a_city_and_its_area_are_one_incident_of_the_scope_that_fits():
    fleet = Fleet()
    fleet.days(20)
    found = [finding("area=West", 20, "opened", n=20), finding("city=Ghent", 20, "opened")]
    (made,) = fleet.day(findings=found, **hit(GHENT))
    assert (made.kind, made.scope) == ("group", "city=Ghent")
    fleet = Fleet()
    fleet.days(20)
    (made,) = fleet.day(findings=found, **hit(range(20)))
    assert (made.kind, made.scope) == ("group", "area=West")


def test_an_area_that_is_found_later_is_part_of_the_incident_of_its_city():
    fleet = Fleet()
    fleet.days(20)
    found = [finding("city=Ghent", 20)]
    fleet.day(findings=found, **hit(GHENT))
    fleet.days(3, findings=[*found, finding("area=West", 21, n=20)], **degraded(GHENT))
    assert [one.scope for one in fleet.open] == ["city=Ghent"]


def test_a_shock_of_the_fleet_is_told_as_such_wherever_it_hits_first():
    fleet = Fleet()
    fleet.days(20)
    found = [finding("fleet", 20, "opened", n=40), finding("city=Ghent", 20, "opened")]
    fleet.day(findings=found, **hit(range(8)))
    assert [(one.kind, one.scope) for one in fleet.open] == [("fleet", "fleet")]


def test_two_cities_with_causes_of_their_own_are_two_incidents():
    fleet = Fleet()
    fleet.days(20)
    found = [finding("city=Ghent", 20), finding("city=Namur", 20)]
    fleet.day(findings=found, **hit([*GHENT, *range(30, 40)]))
    assert [one.scope for one in sorted(fleet.open, key=lambda one: one.scope)] == [
        *("city=Ghent", "city=Namur"),
    ]


def test_a_finding_that_is_too_small_to_matter_is_no_incident():
    fleet = Fleet()
    fleet.days(20)
    small = finding("city=Ghent", 20, "opened", effect=0.02)
    assert fleet.day(findings=[small], **hit([1, 2])) == []
    by_chance = finding("city=Ghent", 21, "opened", p_value=2e-3, alarm=False)
    assert fleet.day(findings=[by_chance]) == []
    (made,) = fleet.day(findings=[by_chance | {"state": "open"}])
    assert made.kind == "group"
    assert made.streams == 0


def test_a_shock_closes_itself_once_the_losses_are_back():
    fleet = Fleet()
    fleet.days(20)
    (opened,) = shocked(fleet, days=3)
    fleet.days(6)
    assert fleet.open
    assert fleet.open[0].updated_cycle == 29
    fleet.days(3)
    closed = fleet.known[opened.id]
    assert (closed.state, closed.closed_by, fleet.open) == ("resolved", BY_ITSELF, [])
    assert closed.closed_cycle <= 32
    assert closed.closed_at == moment(closed.closed_cycle, 1)
    assert closed.streams == 40
    assert "40 are back" in closed.done
    assert "nothing is left to do" in closed.advice


def test_a_shock_that_comes_back_at_once_is_the_same_incident():
    fleet = Fleet()
    fleet.days(20)
    (opened,) = shocked(fleet)
    fleet.days(12)
    assert not fleet.open
    shocked(fleet)
    assert [one.id for one in fleet.open] == [opened.id]
    assert fleet.open[0].closed_by == ""
    assert len(fleet.known) == 1


def test_a_shock_two_months_later_is_another_incident():
    fleet = Fleet()
    fleet.days(20)
    shocked(fleet)
    fleet.days(60)
    shocked(fleet)
    assert len(fleet.known) == 2


def test_an_incident_stays_while_new_versions_do_not_bring_the_loss_back():
    fleet = Fleet()
    fleet.days(20)
    found = [finding("city=Ghent", 20)]
    fleet.day(findings=found, **hit(GHENT))
    # The new references have learnt the bad level: all seem healthy.
    high = {name: dict.fromkeys(GHENT, value) for name, value in (("loss", 1.5), ("version", 2))}
    fleet.days(60, reference_log=dict.fromkeys(GHENT, np.log(1.5)), **high)
    (made,) = fleet.open
    assert made.scope == "city=Ghent"
    assert made.stake == pytest.approx(10 * 0.5 * 6)
    assert "not back yet" in made.advice
    assert made.suggests[0] == "label"
    assert made.evidence["fitted"] == 10


def test_a_model_that_re_training_does_not_help_is_an_incident_of_its_stream():
    fleet = Fleet()
    fleet.days(20)
    fleet.day(**hit([3]))
    high = {"loss": {3: 1.5}, "version": {3: 2}, "reference_log": {3: np.log(1.5)}}
    fleet.days(33, **high)
    assert not fleet.known
    fleet.days(3, **high)
    (made,) = fleet.open
    assert (made.kind, made.scope, made.streams) == ("model", "shop 003", 1)
    assert "does not help shop 003" in made.cause
    assert "50% above" in made.cause
    assert set(made.suggests) <= set(ORDERS)
    fleet.days(12, version={3: 3})
    assert fleet.known[made.id].closed_by == BY_ITSELF


def test_the_third_alarm_without_a_recovery_is_an_incident_at_once():
    fleet = Fleet()
    fleet.days(20)
    for _ in range(2):
        fleet.day(**hit([3]))
        fleet.days(8, **degraded([3]))
    assert not fleet.known
    (made,) = fleet.day(**hit([3]))
    assert made.kind == "model"
    assert "after 3 alarms" in made.cause


def test_three_alarms_with_recoveries_in_between_are_no_incident():
    fleet = Fleet()
    fleet.days(20)
    for _ in range(3):
        fleet.day(**hit([3]))
        fleet.days(15)
    assert not fleet.known


def test_an_escalation_of_the_agent_is_an_incident():
    fleet = Fleet()
    fleet.days(20)
    said = hit([3]) | {"decision": {3: Decision.ESCALATE}, "reason": {3: Reason.NOT_HELPED}}
    (made,) = fleet.day(**said)
    assert (made.kind, made.scope) == ("model", "shop 003")
    assert "No new version went live" in made.advice


def test_a_trouble_that_a_shock_lifts_is_not_past_help_for_that():
    fleet = Fleet()
    fleet.days(20)
    fleet.day(**hit([3]))
    fleet.days(36, loss={3: 1.08})
    assert not fleet.known
    high = dict.fromkeys(range(40), 1.6)
    for day in range(4):
        said = {"loss": high, "common": dict.fromkeys(range(40), np.log(1.5) / 0.1)}
        fleet.day(findings=[finding("fleet", 57, "open" if day else "opened", n=40)], **said)
    fleet.days(20, loss={3: 1.08})
    assert {one.kind for one in fleet.known.values()} == {"fleet"}


def test_a_break_before_a_shock_of_the_fleet_is_told_for_itself():
    fleet = Fleet()
    fleet.days(20)
    fleet.day(**hit([3]))
    fleet.days(20, **degraded([3]))
    said = hit(range(40))
    said["alarm"][3] = 0
    fleet.day(findings=[finding("fleet", 41, "opened", n=40)], **said)
    assert fleet.members(fleet.open[0]) == [0, 1, 2, *range(4, 40)]
    fleet.days(40, **degraded([3]))
    assert [(one.kind, one.scope) for one in fleet.open] == [("model", "shop 003")]


def test_a_stream_past_help_joins_the_incident_of_its_city_where_that_lasts():
    fleet = Fleet()
    fleet.days(20)
    fleet.day(findings=[finding("city=Ghent", 20, "opened")], **hit(range(9)))
    fleet.day(**hit([9]))
    high = {name: dict.fromkeys(GHENT, value) for name, value in (("loss", 1.5), ("version", 2))}
    fleet.days(50, reference_log=dict.fromkeys(GHENT, np.log(1.5)), **high)
    assert [(one.kind, one.streams) for one in fleet.open] == [("group", 10)]


def test_many_models_of_one_city_are_one_incident():
    fleet = Fleet()
    fleet.days(20)
    who = [*range(8), 25, 33]
    said = hit(who) | {"decision": dict.fromkeys(who, Decision.ESCALATE)}
    fleet.day(**said)
    assert sorted((one.scope, one.streams) for one in fleet.open) == [
        *(("2 streams", 2), ("city=Ghent", 8)),
    ]


def test_a_short_hole_of_one_stream_is_no_incident_and_a_long_one_is():
    fleet = Fleet()
    fleet.days(5)
    hole = {"n": {3: 0}, "loss": {3: np.nan}, "verdict": {3: Verdict.WAITING}}
    fleet.days(2, **hole)
    assert not fleet.known
    (made,) = fleet.day(**hole)
    assert (made.kind, made.scope) == ("data", "shop 003")
    assert "Actuals of shop 003 are missing" in made.cause
    assert made.stake == 0
    (closed,) = fleet.day()
    assert (closed.state, closed.closed_by) == ("resolved", BY_ITSELF)


def test_missing_actuals_of_a_city_are_one_incident_on_the_first_day():
    fleet = Fleet()
    fleet.days(5)
    (made,) = fleet.day(n=dict.fromkeys(GHENT, 0), loss=dict.fromkeys(GHENT, np.nan))
    assert (made.kind, made.scope, made.streams) == ("data", "city=Ghent", 10)
    assert "Actuals of 10 of 10 streams of city=Ghent are missing since 6 March 2024" in made.cause


def test_missing_actuals_of_all_are_one_incident_of_the_fleet():
    fleet = Fleet()
    fleet.days(5)
    (made,) = fleet.day(n=dict.fromkeys(range(40), 0), loss=dict.fromkeys(range(40), np.nan))
    assert (made.scope, made.streams) == ("fleet", 40)


def test_holes_of_streams_without_a_common_tag_are_one_incident_per_onset():
    fleet = Fleet()
    fleet.days(5)
    some = [1, 12, 25, 38]
    fleet.days(3, n=dict.fromkeys(some, 0), loss=dict.fromkeys(some, np.nan))
    (made,) = fleet.open
    assert (made.scope, fleet.members(made)) == ("4 streams", some)


def test_forecasts_of_a_city_that_stop_are_an_incident_and_one_stream_that_ends_is_none():
    fleet = Fleet()
    fleet.days(5)
    fleet.days(10, absent=[30])
    assert not fleet.known
    fleet.days(3, absent=[*GHENT, 30])
    (made,) = fleet.open
    assert (made.kind, made.scope, made.streams) == ("data", "city=Ghent", 10)
    assert "Forecasts of 10 of 10 streams" in made.cause
    fleet.day(absent=[30])
    assert not fleet.open


def test_streams_that_pause_at_weekends_are_no_incident():
    fleet = Fleet()
    for _ in range(5):
        fleet.days(5)
        fleet.days(2, absent=GHENT)
    assert not fleet.known


@pytest.mark.parametrize("reason", [Reason.FLAT, Reason.OUTAGE])
def test_a_sensor_that_can_tell_nothing_is_dead_after_a_week(reason):
    fleet = Fleet()
    fleet.days(5)
    dead = {"reason": {3: reason}, "verdict": {3: Verdict.UNCLEAR}}
    fleet.days(6, **dead)
    assert not fleet.known
    (made,) = fleet.day(**dead)
    assert (made.kind, made.scope, made.evidence["fault"]) == ("data", "shop 003", "dead")
    fleet.day()
    assert not fleet.open


def test_losses_of_zero_are_a_dead_sensor_where_they_never_were_and_not_where_they_are_usual():
    fleet = Fleet()
    for day in range(120):
        fleet.day(loss={7: 0.0 if day % 2 else 1.0})
    fleet.days(6, loss={3: 0.0, 7: 0.0})
    (made,) = fleet.open
    assert made.scope == "shop 003"


def declared(**changed):
    begins, ends = moment(20), moment(27)
    where = Selector(tags=("city=Ghent",))
    event = CalendarEvent("fair", "The <b>fair</b>", "other", begins, ends, where, exclude=False)
    return Standing(events={"fair": replace(event, **changed)})


def test_alarms_inside_an_event_that_is_not_muted_are_one_incident_of_it():
    fleet = Fleet()
    fleet.standing = declared(mute=False)
    fleet.days(20)
    fleet.day(**hit([1, 2, 3]))
    fleet.day(findings=[finding("city=Ghent", 21)], **hit(GHENT))
    (made,) = fleet.open
    assert (made.kind, made.scope, made.streams) == ("event", "city=Ghent", 10)
    assert "The <b>fair</b>" in made.cause  # text, as it was typed
    fleet.days(20)
    assert fleet.known[made.id].closed_by == BY_ITSELF


def test_one_alarm_of_many_inside_an_event_is_healed_like_any_other():
    fleet = Fleet()
    fleet.standing = declared(mute=False)
    fleet.days(20)
    assert fleet.day(**hit([1])) == []


def test_muted_streams_make_no_incident_of_any_kind():
    fleet = Fleet()
    fleet.standing = declared(mute=True)
    fleet.days(20)
    nothing = {"n": dict.fromkeys([5], 0), "loss": {5: np.nan}}
    said = hit([1, 2, 3, 4]) | {"n": nothing["n"]}
    said["loss"] |= nothing["loss"]
    assert fleet.days(7, findings=[finding("city=Ghent", 20)], **said) == []


def test_fits_that_fail_with_one_error_are_one_incident_until_they_work():
    fleet = Fleet()
    fleet.days(5)
    fleet.failed([1, 2], "cannot read 'a.csv' (attempt 1)")
    assert fleet.day() == []
    fleet.failed([3], "cannot read 'b.csv' (attempt 2)")
    (made,) = fleet.day()
    assert (made.kind, made.scope, fleet.members(made)) == ("trainer", "3 streams", [1, 2, 3])
    assert "cannot read 'b.csv'" in made.cause
    fleet.deployed([1, 2])
    (made,) = fleet.day()
    assert made.scope == "shop 003"
    fleet.deployed([3])
    (closed,) = fleet.day()
    assert (closed.id, closed.state) == (made.id, "resolved")


def test_errors_of_other_words_are_not_one_cause():
    assert signature("no memory: 12 GiB") == signature("no memory: 7.5 GiB")
    assert signature("no memory") != signature("no disk")
    fleet = Fleet()
    fleet.days(5)
    for number, error in enumerate(("no memory", "no disk", "no time")):
        fleet.failed([number], error)
    assert fleet.day() == []


def test_failures_are_forgotten_after_a_week():
    fleet = Fleet()
    fleet.days(5)
    fleet.failed([1, 2, 3], "no memory")
    (made,) = fleet.day()
    fleet.days(7)
    assert fleet.known[made.id].state == "resolved"


def test_requests_that_nobody_answers_are_one_incident_until_they_are_answered():
    fleet = Fleet()
    fleet.days(5)
    fleet.outstanding = [request("shop 003", 4), request("shop 017", 4, "claimed")]
    assert fleet.days(2) == []
    (made,) = fleet.days(2)
    assert (made.kind, made.scope, made.streams) == ("trainer", "2 streams", 2)
    assert "not answered, the oldest since 6 March 2024, 01:00 UTC" in made.cause
    fleet.outstanding = []
    fleet.day()
    assert not fleet.open


def test_a_stream_whose_request_waits_is_no_incident_of_its_model():
    fleet = Fleet()
    fleet.days(20)
    fleet.day(**hit([3]))
    fleet.outstanding = [request("shop 003", 21)]
    fleet.days(40, **degraded([3]))
    assert {one.kind for one in fleet.known.values()} == {"trainer"}


def test_what_is_snoozed_opens_when_its_time_is_over():
    fleet = Fleet()
    fleet.days(20)
    (made,) = shocked(fleet)
    fleet.do(made, state="snoozed", snoozed_until=moment(24))
    found = [finding("fleet", 20, n=40)]
    fleet.day(findings=found, **degraded(range(40)))
    assert fleet.known[made.id].state == "snoozed"
    fleet.day(findings=found, **degraded(range(40)))
    opened = fleet.known[made.id]
    assert (opened.state, opened.snoozed_until) == ("open", None)


def test_who_acknowledged_is_left_in_peace_until_it_closes_itself():
    fleet = Fleet()
    fleet.days(20)
    (made,) = shocked(fleet)
    fleet.do(made, state="acknowledged", told=True)
    fleet.days(4)
    assert fleet.known[made.id].state == "acknowledged"
    fleet.days(12)
    assert (fleet.known[made.id].state, fleet.known[made.id].told) == ("resolved", True)


def test_what_a_person_resolved_is_not_told_again_while_the_cause_lasts():
    fleet = Fleet()
    fleet.days(20)
    (made,) = shocked(fleet)
    fleet.resolve(made)
    found = [finding("fleet", 20, n=40)]
    fleet.days(50, findings=found, **degraded(range(40)))
    assert len(fleet.known) == 1
    assert fleet.known[made.id].closed_by == "user:ann"


def test_a_hole_that_a_person_resolved_is_told_anew_only_after_it_was_filled():
    fleet = Fleet()
    fleet.days(5)
    hole = {"n": {3: 0}, "loss": {3: np.nan}}
    fleet.days(3, **hole)
    fleet.resolve(fleet.open[0])
    fleet.days(10, **hole)
    assert not fleet.open
    fleet.days(2)
    fleet.days(3, **hole)
    assert [one.scope for one in fleet.open] == ["shop 003"]


def test_a_level_that_a_person_accepted_is_usual():
    fleet = Fleet()
    fleet.days(20)
    fleet.day(**hit([3]))
    high = {"loss": {3: 1.5}, "version": {3: 2}, "reference_log": {3: np.log(1.5)}}
    fleet.days(36, **high)
    fleet.resolve(fleet.open[0])
    fleet.days(60, **high)
    assert not fleet.open
    assert fleet.traces.usual[3, 0] == pytest.approx(np.log(1.5))


def test_a_batch_judged_anew_that_shows_it_still_keeps_id_and_people():
    fleet = Fleet()
    fleet.days(20)
    (made,) = shocked(fleet)
    fleet.do(made, state="acknowledged", told=True)
    said = {"findings": [finding("fleet", 21, "opened", n=40)], **hit(range(35))}
    fleet.again(21, {21: {}, 22: said})
    (again,) = fleet.open
    assert (again.id, again.state, again.told, again.changed) == (made.id, "acknowledged", True, 7)
    assert (again.opened_cycle, again.streams, again.opened_at) == (22, 35, made.opened_at)


def test_a_batch_judged_anew_that_no_longer_shows_it_withdraws_it():
    fleet = Fleet()
    fleet.days(20)
    (made,) = shocked(fleet)
    (gone,) = fleet.again(21, {21: {}, 22: {}})
    assert (gone.id, gone.state, gone.closed_by) == (made.id, "resolved", WITHDRAWN)
    assert (gone.closed_cycle, gone.stake) == (22, 0)
    assert not (fleet.traces.cause != 0).any()
    assert fleet.again(21, {21: {}, 22: {}}) == []


def test_an_incident_that_grew_to_the_fleet_is_found_again_when_its_batch_is_judged_anew():
    fleet = Fleet()
    fleet.days(20)
    city = {"findings": [finding("city=Ghent", 20, "opened")], **hit(GHENT)}
    fleet.day(**city)
    whole = [finding("fleet", 21, "opened", n=40), finding("city=Ghent", 20)]
    fleet.day(findings=whole, **hit(range(40)))
    (made,) = fleet.open
    fleet.do(made, state="acknowledged")
    fleet.again(21, {21: city | hit(range(9)), 22: {"findings": whole, **hit(range(38))}})
    (again,) = fleet.open
    assert (again.id, again.kind, again.state) == (made.id, "fleet", "acknowledged")
    assert again.streams == 38


def test_actuals_that_come_late_withdraw_the_incident_of_their_absence():
    fleet = Fleet()
    fleet.days(5)
    (made,) = fleet.day(n=dict.fromkeys(GHENT, 0), loss=dict.fromkeys(GHENT, np.nan))
    fleet.again(6, {6: {}})
    assert fleet.known[made.id].closed_by == WITHDRAWN


def test_an_incident_that_closed_after_the_batch_judged_anew_is_open_again_if_it_lasts():
    fleet = Fleet()
    fleet.days(20)
    (made,) = shocked(fleet)
    fleet.days(12)
    assert fleet.known[made.id].closed_by == BY_ITSELF
    found = [finding("fleet", 20, n=40)]
    changes = {cycle: {"findings": found, **degraded(range(40))} for cycle in range(25, 35)}
    fleet.again(25, changes)
    (again,) = fleet.open
    assert (again.id, again.closed_cycle, again.updated_cycle) == (made.id, None, 34)


def test_judging_anew_without_a_change_changes_nothing_but_times():
    fleet = Fleet()
    fleet.days(20)
    shocked(fleet)
    fleet.day(n=dict.fromkeys(range(30, 40), 0), loss=dict.fromkeys(range(30, 40), np.nan))
    fleet.days(4)
    before, traces = dict(fleet.known), fleet.traces
    fleet.again(19, {})
    for one in fleet.known.values():
        closed_at = before[one.id].closed_at
        assert replace(one, closed_at=closed_at) == before[one.id]
    for name, column in traces.flat().items():
        np.testing.assert_array_equal(fleet.traces.flat()[name], column, err_msg=name)


def test_what_a_person_resolved_stays_so_when_its_batch_is_judged_anew():
    fleet = Fleet()
    fleet.days(20)
    (made,) = shocked(fleet)
    fleet.resolve(made)
    fleet.days(3)
    said = {"findings": [finding("fleet", 20, "opened", n=40)], **hit(range(35))}
    fleet.again(21, {21: said})
    assert fleet.known[made.id].closed_by == "user:ann"
    assert not fleet.open


def test_names_with_html_stay_text():
    names = stream_names()
    names[3] = "<script>alert('x')</script> & co"
    tags = {"city": dict.fromkeys(names[:10], "<b>Ghent</b>")}
    fleet = Fleet(names, tags)
    fleet.days(5)
    fleet.days(3, n={3: 0}, loss={3: np.nan})
    fleet.day(findings=[finding("city=<b>Ghent</b>", 8)], **hit(range(4, 10)), n={3: 0})
    one, group = sorted(fleet.open, key=lambda one: one.kind)
    assert one.scope == names[3]
    assert names[3] in one.cause
    assert group.scope == "city=<b>Ghent</b>"
    assert "of city=<b>Ghent</b> rose together" in group.cause


def test_traces_go_through_named_columns_and_old_snapshots_have_none():
    fleet = Fleet()
    fleet.days(20)
    shocked(fleet)
    columns = columns_of(fleet.traces)
    assert all(name.startswith("incidents.") for name in columns)
    read = traces_of(columns, 42)
    assert len(read) == 42
    for name, column in fleet.traces.flat().items():
        np.testing.assert_array_equal(read.flat()[name][:40], column)
    assert len(traces_of({"live.expected": np.zeros(3)}, 5)) == 5


def test_of_many_members_those_with_most_at_stake_are_listed():
    names = [f"shop {number:04d}" for number in range(2400)]
    order = np.random.default_rng(1).permutation(2400)
    fleet = Fleet(names, {}, order)
    said = hit(range(2400))
    said["loss"] |= dict.fromkeys(range(700, 1400), 3.0)
    fleet.day()
    (made,) = fleet.day(findings=[finding("fleet", 1, "opened", n=2400)], **said)
    assert made.streams == 2400
    assert fleet.members(made) == [*range(300), *range(700, 1400)]


def test_every_suggestion_is_an_order():
    fleet = Fleet()
    fleet.standing = declared(mute=False, begins=moment(60), ends=moment(61))
    fleet.days(20)
    shocked(fleet)
    fleet.days(3, n={3: 0}, loss={3: np.nan})
    fleet.days(7, reason={4: Reason.FLAT}, verdict={4: Verdict.UNCLEAR})
    fleet.outstanding = [request("shop 005", 5)]
    fleet.failed([6, 7, 8], "no disk")
    fleet.days(4, absent=range(30, 40))
    said = hit([20]) | {"decision": {20: Decision.ESCALATE}}
    fleet.day(**said)
    assert {one.kind for one in fleet.known.values()} >= {"fleet", "data", "trainer", "model"}
    for one in fleet.known.values():
        assert one.suggests
        assert set(one.suggests) <= set(ORDERS)
        assert one.cause
        assert one.done
        assert one.advice


@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_streams_were_registered_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    plain, mixed = Fleet(), Fleet(order=rng.permutation(40))
    days = [{} for _ in range(20)]
    days += [{"findings": [finding("fleet", 20, n=40)], **hit(range(5, 35))}] * 3
    days += [{"n": dict.fromkeys([1, 17], 0), "loss": dict.fromkeys([1, 17], np.nan)}] * 4
    days += [{}] * 14
    days += [hit([36, 37]) | {"decision": dict.fromkeys([36, 37], Decision.ESCALATE)}]
    days += [{"absent": range(30, 40)}] * 4
    for day in days:
        plain.day(**day)
        mixed.day(**day)
    assert len(plain.known) >= 4
    assert plain.known.keys() == mixed.known.keys()
    for key, one in plain.known.items():
        other = mixed.known[key]
        assert plain.members(one) == mixed.members(other)
        assert replace(one, members=()) == replace(other, members=())


def test_an_incident_is_about_the_group_that_fits_what_is_hit_by_now():
    names = stream_names(40)
    kind = {name: f"k{at // 4 % 4}" for at, name in enumerate(names)}
    city = {name: CITIES[at % 4] for at, name in enumerate(names)}
    ghent = [at for at in range(40) if at % 4 == 0]
    fleet = Fleet(names, {"city": city, "kind": kind})
    fleet.days(8)
    few = [at for at in range(40) if at // 4 % 4 == 0 and at in ghent] + [1]
    told = [finding("kind=k0", 9, n=12), finding("city=Ghent", 9)]
    fleet.day(findings=told, **hit(few))
    (one,) = fleet.open
    assert one.scope == "kind=k0"  # two findings of one cause; this one fits better
    told[1] = finding("city=Ghent", 9, effect=0.9)
    fleet.day(findings=told, **hit([*ghent, 1]))
    (one,) = fleet.open
    assert len(fleet.members(one)) == 11
    assert one.scope == "city=Ghent"
