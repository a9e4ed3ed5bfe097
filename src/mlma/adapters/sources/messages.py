"""Messages of a topic become rows.

Takes the bytes of messages, JSON or Arrow, gives one frame of them in their order, and an account
of what could not be read. Next is the topic, which hands the frame on.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import polars as pl

from mlma.adapters.sources.columns import SourceColumns
from mlma.adapters.sources.windows import on_grid, readable
from mlma.domain.errors import SourceError
from mlma.domain.leftovers import LeftOut

_STREAM, _FILE = b"\xff\xff\xff\xff", b"ARROW1"


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was consumed."""

    topic: str
    partition: int
    offset: int
    body: bytes
    content_type: str = ""

    @property
    def place(self) -> str:
        """Where it lies, for accounts: ``topic/partition@offset``."""
        return f"{self.topic}/{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class Complaint:
    """A message of which something could not be read."""

    message: Message
    left_out: LeftOut


@dataclass(frozen=True, slots=True)
class Decoded:
    """Rows of messages in their order, and what was left out of them."""

    frame: pl.DataFrame
    complaints: tuple[Complaint, ...]


class UnreadableError(ValueError):
    """A message is not what was expected; its text is the reason."""


def decoded(messages: Sequence[Message], columns: SourceColumns, zone: str | None) -> Decoded:
    """Return the rows of messages; rows and messages that cannot be read are accounted for.

    The frame has ``unique_id`` (text), ``ds`` (as the grid counts it: UTC where it has a ``zone``),
    the value and, where any row tells one, ``cutoff``.
    """
    parts, complaints = [], []
    rows: list[tuple[int, Any, Any, Any, Any]] = []
    for at, message in enumerate(messages):
        try:
            if _is_arrow(message):
                part = _arrow_rows(at, message, columns)
                parts += [*_flushed(rows, columns), part]
            else:
                rows += _json_rows(at, message, columns)
        except UnreadableError as reason:
            said = LeftOut("messages that cannot be read", "rows", 1, (message.place,), str(reason))
            complaints.append(Complaint(message, said))
    parts += _flushed(rows, columns)
    checked = [_checked(part, columns, zone) for part in parts]
    kept = [part.filter(pl.col("why").is_null()) for part in checked]
    complaints += [
        complaint for part in checked for complaint in _complaints(part, messages, columns)
    ]
    return Decoded(_joined(kept, columns, zone), tuple(complaints))


def _is_arrow(message: Message) -> bool:
    if "arrow" in message.content_type.lower():
        return True
    return message.body.startswith((_STREAM, _FILE))


def _json_rows(
    at: int, message: Message, columns: SourceColumns
) -> list[tuple[int, Any, Any, Any, Any]]:
    try:
        document = json.loads(message.body)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"neither JSON nor Arrow: {error}") from error
    listed = document if isinstance(document, list) else [document]
    if not all(isinstance(row, dict) for row in listed):
        raise UnreadableError("expected a JSON object, or a list of objects")
    names = columns.names
    stream, time, value = names["unique_id"], names["ds"], names[columns.value]
    cutoff = names.get("cutoff", "")
    return [
        (
            at,
            _name(row.get(stream)),
            _text(row.get(time)),
            _number(row.get(value)),
            _text(row.get(cutoff)),
        )
        for row in listed
    ]


def _name(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    """Return a number; NaN = missing, which the door counts; None = no number."""
    if value is None:
        return float("nan")
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _flushed(
    rows: list[tuple[int, Any, Any, Any, Any]], columns: SourceColumns
) -> Iterator[pl.DataFrame]:
    """Yield the rows that were gathered, as a frame, and forget them."""
    if rows:
        kinds: dict[str, Any] = {"at": pl.Int64, "unique_id": pl.String, "ds": pl.String}
        kinds |= {columns.value: pl.Float64, "cutoff": pl.String}
        yield pl.DataFrame(rows, schema=kinds, orient="row")
        rows.clear()


def _arrow_rows(at: int, message: Message, columns: SourceColumns) -> pl.DataFrame:
    is_file = message.body.startswith(_FILE)
    try:
        read = pl.read_ipc if is_file else pl.read_ipc_stream
        frame = read(BytesIO(message.body))
        names = columns.found(frame.columns, "the message")
        chosen = frame.select(pl.col(name).alias(role) for role, name in names.items())
        given = chosen[columns.value]
        # NaN = missing, which the door counts; null = no number.
        value = given.cast(pl.Float64, strict=False)
        value = value.set(given.is_null(), float("nan"))
        if "cutoff" not in chosen.columns:
            chosen = chosen.with_columns(cutoff=pl.lit(None, pl.String))
        return chosen.select(
            pl.lit(at, pl.Int64).alias("at"),
            pl.col("unique_id").cast(pl.String),
            "ds",
            value.alias(columns.value),
            "cutoff",
        )
    except (pl.exceptions.PolarsError, SourceError, OSError, ValueError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableError(f"no Arrow message of these columns: {said}") from error


def _checked(part: pl.DataFrame, columns: SourceColumns, zone: str | None) -> pl.DataFrame:
    """Return a part with its times read, and ``why`` a row cannot be used; null = it can."""
    times = _times(part["ds"], zone)
    cutoffs = _times(part["cutoff"], zone)
    why = (
        pl.when(pl.col("unique_id").is_null())
        .then(pl.lit(f"`{columns.names['unique_id']}` is no name"))
        .when(times.is_null())
        .then(pl.lit(f"`{columns.names['ds']}` is no ISO time"))
        .when(pl.col(columns.value).is_null())
        .then(pl.lit(f"`{columns.names[columns.value]}` is no number"))
    )
    return part.with_columns(times, cutoffs, why.alias("why"))


def _times(times: pl.Series, zone: str | None) -> pl.Series:
    try:
        read = readable(times, zone, "the message")
    except SourceError:
        return pl.Series(times.name, [None] * len(times), dtype=_time_type(zone))
    seen = on_grid(read, zone)
    return seen if zone is None else seen.dt.replace_time_zone("UTC")


def _time_type(zone: str | None) -> pl.Datetime:
    return pl.Datetime("us", None if zone is None else "UTC")


def _complaints(
    part: pl.DataFrame, messages: Sequence[Message], columns: SourceColumns
) -> Iterator[Complaint]:
    bad = part.filter(pl.col("why").is_not_null())
    counted = bad.group_by("at", "why", maintain_order=True).agg(
        pl.len(), pl.col("unique_id").first()
    )
    for at, why, count, stream in counted.iter_rows():
        note = "" if stream is None else f"stream {stream}"
        message = messages[at]
        yield Complaint(message, LeftOut(why, "rows", count, (message.place,), note))


def _joined(
    parts: Sequence[pl.DataFrame], columns: SourceColumns, zone: str | None
) -> pl.DataFrame:
    kind = _time_type(zone)
    schema: dict[str, Any] = {
        "unique_id": pl.String,
        "ds": kind,
        columns.value: pl.Float64,
        "cutoff": kind,
    }
    frame = pl.concat([pl.DataFrame(schema=schema), *(part.select(*schema) for part in parts)])
    has_cutoff = "cutoff" in columns.names and frame["cutoff"].null_count() < frame.height
    return frame if has_cutoff else frame.drop("cutoff")
