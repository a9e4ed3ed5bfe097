"""Faults of pages: a person at a browser is told in a page what is wrong, a program in a document.

Takes the answer that a program would get, gives it in the form that its reader understands.
"""

from collections.abc import Awaitable, Callable
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from mlma.domain.errors import MlmaError
from mlma.web.errors import ErrorAnswer, RefusedError
from mlma.web.refused import answer, wants_page

Handler = Callable[[Request, Exception], Awaitable[Response]]
_KINDS = (RefusedError, MlmaError, RequestValidationError, HTTPException)


def add_page_handlers(app: FastAPI) -> None:
    """Put a page before each handler of errors that there is."""
    for kind in _KINDS:
        app.add_exception_handler(kind, _shown(cast("Handler", app.exception_handlers[kind])))


def _shown(handler: Handler) -> Handler:
    async def shown(request: Request, error: Exception) -> Response:
        told = await handler(request, error)
        if not wants_page(request.scope):
            return told
        detail = ErrorAnswer.model_validate_json(bytes(told.body)).error
        wait = told.headers.get("retry-after")
        refused = RefusedError(
            told.status_code,
            detail.message,
            hint=detail.hint,
            retry_after=None if wait is None else float(wait),
        )
        return answer(request.scope, refused)

    return shown
