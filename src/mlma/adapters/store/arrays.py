"""Arrays cut into parts, so that no single value outgrows a database."""

from collections.abc import Iterator, Sequence

from mlma.adapters.store.codec import sealed, unsealed

PART_BYTES = 8 * 1024 * 1024


def parts_of(whole: bytes, what: str) -> Iterator[bytes]:
    """Yield sealed parts, compressed where that pays; at least one."""
    for start in range(0, max(len(whole), 1), PART_BYTES):
        yield sealed(whole[start : start + PART_BYTES], what)


def joined_parts(parts: Sequence[bytes], what: str) -> bytes:
    """Return the bytes of all parts."""
    return b"".join(unsealed(part, what) for part in parts)
