"""Counters: numbers that grow in the order of commits, across instances.

A counter's row stays locked until its transaction ends. Whoever needs two takes them in the order
of `NAMES`, so that nobody waits for one who waits for him.
"""

from sqlalchemy import Connection, bindparam, select, update

from mlma.adapters.store.schema import COUNTERS

NAMES = ("streams", "parcels", "ledger", "actions", "decided", "requests", "deliveries")
"""``ledger`` counts nothing: it is the lock of all that a cycle may change."""

_TAKE = (
    update(COUNTERS)
    .where(COUNTERS.c.name == bindparam("counter"))
    .values(value=COUNTERS.c.value + bindparam("by"))
    .returning(COUNTERS.c.value)
)
_LAST = select(COUNTERS.c.value).where(COUNTERS.c.name == bindparam("counter"))


def taken(connection: Connection, name: str, how_many: int) -> int:
    """Lock a counter and take its next numbers; return the number before the first of them."""
    last: int = connection.execute(_TAKE, {"counter": name, "by": how_many}).scalar_one()
    return last - how_many


def locked(connection: Connection) -> None:
    """Wait until no other transaction changes the ledger, its requests or its outbox."""
    taken(connection, "ledger", 0)


def last(connection: Connection, name: str) -> int:
    """Return the last number that was taken."""
    return int(connection.execute(_LAST, {"counter": name}).scalar_one())
