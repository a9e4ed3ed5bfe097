"""Evidence as chunks: the records of 128 neighbouring streams of one cycle in one value.

Record ``i`` of a chunk lies at ``i * EVIDENCE.itemsize``, so that one stream is read out of a chunk
without the rest. Streams that were not in the cycle have ``n`` = -1; a chunk ends with its last
stream that was.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.store.codec import damaged, dtype_text
from mlma.domain.errors import StoreError
from mlma.domain.ledger import ABSENT, EVIDENCE

Ints = NDArray[np.int64]

CHUNK = 128
"""Streams of a chunk; measured in benchmarks/speed/store_forms.py."""

FORM = f"{CHUNK} {dtype_text(EVIDENCE, 'Evidence')}"
"""How records lie in a chunk; a store remembers it and is not read in another way."""


def place_of(stream: int) -> tuple[int, int]:
    """Return the chunk of a stream and the byte in it at which its record starts.

    >>> place_of(129)
    (1, 74)
    """
    chunk, at = divmod(stream, CHUNK)
    return chunk, at * EVIDENCE.itemsize


def chunks_of(streams: Ints, evidence: NDArray[np.void]) -> Iterator[tuple[int, bytes]]:
    """Yield the chunks of a cycle by number.

    Raises
    ------
    StoreError
        ``streams`` do not ascend, or there is not one present record for each.
    """
    _check(streams, evidence)
    chunk, at = np.divmod(streams, CHUNK)
    numbers, starts = np.unique(chunk, return_index=True)
    ends = np.append(starts, len(streams))[1:]
    for number, start, end in zip(numbers, starts, ends, strict=True):
        records = np.zeros(int(at[end - 1]) + 1, dtype=EVIDENCE)
        records["n"] = ABSENT
        records[at[start:end]] = evidence[start:end]
        yield int(number), records.tobytes()


def _check(streams: Ints, evidence: NDArray[np.void]) -> None:
    if evidence.dtype != EVIDENCE or evidence.shape != streams.shape:
        raise StoreError(
            f"`evidence` of a cycle must hold one record per stream. Got {evidence.shape} of "
            f"{evidence.dtype} for {streams.shape} streams."
        )
    if len(streams) and (streams[0] < 0 or (np.diff(streams) <= 0).any()):
        raise StoreError("`streams` of a cycle must ascend, from 0.")
    if (evidence["n"] < 0).any():
        raise StoreError("`n` of a stream that was in the cycle must be at least 0.")


def records_of(chunks: Iterable[tuple[int, bytes]]) -> tuple[Ints, NDArray[np.void]]:
    """Return the streams of chunks, ascending, and their records."""
    numbers, values = [], []
    for number, data in chunks:
        if len(data) % EVIDENCE.itemsize or len(data) > CHUNK * EVIDENCE.itemsize:
            raise damaged(f"Chunk {number} of the evidence")
        numbers.append(number)
        values.append(data)
    sizes = [len(data) // EVIDENCE.itemsize for data in values]
    records = np.frombuffer(b"".join(values), dtype=EVIDENCE)
    first = np.cumsum([0, *sizes[:-1]]) if sizes else np.zeros(0, dtype=np.int64)
    start = np.asarray(numbers, dtype=np.int64) * CHUNK - first[: len(sizes)]
    streams = np.arange(len(records)) + np.repeat(start, sizes)
    present = records["n"] != ABSENT
    return streams[present], records[present]
