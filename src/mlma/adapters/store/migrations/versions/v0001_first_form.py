"""Schema 0001: the first form of the store."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make all tables."""
    _names_and_values()
    _inbox()
    _ledger()
    _state()
    _requests()
    _outbox()
    op.bulk_insert(
        sa.table("mlma_counters", sa.column("name"), sa.column("value")),
        [
            {"name": name, "value": 0}
            for name in ("streams", "parcels", "ledger", "actions", "decided")
        ]
        + [{"name": name, "value": 0} for name in ("requests", "deliveries")],
    )
    op.bulk_insert(
        sa.table(
            "mlma_lease", *(sa.column(name) for name in ("id", "holder", "token", "expires_at"))
        ),
        [{"id": 1, "holder": "", "token": 0, "expires_at": 0}],
    )


def _key(name: str) -> "sa.Column[int]":
    return sa.Column(name, _KEY, primary_key=True, autoincrement=False)


def _part(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, primary_key=True, nullable=False, autoincrement=False)


def _int(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=False)


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, nullable=False)


def _name(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, primary_key=True, nullable=False)


def _data() -> "sa.Column[bytes]":
    return sa.Column("data", sa.LargeBinary, nullable=False)


def _names_and_values() -> None:
    for table in ("mlma_meta", "mlma_settings", "mlma_offsets"):
        op.create_table(table, _name("name"), _text("value"))
    op.create_table("mlma_counters", _name("name"), _int("value"))


def _inbox() -> None:
    op.create_table(
        "mlma_streams",
        _key("row"),
        sa.Column("unique_id", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "mlma_actions",
        _key("number"),
        *(_text("kind"), _text("payload"), _int("at"), _text("by"), _text("why")),
        sa.Column("cycle", sa.BigInteger),
    )
    op.create_index("mlma_actions_cycle", "mlma_actions", ["cycle", "number"])
    op.create_table(
        "mlma_parcels", _key("number"), _text("kind"), _int("period"), _int("n"), _data()
    )
    op.create_index("mlma_parcels_period", "mlma_parcels", ["period", "kind", "number"])
    _as_they_are("mlma_parcels")


def _ledger() -> None:
    op.create_table(
        "mlma_judged",
        _key("cycle"),
        sa.Column("period", sa.BigInteger, nullable=False, unique=True),
        _int("revision"),
    )
    op.create_table(
        "mlma_cycles",
        sa.Column("cycle", sa.BigInteger, sa.ForeignKey("mlma_judged.cycle"), primary_key=True),
        _part("revision"),
        *(_int("period"), _int("judged_at"), _int("through"), _text("closed"), _int("streams")),
        *(_text("policy"), _int("seed"), _text("summary"), _int("evidence_bytes")),
    )
    op.create_table("mlma_evidence", _part("chunk"), _part("cycle"), _part("revision"), _data())
    _as_they_are("mlma_evidence")
    op.create_table("mlma_losses", _part("cycle"), _part("revision"), _part("part"), _data())
    _as_they_are("mlma_losses")
    op.create_table(
        "mlma_decided",
        _key("number"),
        *(_int("cycle"), _int("revision"), _int("stream")),
        *(_text("verdict"), _text("decision"), _text("reason")),
        *(sa.Column(name, sa.Double) for name in ("loss", "effect", "p_value")),
        _text("before"),
    )
    op.create_index("mlma_decided_stream", "mlma_decided", ["stream", "number"])
    op.create_index("mlma_decided_cycle", "mlma_decided", ["cycle", "number"])


def _state() -> None:
    op.create_table("mlma_snapshots", _key("cycle"), _text("head"), _text("columns"))
    op.create_table("mlma_snapshot_parts", _part("cycle"), _name("name"), _part("part"), _data())
    _as_they_are("mlma_snapshot_parts")


def _requests() -> None:
    op.create_table(
        "mlma_requests",
        _key("number"),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        *(_text("unique_id"), _text("reason"), _int("version"), _int("cycle"), _int("asked_at")),
        *(_text("evidence"), _text("status"), _int("attempts")),
    )
    op.create_index("mlma_requests_status", "mlma_requests", ["status", "number"])


def _outbox() -> None:
    op.create_table("mlma_events", _name("id"), _text("kind"), _int("at"), _text("document"))
    op.create_table(
        "mlma_deliveries",
        _key("number"),
        sa.Column("event", sa.Text, sa.ForeignKey("mlma_events.id"), nullable=False),
        *(_text("target"), _text("status"), _int("attempts")),
        sa.Column("next_at", sa.BigInteger),
        _text("error"),
    )
    op.create_index("mlma_deliveries_event", "mlma_deliveries", ["event", "target"], unique=True)
    op.create_index("mlma_deliveries_status", "mlma_deliveries", ["status", "number"])
    op.create_table("mlma_lease", _key("id"), _text("holder"), _int("token"), _int("expires_at"))


def _as_they_are(table: str) -> None:
    """Keep a server from compressing bytes: one record is then read without the others."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE EXTERNAL")
