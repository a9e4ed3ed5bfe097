"""Schema 0002: evidence is found by cycle, and a failed request tells why."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the index by cycle and the error of a request."""
    op.create_index("mlma_evidence_cycle", "mlma_evidence", ["cycle", "revision", "chunk"])
    op.add_column("mlma_requests", sa.Column("error", sa.Text, nullable=False, server_default=""))
