"""The lease: of all instances on one store just one decides."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, Row, select, update

from mlma.adapters.store.codec import micros, moment, named
from mlma.adapters.store.part import Part
from mlma.adapters.store.schema import LEASE
from mlma.domain.errors import ConflictError
from mlma.domain.ledger import Lease

_NOBODY = ""


class LeasesPart(Part):
    """One row, which a writer locks."""

    def acquire(self, holder: str, ttl: timedelta, now: datetime) -> Lease | None:
        """Return the lease, taken or renewed; None = another holder has it and lives."""
        named(holder, "The holder of a lease")
        with self._database.write() as connection:
            row = _locked_row(connection)
            mine = row.holder == holder
            if not mine and row.holder != _NOBODY and row.expires_at > micros(now):
                return None
            lease = Lease(holder, row.token if mine else row.token + 1, now + ttl)
            ends = micros(lease.expires_at)
            change = update(LEASE).values(holder=holder, token=lease.token, expires_at=ends)
            connection.execute(change)
            return Lease(holder, lease.token, moment(ends))

    def lease(self) -> Lease | None:
        """Return the lease as it stands, whoever holds it; None = nobody does."""
        with self._database.read() as connection:
            row = connection.execute(select(LEASE)).one()
        if row.holder == _NOBODY:
            return None
        return Lease(row.holder, row.token, moment(row.expires_at))

    def surrender(self, lease: Lease) -> None:
        """Give the lease back; without effect where another one holds it."""
        mine = (LEASE.c.holder == lease.holder) & (LEASE.c.token == lease.token)
        with self._database.write() as connection:
            connection.execute(update(LEASE).where(mine).values(holder=_NOBODY, expires_at=0))


def check_lease(connection: Connection, lease: Lease) -> None:
    """Hold the lease until the transaction ends, so that nobody takes it meanwhile.

    It need not be unexpired: as long as nobody else took it, nobody else decided.

    Raises
    ------
    ConflictError
        Another holder has it.
    """
    row = _locked_row(connection)
    if (row.holder, row.token) != (lease.holder, lease.token):
        now = f"{row.holder} ({row.token})" if row.holder else "nobody"
        raise ConflictError(
            f"The lease {lease.token} of {lease.holder} is lost: {now} holds it. "
            "Nothing was written."
        )


def _locked_row(connection: Connection) -> Row[tuple[object, ...]]:
    return connection.execute(select(LEASE).with_for_update()).one()
