"""Forecasts or actuals in a topic of a broker that speaks Kafka's protocol.

Takes messages, gives frames of rows and the offsets after them, which the store keeps together
with the rows. Whatever dies when, a row is stored once: a new owner of a partition goes on where
the store says, not where the broker does.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

import polars as pl

from mlma.adapters.sources.columns import columns_of
from mlma.adapters.sources.messages import Complaint, Decoded, Message, decoded
from mlma.domain.errors import MissingExtraError, MlmaError, SourceError
from mlma.domain.inbox import Kind
from mlma.domain.leftovers import LeftOut, merge_left_out

_log = logging.getLogger(__name__)

MESSAGES = 50_000
"""Most messages of a poll."""

BYTES = 64 * 2**20
"""Bytes of messages at which a poll ends."""

_AT_ONCE = 1_000
_SECONDS = 10.0
_A_WHILE = 0.2


class TopicFeed:
    """Rows that come as messages: JSON, one object or a list of them, or Arrow IPC.

    name
        for messages.
    kind
        what the rows are.
    brokers, topic, group
        ``host:port`` with commas, the topic, and the consumer group that shares its partitions.
    columns
        what ``unique_id``, ``ds``, ``y``, ``y_hat`` and ``cutoff`` are called in the messages.
    offsets
        tells what the store keeps: the next offset of ``group/topic/partition``. Asked whenever
        partitions are assigned. A partition without one starts where the group stands at the
        broker, or at its beginning.
    dead_letters
        topic that gets a copy of each message of which something could not be read; None = none.
    settings
        further settings of librdkafka, such as ``security.protocol``.
    zone
        time zone of the grid, if it has one: see `mlma.adapters.sources.windows`.

    Rows that were polled are given again until `stored` says that they are durable. It may be used
    by one thread at a time, and connects with the first poll.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        brokers: str,
        topic: str,
        group: str,
        *,
        columns: Mapping[str, str] | None = None,
        offsets: Callable[[], Mapping[str, str]],
        dead_letters: str | None = None,
        settings: Mapping[str, str] | None = None,
        zone: str | None = None,
        most: int = MESSAGES,
    ) -> None:
        self._name, self._topic = name, topic
        self._columns, self._offsets = columns_of(kind, columns), offsets
        self._dead_letters, self._zone, self._most = dead_letters, zone, most
        self._settings = _settings(brokers, group, settings or {})
        self._consumer: Any = None
        self._producer: Any = None
        self._next: dict[int, int] = {}
        self._waiting: list[Message] = []
        self._told: set[tuple[int, int]] = set()
        self._bad: tuple[LeftOut, ...] = ()
        self._trouble: Exception | None = None
        self._down = ""

    @property
    def name(self) -> str:
        """Name for messages."""
        return self._name

    @property
    def kind(self) -> Kind:
        """What its rows are."""
        return self._columns.kind

    @property
    def bad(self) -> tuple[LeftOut, ...]:
        """What could not be read since the start, and why."""
        return self._bad

    @property
    def partitions(self) -> tuple[int, ...]:
        """The partitions that are assigned to this feed."""
        return tuple(sorted(self._next))

    def poll(self, seconds: float) -> tuple[pl.DataFrame, dict[str, str]] | None:
        """Return new rows and the offsets after them, at the latest after so long.

        None = nothing came. The frame is empty where nothing of what came could be read.

        Raises
        ------
        SourceError
            The brokers cannot be reached, or refuse. Polling again is all there is to do.
        """
        self._connect()
        self._collect(seconds)
        if not self._waiting:
            self._complain()
            return None
        made = decoded(self._waiting, self._columns, self._zone)
        self._account(made)
        after = {message.partition: message.offset + 1 for message in self._waiting}
        return made.frame, {self._key(partition): str(at) for partition, at in after.items()}

    def stored(self, offsets: Mapping[str, str]) -> None:
        """Take note that the rows up to these offsets are durable, and tell the broker.

        The broker needs it for its figures of lag only: what counts are the offsets of the store.
        """
        from confluent_kafka import KafkaException, TopicPartition

        after = {partition: offsets.get(self._key(partition)) for partition in self._next}
        done = {partition: int(at) for partition, at in after.items() if at is not None}
        self._waiting = [
            message for message in self._waiting if message.offset >= done.get(message.partition, 0)
        ]
        self._told = {told for told in self._told if told[1] >= done.get(told[0], 0)}
        parts = [TopicPartition(self._topic, partition, at) for partition, at in done.items()]
        if not parts or self._consumer is None:
            return
        try:
            self._consumer.commit(offsets=parts, asynchronous=True)
        except KafkaException as error:
            _log.warning("feed %s: the broker took no offsets: %s", self._name, error)

    def close(self) -> None:
        """Leave the group; partitions go to its other members."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()
        self._next, self._waiting, self._told = {}, [], set()

    def _key(self, partition: int) -> str:
        return f"{self._settings['group.id']}/{self._topic}/{partition}"

    def _connect(self) -> None:
        if self._consumer is not None:
            return
        try:
            from confluent_kafka import Consumer, KafkaException
        except ImportError as error:
            raise MissingExtraError("Reading from a topic", "kafka") from error
        try:
            self._consumer = Consumer({**self._settings, "error_cb": self._failed}, logger=_log)
        except KafkaException as error:
            raise self._unreadable(error) from error
        self._consumer.subscribe(
            [self._topic],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._revoked,
        )

    def _collect(self, seconds: float) -> None:
        """Gather messages until there are enough, or the time is over."""
        until, heard = monotonic() + seconds, False
        while not (heard and self._is_full()):
            room = 1 if self._is_full() else min(_AT_ONCE, self._most - len(self._waiting))
            left = 0.0 if self._is_full() else max(until - monotonic(), 0.0)
            # Members of the group are heard here: partitions come and go only within this call.
            for came in self._consumer.consume(room, min(left, _A_WHILE)):
                self._take(came)
            if self._trouble is not None:
                self._raise_trouble()
            if not left:
                return
            heard = True

    def _is_full(self) -> bool:
        size = sum(len(message.body) for message in self._waiting)
        return size >= BYTES or len(self._waiting) >= self._most

    def _take(self, came: Any) -> None:
        """Keep a message that is next in its partition."""
        from confluent_kafka import KafkaError

        error = came.error()
        if error is not None:
            if error.code() == KafkaError._AUTO_OFFSET_RESET:
                self._start_anew(came.partition())
            elif error.code() not in (KafkaError._PARTITION_EOF, KafkaError._MAX_POLL_EXCEEDED):
                self._down = str(error.str())
            return
        partition, offset = came.partition(), came.offset()
        if offset < self._next.get(partition, offset + 1):
            return  # of a partition that left meanwhile, or seen already
        self._down = ""
        self._next[partition] = offset + 1
        body = came.value() or b""
        self._waiting.append(Message(self._topic, partition, offset, body, _content_type(came)))

    def _assigned(self, consumer: Any, parts: Sequence[Any]) -> None:
        # What is raised in here does not arrive at whoever polls: it is raised after the call.
        try:
            starts = self._starts(consumer, [part.partition for part in parts])
            for part in parts:
                part.offset = starts[part.partition]
            _give(consumer, self._settings, parts)
            self._next |= starts
        except Exception as error:
            self._trouble = error

    def _starts(self, consumer: Any, partitions: Sequence[int]) -> dict[int, int]:
        """Return where to begin: where the store says, else where the group stands."""
        from confluent_kafka import TopicPartition

        kept = self._offsets()
        known = {at: int(kept[self._key(at)]) for at in partitions if self._key(at) in kept}
        asked = [TopicPartition(self._topic, at) for at in partitions if at not in known]
        for part in consumer.committed(asked, timeout=_SECONDS) if asked else ():
            if part.offset >= 0:
                known[part.partition] = part.offset
        return {at: self._within(consumer, at, known.get(at)) for at in partitions}

    def _within(self, consumer: Any, partition: int, start: int | None) -> int:
        """Return an offset that is there; what went before it was read is accounted for."""
        from confluent_kafka import TopicPartition

        part = TopicPartition(self._topic, partition)
        low, high = consumer.get_watermark_offsets(part, timeout=_SECONDS, cached=False)
        if start is None or low <= start <= high:
            return int(low if start is None else start)
        if start < low:
            why, count = "messages that the broker deleted before they were read", low - start
        else:
            why = "messages that the topic has no longer: it is read again from its beginning"
            count = start - high
        place = f"{self._topic}/{partition}@{start}"
        self._tell(LeftOut(why, "rows", int(count), (place,), f"it goes on at {low}"))
        return int(low)

    def _start_anew(self, partition: int) -> None:
        """Go on where the topic begins now: what was next has been deleted meanwhile."""
        from confluent_kafka import TopicPartition

        if partition in self._next:
            start = self._within(self._consumer, partition, self._next[partition])
            self._next[partition] = start
            self._consumer.seek(TopicPartition(self._topic, partition, start))

    def _revoked(self, consumer: Any, parts: Sequence[Any]) -> None:
        """Forget what was not stored of these partitions: their next owner reads it again."""
        gone = {part.partition for part in parts}
        self._next = {at: offset for at, offset in self._next.items() if at not in gone}
        self._waiting = [message for message in self._waiting if message.partition not in gone]
        self._told = {told for told in self._told if told[0] not in gone}

    def _account(self, made: Decoded) -> None:
        new = [
            complaint
            for complaint in made.complaints
            if (complaint.message.partition, complaint.message.offset) not in self._told
        ]
        if self._dead_letters and new:
            self._send(new)
        for complaint in new:
            self._tell(complaint.left_out)
            self._told.add((complaint.message.partition, complaint.message.offset))

    def _tell(self, left_out: LeftOut) -> None:
        _log.warning("feed %s: %s", self._name, left_out)
        self._bad = merge_left_out(self._bad, [left_out])

    def _send(self, complaints: Sequence[Complaint]) -> None:
        """Copy messages to the topic of dead letters; they are there before their rows count."""
        from confluent_kafka import Producer

        if self._producer is None:
            shared = {
                key: value
                for key, value in self._settings.items()
                if key.startswith(("bootstrap", "security", "sasl", "ssl", "client."))
            }
            self._producer = Producer(shared, logger=_log)
        failed: list[str] = []
        for key, complaint in {one.message.place: one for one in complaints}.items():
            headers = [("source", key.encode()), ("reason", str(complaint.left_out).encode())]
            self._producer.produce(
                self._dead_letters,
                complaint.message.body,
                headers=headers,
                on_delivery=lambda error, _: failed.append(str(error)) if error else None,
            )
        if self._producer.flush(_SECONDS) or failed:
            why = failed[0] if failed else "it took too long"
            raise SourceError(
                f"`{self._name}` cannot write to `{self._dead_letters}`, the topic of its dead "
                f"letters. Got: {why}. Hint: rows wait until it can.",
            )

    def _failed(self, error: Any) -> None:
        from confluent_kafka import KafkaError

        # One broker may come and go; all of them, or one before there is any partition, may not.
        if error.code() == KafkaError._ALL_BROKERS_DOWN or not self._next:
            self._down = str(error.str())

    def _complain(self) -> None:
        said, self._down = self._down, ""
        if said:
            raise self._unreadable(said)

    def _raise_trouble(self) -> None:
        """Leave the group and say why: the next poll joins it anew."""
        error, self._trouble = self._trouble, None
        self.close()
        if isinstance(error, MlmaError):
            raise error
        raise self._unreadable(error) from error

    def _unreadable(self, error: object) -> SourceError:
        return SourceError(
            f"The topic `{self._topic}` of `{self._name}` cannot be read at "
            f"{self._settings['bootstrap.servers']}. Got: {error}. "
            f"Hint: are the brokers up, and may the group `{self._settings['group.id']}` read it?",
        )


def _settings(brokers: str, group: str, given: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {"partition.assignment.strategy": "cooperative-sticky"}
    made |= {"log_level": 2, **given}  # what goes wrong is raised by `poll`
    if made.get("group.protocol") == "consumer":
        made.pop("partition.assignment.strategy")
    # The store keeps the offsets: the broker must not move them, nor skip rows by itself.
    fixed = {"enable.auto.commit": False, "auto.offset.reset": "error"}
    return {**made, **fixed, "bootstrap.servers": brokers, "group.id": group}


def _give(consumer: Any, settings: Mapping[str, Any], parts: Sequence[Any]) -> None:
    strategy = settings.get("partition.assignment.strategy", "cooperative")
    give = consumer.incremental_assign if "cooperative" in strategy else consumer.assign
    give(list(parts))


def _content_type(came: Any) -> str:
    for key, value in came.headers() or ():
        if key.lower() == "content-type":
            return (value or b"").decode("latin-1") if isinstance(value, bytes) else str(value)
    return ""
