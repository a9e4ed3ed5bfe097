"""A Kafka cluster for tests: the one that librdkafka has inside, reached over 127.0.0.1.

It lives in the producer that made it. Members of a group find each other again quickly with
``group.protocol=consumer`` only: `SETTINGS`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

SETTINGS = {"group.protocol": "consumer"}
PARTITIONS = 4
"""Partitions of a topic, which comes into being with its first message."""


class Cluster:
    """One broker, and a producer to fill its topics."""

    def __init__(self) -> None:
        from confluent_kafka import Producer

        self._producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        known = self._producer.list_topics(timeout=5).brokers.values()
        self.brokers = ",".join(f"{broker.host}:{broker.port}" for broker in known)

    def say(
        self,
        topic: str,
        *messages: Any,
        partition: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Write messages; what is no bytes is written as JSON."""
        for message in messages:
            body = message if isinstance(message, bytes) else json.dumps(message).encode()
            told = [(key, value.encode()) for key, value in (headers or {}).items()]
            self._producer.produce(topic, body, partition=partition, headers=told)
        assert self._producer.flush(5) == 0

    def heard(self, topic: str, count: int) -> list[Any]:
        """Return messages of a topic, from its beginning."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": "listener"})
        try:
            consumer.assign([TopicPartition(topic, at, 0) for at in range(PARTITIONS)])
            return consumer.consume(count, timeout=3)
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return where a group stands, by its own word."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": group})
        try:
            asked = [TopicPartition(topic, at) for at in range(PARTITIONS)]
            found = consumer.committed(asked, timeout=5)
            return {part.partition: part.offset for part in found if part.offset >= 0}
        finally:
            consumer.close()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Lend a cluster without topics."""
    yield Cluster()
