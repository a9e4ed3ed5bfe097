"""Schema 0003: incidents, runs of the policy lab, and the terms of a request."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add both tables, and the terms under which a re-training is asked for."""
    op.create_table(
        "mlma_incidents",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        *(_text("kind"), _text("state"), _int("opened_cycle"), _int("updated_cycle")),
        sa.Column("closed_cycle", sa.BigInteger),
        _int("touched"),
        sa.Column("stake", sa.Double, nullable=False),
        *(_int("changed"), _text("document")),
    )
    op.create_index("mlma_incidents_opened", "mlma_incidents", ["opened_cycle"])
    op.create_index("mlma_incidents_state", "mlma_incidents", ["state", "opened_cycle"])
    op.create_index("mlma_incidents_touched", "mlma_incidents", ["touched"])
    op.create_table(
        "mlma_lab",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        *(_int("at"), _text("by"), _text("status"), _text("document")),
    )
    op.create_index("mlma_lab_at", "mlma_lab", ["at"])
    op.add_column("mlma_requests", sa.Column("terms", sa.Text, nullable=False, server_default="{}"))


def _int(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=False)


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, nullable=False)
