"""What every store keeps to when several threads, instances and processes use it at once."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest

import postgres
from mlma.adapters.store import inbox, open_store
from mlma.domain.errors import ConflictError, StoreError
from mlma.domain.ledger import Action, Event
from stores import (
    KINDS,
    MINUTE,
    NOW,
    SHARED,
    asked,
    commit,
    entry,
    parcel,
    place_of,
    same,
    together,
)


@pytest.fixture(params=SHARED)
def place(request, tmp_path):
    with place_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=KINDS)
def any_place(request, tmp_path):
    with place_of(request.param, tmp_path) as made:
        yield made


def test_numbers_of_parcels_grow_in_the_order_of_commits(any_place):
    store = any_place.open()
    stores = [store, store] if any_place.kind == "memory" else [store, any_place.open()]
    given, seen, over = [], [], threading.Event()

    def writes(own, value):
        for _ in range(15):
            last = own.accept([parcel(value), parcel(value)])
            given.append((last, value))

    def reads():
        while not over.is_set():
            seen.append([one.number for one in store.parcels("actuals", 10)])

    reader = threading.Thread(target=reads)
    reader.start()
    together(*(lambda own=own, v=v: writes(own, v) for v, own in enumerate(stores * 2)))
    over.set()
    reader.join()
    for numbers in seen:  # who has seen a number will never find a new smaller one
        assert numbers == list(range(1, len(numbers) + 1))
    found = store.parcels("actuals", 10)
    assert [one.number for one in found] == list(range(1, 121))
    values = {one.number: one.rows.value[0] for one in found}
    assert all(values[last] == values[last - 1] == value for last, value in given)


def test_two_instances_register_the_same_streams_once(place):
    first, second = place.open(), place.open()
    names = [f"stream {row}" for row in range(300)]
    together(
        *(lambda part=part: first.register(names[part:]) for part in (0, 100, 200)),
        *(lambda part=part: second.register(names[::-1][part:]) for part in (0, 100, 200)),
    )
    assert sorted(first.streams()) == sorted(names)
    assert first.streams() == second.streams()


def test_of_two_instances_that_commit_a_cycle_exactly_one_wins(place):
    first, second = place.open(), place.open()
    for cycle in range(1, 6):
        made = [entry(cycle, seed=seed, streams=np.arange(500)) for seed in (1, 2)]
        answers = together(
            lambda one=made[0]: first.commit(commit(one)),
            lambda one=made[1]: second.commit(commit(one)),
        )
        kinds = Counter(type(answer) for answer in answers)
        assert kinds == {type(None): 1, ConflictError: 1}
        winner = first.cycles(first=cycle)[0].seed - 1
        assert answers[winner] is None


def test_of_two_instances_that_acquire_the_lease_exactly_one_gets_it(place):
    first, second = place.open(), place.open()
    for turn in range(1, 6):
        now = NOW + turn * MINUTE
        answers = together(
            lambda now=now: first.acquire("first", MINUTE, now),
            lambda now=now: second.acquire("second", MINUTE, now),
        )
        won = [lease for lease in answers if lease is not None]
        assert len(won) == 1
        assert first.lease() == won[0]
        first.surrender(won[0])


def test_no_request_is_claimed_twice(place):
    first, second = place.open(), place.open()
    first.commit(commit(entry(1), requests=tuple(asked(str(number)) for number in range(60))))
    answers = together(*(lambda own=own: own.claim(9) for own in [first, second] * 3))
    ids = [one.request.id for answer in answers for one in answer]
    assert len(ids) == 54
    assert len(set(ids)) == 54


def test_all_verbs_at_once_end_without_a_deadlock(place):
    first, second = place.open(), place.open()
    first.commit(commit(entry(1), requests=tuple(asked(str(number)) for number in range(20))))

    def cycles():
        for cycle in range(2, 8):
            event = Event(f"e{cycle}", "test", NOW, {})
            ids = tuple(str(number) for number in range(19, 10, -1))
            made = commit(entry(cycle), withdrawn=ids, events=(event,), targets=("x", "y"))
            first.commit(made)
            first.prune(snapshots_before=cycle, superseded_before=cycle)

    def fits():
        for number in range(10):
            second.claim(1)
            second.act([Action("deployed", {}, NOW)], finished={str(number): "done"})
            second.post([Event(f"e{number}", "test", NOW, {})], ["y", "x", "z"])

    def arrives():
        for number in range(10):
            first.accept([parcel(1.0, period=number)], offsets={"b": "1", "a": "2"})
            second.accept([parcel(1.0, period=number)], offsets={"a": "1", "b": "2"})
            second.register([f"{number}", f"{number + 1}"])
            first.remember("clock", "1")
            first.forget(number)

    def delivers():
        for _ in range(10):
            second.remember("clock", "2")
            for delivery in second.due(NOW, 3):
                second.told(delivery)
            second.release()

    assert together(cycles, fits, arrives, delivers) == [None] * 4
    assert len(first.cycles()) == 7


def test_what_was_written_is_there_after_opening_again(place):
    store = place.open()
    made = entry(1)
    store.register(["a"])
    store.accept([parcel(1.5)])
    store.commit(commit(made))
    store.remember("clock", "x")
    store.close()
    again = place.open()
    assert again.streams() == ["a"]
    assert again.parcels("actuals", 10)[0].rows.value.tolist() == [1.5]
    assert same(again.evidence(1)[1], made.evidence)
    assert again.setting("clock") == "x"
    assert again.accept([parcel(1.0)]) == 2


def test_two_instances_open_an_empty_database_at_once(place):
    answers = together(*(lambda: place.open().register(["a"]) for _ in range(4)))
    assert answers == [1] * 4


CHILD = """
import sys
from mlma.adapters.store import inbox, open_store
from stores import parcel
store = open_store(sys.argv[1])
value = 0
while True:
    value += 1
    last = store.accept([parcel(*[float(value)] * 500), parcel(float(value), period=11)])
    print(last, value, flush=True)
