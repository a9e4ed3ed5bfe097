"""The tables of ``mlma.toml`` of which there may be several: keys, users, sources, webhooks,
alerts.

Takes checked values, gives them typed, secrets hidden. Next is `mlma.service.settings`.
"""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, SecretStr, model_validator

from mlma.domain.errors import DataError
from mlma.domain.inbox import Kind
from mlma.domain.incidents import INCIDENT_KINDS, IncidentKind
from mlma.domain.selectors import Selector
from mlma.service.keys import checked_hash
from mlma.service.quiet import QuietHours
from mlma.service.roles import Role, UserRole
from mlma.service.tables import Flag, Table
from mlma.service.units import Length, Url, Zone, expected
from mlma.service.users import checked_password_hash

EventKind = Literal["decisions", "findings", "requests", "revised", "incident", "digest"]
EVENTS: tuple[EventKind, ...] = get_args(EventKind)
_UNLESS_ASKED: tuple[EventKind, ...] = ("decisions", "findings", "requests", "revised")


def name_of(text: str) -> bool:
    """Return whether a text can be the name of a key or a webhook."""
    return re.fullmatch(r"[A-Za-z0-9._-]{1,80}", text) is not None


def _name(text: str) -> str:
    if not name_of(text):
        raise expected("1 to 80 letters, digits, dots, hyphens or underscores")
    return text


Name = Annotated[str, AfterValidator(_name)]
Column = Annotated[str, Field(min_length=1)]


def _hash(text: SecretStr) -> SecretStr:
    try:
        return checked_hash(text)
    except ValueError:
        raise expected("what `mlma key` printed") from None


class KeyTable(Table):
    """A key that opens the door of the server; `mlma key` makes one."""

    name: Name = Field(
        examples=["store-42"], description="Whose it is; stands in logs and with actions."
    )
    hash: Annotated[SecretStr, AfterValidator(_hash)] = Field(
        examples=["sha256$00112233445566778899aabbccddeeff$" + "0" * 64],
        description="What `mlma key` printed; the key itself is kept nowhere.",
    )
    role: Role = Field(
        examples=["ingest"],
        description="read; ingest: push rows; engineer: orders, too; admin: everything.",
    )


def _password_hash(text: SecretStr) -> SecretStr:
    try:
        return checked_password_hash(text)
    except ValueError:
        raise expected("what `mlma user` printed") from None


class UserTable(Table):
    """A person who signs in to the pages; `mlma user` makes the entry."""

    name: Name = Field(
        examples=["ann"], description="What the person types to sign in; stands with actions."
    )
    password_hash: Annotated[SecretStr, AfterValidator(_password_hash)] = Field(
        examples=["scrypt$32768$8$3$" + "0123456789abcdef" * 2 + "$" + "0" * 64],
        description="What `mlma user` printed; the password itself is kept nowhere.",
    )
    role: UserRole = Field(
        examples=["engineer"],
        description="read: looks; engineer: gives orders; admin: of the whole fleet, too.",
    )


class ColumnsTable(Table):
    """What the columns of a source are called there."""

    unique_id: Column = Field(default="unique_id", description="Name of the stream.")
    ds: Column = Field(default="ds", description="Start of the slot.")
    y: Column = Field(default="y", description="Actual.")
    y_hat: Column = Field(default="y_hat", description="Forecast.")
    cutoff: Column = Field(
        default="cutoff", description="When a forecast was made; may be missing."
    )


_NOTHING: tuple[Any, ...] = ("", {})


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value() or None
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


class _SourceTable(Table):
    name: str = Field(default="", description="Name for messages; empty = what it reads.")
    rows: Kind = Field(
        examples=["forecasts"], description="What its rows are: forecasts, actuals or benchmarks."
    )
    columns: ColumnsTable = Field(
        default=ColumnsTable(), description="Names of its columns, if others."
    )

    def mapping(self) -> dict[str, Any]:
        """Return what is set, for `mlma.adapters.sources.registry.source_from`; with secrets."""
        given = {key: _plain(value) for key, value in self if value not in _NOTHING}
        given.pop("url_env", None)
        return given | {"columns": {role: name for role, name in self.columns if role != name}}


class FolderSource(_SourceTable):
    """Parquet or CSV files in a folder."""

    kind: Literal["folder"] = Field(
        examples=["folder"], description="Where rows are read: folder, sql or kafka."
    )
    path: Path = Field(examples=["/data/forecasts"], description="Folder of Parquet or CSV files.")


_QUERY = "SELECT unique_id, ds, y FROM sales WHERE ds >= :start AND ds < :end"


class QuerySource(_SourceTable):
    """A query of a database."""

    kind: Literal["sql"] = Field(
        examples=["sql"], description="Where rows are read: folder, sql or kafka."
    )
    url: Url = Field(
        examples=["postgresql://reader@db.example/sales"],
        default=Url(""),
        description="Address of the database.",
    )
    url_env: str = Field(
        default="", description="Variable of the environment that holds the address."
    )
    query: Annotated[str, Field(min_length=1)] = Field(
        examples=[_QUERY], description="SELECT with :start and :end, the slots that are asked for."
    )

    stamp_query: str = Field(
        default="", description="SELECT of one row that changes whenever rows may have changed."
    )
    look_again: Length = Field(
        default=timedelta(minutes=15),
        description="Without a stamp_query rows count as changed once in so long.",
    )
    timeout: Length = Field(
        default=timedelta(minutes=10), description="Time that a statement may take."
    )

    @model_validator(mode="after")
    def _has_an_address(self) -> "QuerySource":
        if bool(self.url.get_secret_value()) == bool(self.url_env):
            raise expected("either a `url` or a `url_env`")
        return self


