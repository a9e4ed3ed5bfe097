"""Content encodings: a compressed body is unpacked while it is read, and never past the limits.

Takes the stream of a request and its ``Content-Encoding``, gives a stream of the plain bytes. Next
is the reader of its media type.
"""

import io
import zlib
from io import BytesIO
from typing import BinaryIO, Protocol, cast

from mlma.adapters.bodies.errors import BodyError, MediaTypeError, TooLargeError
from mlma.adapters.bodies.limits import MIB, BodyLimits, size_text

ENCODINGS = ("identity", "gzip", "deflate")
_CHUNK = 256 * 1024
_MOST_MEMBERS = 100_000


class _Inflater(Protocol):
    """What `zlib.decompressobj` gives."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def opened(stream: BinaryIO, content_encoding: str | None, limits: BodyLimits) -> BinaryIO:
    """Return a stream of the plain bytes of a body.

    Reading it raises ``TooLargeError`` where a limit is passed, and ``BodyError`` where the
    compressed bytes are damaged or cut off.

    Raises
    ------
    MediaTypeError
        The encoding is not known here.
    """
    encoding = (content_encoding or "identity").strip().lower()
    encoding = {"x-gzip": "gzip", "": "identity"}.get(encoding, encoding)
    if encoding not in ENCODINGS:
        raise MediaTypeError(
            f"`Content-Encoding` must be one of {', '.join(ENCODINGS)}. Got {encoding[:80]!r}.",
            hint="send the body as it is, or compressed once with gzip",
        )
    if encoding == "identity" and isinstance(stream, BytesIO):
        return stream  # `whole` holds it to the limit, and copies nothing
    raw = Sent(stream, limits)
    return cast("BinaryIO", raw if encoding == "identity" else Unpacked(raw, encoding, limits))


class Sent(io.RawIOBase):
    """The bytes of a body as they were sent: no more than the limit."""

    def __init__(self, stream: BinaryIO, limits: BodyLimits) -> None:
        self._stream = stream
        self._limits = limits
        self.count = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes; none = the end."""
        most = self._limits.bytes - self.count + 1
        got = self._stream.read(most if size is None or size < 0 else min(size, most))
        self.count += len(got)
        if self.count > self._limits.bytes:
            raise too_many_bytes(self._limits.bytes)
        return got


class Unpacked(io.RawIOBase):
    """The plain bytes of a compressed body."""

    def __init__(self, sent: Sent, encoding: str, limits: BodyLimits) -> None:
        self._sent = sent
        self._encoding = encoding
        self._limits = limits
        self._inflater: _Inflater | None = None
        self._waiting = b""
        self._count = 0
        self._begun = False
        self._members = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes; none = the end."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self._some(_CHUNK), b""))
        return self._some(size) if size else b""

    def _some(self, size: int) -> bytes:
        while True:
            waiting = self._waiting or self._sent.read(_CHUNK)
            if not waiting and not self._ends_well():
                raise self._damaged("it is cut off")
            if not waiting:
                return b""
            plain = self._inflated(waiting, size)
            if plain:
                self._check(len(plain))
                return plain

    def _inflated(self, data: bytes, size: int) -> bytes:
        if self._inflater is None or self._inflater.eof:
            self._inflater = self._next(data)
        try:
            plain = self._inflater.decompress(data, size)
        except zlib.error as error:
            raise self._damaged(str(error)) from None
        self._waiting = self._inflater.unconsumed_tail or self._inflater.unused_data
        return plain

    def _next(self, data: bytes) -> _Inflater:
        """Return what reads the next member; a deflated body has one, a gzip one may have more."""
        if self._begun and self._encoding == "deflate":
            raise self._damaged("there are bytes after its end")
        self._begun = True
        self._members += 1
        if self._members > _MOST_MEMBERS:
            raise TooLargeError(
                f"A compressed body must have at most {_MOST_MEMBERS:,} members. Got more.",
                hint="compress the body as a whole",
            )
        if self._encoding == "gzip":
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        # Some senders leave out the two bytes of zlib, against the standard.
        wrapped = data[0] & 0x0F == 8 and (len(data) < 2 or int.from_bytes(data[:2]) % 31 == 0)
        return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)

    def _ends_well(self) -> bool:
        return self._inflater is None or self._inflater.eof

    def _check(self, more: int) -> None:
        self._count += more
        if self._count > self._limits.unpacked:
            raise TooLargeError(
                f"A body must unpack to at most {size_text(self._limits.unpacked)}. Got more.",
                hint="push the rows in several bodies",
            )
        if self._count > MIB and self._count > self._limits.ratio * self._sent.count:
            raise TooLargeError(
                f"A compressed body must not grow by more than {self._limits.ratio} times. "
                f"Got {size_text(self._count)} from {size_text(self._sent.count)}.",
                hint="push the body without a content encoding",
            )

    def _damaged(self, got: str) -> BodyError:
        return BodyError(
            f"The body cannot be unpacked as {self._encoding}. Got: {got}.",
            hint="`Content-Encoding` is for the body as a whole; Parquet and Arrow need none",
        )


def too_many_bytes(most: int) -> TooLargeError:
    """Return the error for a body of more than ``most`` bytes."""
    return TooLargeError(
        f"A body must have at most {size_text(most)}. Got more.",
        hint="push the rows in several bodies, or as Parquet or Arrow",
    )


def whole(stream: BinaryIO, most: int) -> BytesIO:
    """Return all bytes of a stream at its start; raise where they are more than ``most``."""
    if isinstance(stream, BytesIO):
        if stream.getbuffer().nbytes > most:
            raise too_many_bytes(most)
        return stream
    made, count = BytesIO(), 0
    while part := stream.read(min(_CHUNK, most - count + 1)):
        count += len(part)
        if count > most:
            raise too_many_bytes(most)
        made.write(part)
    made.seek(0)
    return made
