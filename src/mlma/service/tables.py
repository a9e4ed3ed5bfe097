"""The tables of ``mlma.toml``, each a frozen model whose fields are its keys.

Takes checked values, gives them typed: lengths of time as `timedelta`, sizes as bytes. The
description of a field is what the template and the documentation say about it. Tables of which
there may be several stand in `mlma.service.entries`. Next is `mlma.service.settings`.
"""

import re
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    Strict,
    model_validator,
)

from mlma.domain.errors import MlmaError
from mlma.domain.labour import LabourModel
from mlma.domain.orders import ORDERS
from mlma.domain.settings import policy_from
from mlma.service.units import (
    Count,
    CountOrNone,
    Day,
    Length,
    LengthOrNever,
    LengthOrZero,
    Share,
    Size,
    Url,
    Zone,
    expected,
)
from mlma.stats.losses import loss_from

Flag = Annotated[bool, Strict()]


class Table(BaseModel):
    """Base of the tables: a key that is not known is refused, and nothing changes later."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        validate_default=True,
    )


def _policy(text: str) -> str:
    try:
        policy_from(text)
    except MlmaError as error:
        raise expected('a policy such as "mlma" or "mlma(level=0.01)"', str(error)) from error
    return text


def _loss(text: str) -> str:
    try:
        loss_from(text)
    except MlmaError as error:
        raise expected('a loss such as "absolute" or "pinball(q=0.9)"', str(error)) from error
    return text


def _function(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        raise expected('written as "package.module:function"')
    return text


class AgentTable(Table):
    """What the agent judges, and by which policy."""

    policy: Annotated[str, AfterValidator(_policy)] = Field(
        default="mlma", description='Turns evidence into decisions, such as "mlma(level=0.01)".'
    )
    loss: Annotated[str, AfterValidator(_loss)] = Field(
        default="absolute", description="Loss of a pair of forecast and actual."
    )
    batch: Length = Field(
        default=timedelta(days=1), description="Length of a batch, a whole number of slots."
    )
    slot: Length | None = Field(
        default=None, description="Length of a slot of the streams, such as 15m; needed to serve."
    )
    timezone: Zone = Field(
        default="",
        description="Zone on whose clock a day begins; empty = times are taken as they come.",
    )
    start: Day = Field(
        default="",
        description="First day to judge; empty = that of the first row that is pushed.",
    )
    seed: CountOrNone = Field(default=0, description="Start of everything that is drawn at random.")
    benchmark: Literal["none", "pushed", "seasonal_naive"] = Field(
        default="none",
        description="Forecasts that tell how hard a batch was: none, pushed or seasonal_naive.",
    )
    season: Length = Field(
        default=timedelta(days=7),
        description="The seasonal naive forecast is the actual so long before.",
    )

    @model_validator(mode="after")
    def _whole_slots(self) -> "AgentTable":
        if self.slot is not None and self.batch % self.slot:
            raise expected("a `batch` of a whole number of slots", 'batch = "1d", slot = "15m"')
        return self


class BatchesTable(Table):
    """When a batch is judged."""

    complete_share: Share = Field(
        default=0.9, description="Share of a batch's forecasts whose actuals it takes to judge it."
    )
    delay: LengthOrZero = Field(
        default=timedelta(0),
        description="A batch is not judged before its period is over for so long.",
    )
    timeout: LengthOrNever = Field(
        default=timedelta(hours=6),
        description="So long after its period a batch is judged with what is there, or never.",
    )
    reopen: LengthOrZero = Field(
        default=timedelta(days=7),
        description="So long after its period late and revised rows open a batch again.",
    )


class StoreTable(Table):
    """Where the agent keeps what it knows."""

    url: Url = Field(
        default=Url("sqlite:///mlma.db"),
        description="sqlite:///path, sqlite:////absolute/path, postgresql://... or memory://.",
    )


class RetentionTable(Table):
    """How long things are kept."""

    rows: Length = Field(
        default=timedelta(days=14), description="Pushed rows, after the end of their period."
    )
    superseded: Length = Field(
        default=timedelta(days=30),
        description="Overruled revisions of a cycle, and messages that were delivered.",
    )
    snapshots: Length = Field(
        default=timedelta(days=90), description="States of the agent to go back to."
    )


class StreamsTable(Table):
    """Which streams there may be."""

    unknown: Literal["register", "refuse"] = Field(
        default="register", description="What happens to rows of a stream that was never seen."
    )
    max: Count = Field(default=1_000_000, description="Most streams that are registered.")
    tags: str = Field(
        default="",
        description="Parquet or CSV file: unique_id and columns of labels; empty = none.",
    )


class ClockTable(Table):
    """Which time it is."""

    kind: Literal["wall", "simulated"] = Field(
        default="wall",
        description="wall; or simulated: it stands until it is set, for trying things on.",
    )


def _public_url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise expected('an address such as "https://mlma.example", or empty')
    return text.rstrip("/")


class ServerTable(Table):
    """The door for rows, questions and metrics."""

    host: Annotated[str, Field(min_length=1)] = Field(
        default="127.0.0.1",
        description="Address to listen on; one that others reach needs keys or users.",
    )
    port: Annotated[int, Strict(), Field(ge=0, le=65535)] = Field(
        default=8321, description="Port to listen on; 0 = any that is free."
    )
    max_body: Size = Field(default=ByteSize(64 * 2**20), description="Largest body of a request.")
    max_rows: Count = Field(default=10_000_000, description="Most rows of a request.")
    rows_per_minute: CountOrNone = Field(
        default=0, description="Most rows that a key may push in a minute; 0 = no limit."
    )
    requests_per_minute: CountOrNone = Field(
        default=6000, description="Most requests of a key in a minute; 0 = no limit."
    )
    session: Length = Field(
        default=timedelta(hours=12),
        description="Who signed in to the pages is signed out after so long a silence.",
    )
    public_url: Annotated[str, AfterValidator(_public_url)] = Field(
        default="",
        description="Address under which people reach the pages, for links; empty = no links.",
    )
    log: Literal["text", "json"] = Field(
        default="text", description="Form of the log lines on stderr."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )


class SchedulerTable(Table):
    """How often the agent looks, and who decides."""

    every: Length = Field(
        default=timedelta(seconds=10), description="Pause between two looks for complete batches."
    )
    lease: Length = Field(
        default=timedelta(seconds=30),
        description="The right to decide goes to another instance after so long a silence.",
    )

    @model_validator(mode="after")
    def _renewed_in_time(self) -> "SchedulerTable":
        if self.lease <= self.every:
            raise expected("a `lease` longer than `every`", "it is renewed once in `every`")
        return self


class RetrainingTable(Table):
    """The trainer that the service runs itself; without a function others train."""

    function: Annotated[str, AfterValidator(_function)] = Field(
        default="",
        description="package.module:function, called with one request; empty = others train.",
    )
    restore: Annotated[str, AfterValidator(_function)] = Field(
        default="",
        description="package.module:function, called to make a former model live again; "
        "empty = roll-backs are for others to carry out.",
    )
    executor: str = Field(
        default="local", description='Where fits run: local, ray, "ray(address=...)".'
    )
    time_limit: LengthOrNever = Field(
        default=timedelta(minutes=10), description="Time that a fit may take, or never."
    )
    wait: Flag = Field(
        default=True, description="The next cycle waits until no fit is open or running."
    )


def _order_seconds(lengths: dict[str, timedelta]) -> dict[str, timedelta]:
    for kind in lengths:
        if kind not in ORDERS:
            raise expected("lengths by kind of order", f"known: {', '.join(ORDERS)}")
    return lengths


class LabourTable(Table):
    """How long things take a person: estimates, from which the minutes of labour are counted."""

    look: LengthOrZero = Field(
        default=timedelta(seconds=60), description="A look at the fleet on a working day."
    )
    working_days: Annotated[int, Strict(), Field(ge=0, le=7)] = Field(
        default=5, description="Days of a week on which somebody looks."
    )
    incident: LengthOrZero = Field(
        default=timedelta(seconds=120), description="Triage of an incident that is opened."
    )
    answer: LengthOrZero = Field(
        default=timedelta(seconds=90),
        description="Acting on an incident that does not close itself, where no orders are kept: "
        "in the policy lab.",
    )
    retraining: LengthOrZero = Field(
        default=timedelta(0), description="A re-training, where a person carries them out."
    )
    watching: LengthOrZero = Field(
        default=timedelta(0),
        description="Charts of a stream in a week, under a policy that looks at no losses.",
    )
    orders: Annotated[dict[str, LengthOrZero], AfterValidator(_order_seconds)] = Field(
        default={},
        examples=[{"label": "3m"}],
        description='Orders by kind, such as { label = "3m" }; see the page about labour.',
    )

    def model(self) -> LabourModel:
        """Return what the lengths say, in seconds."""
        return LabourModel(
            look=self.look.total_seconds(),
            working_days=float(self.working_days),
            incident=self.incident.total_seconds(),
            answer=self.answer.total_seconds(),
            retraining=self.retraining.total_seconds(),
            watching=self.watching.total_seconds(),
            orders={kind: length.total_seconds() for kind, length in self.orders.items()},
        )


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "db.example")]
    [True, True, True, False, False]
    """
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
