"""The tables of a store, as the newest schema has them.

Migrations write their own copy (`migrations/versions`); a test compares both. Times are
microseconds since 1970 in UTC, documents are JSON text, arrays are bytes (`codec`, `chunks`).
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

METADATA = MetaData()
PREFIX = "mlma_"
VERSION_TABLE = "mlma_version"


def _key(name: str) -> Column[int]:
    # A plain INTEGER key is the row itself in SQLite; numbers come from `counters`.
    return Column(
        name, BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )


def _int(name: str, *, primary_key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=primary_key, nullable=False, autoincrement=False)


def _text(name: str, *, primary_key: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=primary_key, nullable=False)


def _bytes(name: str = "data") -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


META = Table("mlma_meta", METADATA, _text("name", primary_key=True), _text("value"))
COUNTERS = Table("mlma_counters", METADATA, _text("name", primary_key=True), _int("value"))
SETTINGS = Table("mlma_settings", METADATA, _text("name", primary_key=True), _text("value"))
OFFSETS = Table("mlma_offsets", METADATA, _text("name", primary_key=True), _text("value"))

STREAMS = Table(
    "mlma_streams", METADATA, _key("row"), Column("unique_id", Text, nullable=False, unique=True)
)
ACTIONS = Table(
    "mlma_actions",
    METADATA,
    _key("number"),
    *(_text("kind"), _text("payload"), _int("at"), _text("by"), _text("why")),
    Column("cycle", BigInteger),
    Index("mlma_actions_cycle", "cycle", "number"),
)
PARCELS = Table(
    "mlma_parcels",
    METADATA,
    _key("number"),
    *(_text("kind"), _int("period"), _int("n"), _bytes()),
    Index("mlma_parcels_period", "period", "kind", "number"),
)

JUDGED = Table(
    "mlma_judged",
    METADATA,
    _key("cycle"),
    Column("period", BigInteger, nullable=False, unique=True),
    _int("revision"),
)
"""Which period belongs to which cycle, and the newest revision of each."""

CYCLES = Table(
    "mlma_cycles",
    METADATA,
    Column("cycle", BigInteger, ForeignKey("mlma_judged.cycle"), primary_key=True),
    _int("revision", primary_key=True),
    *(_int("period"), _int("judged_at"), _int("through"), _text("closed"), _int("streams")),
    *(_text("policy"), _int("seed"), _text("summary"), _int("evidence_bytes")),
)
EVIDENCE = Table(
    "mlma_evidence",
    METADATA,
    _int("chunk", primary_key=True),
    _int("cycle", primary_key=True),
    _int("revision", primary_key=True),
    _bytes(),
    Index("mlma_evidence_cycle", "cycle", "revision", "chunk"),
)
LOSSES = Table(
    "mlma_losses",
    METADATA,
    _int("cycle", primary_key=True),
    _int("revision", primary_key=True),
    _int("part", primary_key=True),
    _bytes(),
)
DECIDED = Table(
    "mlma_decided",
    METADATA,
    _key("number"),
    *(_int("cycle"), _int("revision"), _int("stream")),
    *(_text("verdict"), _text("decision"), _text("reason")),
    *(Column("loss", Double), Column("effect", Double), Column("p_value", Double)),
    _text("before"),
    Index("mlma_decided_stream", "stream", "number"),
    Index("mlma_decided_cycle", "cycle", "number"),
)
SNAPSHOTS = Table("mlma_snapshots", METADATA, _key("cycle"), _text("head"), _text("columns"))
SNAPSHOT_PARTS = Table(
    "mlma_snapshot_parts",
    METADATA,
    _int("cycle", primary_key=True),
    _text("name", primary_key=True),
    _int("part", primary_key=True),
    _bytes(),
)

REQUESTS = Table(
    "mlma_requests",
    METADATA,
    _key("number"),
    Column("id", Text, nullable=False, unique=True),
    *(_text("unique_id"), _text("reason"), _int("version"), _int("cycle"), _int("asked_at")),
    *(_text("evidence"), _text("status"), _int("attempts")),
    Column("error", Text, nullable=False, server_default=""),
    Column("terms", Text, nullable=False, server_default="{}"),
    Index("mlma_requests_status", "status", "number"),
)
INCIDENTS = Table(
    "mlma_incidents",
    METADATA,
    _text("id", primary_key=True),
    *(_text("kind"), _text("state"), _int("opened_cycle"), _int("updated_cycle")),
    Column("closed_cycle", BigInteger),
    _int("touched"),
    Column("stake", Double, nullable=False),
    *(_int("changed"), _text("document")),
    Index("mlma_incidents_opened", "opened_cycle"),
    Index("mlma_incidents_state", "state", "opened_cycle"),
    Index("mlma_incidents_touched", "touched"),
)
"""``touched`` is the last of its cycles (opened, updated, closed), and 2**62 while unfinished."""

LAB = Table(
    "mlma_lab",
    METADATA,
    *(_text("id", primary_key=True), _int("at"), _text("by"), _text("status"), _text("document")),
    Index("mlma_lab_at", "at"),
)
EVENTS = Table(
    "mlma_events",
    METADATA,
    *(_text("id", primary_key=True), _text("kind"), _int("at"), _text("document")),
)
DELIVERIES = Table(
    "mlma_deliveries",
    METADATA,
    _key("number"),
    Column("event", Text, ForeignKey("mlma_events.id"), nullable=False),
    *(_text("target"), _text("status"), _int("attempts")),
    Column("next_at", BigInteger),
    _text("error"),
    Index("mlma_deliveries_event", "event", "target", unique=True),
    Index("mlma_deliveries_status", "status", "number"),
)
LEASE = Table(
    "mlma_lease", METADATA, _key("id"), _text("holder"), _int("token"), _int("expires_at")
)
