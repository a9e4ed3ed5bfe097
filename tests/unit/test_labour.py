"""Labour: incidents, orders and minutes are counted by a stated model, per 1,000 streams a week."""

from dataclasses import replace
from datetime import timedelta
from math import isnan, nan

import numpy as np
import pytest

from mlma.adapters.store import open_store
from mlma.domain.errors import SettingsError
from mlma.domain.labour import ORDER_SECONDS, PARTS, Labour, LabourModel
from mlma.domain.ledger import Action, Commit, CycleEntry, Snapshot
from mlma.domain.orders import ORDERS
from mlma.domain.periods import Periods
from mlma.service.labour import read_labour
from mlma.service.tables import LabourTable
from mlma.steps.labour import labour_of, played_labour
from stores import evidence
from threads import DAYS
from told_incidents import AT, NAMES, incident, info, resolved


def action(kind="label", cycle=1, by="user:ann"):
    return Action(kind, {}, AT, by, cycle=cycle)


def ended(name, minutes, by="user:ann", cycle=1):
    made = incident(name)
    closed = made.opened_at + timedelta(minutes=minutes)
    return replace(made, state="resolved", closed_cycle=cycle, closed_at=closed, closed_by=by)


# The model.


def test_every_kind_of_order_has_its_seconds():
    assert set(ORDER_SECONDS) == set(ORDERS)
    assert all(seconds > 0 for seconds in ORDER_SECONDS.values())


@pytest.mark.parametrize("seconds", [-1.0, nan, float("inf")])
def test_a_length_that_cannot_be_is_refused(seconds):
    with pytest.raises(SettingsError, match=r"`incident` of .labour. must be 0 or more"):
        LabourModel(incident=seconds)
    with pytest.raises(SettingsError, match=r"`label` of .labour. must be 0 or more"):
        LabourModel(orders={"label": seconds})


def test_an_unknown_kind_of_order_is_refused():
    with pytest.raises(SettingsError, match="did you mean `label`"):
        LabourModel(orders={"labell": 1.0})


def test_the_settings_say_what_the_model_says():
    assert LabourTable().model() == LabourModel()
    made = LabourTable(look="2m", watching="30s", orders={"label": "3m"}).model()
    assert (made.look, made.watching, made.order("label")) == (120.0, 30.0, 180.0)


# Counting.


def test_minutes_are_looks_triage_and_orders():
    model = LabourModel(look=60, working_days=5, incident=120, orders={"label": 90})
    actions = [action(), action(), action("acknowledge"), action("deployed", by="key:trainer")]
    made = labour_of([incident("a"), incident("b")], actions, 10_000, 2.0, model)
    assert made.seconds_by_part == {
        "looks": 600.0,
        "incidents": 240.0,
        "orders": 2 * 90 + ORDER_SECONDS["acknowledge"],
        "retrainings": 0.0,
        "watching": 0.0,
    }
    assert tuple(made.seconds_by_part) == PARTS
    assert made.actions_by_kind == {"acknowledge": 1, "label": 2}
    assert made.actions == 3
    assert made.minutes == pytest.approx((600 + 240 + 180 + 15) / 60)


def test_rates_are_per_thousand_streams_and_week():
    made = labour_of([incident(str(at)) for at in range(6)], [], 3_000, 4.0, LabourModel(look=0))
    assert made.incidents_per_1000_week == 0.5
    assert made.minutes_per_1000_week == pytest.approx(6 * 2 / 3 / 4)


def test_without_streams_or_weeks_there_are_no_rates():
    assert isnan(Labour(incidents=3, streams=0, weeks=1.0).incidents_per_1000_week)
    assert isnan(Labour(incidents=3, streams=5).minutes_per_1000_week)


def test_an_order_for_many_streams_takes_as_long_as_one_for_a_single_stream():
    many = Action("freeze", {"unique_ids": NAMES}, AT, "user:ann", cycle=1)
    one = Action("freeze", {"unique_ids": NAMES[:1]}, AT, "user:ann", cycle=1)
    parts = [labour_of([], [told], 40, 1.0).seconds_by_part for told in (many, one)]
    assert parts[0] == parts[1]


def test_the_time_on_the_desk_is_told_apart_by_who_ended_it():
    people = [ended(f"p{at}", 10 * (at + 1)) for at in range(10)]
    others = [ended("self", 7, "agent"), ended("gone", 1, "withdrawn"), incident("open")]
    made = labour_of([*people, *others], [], 40, 1.0)
    assert made.by_people.count == 10
    assert made.by_people.median_seconds == 55 * 60
    assert made.by_people.p90_seconds == 90 * 60
    assert (made.by_itself.count, made.by_itself.median_seconds) == (1, 7 * 60)
    assert labour_of([], [], 40, 1.0).by_people.median_seconds is None


