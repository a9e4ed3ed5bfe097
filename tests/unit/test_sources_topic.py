"""Topics: whatever dies when, each row is stored once; what cannot be read is told."""

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import polars as pl
import pytest

from brokers import SETTINGS, Cluster, cluster
from mlma.adapters.sources.topic import TopicFeed
from mlma.domain.errors import MissingExtraError, SourceError, StoreError

DS = "2025-03-01 12:00:00"
NOON = datetime(2025, 3, 1, 12)
Feeds = Callable[..., TopicFeed]


class Inbox:
    """A store that keeps rows and offsets in one step, or fails."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.offsets: dict[str, str] = {}

    def accept(self, came: tuple[pl.DataFrame, dict[str, str]]) -> dict[str, str]:
        frame, offsets = came
        self.values += frame["y"].to_list()
        self.offsets |= offsets
        return offsets


def row(value: Any, **beside: Any) -> dict[str, Any]:
    return {"unique_id": "a", "ds": DS, "y": value} | beside


def until(condition: Callable[[], bool], feed: TopicFeed, inbox: Inbox) -> None:
    """Poll and store until something is true."""
    end = monotonic() + 40
    while not condition():
        assert monotonic() < end
        came = feed.poll(0.1)
        if came is not None:
            feed.stored(inbox.accept(came))


def drain(feed: TopicFeed, inbox: Inbox, count: int) -> None:
    """Store until there are so many values, and whatever comes after them."""
    until(lambda: len(inbox.values) >= count, feed, inbox)
    while (came := feed.poll(0.1)) is not None:
        feed.stored(inbox.accept(came))


def polled(feed: TopicFeed, messages: int) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return what came once so many messages did; nothing is stored."""
    end = monotonic() + 40
    while monotonic() < end:
        came = feed.poll(0.05)
        if came is not None and sum(map(int, came[1].values())) >= messages:
            return came
    pytest.fail("nothing came")


@pytest.fixture
def kafka() -> Iterator[Cluster]:
    pytest.importorskip("confluent_kafka")
    with cluster() as made:
        yield made


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def feeds(kafka: Cluster, inbox: Inbox) -> Iterator[Feeds]:
    """Make feeds of the topic ``sales``; they leave at the end of the test."""
    with ExitStack() as stack:

        def made(**beside: Any) -> TopicFeed:
            given = {"offsets": lambda: inbox.offsets, "settings": SETTINGS} | beside
            feed = TopicFeed("sales", "actuals", kafka.brokers, "sales", "agents", **given)
            stack.callback(feed.close)
            return feed

        yield made


def test_rows_come_with_the_offsets_after_them(kafka: Cluster, feeds: Feeds) -> None:
    kafka.say("sales", row(1), [row(2), row(3)])
    kafka.say("sales", row(4), partition=2)
    frame, offsets = polled(feeds(), 3)
    assert frame.columns == ["unique_id", "ds", "y"]
    assert sorted(frame.rows()) == [("a", NOON, value) for value in (1, 2, 3, 4)]
    assert offsets == {"agents/sales/0": "2", "agents/sales/2": "1"}


def test_nothing_came_is_none(kafka: Cluster, feeds: Feeds, inbox: Inbox) -> None:
    kafka.say("sales", row(1))
    feed = feeds()
    drain(feed, inbox, 1)
    assert feed.poll(0) is None
    assert feed.poll(0.1) is None


def test_a_poll_ends_when_it_has_enough(kafka: Cluster, feeds: Feeds, inbox: Inbox) -> None:
    kafka.say("sales", *(row(value) for value in range(10)))
    feed = feeds(most=4)
    came = feed.poll(5)
    assert came is not None
    assert came[0]["y"].to_list() == [0, 1, 2, 3]
    feed.stored(inbox.accept(came))
    drain(feed, inbox, 10)
    assert inbox.values == list(range(10))


def test_rows_that_were_not_stored_come_again(kafka: Cluster, feeds: Feeds, inbox: Inbox) -> None:
    kafka.say("sales", row(1), row(2))
    feed = feeds()
    first = polled(feed, 2)
    kafka.say("sales", row(3))
    again = polled(feed, 3)
    assert first[0]["y"].to_list() == [1, 2]
    assert again[0]["y"].to_list() == [1, 2, 3]
    feed.stored(inbox.accept(again))
    assert feed.poll(0.1) is None


def test_the_broker_is_told_what_was_stored(kafka: Cluster, feeds: Feeds, inbox: Inbox) -> None:
    kafka.say("sales", row(1), row(2))
    feed = feeds()
    polled(feed, 2)
    assert kafka.committed("agents", "sales") == {}
    drain(feed, inbox, 2)
    feed.close()
    assert kafka.committed("agents", "sales") == {0: 2}


