"""What is pushed is durable when its receipt comes; many submissions travel in one transaction."""

from contextlib import closing
from threading import Event, Thread

import numpy as np
import pytest

from mlma.adapters.store import open_store
from mlma.domain.errors import DataError, StoreError
from mlma.domain.inbox import NO_CUTOFF, NamedRows
from mlma.service.ingest import BusyError, Ingestor, UnknownStreamsError
from mlma.service.streams import UNKNOWN, StreamRows
from stores import place_of
from threads import DAYS, FIRST, HOUR, MONDAY, pushed

WAIT = 10.0


@pytest.fixture
def store():
    with closing(open_store("memory://")) as made:
        yield made


@pytest.fixture
def open_ingestor():
    made = []

    def opened(store, **settings):
        made.append(Ingestor(store, DAYS, **settings))
        return made[-1]

    yield opened
    for one in made:
        one.close()


class Gate:
    """A store whose `accept` can be held up, and fail."""

    def __init__(self, store):
        self.store, self.inside, self.open = store, Event(), Event()
        self.error, self.calls = None, 0

    def __getattr__(self, name):
        return getattr(self.store, name)

    def accept(self, parcels, *, offsets=None):
        self.calls += 1
        self.inside.set()
        assert self.open.wait(WAIT)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return self.store.accept(parcels, offsets=offsets)


def receipt(future):
    return future.result(WAIT)


def test_rows_are_in_the_store_when_the_receipt_comes(store, open_ingestor):
    answer = receipt(open_ingestor(store).submit(pushed("b", "a", value=2.5)))
    assert (answer.rows, answer.new_streams, answer.number) == (6, 2, 1)
    assert store.streams() == ["b", "a"]
    (parcel,) = store.parcels("actuals", FIRST)
    assert parcel.rows.stream.tolist() == [0, 0, 0, 1, 1, 1]
    assert parcel.rows.place.tolist() == [0, 1, 2, 0, 1, 2]
    assert parcel.rows.value.tolist() == [2.5] * 6


def test_known_streams_keep_their_rows_and_are_not_new(store, open_ingestor):
    store.register(["x", "a"])
    ingestor = open_ingestor(store)
    assert receipt(ingestor.submit(pushed("a", "new"))).new_streams == 1
    assert receipt(ingestor.submit(pushed("new", "x"))).new_streams == 0
    first, second = store.parcels("actuals", FIRST)
    assert np.unique(first.rows.stream).tolist() == [1, 2]
    assert second.rows.stream.tolist() == [2, 2, 2, 0, 0, 0]


def test_rows_are_sorted_into_periods_and_keep_their_order(store, open_ingestor):
    rows = pushed("a", start=MONDAY + 22 * HOUR, slots=4)
    receipt(open_ingestor(store).submit(rows))
    assert store.periods().keys() == {FIRST, FIRST + 1}
    (second,) = store.parcels("actuals", FIRST + 1)
    assert second.rows.place.tolist() == [0, 1]


def test_what_waits_meanwhile_goes_into_one_transaction(store, open_ingestor):
    gate = Gate(store)
    ingestor = open_ingestor(gate)
    futures = [ingestor.submit(pushed("a", value=0.0))]
    assert gate.inside.wait(WAIT)
    futures += [ingestor.submit(pushed(f"s{k}", "a", value=float(k))) for k in range(1, 9)]
    futures.append(ingestor.submit(pushed("a", kind="forecasts")))
    gate.open.set()
    answers = [receipt(future) for future in futures]
    assert gate.calls == 2
    assert [one.new_streams for one in answers] == [1] * 9 + [0]
    first, merged = store.parcels("actuals", FIRST)
    assert merged.rows.value.tolist() == [float(k) for k in range(1, 9) for _ in range(6)]
    assert merged.rows.stream[3:6].tolist() == first.rows.stream.tolist()
    assert len({one.number for one in answers[1:]}) == 1
    assert answers[1].number >= merged.number
    assert ingestor.facts.transactions == 2
    assert ingestor.facts.rows == 3 + 8 * 6 + 3


