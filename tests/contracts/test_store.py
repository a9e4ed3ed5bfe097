"""What every store keeps to: streams, inbox, ledger, state, requests, outbox, lease."""

from dataclasses import replace
from datetime import timedelta, timezone

import numpy as np
import pytest

from mlma.domain.errors import ConflictError, StoreError
from mlma.domain.inbox import NO_CUTOFF, Parcel, Rows
from mlma.domain.ledger import EVIDENCE, Action, Event
from stores import (
    KINDS,
    MINUTE,
    NOW,
    asked,
    commit,
    entry,
    parcel,
    place_of,
    rows,
    same,
)

NAMES = ["a", "A", "ä", "a\u0308", "", " a ", "日本 🚲", "x" * 1000, "'; --", "%s :a ?", "\n\t\\"]


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    with place_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def store(place):
    return place.open()


def test_streams_get_the_next_rows_and_keep_them(store):
    assert store.register(["b", "a"]) == 2
    assert store.register(["a", "c", "c"]) == 3
    assert store.register([]) == 3
    assert store.streams() == ["b", "a", "c"]
    assert store.streams(2) == ["c"]
    assert store.streams(3) == []


def test_any_text_is_a_name_and_case_matters(store):
    assert store.register(NAMES) == len(NAMES)
    assert store.register(NAMES[::-1]) == len(NAMES)
    assert store.streams() == NAMES


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_database_takes_is_refused(store, name):
    with pytest.raises(StoreError, match="The name of a stream must be"):
        store.register(["fine", name])
    assert store.streams() == []


def test_very_many_streams_are_registered_at_once(store):
    names = [f"stream {row}" for row in range(25_000)]
    store.register(names[::2])
    assert store.register(names) == len(names)
    assert store.streams() == names[::2] + names[1::2]


def test_actions_are_numbered_and_wait_until_a_cycle_carries_them_out(store):
    first = Action("deployed", {"unique_ids": ["ü"], "held_out": [0.5, None]}, NOW, "ann", "why")
    assert store.act([first, replace(first, kind="tags", by="", why="")]) == 2
    assert store.act([replace(first, kind="retired")]) == 3
    assert store.actions(start=1, limit=1) == [replace(first, number=1)]
    store.commit(commit(entry(1), applied={1: 1, 3: 1}))
    assert [action.number for action in store.actions(pending=True)] == [2]
    assert [action.cycle for action in store.actions()] == [1, None, 1]
    assert [action.number for action in store.actions(start=2)] == [2, 3]


def test_an_action_is_carried_out_once(store):
    store.act([Action("tags", {}, NOW)])
    store.commit(commit(entry(1), applied={1: 1}))
    with pytest.raises(ConflictError, match="Action 1 cannot be carried out before cycle 2"):
        store.commit(commit(entry(2), applied={1: 2}))
    assert [info.cycle for info in store.cycles()] == [1]


def test_times_keep_their_microseconds_and_come_back_in_utc(store):
    at = NOW.astimezone(timezone(timedelta(hours=-9)))
    store.act([Action("tags", {}, at)])
    found = store.actions()[0].at
    assert (found, found.utcoffset()) == (at, timedelta(0))
    with pytest.raises(StoreError, match="must have a time zone"):
        store.act([Action("tags", {}, NOW.replace(tzinfo=None))])


def test_parcels_come_back_in_order_by_kind_and_period(store):
    assert store.accept([]) == 0
    assert store.accept([parcel(1.0), parcel(2.0, kind="forecasts"), parcel(3.0, period=-4)]) == 3
    assert store.accept([parcel(4.0)]) == 4
    found = store.parcels("actuals", 10)
    assert [(one.number, one.kind, one.period) for one in found] == [
        *((1, "actuals", 10), (4, "actuals", 10))
    ]
    assert [one.rows.value.tolist() for one in found] == [[1.0], [4.0]]
    assert [one.number for one in store.parcels("actuals", 10, after=1)] == [4]
    assert store.parcels("benchmarks", 10) == []
    assert store.periods() == {-4: 3, 10: 4}
    assert store.periods(first=10) == {10: 4}


