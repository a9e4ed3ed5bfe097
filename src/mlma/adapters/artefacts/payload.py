"""One model as bytes: a line of JSON that says what it is, and the parts that it points at.

Takes a tree of plain values and byte strings, gives one byte string, and back. Nothing in it is
ever executed. Next are hash and bundle.
"""

import json
import zlib
from dataclasses import dataclass, field
from typing import Any

from mlma.domain.errors import ArtefactError

MAGIC = b"mlma-model-1\n"
_LENGTH = 8  # bytes of the length of the head


@dataclass(slots=True)
class Parts:
    """The byte strings of one model, by number."""

    stored: list[bytes] = field(default_factory=list)
    sizes: list[int | None] = field(default_factory=list)  # before packing; None = not packed

    def add(self, part: bytes, *, pack: bool = False) -> int:
        """Keep a part and return its number; ``pack`` compresses it."""
        self.stored.append(zlib.compress(part, 1) if pack else part)
        self.sizes.append(len(part) if pack else None)
        return len(self.stored) - 1

    def get(self, number: Any) -> bytes:
        """Return a part as it was added; raises ``ArtefactError``."""
        if type(number) is not int or not 0 <= number < len(self.stored):
            raise damaged(f"it has no part {number!r}")
        part, size = self.stored[number], self.sizes[number]
        if size is None:
            return part
        unpacker = zlib.decompressobj()
        try:
            raw = unpacker.decompress(part, size + 1)  # no more than it claims to be
        except zlib.error as error:
            raise damaged(f"part {number} cannot be unpacked: {error}") from error
        if len(raw) != size:
            raise damaged(f"part {number} has another size than it says")
        return raw


def packed(tree: Any, parts: Parts) -> bytes:
    """Return one byte string of a tree and its parts."""
    sizes = [[len(part), size] for part, size in zip(parts.stored, parts.sizes, strict=True)]
    head = json.dumps({"tree": tree, "parts": sizes}, allow_nan=False).encode()
    return b"".join([MAGIC, len(head).to_bytes(_LENGTH, "big"), head, *parts.stored])


def unpacked(raw: bytes) -> tuple[Any, Parts]:
    """Return what `packed` was given.

    Raises
    ------
    ArtefactError
        The bytes are something else, or were cut.

    >>> unpacked(packed({"a": 1}, Parts()))[0]
    {'a': 1}
    """
    if not raw.startswith(MAGIC):
        raise damaged("it does not start like a model of mlma")
    start = len(MAGIC) + _LENGTH
    stop = start + int.from_bytes(raw[len(MAGIC) : start], "big")
    try:
        head = json.loads(raw[start:stop])
        tree, sizes = head["tree"], [(int(size), before) for size, before in head["parts"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(f"its head cannot be read: {error}") from error
    if any(size < 0 for size, _ in sizes) or stop + sum(size for size, _ in sizes) != len(raw):
        raise damaged("its parts are not as long as its head says")
    parts = Parts()
    for size, before in sizes:
        parts.stored.append(raw[stop : stop + size])
        parts.sizes.append(before if type(before) is int and before >= 0 else None)
        stop += size
    return tree, parts


def damaged(why: str) -> ArtefactError:
    """Return the error for an artefact whose bytes make no model."""
    return ArtefactError(f"An artefact is damaged: {why}.")
