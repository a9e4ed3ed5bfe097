"""What the description of the interface says beyond what types tell: bodies, errors, rights.

Takes the routes, gives the document of ``/openapi.json``.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mlma.domain.inbox import Kind
from mlma.web.errors import ErrorAnswer
from mlma.web.guard import needed

_WHY = {
    400: "The body cannot be read.",
    401: "A key is needed, or this one is not known.",
    403: "The key, the host or the site may not do this.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "Somebody else was first.",
    413: "The body is too large.",
    415: "The format or encoding of the body is not known.",
    422: "Something in the request is not what it must be; `row` and `column` tell where.",
    429: "Too much at once; `Retry-After` tells when to come again.",
    503: "The store or the agent is away; `Retry-After` tells when to come again.",
}

Answers = dict[int | str, dict[str, Any]]


def error_answers(*statuses: int) -> Answers:
    """Return how the description tells the errors of an operation."""
    later = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return {
        status: {"model": ErrorAnswer, "description": _WHY[status]}
        | ({"headers": later} if status in {429, 503} else {})
        for status in statuses
    }


EVERY_ERROR = error_answers(401, 403, 422, 429, 503)
BODY_ERRORS = error_answers(400, 401, 403, 408, 413, 415, 422, 429, 503)

_ID = {"type": "string", "minLength": 1, "maxLength": 200, "description": "Name of the stream."}
_DS = {"type": "string", "description": "Start of the slot, such as 2025-03-01T12:15:00."}
_CUTOFF = {
    "type": ["string", "null"],
    "description": "When the forecast was made; the latest one of a slot counts.",
}


def rows_body(kind: Kind) -> dict[str, Any]:
    """Return how the description tells a body of rows."""
    value = "y" if kind == "actuals" else "y_hat"
    number = {"type": "number", "description": "Actual." if kind == "actuals" else "Forecast."}
    columns: dict[str, Any] = {"unique_id": _ID, "ds": _DS, value: number}
    if kind != "actuals":
        columns["cutoff"] = _CUTOFF
    required = ["unique_id", "ds", value]
    row = {"type": "object", "properties": columns, "required": required}
    lists = {name: {"type": "array", "items": told} for name, told in columns.items()}
    by_column = {"type": "object", "properties": lists, "required": required}
    rows = {"type": "array", "minItems": 1, "items": row}
    text = {"type": "string", "description": f"Header {','.join(columns)} and a line per row."}
    binary = {"type": "string", "format": "binary"}
    example = {"unique_id": "a", "ds": "2025-03-01T12:15:00", value: 1.5}
    content: dict[str, Any] = {
        "application/json": {"schema": {"anyOf": [rows, by_column]}, "example": [example]},
        "application/x-ndjson": {"schema": {"type": "string", "description": "A row per line."}},
        "text/csv": {"schema": text},
        "application/vnd.apache.arrow.stream": {"schema": binary},
        "application/vnd.apache.arrow.file": {"schema": binary},
        "application/vnd.apache.parquet": {"schema": binary},
    }
    encoding = {
        "name": "Content-Encoding",
        "in": "header",
        "schema": {"type": "string", "enum": ["identity", "gzip", "deflate"]},
    }
    return {"requestBody": {"required": True, "content": content}, "parameters": [encoding]}


_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer mlma_..."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
ROLES = {
    "read": "a key of the role `read`, `engineer` or `admin`",
    "ingest": "a key of the role `ingest`, `engineer` or `admin`",
    "engineer": "a key of the role `engineer` or `admin`",
    "admin": "a key of the role `admin`",
}


def described(app: FastAPI) -> dict[str, Any]:
    """Return the document of ``/openapi.json``; made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        made["components"]["securitySchemes"] = _KEYS
        for path, operations in made["paths"].items():
            for method, operation in operations.items():
                _finish(operation, needed(method.upper(), path))
        _drop_unused(made)
        app.openapi_schema = made
    return app.openapi_schema


def _finish(operation: dict[str, Any], right: str | None) -> None:
    """Tell which key an operation needs, once keys are set."""
    if right is None:
        return
    operation["security"] = [{"bearer": []}, {"header": []}, {}]
    told = operation.get("description", "")
    operation["description"] = f"{told}\n\nNeeds {ROLES[right]}, once keys are set.".strip()


def _drop_unused(made: dict[str, Any]) -> None:
    """Leave out the framework's own form of errors: all are answered in ours."""
    schemas = made["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