def test_cutoffs_survive_beside_rows_without_them(store, open_ingestor):
    gate = Gate(store)
    ingestor = open_ingestor(gate)
    ingestor.submit(pushed("z"))
    assert gate.inside.wait(WAIT)
    ingestor.submit(pushed("a", kind="forecasts", slots=1, cutoff=5))
    last = ingestor.submit(pushed("b", kind="forecasts", slots=1))
    gate.open.set()
    receipt(last)
    (parcel,) = store.parcels("forecasts", FIRST)
    assert parcel.rows.cutoff.tolist() == [5, NO_CUTOFF]


def test_unknown_streams_are_refused_and_the_others_of_the_group_are_not(store, open_ingestor):
    store.register(["known"])
    gate = Gate(store)
    ingestor = open_ingestor(gate, unknown="refuse")
    first = ingestor.submit(pushed("known"))
    assert gate.inside.wait(WAIT)
    bad = ingestor.submit(pushed("known", "u1", "u2", "u3", "u4"))
    good = ingestor.submit(pushed("known", value=7.0))
    gate.open.set()
    with pytest.raises(UnknownStreamsError, match=r"4 streams .* u1, u2, u3 and 1 more") as caught:
        receipt(bad)
    assert caught.value.names == ("u1", "u2", "u3", "u4")
    assert isinstance(caught.value, DataError)
    assert receipt(first).rows == receipt(good).rows == 3
    assert store.streams() == ["known"]
    assert sum(len(one.rows) for one in store.parcels("actuals", FIRST)) == 6
    assert ingestor.facts.refused == 1


def test_streams_above_the_most_are_refused_whole(store, open_ingestor):
    ingestor = open_ingestor(store, max_streams=2)
    assert receipt(ingestor.submit(pushed("a"))).new_streams == 1
    with pytest.raises(UnknownStreamsError, match="there would be 3, expected at most 2"):
        receipt(ingestor.submit(pushed("b", "c")))
    assert receipt(ingestor.submit(pushed("b"))).new_streams == 1
    assert store.streams() == ["a", "b"]


def test_another_instance_may_register_first(tmp_path, open_ingestor):
    with place_of("sqlite", tmp_path) as place:
        mine, other = open_ingestor(place.open()), open_ingestor(place.open())
        receipt(mine.submit(pushed("a")))
        receipt(other.submit(pushed("b", "a")))
        assert receipt(mine.submit(pushed("b"))).new_streams == 0
        assert receipt(mine.submit(pushed("c", "b"))).new_streams == 1
        store = place.open()
        assert store.streams() == ["a", "b", "c"]
        rows = [one.rows.stream.tolist() for one in store.parcels("actuals", FIRST)]
        assert rows == [[0] * 3, [1] * 3 + [0] * 3, [1] * 3, [2] * 3 + [1] * 3]
        mine.close(), other.close()


def test_a_failed_transaction_fails_its_group_and_the_thread_lives_on(store, open_ingestor):
    gate = Gate(store)
    ingestor = open_ingestor(gate)
    gate.error = StoreError("The disk is full.")
    lost = [ingestor.submit(pushed("a"))]
    assert gate.inside.wait(WAIT)
    kept = ingestor.submit(pushed("a"))
    gate.open.set()
    for future in lost:
        with pytest.raises(StoreError, match="disk is full"):
            receipt(future)
    assert receipt(kept).rows == 3
    assert (ingestor.facts.failed, ingestor.facts.last_error) == (1, "The disk is full.")


def test_an_error_that_nobody_thought_of_becomes_an_error_of_the_store(store, open_ingestor):
    gate = Gate(store)
    gate.open.set()
    gate.error = ZeroDivisionError("oh")
    ingestor = open_ingestor(gate)
    with pytest.raises(StoreError, match="could not be stored: ZeroDivisionError oh"):
        receipt(ingestor.submit(pushed("a")))
    assert receipt(ingestor.submit(pushed("a"))).rows == 3


