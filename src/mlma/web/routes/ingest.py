"""`POST /api/v1/forecasts`, `/actuals` and `/benchmarks`: rows come in.

Takes a body of any known format, answers once its rows are durable: who has the answer need not
send them again.
"""

import asyncio
from concurrent.futures import Future
from time import perf_counter

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from mlma.adapters.bodies import BodyLimits, opened, read_body
from mlma.domain.inbox import Kind, NamedRows
from mlma.service.ingest import Receipt
from mlma.web.descriptions import BODY_ERRORS, rows_body
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk, Desk, sender
from mlma.web.uploads import Body

router = APIRouter(tags=["ingest"], responses=BODY_ERRORS)

DURABLE_SECONDS = 60.0
_LONGEST_TYPE = 200


class Stored(BaseModel):
    """What became durable."""

    rows: int = Field(description="Rows of the body; all of them are stored.")
    new_streams: int = Field(description="Streams that were not known before.")
    number: int = Field(description="Number of the last parcel of the store that holds them.")


_DURABLE = "The rows are durable."


@router.post(
    "/forecasts",
    status_code=201,
    response_description=_DURABLE,
    openapi_extra=rows_body("forecasts"),
)
async def forecasts(request: Request, at: AtDesk) -> Stored:
    """Store forecasts: `unique_id`, `ds`, `y_hat`, perhaps `cutoff`."""
    return await _taken(request, at, "forecasts")


@router.post(
    "/actuals", status_code=201, response_description=_DURABLE, openapi_extra=rows_body("actuals")
)
async def actuals(request: Request, at: AtDesk) -> Stored:
    """Store actuals: `unique_id`, `ds`, `y`."""
    return await _taken(request, at, "actuals")


@router.post(
    "/benchmarks",
    status_code=201,
    response_description=_DURABLE,
    openapi_extra=rows_body("benchmarks"),
)
async def benchmarks(request: Request, at: AtDesk) -> Stored:
    """Store forecasts of a benchmark model: `unique_id`, `ds`, `y_hat`, perhaps `cutoff`."""
    return await _taken(request, at, "benchmarks")


async def _taken(request: Request, at: Desk, kind: Kind) -> Stored:
    who = sender(request)
    if wait := at.rows.wait(who):
        raise RefusedError(
            429, "Too many rows a minute.", retry_after=wait, hint="wait as `Retry-After` says"
        )
    async with at.uploads.taken(request) as body:
        begun = perf_counter()
        loop, parsers = asyncio.get_running_loop(), at.uploads.parsers
        named = await loop.run_in_executor(parsers, _read, at, request, body, kind)
        at.telemetry.parsing.labels(kind).observe(perf_counter() - begun)
    at.rows.charge(who, len(named))
    receipt = await _durable(at, named, kind)
    return Stored(rows=receipt.rows, new_streams=receipt.new_streams, number=receipt.number)


def _read(at: Desk, request: Request, body: Body, kind: Kind) -> NamedRows:
    """Return the checked rows of a body; runs in a thread of the parsers."""
    server = at.service.settings.server
    limits = BodyLimits(bytes=server.max_body, rows=server.max_rows)
    encoding = ", ".join(request.headers.getlist("content-encoding"))
    media_type = request.headers.get("content-type", "")
    if len(media_type) > _LONGEST_TYPE:  # to read one takes time that grows with its square
        raise RefusedError(
            415,
            f"`Content-Type` must have at most {_LONGEST_TYPE} characters. Got {len(media_type)}.",
            column="Content-Type",
        )
    return read_body(opened(body, encoding, limits), media_type, kind, at.service.door(), limits)


def _submit(at: Desk, named: NamedRows) -> Future[Receipt]:
    """Hand rows to the ingestor, which sorts them first; runs in a thread of the parsers."""
    return at.service.ingestor.submit(named, oldest=at.service.oldest())


async def _durable(at: Desk, named: NamedRows, kind: Kind) -> Receipt:
    """Return the receipt of rows once they are in the store."""
    begun = perf_counter()
    loop = asyncio.get_running_loop()
    submitted = await loop.run_in_executor(at.uploads.parsers, _submit, at, named)
    future = asyncio.wrap_future(submitted)
    try:
        receipt = await asyncio.wait_for(asyncio.shield(future), DURABLE_SECONDS)
    except TimeoutError:
        raise RefusedError(
            503,
            f"The rows were not durable after {DURABLE_SECONDS:g} seconds.",
            retry_after=5,
            hint="send them again: to store rows twice does no harm",
        ) from None
    at.telemetry.storing.labels(kind).observe(perf_counter() - begun)
    at.telemetry.bodies.labels(kind).inc()
    at.telemetry.rows.labels(kind).inc(receipt.rows)
    return receipt
