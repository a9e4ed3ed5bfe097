"""Arrow bodies, streams and files: what they will unpack to is known before anything is unpacked.

Takes the bytes, gives a frame of the columns that are read. Each message says how many rows it has
and each compressed buffer how many bytes it becomes; a library would believe both. Next is the
door.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from struct import Struct

import polars as pl

from mlma.adapters.bodies.chosen import chosen
from mlma.adapters.bodies.errors import TooLargeError
from mlma.adapters.bodies.flatbuffers import Table, damaged
from mlma.adapters.bodies.limits import BodyLimits
from mlma.adapters.bodies.native import flat, reading, refuse_twice
from mlma.adapters.frames.rows import Door
from mlma.domain.inbox import Kind

Data = bytes | memoryview

_MAGIC = b"ARROW1"
_GOES_ON = 0xFFFFFFFF
_MOST_MESSAGES = 10_000
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_PREFIX, _SIZE = Struct("<II"), Struct("<q")
_END = _PREFIX.pack(_GOES_ON, 0)
_BUFFER, _BLOCK = Struct("<qq"), Struct("<qi4xq")


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its kind, what it says, and its body; ``end`` is where the next one begins."""

    kind: int
    head: Table
    body: memoryview
    end: int


def read_stream(body: BytesIO, kind: Kind, door: Door, limits: BodyLimits) -> pl.DataFrame:
    """Return the columns of an Arrow stream that are read; the bytes are not copied for it."""
    names = _names_of_stream(body.getbuffer(), kind, door, limits)
    body.seek(0)
    with reading("Arrow"):
        return pl.read_ipc_stream(body, columns=names)


def _names_of_stream(data: memoryview, kind: Kind, door: Door, limits: BodyLimits) -> list[str]:
    if data[:6] == _MAGIC:
        raise damaged("a file where a stream was announced")
    first = _check(_messages(data), limits)
    with reading("Arrow"):
        schema = pl.read_ipc_stream(BytesIO(bytes(data[: first.end]) + _END)).schema
    return _names(first.head, schema, kind, door, limits)


def read_file(body: BytesIO, kind: Kind, door: Door, limits: BodyLimits) -> pl.DataFrame:
    """Return the columns of an Arrow file that are read."""
    data = body.getvalue()
    if len(data) < 20 or data[:6] != _MAGIC or data[-6:] != _MAGIC:
        raise damaged("its first and last six bytes are not ARROW1")
    first = _check(_blocks(data), limits)
    with reading("Arrow"):
        schema = pl.Schema(pl.read_ipc_schema(BytesIO(data)))
    names = _names(first.head, schema, kind, door, limits)
    with reading("Arrow"):
        return pl.read_ipc(BytesIO(data), columns=names)


def _names(head: Table, schema: pl.Schema, kind: Kind, door: Door, limits: BodyLimits) -> list[str]:
    refuse_twice([field.text(0) for field in head.tables(1)])
    limits.check_columns(schema)
    numeric = [name for name, dtype in schema.items() if dtype.is_numeric()]
    names = chosen(schema, numeric, kind, door)
    flat({name: schema[name] for name in names})
    return names


def _messages(data: Data) -> Iterator[Message]:
    """Yield the messages of a stream, which must end with its mark."""
    at = 0
    while True:
        mark, size = _unpacked(_PREFIX, data, at)
        if mark != _GOES_ON:
            raise damaged("a message without its first four bytes")
        if size == 0:
            break
        message = _message(data, at, size)
        yield message
        at = message.end
    if bytes(data[at + 8 :]).strip(b"\x00"):
        raise damaged("bytes after the end of the stream")


def _blocks(data: bytes) -> Iterator[Message]:
    """Yield the messages that the footer of a file names, its schema first."""
    size = int.from_bytes(data[-10:-6], "little")
    if size > len(data) - 18:
        raise damaged("its footer is longer than the file")
    footer = Table.root(data[-10 - size : -10])
    schema = footer.table(1)
    if schema is None:
        raise damaged("its footer has no schema")
    yield Message(_SCHEMA, schema, memoryview(b""), 0)
    for field in (2, 3):
        start, count = footer.structs(field, _BLOCK.size)
        for place in range(count):
            at, _, _ = _unpacked(_BLOCK, footer.data, start + place * _BLOCK.size)
            mark, length = _unpacked(_PREFIX, data, at)
            if mark != _GOES_ON:
                raise damaged("a message without its first four bytes")
            yield _message(data, at, length)


def _message(data: Data, at: int, size: int) -> Message:
    start = at + _PREFIX.size + size
    if start > len(data):
        raise damaged("it ends within a message")
    table = Table.root(bytes(data[at + _PREFIX.size : start]))
    head, length = table.table(2), table.integer(3)
    if head is None or length < 0 or start + length > len(data):
        raise damaged("it ends within a message")
    return Message(table.byte(1), head, memoryview(data)[start : start + length], start + length)


def _check(messages: Iterator[Message], limits: BodyLimits) -> Message:
    """Return the schema; raise where the rows or buffers of the others would take too much."""
    first = next(messages, None)
    if first is None or first.kind != _SCHEMA:
        raise damaged("no schema where it begins")
    if first.head.integer(0, Struct("<h")):
        raise damaged("numbers whose first byte is the highest (big-endian)")
    rows = unpacked = 0
    for count, message in enumerate(messages, start=1):
        if count > _MOST_MESSAGES:
            raise TooLargeError(
                f"An Arrow body must have at most {_MOST_MESSAGES:,} batches. Got more.",
                hint="write larger batches",
            )
        batch = message.head.table(1) if message.kind == _DICTIONARY else message.head
        if message.kind not in {_DICTIONARY, _BATCH} or batch is None:
            raise damaged(f"a message of kind {message.kind}")
        length = batch.integer(0)
        rows += length if message.kind == _BATCH else 0
        limits.check_rows(max(rows, length))
        _check_nodes(batch, length, limits)
        unpacked += _unpacked_bytes(batch, message.body)
        limits.check_unpacked(unpacked)
    return first


def _check_nodes(batch: Table, length: int, limits: BodyLimits) -> None:
    start, count = batch.structs(1, _BUFFER.size)
    lengths = [_unpacked(_BUFFER, batch.data, start + _BUFFER.size * i)[0] for i in range(count)]
    if min([length, *lengths]) < 0:
        raise damaged("a column of less than no row")
    limits.check_rows(max(lengths, default=0))


def _unpacked_bytes(batch: Table, body: memoryview) -> int:
    """Return how many bytes the buffers of a batch become."""
    compressed = batch.table(3) is not None
    start, count = batch.structs(2, _BUFFER.size)
    total = 0
    for place in range(count):
        at, size = _unpacked(_BUFFER, batch.data, start + _BUFFER.size * place)
        if at < 0 or size < 0 or at + size > len(body):
            raise damaged("a buffer that lies outside of its message")
        becomes = size
        if compressed and size:
            (becomes,) = _unpacked(_SIZE, body[at : at + size], 0)
            becomes = size if becomes == -1 else becomes
        if becomes < 0:
            raise damaged("a buffer of less than no byte")
        total += becomes
    return total


def _unpacked(form: Struct, data: Data, at: int) -> tuple[int, ...]:
    if not 0 <= at <= len(data) - form.size:
        raise damaged("it ends within a message")
    return form.unpack_from(data, at)
