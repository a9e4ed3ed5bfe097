"""How large a body may be, as it is sent and as it is when it is unpacked."""

from collections.abc import Sized
from dataclasses import dataclass

from mlma.adapters.bodies.errors import TooLargeError
from mlma.domain.errors import SettingsError

MIB = 2**20


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may hold at most.

    bytes
        as it is sent; JSON also after a content encoding was undone, because its rows take up to
        fifteen times as much while they are read.
    unpacked
        bytes when compression is undone, of the body and of the columns inside it.
    ratio
        by how much a content encoding may blow up a body of more than a megabyte.

    Raises
    ------
    SettingsError
        A limit is not positive.
    """

    bytes: int = 64 * MIB
    unpacked: int = 512 * MIB
    rows: int = 10_000_000
    columns: int = 100
    ratio: int = 200

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise SettingsError(
                    f"`{name}` of the limits of a body must be at least 1. "
                    f"Got {getattr(self, name)}.",
                )

    def check_rows(self, rows: int) -> None:
        """Raise where there are too many rows."""
        if rows > self.rows:
            raise TooLargeError(
                f"A body must hold at most {self.rows:,} rows. Got {rows:,}.",
                hint="push the rows in several bodies",
            )

    def check_columns(self, names: Sized) -> None:
        """Raise where there are too many columns."""
        if len(names) > self.columns:
            raise TooLargeError(
                f"A body must have at most {self.columns} columns. Got {len(names):,}.",
                hint="push only the columns that are asked for",
            )

    def check_unpacked(self, size: int) -> None:
        """Raise where the columns would take too many bytes."""
        if size > self.unpacked:
            raise TooLargeError(
                f"A body must unpack to at most {size_text(self.unpacked)}. "
                f"Got {size_text(size)} by what it says itself.",
                hint="push the rows in several bodies",
            )


def size_text(size: int) -> str:
    """Return a number of bytes in words.

    >>> size_text(3 * 2**20), size_text(10)
    ('3.0 MiB', '10 bytes')
    """
    return f"{size / MIB:,.1f} MiB" if size >= MIB // 10 else f"{size:,} bytes"
