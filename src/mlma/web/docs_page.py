"""The page ``/docs``: the description of the interface for people, without a script.

Takes the document of ``/openapi.json``, gives HTML that loads nothing from elsewhere.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape
from markupsafe import Markup, escape

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    """Return the description of the interface."""
    return JSONResponse(request.app.openapi())


@router.get("/")
async def front() -> RedirectResponse:
    """Lead whoever opens the address of the server to the fleet."""
    return RedirectResponse("/fleet", 303)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Return the description of the interface for people."""
    state = request.app.state
    if not hasattr(state, "docs_page"):  # made once: whoever asks for it needs no key
        state.docs_page = page(request.app.openapi())
    return HTMLResponse(state.docs_page)


@router.get("/docs.css")
async def style() -> Response:
    """Return how the page looks."""
    text = files("mlma.web").joinpath("templates/docs.css").read_text("utf-8")
    return Response(text, media_type="text/css")


@router.get("/favicon.ico")
async def icon() -> Response:
    """Return nothing: browsers ask for it whether or not there is one."""
    return Response(status_code=204)


def page(document: Mapping[str, Any]) -> str:
    """Return the description as a page."""
    return _template().render(
        title=document["info"]["title"],
        version=document["info"]["version"],
        told=document["info"].get("description", ""),
        groups=_groups(document),
        schemas=document["components"]["schemas"],
        type_of=type_of,
        marked=marked,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("mlma.web"),
        undefined=StrictUndefined,
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("docs.html")


def _groups(document: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the operations by their first tag, in the order of the routes."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for operation in _operations(document):
        groups.setdefault(operation["tags"][0], []).append(operation)
    return groups


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            body = told.get("requestBody", {}).get("content", {})
            yield {
                "id": told["operationId"],
                "path": path,
                "method": method.upper(),
                "told": told.get("description", told.get("summary", "")),
                "tags": told.get("tags", ["other"]),
                "parameters": told.get("parameters", []),
                "body": body,
                "responses": dict(sorted(told["responses"].items())),
                "curl": _curl(method, path, body, document),
            }


def _curl(method: str, path: str, body: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    address = f'"$MLMA{path}"'
    key = '-H "Authorization: Bearer $MLMA_KEY"'
    if method == "get":
        return f"curl {key} {address}"
    if not body:
        return f"curl -X POST {key} {address}"
    told = body["application/json"]
    example = told.get("example") or _example(told["schema"], document)
    sent = json.dumps(example).replace("'", "'\\''")
    return f"curl {key} -H 'Content-Type: application/json' \\\n  -d '{sent}' {address}"


def _example(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Any:
    """Return a small value that fits a schema, for the example of a request."""
    if "$ref" in schema:
        return _example(document["components"]["schemas"][_name(schema["$ref"])], document)
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], document)
    kind = schema.get("type")
    made: Any = {"integer": 1, "number": 1.0, "boolean": True}.get(str(kind), "a")
    if kind == "object":
        named = schema.get("properties", {})
        made = {one: _example(named[one], document) for one in schema.get("required", [])}
    elif kind == "array":
        made = [_example(schema["items"], document)]
    elif schema.get("format") == "date-time":
        made = "2025-03-01T12:00:00Z"
    return schema.get("example", schema.get("enum", [made])[0])


def type_of(schema: Mapping[str, Any]) -> str:
    """Return a schema in words.

    >>> type_of({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]})
    'list of string, or null'
    """
    if "$ref" in schema:
        return _name(schema["$ref"])
    if "enum" in schema:
        return ", ".join(str(one) for one in schema["enum"])
    if "anyOf" in schema:
        return ", or ".join(type_of(one) for one in schema["anyOf"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    told = ", or ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{told} ({schema['format']})" if "format" in schema else told


def marked(text: str) -> Markup:
    """Return text with what stands between back-ticks as code.

    >>> marked("`a<b` & c")
    Markup('<code>a&lt;b</code> &amp; c')
    """
    parts = text.split("`")
    told = [
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part)
        for at, part in enumerate(parts)
    ]
    return Markup("").join(told)


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]
