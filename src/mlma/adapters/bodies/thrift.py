"""Thrift's compact protocol, as far as the metadata of Parquet needs it.

Takes bytes, gives structs as dictionaries by field number. It knows no schema, allocates nothing
that the bytes do not hold, and is the only way to see what a Parquet file will unpack to before a
library unpacks it: polars does not tell, and pyarrow is not always installed.
"""

from typing import Any

from mlma.adapters.bodies.errors import BodyError

_DEEPEST = 16
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = (
    0,
    1,
    2,
    3,
    7,
    8,
    9,
    10,
    11,
    12,
)
_INTS = {4, 5, 6}

Struct = dict[int, Any]


class Compact:
    """A place in bytes from which values are read; ``at`` is the next one."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self.at = at

    def struct(self, depth: int = 0) -> Struct:
        """Return the struct that begins here.

        Raises
        ------
        BodyError
            It does not end, is nested too deeply or holds what Thrift does not know.
        """
        if depth > _DEEPEST:
            raise damaged("its metadata are nested too deeply")
        found: Struct = {}
        field = 0
        while (head := self._byte()) != _STOP:
            step, kind = head >> 4, head & 0x0F
            field = field + step if step else self._int()
            found[field] = kind == _TRUE if kind in {_TRUE, _FALSE} else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTS:
            return self._int()
        if kind == _BINARY:
            return self._take(self._varint())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in {_LIST, _SET}:
            return self._list(depth)
        if kind == _DOUBLE:
            return self._take(8)
        if kind in {_BYTE, _TRUE, _FALSE}:
            return self._byte()
        raise damaged(f"its metadata hold a value of kind {kind}")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size = self._varint() if head >> 4 == 15 else head >> 4
        if size > len(self._data) - self.at:  # an element takes a byte at least
            raise damaged("its metadata end too early")
        return [self._value(head & 0x0F, depth + 1) for _ in range(size)]

    def _int(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number
            if shift > 63:
                raise damaged("its metadata hold a number of more than 64 bits")

    def _byte(self) -> int:
        if not 0 <= self.at < len(self._data):
            raise damaged("its metadata end too early")
        self.at += 1
        return self._data[self.at - 1]

    def _take(self, size: int) -> bytes:
        taken = self._data[self.at : self.at + size]
        if len(taken) < size:
            raise damaged("its metadata end too early")
        self.at += size
        return taken


def damaged(got: str) -> BodyError:
    """Return the error for a Parquet body that is none."""
    return BodyError(
        f"The body cannot be read as Parquet. Got: {got}.",
        hint="the file may be damaged or not written to its end",
    )
