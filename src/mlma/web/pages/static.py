"""`/static/{name}`: the style sheet, the icon and the little script of the pages."""

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import Response

from mlma.web.errors import RefusedError

router = APIRouter(include_in_schema=False)

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@router.get("/static/{name}")
async def static(request: Request, name: str) -> Response:
    """Return a file of the pages; a browser that has it already is told so."""
    if name not in names():
        raise RefusedError(404, "There is no such file.")
    tag = f'"{mark(name)}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    kind = _TYPES[name.rpartition(".")[2]]
    return Response(_content(name), media_type=kind, headers={"ETag": tag})


@cache
def names() -> frozenset[str]:
    """Return the names of the files that there are."""
    there = files("mlma.web").joinpath("static").iterdir()
    return frozenset(one.name for one in there if one.name.rpartition(".")[2] in _TYPES)


@cache
def mark(name: str) -> str:
    """Return what stands for the content of a file: an address that has it is never out of date."""
    return hashlib.sha256(_content(name)).hexdigest()[:12]


@cache
def _content(name: str) -> bytes:
    return files("mlma.web").joinpath("static", name).read_bytes()
