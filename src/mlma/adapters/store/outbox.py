"""The outbox: events on their way out, one delivery per event and target."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, select, update

from mlma.adapters.store.bulk import insert_all, slices
from mlma.adapters.store.codec import micros, moment, named, plain, read, written
from mlma.adapters.store.numbers import locked, taken
from mlma.adapters.store.part import Part
from mlma.adapters.store.schema import DELIVERIES, EVENTS
from mlma.domain.errors import StoreError
from mlma.domain.ledger import Delivery, Event


class OutboxPart(Part):
    """Deliveries by number, the order in which they were posted."""

    def post(self, events: Sequence[Event], targets: Sequence[str]) -> None:
        """Write events outside of a cycle; one that is there stays."""
        with self._database.write() as connection:
            locked(connection)
            post_events(connection, events, targets)

    def due(self, now: datetime, limit: int) -> list[Delivery]:
        """Return waiting deliveries whose time has come, oldest first."""
        come = DELIVERIES.c.next_at.is_(None) | (DELIVERIES.c.next_at <= micros(now))
        asked = _deliveries().where(DELIVERIES.c.status == "waiting", come)
        return self._found(asked.order_by(DELIVERIES.c.number).limit(limit))

    def told(self, delivery: Delivery) -> None:
        """Write what became of a delivery: its status, attempts, next time and error."""
        change = (
            update(DELIVERIES)
            .where(DELIVERIES.c.event == delivery.event.id, DELIVERIES.c.target == delivery.target)
            .values(
                status=plain(delivery.status),
                attempts=delivery.attempts,
                next_at=None if delivery.next_at is None else micros(delivery.next_at),
                error=plain(delivery.error),
            )
        )
        with self._database.write() as connection:
            if not connection.execute(change).rowcount:
                raise StoreError(
                    f"There is no delivery of {delivery.event.id} to {delivery.target}."
                )

    def deliveries(
        self, *, status: Iterable[str] | None = None, limit: int | None = None
    ) -> list[Delivery]:
        """Return deliveries, newest first."""
        asked = _deliveries().order_by(DELIVERIES.c.number.desc()).limit(limit)
        if status is not None:
            asked = asked.where(DELIVERIES.c.status.in_(list(status)))
        return self._found(asked)

    def _found(self, asked: Select[Any]) -> list[Delivery]:
        with self._database.read() as connection:
            return [_delivery(row) for row in connection.execute(asked)]


def post_events(connection: Connection, events: Sequence[Event], targets: Sequence[str]) -> None:
    """Write events and their deliveries; what is there stays as it is."""
    ids = [named(event.id, "The id of an event") for event in events]
    there: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    for some in slices(ids):
        known = select(EVENTS.c.id).where(EVENTS.c.id.in_(some))
        there.update(connection.execute(known).scalars())
        sent = select(DELIVERIES.c.event, DELIVERIES.c.target).where(DELIVERIES.c.event.in_(some))
        pairs.update((row.event, row.target) for row in connection.execute(sent))
    new = list({event.id: event for event in events if event.id not in there}.values())
    insert_all(connection, EVENTS, _events(new))
    names = [named(target, "The name of a target") for target in targets]
    wanted = dict.fromkeys((one, target) for one in ids for target in names)
    missing = [pair for pair in wanted if pair not in pairs]
    before = taken(connection, "deliveries", len(missing))
    insert_all(connection, DELIVERIES, _waiting(missing, before))


def drop_events(connection: Connection, before: datetime) -> None:
    """Drop events of before a time, with their deliveries, where none of them waits."""
    waiting = select(DELIVERIES.c.event).where(DELIVERIES.c.status == "waiting")
    old = select(EVENTS.c.id).where(EVENTS.c.at < micros(before), EVENTS.c.id.not_in(waiting))
    ids = list(connection.execute(old).scalars())
    for some in slices(ids):
        connection.execute(delete(DELIVERIES).where(DELIVERIES.c.event.in_(some)))
        connection.execute(delete(EVENTS).where(EVENTS.c.id.in_(some)))


def _events(events: Sequence[Event]) -> dict[str, list[object]]:
    return {
        "id": [event.id for event in events],
        "kind": [plain(event.kind) for event in events],
        "at": [micros(event.at) for event in events],
        "document": [written(event.document) for event in events],
    }


def _waiting(pairs: Sequence[tuple[str, str]], before: int) -> dict[str, list[object]]:
    return {
        "number": list(range(before + 1, before + 1 + len(pairs))),
        "event": [event for event, _ in pairs],
        "target": [target for _, target in pairs],
        "status": ["waiting"] * len(pairs),
        "attempts": [0] * len(pairs),
        "error": [""] * len(pairs),
    }


def _deliveries() -> Select[Any]:
    return select(DELIVERIES, EVENTS.c.kind, EVENTS.c.at, EVENTS.c.document).join(
        EVENTS, EVENTS.c.id == DELIVERIES.c.event
    )


def _delivery(row: Row[tuple[Any, ...]]) -> Delivery:
    return Delivery(
        event=Event(row.event, row.kind, moment(row.at), read(row.document)),
        target=row.target,
        status=row.status,
        attempts=row.attempts,
        next_at=None if row.next_at is None else moment(row.next_at),
        error=row.error,
    )
