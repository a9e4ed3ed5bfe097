"""JSON lines that notice damage: a checksum per line, and a seal at the end of a file.

Takes records as plain values, gives the bytes of one file, and back. Files are written once and
never changed; a reader who wants one stream of many parses only the lines that may name it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

_HEAD = len('{"crc32": "00000000", ')

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lines:
    """What could be read: rows with their line numbers, and what is damaged, in words."""

    rows: list[tuple[int, Row]]
    damaged: list[str]


def sealed(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a file of these rows, with its seal.

    >>> unsealed(sealed([{"a": 1}, {"a": 2}]), "log/x").rows
    [(1, {'a': 1}), (2, {'a': 2})]
    """
    body = b"".join(_line(row) for row in rows)
    return body + _line({"sealed": crc32(body)})


def _line(row: Mapping[str, Any]) -> bytes:
    text = json.dumps(row, allow_nan=False)
    return b'{"crc32": "%08x", %s\n' % (crc32(text.encode()), text[1:].encode())


def needle(name: str) -> bytes:
    """Return what a line that names ``name`` must contain."""
    return json.dumps(name).encode()


def unsealed(raw: bytes, place: str, wanted: bytes = b"") -> Lines:
    """Return the rows of a file; with ``wanted``, of lines that contain these bytes.

    ``place`` names the file in messages. A file whose seal fits is whole, so lines that are not
    wanted are not parsed; any other file is checked line by line.

    >>> unsealed(sealed([{"a": 1}, {"a": 2}]).replace(b"1}", b"7}"), "log/x")
    Lines(rows=[(2, {'a': 2})], damaged=['line 1 of log/x'])
    """
    body, seal = _parted(raw)
    whole = _parsed(seal) == {"sealed": crc32(body)}
    if whole and (not body or wanted not in body):
        return Lines([], [])
    lines = Lines([], [])
    for number, line in enumerate(
        body.split(b"\n")[: -1 if body.endswith(b"\n") else None], start=1
    ):
        if whole and wanted not in line:
            continue
        row = _parsed(line)
        if row is None:
            lines.damaged.append(f"line {number} of {place}")
        elif wanted in line:
            lines.rows.append((number, row))
    if not whole and not lines.damaged:
        lines.damaged.append(f"the end of {place}")
    return lines


def _parted(raw: bytes) -> tuple[bytes, bytes]:
    """Return the lines and the seal behind them; without a seal, all is lines."""
    cut = raw.rfind(b"\n", 0, max(len(raw) - 1, 0)) + 1
    if raw.endswith(b"\n") and b'"sealed": ' in raw[cut:]:
        return raw[:cut], raw[cut:]
    return raw, b""


def _parsed(line: bytes) -> Row | None:
    """Return the row of a line, or None where it is damaged."""
    try:
        text = b"{" + line.rstrip(b"\n")[_HEAD:]
        if line[:_HEAD] != b'{"crc32": "%08x", ' % crc32(text):
            return None
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
