"""Checks of sources: can the rows of one period be read?

Takes settings, gives findings. Nothing is consumed and nothing is written.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from mlma.domain.errors import MissingExtraError, MlmaError
from mlma.domain.periods import Periods, instant_of
from mlma.service.checks import Finding
from mlma.service.entries import FolderSource, QuerySource, TopicSource
from mlma.service.settings import Settings

_KAFKA_SECONDS = 5.0


def sources(settings: Settings) -> Iterator[Finding]:
    """Sources: can the last batch that is over be read?"""
    if not settings.sources:
        return
    read_there = any(
        one.rows == "forecasts" and not isinstance(one, TopicSource) for one in settings.sources
    )
    if read_there and not settings.agent.start:
        told = "nothing is judged before the first row is pushed"
        yield Finding("sources", "warn", told, "`start` of [agent] is the first day to judge")
    periods = settings.live().periods
    period = periods.at(instant_of(datetime.now(UTC) - settings.batches.delay)) - 1
    for number, table in enumerate(settings.sources, start=1):
        name = f"source {number}"
        try:
            if isinstance(table, TopicSource):
                yield _topic(name, table)
            else:
                yield _pulled(name, table, periods, period)
        except MlmaError as error:
            yield Finding(name, "fail", str(error))


def _pulled(name: str, table: FolderSource | QuerySource, periods: Periods, period: int) -> Finding:
    from mlma.adapters.sources.registry import source_from

    source: Any = source_from(table.mapping(), zone=periods.zone)
    count = sum(len(frame) for frame in source.frames(periods.start(period), periods.end(period)))
    day = str(periods.wall_start(period).astype("datetime64[m]")).replace("T", " ")
    told = f"{count} rows of {table.rows} in the batch of {day}"
    hint = "" if count else "as it should be where none are expected yet"
    return Finding(name, "ok" if count else "warn", told, hint)


def _topic(name: str, table: TopicSource) -> Finding:
    try:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient
    except ImportError as error:
        raise MissingExtraError("Reading from a topic", "kafka") from error
    beside = table.mapping().get("settings", {})
    try:
        client = AdminClient({**beside, "bootstrap.servers": table.brokers}, logger=_silent())
        told = client.list_topics(table.topic, timeout=_KAFKA_SECONDS).topics[table.topic]
    except KafkaException as error:
        reason = error.args[0].str() if hasattr(error.args[0], "str") else error
        return Finding(name, "fail", f"{table.brokers} do not answer: {reason}")
    if told.error is not None:
        return Finding(name, "fail", f"topic {table.topic}: {told.error.str()}")
    return Finding(name, "ok", f"topic {table.topic} has {len(told.partitions)} partitions")


def _silent() -> Any:
    import logging

    log = logging.getLogger("mlma.doctor.kafka")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    return log
