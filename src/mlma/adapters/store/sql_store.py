"""`SQLStore`: everything that one agent keeps, in SQLite or PostgreSQL.

Each noun has its own module; here they meet. `mlma.adapters.store.open_store` gives one.
"""

from mlma.adapters.store.actions import ActionsPart
from mlma.adapters.store.commits import CommitsPart
from mlma.adapters.store.engine import Database
from mlma.adapters.store.facts import FactsPart
from mlma.adapters.store.inbox import InboxPart
from mlma.adapters.store.incidents import IncidentsPart
from mlma.adapters.store.lab import LabPart
from mlma.adapters.store.leases import LeasesPart
from mlma.adapters.store.ledger import LedgerPart
from mlma.adapters.store.outbox import OutboxPart
from mlma.adapters.store.requests import RequestsPart
from mlma.adapters.store.snapshots import SnapshotsPart
from mlma.adapters.store.streams import StreamsPart


class SQLStore(
    StreamsPart,
    ActionsPart,
    InboxPart,
    LedgerPart,
    SnapshotsPart,
    CommitsPart,
    RequestsPart,
    IncidentsPart,
    LabPart,
    OutboxPart,
    LeasesPart,
    FactsPart,
):
    """A store that satisfies `mlma.ports.Store`; every call may come from any thread.

    Parameters
    ----------
    database
        of the newest schema.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def url(self) -> str:
        """Where it is, without a password."""
        return self._database.address.shown

    def close(self) -> None:
        """Give connections back."""
        self._database.close()