@pytest.mark.parametrize(
    "dies", ["before it stores", "after it stored", "after it told the broker"]
)
def test_a_row_is_stored_once_whenever_the_feed_dies(
    kafka: Cluster, feeds: Feeds, inbox: Inbox, dies: str
) -> None:
    kafka.say("sales", row(1), row(2))
    feed = feeds()
    came = polled(feed, 2)
    if dies != "before it stores":
        offsets = inbox.accept(came)
        if dies != "after it stored":
            feed.stored(offsets)
    feed.close()
    kafka.say("sales", row(3))
    drain(feeds(), inbox, 3)
    assert inbox.values == [1, 2, 3]


def test_the_store_is_believed_rather_than_the_broker(
    kafka: Cluster, feeds: Feeds, inbox: Inbox
) -> None:
    kafka.say("sales", row(1), row(2), row(3))
    feed = feeds()
    drain(feed, inbox, 3)
    feed.close()
    inbox.values, inbox.offsets = [1], {"agents/sales/0": "1"}  # put back from a copy
    drain(feeds(), inbox, 3)
    assert inbox.values == [1, 2, 3]


def test_without_offsets_in_the_store_the_group_goes_on_where_it_stands(
    kafka: Cluster, feeds: Feeds, inbox: Inbox
) -> None:
    kafka.say("sales", row(1))
    feed = feeds()
    drain(feed, inbox, 1)
    feed.close()
    kafka.say("sales", row(2))
    inbox.offsets.clear()
    drain(feeds(), inbox, 2)
    assert inbox.values == [1, 2]


def test_partitions_of_a_feed_that_leaves_go_to_the_other_without_a_loss(
    kafka: Cluster, feeds: Feeds, inbox: Inbox
) -> None:
    for at in range(4):
        kafka.say("sales", row(at), partition=at)
    one, two = feeds(), feeds()
    until(lambda: len(one.partitions) == 4, one, inbox)
    drain(one, inbox, 4)
    kafka.say("sales", row(10))
    polled(one, 2)  # never stored
    assert two.poll(0) is None
    one.close()
    kafka.say("sales", row(11), partition=3)
    until(lambda: len(inbox.values) == 6, two, inbox)
    assert two.partitions == (0, 1, 2, 3)
    assert sorted(inbox.values) == [0, 1, 2, 3, 10, 11]


def test_rows_of_a_partition_that_went_to_another_feed_are_forgotten(
    kafka: Cluster, feeds: Feeds, inbox: Inbox
) -> None:
    for at in range(4):
        kafka.say("sales", row(at), partition=at)
    one, two = feeds(), feeds()
    polled(one, 4)  # waits to be stored
    end = monotonic() + 40
    came = None
    while len(one.partitions) != 2:
        assert monotonic() < end
        two.poll(0)
        came = one.poll(0.1)
    assert came is not None
    one.stored(inbox.accept(came))
    until(lambda: len(inbox.values) == 4, two, inbox)
    assert sorted(inbox.values) == [0, 1, 2, 3]


def test_offsets_beyond_the_topic_are_told_and_it_is_read_again(
    kafka: Cluster, feeds: Feeds, inbox: Inbox
) -> None:
    kafka.say("sales", row(1))
    inbox.offsets = {"agents/sales/0": "100"}
    feed = feeds()
    drain(feed, inbox, 1)
    assert inbox.values == [1]
    assert inbox.offsets["agents/sales/0"] == "1"
    assert [str(entry) for entry in feed.bad] == [
        "99 rows: messages that the topic has no longer: it is read again from its beginning "
        "(sales/0@100, ...); the first: it goes on at 0"
    ]


def test_a_store_that_fails_while_partitions_come_is_asked_again(
    kafka: Cluster, feeds: Feeds, inbox: Inbox
) -> None:
    kafka.say("sales", row(1))
    calls = []

    def offsets() -> dict[str, str]:
        calls.append(1)
        if len(calls) == 1:
            raise StoreError("the store is away")
        return inbox.offsets

    feed = feeds(offsets=offsets)
    with pytest.raises(StoreError, match="the store is away"):
        feed.poll(1)
    until(lambda: inbox.values == [1], feed, inbox)


def test_what_cannot_be_read_is_told_once_and_stops_nothing(
    kafka: Cluster, feeds: Feeds, inbox: Inbox
) -> None:
    kafka.say("sales", row(1), b"{half", row(2))
    feed = feeds()
    polled(feed, 3)
    drain(feed, inbox, 2)
    assert inbox.values == [1, 2]
    (entry,) = feed.bad
    assert entry.reason == "messages that cannot be read"
    assert (entry.count, entry.examples) == (1, ("sales/0@1",))


