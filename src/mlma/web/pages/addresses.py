"""Addresses: every link of the pages is built here, so that none is put together by hand."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from fastapi import Request

Pairs = Iterable[tuple[str, Any]]


def address(path: str, **parameters: Any) -> str:
    """Return a path with parameters; lists repeat one, what is None or empty is left out.

    >>> address("/stream", unique_id="a b&c", tag=["x=1", "y=2"], search="")
    '/stream?unique_id=a+b%26c&tag=x%3D1&tag=y%3D2'
    """
    told = list(_pairs(parameters.items()))
    return f"{path}?{urlencode(told)}" if told else path


class Here:
    """The address of the page that is looked at, and the same with other parameters."""

    def __init__(self, request: Request) -> None:
        self.path = str(request.scope["path"])  # whatever host the request names
        self.parameters = [pair for pair in request.query_params.multi_items() if pair[1]]

    def __str__(self) -> str:
        return self.but()

    def __call__(self, **changes: Any) -> str:
        """Return this address with other parameters: None leaves one out.

        What was a message to the first page is left out, and so is the number of a page whose
        order or filter changes.
        """
        passing = {"done", "page"}
        return self.but(**{**dict.fromkeys(passing - changes.keys()), **changes})

    def but(self, **changes: Any) -> str:
        """Return this address with just these changes."""
        kept = [pair for pair in self.parameters if pair[0] not in changes]
        told = [*kept, *_pairs(changes.items())]
        return f"{self.path}?{urlencode(told)}" if told else self.path

    def get(self, name: str, default: str = "") -> str:
        """Return a parameter."""
        return next((value for key, value in self.parameters if key == name), default)

    def all(self, name: str) -> list[str]:
        """Return all values of a parameter."""
        return [value for key, value in self.parameters if key == name]

    def others(self, *names: str) -> list[tuple[str, str]]:
        """Return the parameters but these: hidden fields of a form that changes only some."""
        left_out = {*names, "page", "done", "format"}
        return [pair for pair in self.parameters if pair[0] not in left_out]


def _pairs(given: Pairs) -> Pairs:
    for name, value in given:
        several = value if isinstance(value, list | tuple) else [value]
        yield from ((name, one) for one in several if one is not None and one != "")