def test_too_much_that_waits_is_turned_away_but_one_of_any_size_is_taken(store, open_ingestor):
    gate = Gate(store)
    ingestor = open_ingestor(gate, queue_rows=5)
    large = ingestor.submit(pushed("a", "b", slots=24))
    assert gate.inside.wait(WAIT)
    with pytest.raises(BusyError, match="48 rows wait"):
        ingestor.submit(pushed("a"))
    gate.open.set()
    assert receipt(large).rows == 48
    assert ingestor.facts.busy == 1
    while ingestor.facts.waiting_rows:
        pass
    assert receipt(ingestor.submit(pushed("a"))).rows == 3


def test_rows_of_periods_that_are_not_kept_are_refused(store, open_ingestor):
    ingestor = open_ingestor(store)
    rows = pushed("a", "b", start=MONDAY - 2 * HOUR)
    words = "4 rows of the actuals are older .* from 2024-01-01T00:00:00 on. Got 2023-12-31T22"
    with pytest.raises(DataError, match=words):
        ingestor.submit(rows, oldest=FIRST)
    assert receipt(ingestor.submit(pushed("a"), oldest=FIRST)).rows == 3
    assert ingestor.facts.waiting_rows == 0
    assert list(store.periods()) == [FIRST]


def test_closing_stores_what_waits_and_takes_nothing_more(store):
    gate = Gate(store)
    ingestor = Ingestor(gate, DAYS)
    futures = [ingestor.submit(pushed("a"))]
    assert gate.inside.wait(WAIT)
    futures += [ingestor.submit(pushed("b")) for _ in range(3)]
    closing = Thread(target=ingestor.close)
    closing.start()
    gate.open.set()
    closing.join(WAIT)
    assert [receipt(future).rows for future in futures] == [3] * 4
    with pytest.raises(BusyError, match="being stopped"):
        ingestor.submit(pushed("a"))


def test_a_submission_that_was_cancelled_is_not_stored(store, open_ingestor):
    gate = Gate(store)
    ingestor = open_ingestor(gate)
    ingestor.submit(pushed("a"))
    assert gate.inside.wait(WAIT)
    gone, kept = ingestor.submit(pushed("gone")), ingestor.submit(pushed("kept"))
    assert gone.cancel()
    gate.open.set()
    receipt(kept)
    assert store.streams() == ["a", "kept"]


def test_nothing_is_a_submission_too(store, open_ingestor):
    empty = NamedRows(
        "actuals", (), np.empty(0, np.int32), np.empty(0, "datetime64[us]"), np.empty(0)
    )
    assert receipt(open_ingestor(store).submit(empty)).rows == 0
    assert store.periods() == {}


def test_whoever_waits_for_rows_is_told(store, open_ingestor):
    told = Event()
    receipt(open_ingestor(store, stored=told.set).submit(pushed("a")))
    assert told.wait(WAIT)


def test_many_threads_lose_nothing(tmp_path, open_ingestor):
    with place_of("sqlite", tmp_path) as place:
        store = place.open()
        ingestor = open_ingestor(store)
        futures = []

        def push(k):
            futures.extend(ingestor.submit(pushed(f"s{k}", f"t{n}")) for n in range(20))

        threads = [Thread(target=push, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        answers = [receipt(future) for future in futures]
        parcels = store.parcels("actuals", FIRST)
        assert sum(len(one.rows) for one in parcels) == 8 * 20 * 6
        assert sum(one.new_streams for one in answers) == len(store.streams()) == 28
        assert ingestor.facts.transactions < 160
        ingestor.close()


def test_rows_of_names_are_found_without_asking_the_store(store):
    store.register(["a", "b"])
    registry = StreamRows(store)
    assert registry.find(["a", "b"]).tolist() == [UNKNOWN, UNKNOWN]
    registry.refresh()
    assert registry.find(["b", "x", "a"]).tolist() == [1, UNKNOWN, 0]
    assert len(registry) == 2
