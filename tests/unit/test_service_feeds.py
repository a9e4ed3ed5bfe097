"""What comes through a feed is stored once, with its offsets; what is unusable is counted."""

import logging
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np
import pytest

from mlma.adapters.store import open_store
from mlma.domain.errors import DataError, SourceError, StoreError
from mlma.domain.leftovers import LeftOut
from mlma.service.feeds import FeedWorker
from mlma.service.pulled import PulledSource
from mlma.service.streams import StreamRows
from threads import DAYS, FIRST, HOUR, MONDAY, pushed, until


class Topic:
    """A feed of frames that are rows already; they come again until they are stored."""

    name, kind = "topic", "actuals"

    def __init__(self, *frames):
        self.frames, self.at, self.closed = list(frames), 0, False

    def poll(self, seconds):
        if self.at >= len(self.frames):
            return None
        frame = self.frames[self.at]
        if isinstance(frame, Exception):
            self.at += 1
            raise frame
        return frame, {"topic/0": str(self.at + 1)}

    def stored(self, offsets):
        self.at = int(offsets["topic/0"])

    def close(self):
        self.closed = True


class Failing:
    """A store that accepts nothing some times."""

    def __init__(self, store, times):
        self.store, self.times = store, times

    def __getattr__(self, name):
        return getattr(self.store, name)

    def accept(self, parcels, *, offsets=None):
        if self.times:
            self.times -= 1
            raise StoreError("The disk is full.")
        return self.store.accept(parcels, offsets=offsets)


@pytest.fixture
def store():
    with closing(open_store("memory://")) as made:
        yield made


def as_it_is(frame):
    return frame


@contextmanager
def consuming(store, feed, read=as_it_is, unknown="register", **settings):
    registry = StreamRows(store, unknown=unknown)
    worker = FeedWorker(feed, store, registry, DAYS, read=read, **settings)
    worker.start()
    try:
        yield worker
    finally:
        assert worker.stop(5.0)
        assert feed.closed


def values(store, period=FIRST):
    return [one.rows.value.tolist() for one in store.parcels("actuals", period)]


def test_rows_and_offsets_are_stored_together(store):
    told = []
    feed = Topic(pushed("a", value=1.0), pushed("b", "a", value=2.0))
    with consuming(store, feed, stored=lambda: told.append(1)) as worker:
        until(lambda: worker.facts.polls == 2)
    assert values(store) == [[1.0] * 3, [2.0] * 6]
    assert store.offsets() == {"topic/0": "2"}
    assert store.streams() == ["a", "b"]
    assert (worker.facts.rows, worker.facts.bad_rows, told) == (9, 0, [1, 1])


def test_what_could_not_be_stored_is_stored_once_later(store, caplog):
    with (
        caplog.at_level(logging.WARNING),
        consuming(Failing(store, 1), Topic(pushed("a"))) as worker,
    ):
        until(lambda: worker.facts.polls == 1)
        assert worker.loop.errors == 1
    assert values(store) == [[1.0] * 3]
    assert "The disk is full." in caplog.text


def test_a_broker_that_is_gone_does_not_end_the_thread(store):
    with consuming(store, Topic(SourceError("No broker."), pushed("a"))) as worker:
        until(lambda: worker.facts.polls == 1)
        assert worker.alive
        assert worker.loop.last_error == "No broker."
    assert len(values(store)) == 1


def test_bad_rows_are_counted_and_the_rest_is_stored(store, caplog):
    lost = LeftOut("null ds", "rows", 2, ("a",))
    old = pushed("a", "b", start=MONDAY - 2 * HOUR)
    frames = [replace(pushed("a"), left_out=(lost,)), old]
    with (
        caplog.at_level(logging.WARNING),
        consuming(store, Topic(*frames), oldest=lambda: FIRST) as worker,
    ):
        until(lambda: worker.facts.polls == 2)
    reasons = {one.reason: one.count for one in worker.facts.left_out}
    assert reasons == {"null ds": 2, "older than what is kept": 4}
    assert worker.facts.bad_rows == 6
    assert worker.facts.rows == 5
    assert list(store.periods()) == [FIRST]
    assert "2 rows: null ds (a, ...)" in caplog.text


def test_rows_of_streams_that_may_not_be_registered_are_left_out(store):
    store.register(["known"])
    with consuming(store, Topic(pushed("new", "known")), unknown="refuse") as worker:
        until(lambda: worker.facts.polls == 1)
    assert values(store) == [[1.0] * 3]
    (lost,) = worker.facts.left_out
    assert (lost.reason, lost.count, lost.examples) == ("unknown stream", 3, ("new",))
    assert store.streams() == ["known"]


def test_a_frame_that_is_none_of_ours_is_passed_by(store):
    def read(frame):
        if frame == "????":
            raise DataError("There is no column `ds`.")
        return frame

    with consuming(store, Topic("????", "", pushed("a")), read) as worker:
        until(lambda: worker.facts.polls == 3)
    (lost,) = worker.facts.left_out
    assert (lost.count, lost.note) == (4, "There is no column `ds`.")
    assert store.offsets() == {"topic/0": "3"}
    assert len(values(store)) == 1


class Folder:
    """A source of frames that are rows already."""

    name, kind = "folder", "actuals"

    def __init__(self, *frames):
        self.given, self.asked = frames, []

    def frames(self, start, end):
        self.asked.append((start, end))
        yield from self.given

    def stamp(self, start, end):
        return f"{start}/{end}"


def test_a_source_is_asked_for_a_period_and_gives_its_rows(store):
    lost = LeftOut("null ds", "rows", 1)
    folder = Folder(
        replace(pushed("a", start=MONDAY + 22 * HOUR, slots=4), left_out=(lost,)),
        replace(pushed("b", slots=1, value=5.0), left_out=(lost,)),
    )
    source = PulledSource(folder, StreamRows(store), DAYS, read=as_it_is)
    assert (source.name, source.kind) == ("folder", "actuals")
    first, second = source.rows(FIRST)
    assert (first.stream.tolist(), first.place.tolist()) == ([0, 0], [22, 23])
    assert (second.stream.tolist(), second.value.tolist()) == ([1], [5.0])
    assert folder.asked == [(MONDAY, MONDAY + np.timedelta64(1, "D"))]
    assert store.streams() == ["a", "b"]
    assert [one.count for one in source.left_out(FIRST)] == [2]
    assert source.left_out(FIRST + 1) == ()
    assert source.stamp(FIRST) == f"{MONDAY}/{MONDAY + np.timedelta64(1, 'D')}"


def test_a_source_with_streams_that_may_not_be_registered_leaves_them_out(store):
    store.register(["known"])
    registry = StreamRows(store, unknown="refuse")
    source = PulledSource(Folder(pushed("new", "known")), registry, DAYS, read=as_it_is)
    (rows,) = source.rows(FIRST)
    assert rows.stream.tolist() == [0, 0, 0]
    (lost,) = source.left_out(FIRST)
    assert str(lost) == "1 streams: unknown stream (new)"


def test_accounts_of_periods_long_ago_are_forgotten(store):
    source = PulledSource(Folder(), StreamRows(store), DAYS, read=as_it_is)
    for period in range(FIRST, FIRST + 100):
        list(source.rows(period))
    assert len(source._left_out) == 64