def test_good_rows_of_a_message_are_kept_and_the_others_told(
    kafka: Cluster, feeds: Feeds, inbox: Inbox
) -> None:
    kafka.say("sales", [row(1), row(2, ds="x"), row("3"), row(None), row(4, ds="y")])
    feed = feeds()
    drain(feed, inbox, 3)
    assert inbox.values[:2] == [1, 3]
    assert len(inbox.values) == 3  # the door counts missing values
    assert [(entry.reason, entry.count) for entry in feed.bad] == [("`ds` is no ISO time", 2)]


def test_messages_without_a_good_row_give_an_empty_frame_and_their_offsets(
    kafka: Cluster, feeds: Feeds
) -> None:
    kafka.say("sales", b"x", b"y")
    frame, offsets = polled(feeds(), 2)
    assert frame.schema == {"unique_id": pl.String, "ds": pl.Datetime("us"), "y": pl.Float64}
    assert frame.height == 0
    assert offsets == {"agents/sales/0": "2"}


def test_dead_letters_are_copies_with_a_reason(kafka: Cluster, feeds: Feeds, inbox: Inbox) -> None:
    kafka.say("sales", row(1), b"what?", [row(2), row("x")])
    feed = feeds(dead_letters="dead")
    drain(feed, inbox, 2)
    drain(feed, inbox, 2)
    letters = {letter.value(): dict(letter.headers()) for letter in kafka.heard("dead", 2)}
    assert letters[b"what?"]["source"] == b"sales/0@1"
    assert b"neither JSON nor Arrow" in letters[b"what?"]["reason"]
    assert {headers["source"] for headers in letters.values()} == {b"sales/0@1", b"sales/0@2"}
    assert inbox.values == [1, 2]


@pytest.mark.parametrize("form", ["stream", "file"])
@pytest.mark.parametrize("header", [None, "application/vnd.apache.arrow.stream"])
def test_arrow_messages_are_recognised_and_keep_their_place_among_others(
    kafka: Cluster, feeds: Feeds, form: str, header: str | None
) -> None:
    body = io.BytesIO()
    frame = pl.DataFrame({"unique_id": [7, 8], "ds": [NOON, NOON], "y": [2, 3], "more": ["x", "y"]})
    frame.write_ipc_stream(body) if form == "stream" else frame.write_ipc(body)
    kafka.say("sales", row(1))
    kafka.say("sales", body.getvalue(), headers={"Content-Type": header} if header else None)
    kafka.say("sales", row(4))
    came, _ = polled(feeds(), 3)
    assert came.rows() == [(*one, NOON, y) for one, y in [("a", 1), ("7", 2), ("8", 3), ("a", 4)]]


def test_times_with_offsets_are_instants_and_cutoffs_come_along(kafka: Cluster) -> None:
    summer, winter = "2025-10-26T02:30:00+02:00", "2025-10-26T02:30:00+01:00"
    messages = [{"id": 1, "at": at, "p": 1, "made": "2025-10-25"} for at in (summer, winter)]
    kafka.say("sales", *messages, {"id": 1, "at": "2025-10-26 02:30", "p": 1})
    names = {"unique_id": "id", "ds": "at", "y_hat": "p", "cutoff": "made"}
    common: dict[str, Any] = {"columns": names, "offsets": dict, "settings": SETTINGS}
    for zone in (None, "Europe/Berlin"):
        feed = TopicFeed("f", "forecasts", kafka.brokers, "sales", f"{zone}", zone=zone, **common)
        came, _ = polled(feed, 3)
        feed.close()
        utc = UTC if zone else None
        first = datetime(2025, 10, 26, 0, 30, tzinfo=utc)
        second = first.replace(hour=1)
        assert came["ds"].to_list()[:2] == [first, second]
        # Without an offset: as it came, or the first of the two that the clock shows.
        assert came["ds"][2] == (first if zone else datetime(2025, 10, 26, 2, 30))
        assert came["cutoff"].null_count() == 1


def test_brokers_that_are_away_are_an_error_that_names_them(inbox: Inbox) -> None:
    pytest.importorskip("confluent_kafka")
    feed = TopicFeed("sales", "actuals", "127.0.0.1:1", "sales", "agents", offsets=dict)
    with pytest.raises(SourceError, match=r"topic `sales`.*127.0.0.1:1.*are the brokers up"):
        feed.poll(1)
    feed.close()


def test_a_setting_that_the_client_does_not_know_is_an_error() -> None:
    pytest.importorskip("confluent_kafka")
    settings = {"sasl.usernam": "x"}
    feed = TopicFeed(
        "sales", "actuals", "127.0.0.1:1", "sales", "g", offsets=dict, settings=settings
    )
    with pytest.raises(SourceError, match=r"No such configuration property: .sasl.usernam"):
        feed.poll(1)


def test_a_missing_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka", None)
    feed = TopicFeed("sales", "actuals", "127.0.0.1:1", "sales", "agents", offsets=dict)
    with pytest.raises(MissingExtraError, match=r"mlma\[kafka\]"):
        feed.poll(1)
