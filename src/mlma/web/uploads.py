"""Uploads: the body of a request, on its way from the network to a file that a parser can read.

Takes a stream of bytes, gives a file at its start. However large a body says it is or turns out to
be, memory holds a few megabytes of it; the size is checked while it comes in.
"""

import asyncio
from collections.abc import AsyncIterator, Container
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from os import SEEK_END
from tempfile import SpooledTemporaryFile
from time import monotonic
from typing import BinaryIO, cast

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlma.web.errors import RefusedError, refusal

_IN_MEMORY = 4 * 2**20
_LARGE = 2**20

Body = BinaryIO


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What uploads may cost.

    max_body
        bytes, as it is sent.
    silence
        seconds without a byte after which a sender is given up.
    slowest
        bytes a second that must come on average, once ``silence`` is over: who sends a byte now
        and then would hold the place of others for ever.
    at_once, parsers
        bodies that come in, and that are parsed, at the same time.
    large_documents
        documents of more than a mebibyte that are in memory at the same time.
    memory
        bytes that bodies of a declared length may take in memory, all together; others go to files.
    """

    max_body: int = 64 * 2**20
    silence: float = 30.0
    slowest: int = 1024
    at_once: int = 64
    parsers: int = 2
    large_documents: int = 2
    memory: int = 128 * 2**20


class Uploads:
    """The bodies that are coming in."""

    def __init__(self, limits: UploadLimits) -> None:
        self.limits = limits
        self.parsers = ThreadPoolExecutor(limits.parsers, thread_name_prefix="mlma-parse")
        self.large = asyncio.Semaphore(limits.large_documents)
        self._now = self._held = 0

    @asynccontextmanager
    async def taken(self, request: Request) -> AsyncIterator[Body]:
        """Give the body of a request in a file that lives as long as the block.

        Raises
        ------
        RefusedError
            It is too large, ends early, comes too slowly, or too many come at once.
        """
        if self._now >= self.limits.at_once:
            raise RefusedError(
                503, "Too many bodies come in at once.", retry_after=1, hint="send it again"
            )
        held = self._room(request)
        self._now, self._held = self._now + 1, self._held + held
        try:
            with nullcontext(BytesIO()) if held else _file() as body:
                await _spool(request, body, self.limits)
                yield body
        finally:
            self._now, self._held = self._now - 1, self._held - held

    def _room(self, request: Request) -> int:
        """Return the bytes of a body that is held in memory; 0 = it goes to a file."""
        declared = request.headers.get("content-length", "")
        sound = declared.isascii() and declared.isdigit() and len(declared) < 20
        size = int(declared) if sound else 0
        fits = size <= min(self.limits.max_body, self.limits.memory - self._held)
        return size if fits else 0


class Documents:
    """ASGI layer that reads documents before a route does, and holds them to the same limits.

    ``rows`` are the paths of bodies of rows, which their routes read themselves, bit by bit.
    """

    def __init__(self, app: ASGIApp, uploads: Uploads, rows: Container[str]) -> None:
        self._app, self._uploads, self._rows = app, uploads, rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on with its document read, or refuse it."""
        bare = scope["type"] != "http" or scope["method"] != "POST"
        if bare or scope["path"] in self._rows:
            await self._app(scope, receive, send)
            return
        try:
            async with self._uploads.taken(Request(scope, receive)) as body:
                size = body.seek(0, SEEK_END)
                body.seek(0)
                if size > _LARGE:
                    await self._alone(scope, body, receive, send)
                    return
                document = body.read()
        except RefusedError as error:
            await refusal(error)(scope, receive, send)
            return
        await self._app(scope, _told_at_once(document, receive), send)

    async def _alone(self, scope: Scope, body: Body, receive: Receive, send: Send) -> None:
        """Hand on a large document, once few others are in memory; it waits in its file."""
        async with self._uploads.large:
            await self._app(scope, _told_at_once(body.read(), receive), send)


def _told_at_once(document: bytes, receive: Receive) -> Receive:
    told = False

    async def once() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": document, "more_body": False}

    return once


def _file() -> Body:
    return cast("BinaryIO", SpooledTemporaryFile(max_size=_IN_MEMORY))


async def _spool(request: Request, body: Body, limits: UploadLimits) -> None:
    size, declared = 0, request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limits.max_body:
        raise _too_large(limits.max_body)
    chunks, begun = request.stream(), monotonic()
    try:
        while chunk := await _in_time(chunks, _patience(limits, size, monotonic() - begun)):
            size += len(chunk)
            if size > limits.max_body:
                raise _too_large(limits.max_body)
            body.write(chunk)
    except TimeoutError:
        raise RefusedError(408, _slow(limits)) from None
    except ClientDisconnect:
        raise RefusedError(400, "The body ends early.", hint="send it again") from None
    body.seek(0)


async def _in_time(chunks: AsyncIterator[bytes], silence: float) -> bytes:
    """Return the next bytes; empty = there are no more."""
    async with asyncio.timeout(silence):
        async for chunk in chunks:
            if chunk:
                return chunk
        return b""


def _patience(limits: UploadLimits, size: int, seconds: float) -> float:
    """Return for how long the next bytes are waited for, after so many in so much time."""
    return min(limits.silence, limits.silence + size / limits.slowest - seconds)


def _slow(limits: UploadLimits) -> str:
    seconds, least = f"{limits.silence:g} seconds", f"{limits.slowest} bytes a second"
    return f"Nothing came for {seconds}, or less than {least}."


def _too_large(most: int) -> RefusedError:
    return RefusedError(
        413,
        f"The body must be at most {most} bytes.",
        hint="send it in parts, or raise `max_body` of `[server]`",
    )