def test_rows_are_exact_to_the_bit(store):
    numbers = [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3]
    made = Rows(
        np.array([0, 2**31 - 1, 5, 6, 7], dtype=np.int32),
        np.array([0, 1, 2, 3, 1439], dtype=np.int32),
        np.array(numbers),
        np.array([NO_CUTOFF, -1, 0, 2**62, 1], dtype=np.int64),
    )
    store.accept([Parcel("forecasts", 1, made), Parcel("forecasts", 1, made.take(slice(0, 0)))])
    full, empty = (one.rows for one in store.parcels("forecasts", 1))
    for name in ("stream", "place", "value", "cutoff"):
        assert same(getattr(full, name), getattr(made, name))
    assert len(empty) == 0
    assert store.accept([parcel(1.0)]) == 3
    assert store.parcels("actuals", 10)[0].rows.cutoff is None


def test_offsets_are_stored_with_the_parcels(store):
    store.accept([parcel(1.0)], offsets={"topic/0": "5", "topic/1": "ü"})
    store.accept([], offsets={"topic/0": "6"})
    assert store.offsets() == {"topic/0": "6", "topic/1": "ü"}


def test_forgotten_parcels_are_gone_and_their_numbers_are_not_used_again(store):
    store.accept([parcel(1.0, period=period) for period in (1, 2, 3)])
    assert store.forget(3) == 2
    assert store.forget(4) == 1
    assert store.periods() == {}
    assert store.accept([parcel(1.0)]) == 4


def test_requests_are_claimed_oldest_first_and_finished_with_an_action(store):
    asks = [asked(name) for name in ("z", "b", "ü")]
    store.commit(commit(entry(1), requests=tuple(asks)))
    assert [(number, one.request) for number, one in store.requests()] == [
        *zip((1, 2, 3), asks, strict=True)
    ]
    claimed = store.claim(2)
    assert [(one.request, one.status, one.attempts) for one in claimed] == [
        *((asks[0], "claimed", 1), (asks[1], "claimed", 1))
    ]
    store.act([Action("deployed", {}, NOW)], finished={"z": "done"})
    failed = Action("failed", {"error": "no data\0"}, NOW)
    store.act([failed], finished={"b": "failed", "ü": "failed"})
    found = {one.request.id: (one.status, one.error) for _, one in store.requests()}
    assert found == {"z": ("done", ""), "b": ("failed", "no data�"), "ü": ("failed", "no data�")}
    assert store.claim(5) == []
    assert [number for number, _ in store.requests(status=["failed"], start=2)] == [3]
    assert len(store.requests(limit=1)) == 1


def test_claimed_requests_are_opened_again(store):
    store.commit(commit(entry(1), requests=(asked("a"), asked("b"))))
    assert len(store.claim(1)) == 1
    assert store.release() == 1
    assert store.release() == 0
    assert [one.attempts for one in store.claim(2)] == [2, 1]


@pytest.mark.parametrize("finished", [{"a": "done"}, {"nobody": "done"}])
def test_a_request_is_finished_once(store, finished):
    store.commit(commit(entry(1), requests=(asked("a"),)))
    store.act([], finished={"a": "failed"})
    with pytest.raises(ConflictError, match="must be open or claimed"):
        store.act([Action("deployed", {}, NOW)], finished=finished)
    assert store.actions() == []


def test_a_revision_withdraws_open_requests_and_may_ask_again(store):
    store.commit(commit(entry(1), requests=(asked("a"), asked("b"))))
    assert [one.request.id for one in store.claim(1)] == ["a"]
    store.commit(commit(entry(1, 1), withdrawn=("a", "b")))
    assert [one.status for _, one in store.requests()] == ["claimed", "withdrawn"]
    store.commit(commit(entry(1, 2), requests=(asked("a"), asked("b"))))
    assert [(number, one.status) for number, one in store.requests()] == [
        *((1, "claimed"), (2, "open"))
    ]