class TopicSource(_SourceTable):
    """A topic of a broker that speaks Kafka's protocol."""

    kind: Literal["kafka"] = Field(
        examples=["kafka"], description="Where rows are read: folder, sql or kafka."
    )
    brokers: Annotated[str, Field(min_length=1)] = Field(
        examples=["broker.example:9092"], description="host:port, comma-separated."
    )
    topic: Annotated[str, Field(min_length=1)] = Field(
        examples=["forecasts"], description="Topic to consume."
    )
    group: Annotated[str, Field(min_length=1)] = Field(
        default="mlma", description="Consumer group."
    )
    dead_letters: str = Field(
        default="", description="Topic that gets a copy of what cannot be read; empty = none."
    )
    settings: dict[str, SecretStr] = Field(
        default={},
        examples=[{"security.protocol": "SASL_SSL"}],
        description="Further settings of librdkafka, as text.",
    )


SourceTable = Annotated[FolderSource | QuerySource | TopicSource, Discriminator("kind")]
SOURCE_TABLES: dict[str, type[_SourceTable]] = {
    "folder": FolderSource,
    "sql": QuerySource,
    "kafka": TopicSource,
}


class WebhookTable(Table):
    """An address that is told what the agent decided."""

    name: Name = Field(
        examples=["trainer"], description="Name of the target, for logs and deliveries."
    )
    url: Url = Field(
        examples=["https://models.example/train"],
        description="http or https address that messages are posted to.",
    )
    secret: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        default=None,
        examples=["at least 16 letters"],
        description="Signs the messages; better: secret_env.",
    )
    secret_env: str = Field(
        default="",
        examples=["TRAINER_SECRET"],
        description="Variable of the environment that holds the secret.",
    )
    events: tuple[EventKind, ...] = Field(
        default=_UNLESS_ASKED,
        min_length=1,
        description="What it is told; incident and digest are further ones.",
    )
    allow_private: Flag = Field(
        default=False, description="Whether its host may be inside your own network."
    )

    @model_validator(mode="after")
    def _is_usable(self) -> "WebhookTable":
        if self.secret is not None and self.secret_env:
            raise expected("a `secret` or a `secret_env`, not both")
        if not self.url.get_secret_value().lower().startswith(("http://", "https://")):
            raise expected("a `url` that starts with http:// or https://")
        return self


def _tag(text: str) -> str:
    try:
        Selector(tags=(text,))
    except DataError:
        raise expected("a tag written as name=value", "city=Ghent") from None
    return text


def _quiet(text: str) -> str:
    try:
        QuietHours.of(text)
    except ValueError:
        raise expected('a span of two different times, such as "22:00-07:00", or empty') from None
    return text


class AlertTable(Table):
    """People who are told of incidents, by mail, chat or whatever Apprise can reach."""

    name: Name = Field(
        examples=["on-call"], description="Name of the alert; `alert:` and it stand in deliveries."
    )
    url: SecretStr = Field(
        default=SecretStr(""),
        examples=["mailtos://user:password@mail.example?to=desk@mail.example"],
        description="Address of Apprise, all of it secret; better: url_env.",
    )
    url_env: str = Field(
        default="",
        description="Variable of the environment that holds the address.",
    )
    when: Literal["incident", "digest", "both"] = Field(
        default="both",
        description="What is told: each incident that opens, escalates or ends; a digest per "
        "cycle; or both.",
    )
    tags: tuple[Annotated[str, AfterValidator(_tag)], ...] = Field(
        default=(),
        examples=[["city=Ghent"]],
        description="Only incidents with a stream that has all these tags, name=value.",
    )
    kinds: tuple[IncidentKind, ...] = Field(
        default=INCIDENT_KINDS, min_length=1, description="Only incidents of these kinds."
    )
    least_stake: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="Only incidents with at least so much loss at stake."
    )
    quiet: Annotated[str, AfterValidator(_quiet)] = Field(
        default="",
        examples=["22:00-07:00"],
        description="Messages wait until this span of the day is over; empty = never.",
    )
    timezone: Zone = Field(
        default="", description="Zone of `quiet` and of times in messages; empty = that of [agent]."
    )
    urgent: Flag = Field(
        default=False, description="Whether incidents of the whole fleet do not wait."
    )
    always: Flag = Field(
        default=False, description="Whether a digest comes where there is nothing to tell."
    )

    @property
    def target(self) -> str:
        """Its name in the outbox: no webhook can have it."""
        return f"alert:{self.name}"

    @model_validator(mode="after")
    def _has_an_address(self) -> "AlertTable":
        if bool(self.url.get_secret_value()) == bool(self.url_env):
            raise expected("either a `url` or a `url_env`")
        return self