"""


def test_a_process_that_is_killed_loses_no_parcel_that_it_acknowledged(place):
    place.open().close()
    draw = np.random.default_rng()
    told = {}
    for _ in range(2):
        path = ":".join(sys.path)
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, place.url],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": path},
        )
        with child:
            lines = [child.stdout.readline() for _ in range(3)]
            time.sleep(draw.uniform(0, 0.2))
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        whole = [line.split() for line in lines if line.endswith("\n")]
        told |= {int(number): float(value) for number, value in whole}
    store = place.open()
    full = {one.number + 1: one.rows.value for one in store.parcels("actuals", 10)}
    short = {one.number: one.rows.value for one in store.parcels("actuals", 11)}
    assert full.keys() == short.keys()  # both parcels of a call, or none
    assert len(full) - len(told) in range(3)  # one may have been stored and not been told, twice
    for number, value in told.items():
        assert full[number].tolist() == [value] * 500
        assert short[number].tolist() == [value]


OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name"


def test_a_lost_connection_is_found_again_at_the_next_call(tmp_path):
    with place_of("postgresql", tmp_path) as place:
        store = place.open()
        store.register(["a"])
        assert postgres.tell(place.url, f"{OTHERS} = 'mlma'")
        assert store.register(["b"]) == 2


def test_a_connection_lost_in_a_transaction_leaves_nothing(tmp_path, monkeypatch):
    with place_of("postgresql", tmp_path) as place:
        store = place.open()

        class Cut(list):
            def __iter__(self):
                assert postgres.tell(place.url, f"{OTHERS} = 'mlma'")
                return super().__iter__()

        class CutLater(dict):
            def items(self):  # the offsets of parcels that are written already
                assert postgres.tell(place.url, f"{OTHERS} = 'mlma'")
                return super().items()

        store.accept([parcel(1.0)])
        with pytest.raises(StoreError, match=r"cannot be reached.*The next call tries again"):
            store.accept([parcel(2.0)], offsets=CutLater(a="1"))
        assert store.periods() == {10: 1}
        monkeypatch.setattr(inbox, "range", lambda *_: Cut([2]), raising=False)
        with pytest.raises(StoreError, match=r"cannot be reached.*The next call tries again"):
            store.accept([parcel(2.0)])
        monkeypatch.undo()
        assert store.periods() == {10: 1}
        assert store.accept([parcel(2.0)], offsets={"a": "1"}) == 2


def test_a_server_that_is_not_there_is_an_error_without_the_password():
    url = "postgresql://ann:s3cret-word@127.0.0.1:1/mlma"
    with pytest.raises(StoreError, match=r"ann:\*\*\*@127.0.0.1.*cannot be reached") as told:
        open_store(url)
    assert "s3cret" not in str(told.value)