def test_events_are_delivered_to_each_target(store):
    first, second = (Event(name, "test", NOW, {"text": "ü"}) for name in ("e1", "e2"))
    store.commit(commit(entry(1), events=(first,), targets=("x", "y")))
    store.post([second, first], ["x"])
    store.post([replace(first, document={})], ["x", "z"])
    due = store.due(NOW, 10)
    assert [(one.event.id, one.target) for one in due] == [
        *(("e1", "x"), ("e1", "y"), ("e2", "x"), ("e1", "z"))
    ]
    assert due[0].event == first
    assert [one.target for one in store.due(NOW, 1)] == ["x"]
    later = replace(due[0], attempts=1, next_at=NOW + MINUTE, error="HTTP 503\0")
    store.told(later)
    store.told(replace(due[1], status="delivered", attempts=1))
    assert [one.event.id for one in store.due(NOW, 10)] == ["e2", "e1"]
    assert store.due(NOW + MINUTE, 10)[0] == replace(later, error="HTTP 503�")
    assert [one.target for one in store.deliveries(limit=2)] == ["z", "x"]
    assert [one.target for one in store.deliveries(status=["delivered"])] == ["y"]
    with pytest.raises(StoreError, match="There is no delivery of e1 to nobody"):
        store.told(replace(later, target="nobody"))


def test_the_lease_changes_hands_with_a_larger_token(store):
    assert store.lease() is None
    first = store.acquire("a", MINUTE, NOW)
    assert (first.holder, first.token, first.expires_at) == ("a", 1, NOW + MINUTE)
    assert store.acquire("b", MINUTE, NOW) is None
    renewed = store.acquire("a", 2 * MINUTE, NOW)
    assert (renewed.token, renewed.expires_at) == (1, NOW + 2 * MINUTE)
    assert store.lease() == renewed
    second = store.acquire("b", MINUTE, NOW + 2 * MINUTE)
    assert second.token == 2
    store.surrender(first)
    assert store.lease() == second
    store.surrender(second)
    assert store.lease() is None
    assert store.acquire("a", MINUTE, NOW).token == 3


def test_a_holder_who_lost_the_lease_writes_nothing(store):
    first = store.acquire("a", MINUTE, NOW)
    store.commit(commit(entry(1)), first)
    second = store.acquire("b", MINUTE, NOW + MINUTE)
    with pytest.raises(ConflictError, match="The lease 1 of a is lost: b"):
        store.commit(commit(entry(2)), first)
    assert [info.cycle for info in store.cycles()] == [1]
    store.commit(commit(entry(2)), second)  # it has expired, but nobody else took it
    store.surrender(second)
    with pytest.raises(ConflictError, match="nobody holds it"):
        store.commit(commit(entry(3)), second)


def test_parcels_of_which_one_is_wrong_leave_nothing(store):
    with pytest.raises(StoreError):
        store.accept([parcel(1.0), Parcel("actuals", 2**70, rows(1.0))], offsets={"a": "1"})
    assert (store.periods(), store.offsets()) == ({}, {})
    assert store.accept([parcel(1.0)]) == 1


def test_settings_are_remembered(store):
    assert store.setting("clock") is None
    store.remember("clock", "1")
    store.remember("clock", "2024-01-01T00:00:00+00:00")
    assert store.setting("clock") == "2024-01-01T00:00:00+00:00"


def test_facts_tell_what_is_there(place, store):
    assert store.facts()["newest_cycle"] is None
    assert store.facts()["bytes_per_stream_batch"] is None
    streams = np.arange(1000)
    store.register(["a", "b"])
    for cycle in (1, 2):
        store.commit(commit(entry(cycle, streams=streams)))
    facts = store.facts()
    assert (facts["oldest_cycle"], facts["newest_cycle"]) == (1, 2)
    assert (facts["rows"]["streams"], facts["rows"]["evidence"]) == (2, 16)
    assert facts["bytes_per_stream_batch"] == EVIDENCE.itemsize
    assert facts["bytes"] > 2000 * EVIDENCE.itemsize
    assert facts["url"] == store.url
    assert place.kind in store.url


def test_old_events_are_dropped_unless_a_target_waits_for_them(store):
    events = [Event(name, "test", NOW + at * MINUTE, {}) for at, name in enumerate("abc")]
    store.post(events, ["x", "y"])
    for one in store.due(NOW, 10):
        if one.event.id != "b" or one.target == "x":
            store.told(replace(one, status="delivered", attempts=1))
    store.prune(snapshots_before=0, superseded_before=0, events_before=NOW + 2 * MINUTE)
    assert sorted((one.event.id, one.target) for one in store.deliveries()) == [
        ("b", "x"),
        ("b", "y"),
        ("c", "x"),
        ("c", "y"),
    ]
