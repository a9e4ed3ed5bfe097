"""Flatbuffers, as far as the messages of Arrow need them.

Takes bytes, gives tables whose fields are read by number. No field is believed to lie inside of the
bytes before that was looked at. It is the only way to see what an Arrow body will unpack to before
a library unpacks it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from mlma.adapters.bodies.errors import BodyError

_U8, _I16, _U16, _I32, _U32 = Struct("<B"), Struct("<h"), Struct("<H"), Struct("<i"), Struct("<I")
_I64 = Struct("<q")


@dataclass(frozen=True, slots=True)
class Table:
    """A table, and where it lies in its buffer."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> "Table":
        """Return the table that a buffer is about."""
        return cls(data, _read(data, 0, _U32))

    def integer(self, field: int, form: Struct = _I64, missing: int = 0) -> int:
        """Return a field that is a number."""
        at = self._field(field)
        return missing if at is None else _read(self.data, at, form)

    def byte(self, field: int) -> int:
        """Return a field that is a number of one byte."""
        return self.integer(field, _U8)

    def table(self, field: int) -> "Table | None":
        """Return a field that is a table."""
        at = self._field(field)
        return None if at is None else self._there(at)

    def tables(self, field: int) -> Iterator["Table"]:
        """Yield the tables of a list."""
        start, size = self._list(field, 4)
        return (self._there(start + 4 * place) for place in range(size))

    def structs(self, field: int, width: int) -> tuple[int, int]:
        """Return where a list of structs of ``width`` bytes begins, and how many there are."""
        return self._list(field, width)

    def text(self, field: int) -> str:
        """Return a field that is text; empty = not there."""
        start, size = self._list(field, 1)
        return self.data[start : start + size].decode("utf-8", "replace")

    def _field(self, field: int) -> int | None:
        vtable = self.at - _read(self.data, self.at, _I32)
        place = 4 + 2 * field
        if place >= _read(self.data, vtable, _U16):
            return None
        offset = _read(self.data, vtable + place, _U16)
        return self.at + offset if offset else None

    def _there(self, at: int) -> "Table":
        return Table(self.data, at + _read(self.data, at, _U32))

    def _list(self, field: int, width: int) -> tuple[int, int]:
        at = self._field(field)
        if at is None:
            return 0, 0
        start = at + _read(self.data, at, _U32)
        size = _read(self.data, start, _U32)
        if start + 4 + size * width > len(self.data):
            raise damaged("a list of its metadata ends too late")
        return start + 4, size


def _read(data: bytes, at: int, form: Struct) -> int:
    if not 0 <= at <= len(data) - form.size:
        raise damaged("its metadata point outside of the message")
    number: int = form.unpack_from(data, at)[0]
    return number


def damaged(got: str) -> BodyError:
    """Return the error for an Arrow body that is none."""
    return BodyError(
        f"The body cannot be read as Arrow. Got: {got}.",
        hint="the data may be damaged, cut off, or of the other Arrow format (stream or file)",
    )
