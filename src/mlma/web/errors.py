"""What a request is refused with: one form, whatever went wrong.

Takes the errors of the house, gives answers with a status. A bad request is never answered with a
status of the server's own faults.
"""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from mlma.adapters.bodies.errors import BodyError, MediaTypeError, TooLargeError
from mlma.domain.errors import (
    ConflictError,
    DataError,
    MissingExtraError,
    MlmaError,
    SettingsError,
    SourceError,
    StoreError,
)
from mlma.service.ingest import BusyError
from mlma.service.logs import clean_text

_LONGEST_NAME = 200
RETRY_SECONDS = 5
"""When to come again while the store is away."""


class ErrorDetail(BaseModel):
    """What was wrong, where, and what to do about it."""

    message: str
    row: int | None = Field(None, description="Number of the first bad row, from 1.")
    column: str | None = Field(None, description="Column or parameter that is wrong.")
    hint: str | None = None


class ErrorAnswer(BaseModel):
    """The answer to every request that is refused."""

    error: ErrorDetail


class RefusedError(Exception):
    """A request is refused with a status and a reason that its sender can act upon."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        row: int | None = None,
        column: str | None = None,
        hint: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = ErrorDetail(message=message, row=row, column=column, hint=hint)
        self.retry_after = retry_after


_STATUS: tuple[tuple[type[MlmaError], int], ...] = (
    (MediaTypeError, 415),
    (TooLargeError, 413),
    (ConflictError, 409),
    (BusyError, 503),
    (StoreError, 503),
    (SourceError, 503),
    (MissingExtraError, 415),
    (DataError, 422),
    (SettingsError, 422),
)


def refusal_of(error: MlmaError) -> RefusedError:
    """Return what an error of the house means to the sender of a request.

    >>> made = refusal_of(DataError("`y` must be a number. Got 'x'. Hint: drop the row."))
    >>> made.status, made.detail.hint
    (422, 'drop the row')
    """
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    message, _, hint = clean_text(str(error)).partition(" Hint: ")
    row, column = (error.row, error.column) if isinstance(error, BodyError) else (None, None)
    if type(error) is BodyError and row is None and column is None:
        status = 400  # it cannot even be read
    return RefusedError(
        status,
        message,
        row=row,
        column=column,
        hint=hint.removesuffix(".") or None,
        retry_after=RETRY_SECONDS if status == 503 else None,
    )


def refusal(error: RefusedError) -> JSONResponse:
    """Return the answer to a request that is refused."""
    headers = {} if error.retry_after is None else {"Retry-After": _seconds(error.retry_after)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = ErrorAnswer(error=error.detail).model_dump()
    return JSONResponse(body, status_code=error.status, headers=headers)


def _seconds(wait: float) -> str:
    return str(max(int(wait + 0.999), 1))


def add_handlers(app: FastAPI) -> None:
    """Give every error that a route can raise its answer."""
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(MlmaError, _of_the_house)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _unrouted)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, RefusedError)
    return refusal(error)


async def _of_the_house(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MlmaError)
    made = refusal_of(error)
    if made.status == 500:
        raise error  # no fault of the sender: logged with its trace, told without
    return await _refused(request, made)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, RequestValidationError)
    return refusal(refusal_of_parameters(error.errors()))


def refusal_of_parameters(errors: Any) -> RefusedError:
    """Return what is wrong with a parameter or a document; the first error is told."""
    first = errors[0]
    kind, *path = [str(part) for part in first["loc"]]
    if first["type"] == "json_invalid":
        return RefusedError(400, "The body is no JSON.", hint="look for a missing bracket or comma")
    name = ".".join(path)[:_LONGEST_NAME] or kind
    where = "Parameter" if kind == "query" else "Field"
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    return RefusedError(422, f"{where} `{name}`: {first['msg']}.{more}", column=name)


async def _unrouted(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    known = {404: "There is nothing here.", 405: f"`{request.method}` is not possible here."}
    hint = "/docs lists what there is" if error.status_code in known else None
    made = RefusedError(error.status_code, known.get(error.status_code, error.detail), hint=hint)
    answer = refusal(made)
    answer.headers.update(error.headers or {})
    return answer