def test_a_played_policy_costs_triage_and_an_answer_for_what_does_not_close_itself():
    model = LabourModel(incident=120, answer=90, retraining=30)
    left = [incident("a"), ended("b", 5, "agent")]
    made = played_labour(left, 1_000, 1.0, model, retrainings=4)
    assert made.seconds_by_part["incidents"] == 240.0
    assert made.seconds_by_part["orders"] == 90.0
    assert made.seconds_by_part["retrainings"] == 120.0
    assert made.seconds_by_part["looks"] == made.seconds_by_part["watching"] == 0.0


def test_a_policy_that_looks_at_no_losses_costs_the_watching_that_is_stated():
    assert played_labour([], 1_000, 4.0, monitored=False).minutes == 0.0
    made = played_labour([], 1_000, 4.0, LabourModel(watching=6.0), monitored=False)
    assert made.minutes_per_1000_week == pytest.approx(1_000 * 6 / 60)
    assert played_labour([], 1_000, 4.0, LabourModel(watching=6.0)).minutes == 0.0


# Out of a store.


@pytest.fixture
def store():
    made = open_store("memory://")
    made.register(NAMES)
    yield made
    made.close()


def judged(store, cycle, *incidents, period=None, streams=40):
    """A cycle of the store; ``period`` counts from that of the first cycle."""
    head = info(cycle, streams=streams)
    if period is not None:
        head = replace(head, period=info(1).period + period)
    entry = CycleEntry(head, np.arange(40), evidence(40))
    store.commit(Commit((entry,), Snapshot(cycle, {}, {}), incidents=incidents))


def test_a_span_of_cycles_counts_what_was_opened_closed_and_ordered_in_it(store):
    first, second = incident("a", opened_cycle=1), incident("b", opened_cycle=2, updated_cycle=2)
    judged(store, 1, first)
    judged(store, 2, second)
    judged(store, 3, resolved(first, cycle=3), replace(second, updated_cycle=3))
    store.act([action("freeze", cycle=2), action("deployed", cycle=2), action("pin", cycle=None)])
    model = LabourModel()
    record = read_labour(store, DAYS)
    whole = record.labour(1, 3, model)
    assert (whole.incidents, whole.actions_by_kind) == (2, {"freeze": 1, "pin": 1})
    assert whole.by_itself.count == 1
    assert (whole.streams, whole.weeks, whole.retrainings) == (40, pytest.approx(3 / 7), 12)
    early = record.labour(1, 2, model)
    assert (early.incidents, early.actions_by_kind) == (2, {"freeze": 1})
    assert early.by_itself.count == 0
    assert record.labour(3, 3, model).by_itself.count == 1


def test_reading_a_part_gives_what_the_whole_gives_of_it(store):
    judged(store, 1, incident("a"))
    judged(store, 2, incident("b", opened_cycle=2, updated_cycle=2))
    judged(store, 3)
    store.act([action("freeze", cycle=2), action("pin", cycle=3)])
    model = LabourModel()
    part = read_labour(store, DAYS, first=2, last=2)
    assert part.labour(2, 2, model) == read_labour(store, DAYS).labour(2, 2, model)


def test_weeks_start_on_mondays_and_a_gap_counts(store):
    judged(store, 1, incident("a"), period=0)  # a Monday
    judged(store, 2, period=4)
    judged(store, 3, incident("b", opened_cycle=3, updated_cycle=3), period=7)
    found = list(read_labour(store, DAYS).weeks(LabourModel()))
    assert [head.cycle for head, _ in found] == [1, 3]
    assert [round(one.weeks * 7) for _, one in found] == [5, 1]
    assert [one.incidents for _, one in found] == [1, 1]


def test_batches_of_a_week_or_longer_are_weeks_of_their_own(store):
    judged(store, 1, period=0)
    judged(store, 2, period=1)
    weekly = Periods(7 * DAYS.batch, DAYS.slot)
    found = list(read_labour(store, weekly).weeks(LabourModel()))
    assert [one.weeks for _, one in found] == [1.0, 1.0]


def test_an_empty_store_has_no_labour(store):
    record = read_labour(store, DAYS)
    assert record.labour(1, 9, LabourModel()) == Labour()
    assert list(record.weeks(LabourModel())) == []
