"""Links of the desk: forms of orders that are filled in, and the way back from them.

Takes what an order is about, gives the address of its form within this server.
"""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mlma.domain.selectors import Selector
from mlma.web.pages.addresses import address

MOST_NAMES = 200
"""Names of streams that one address may hold; who means more selects by tags or an incident."""


def order_link(kind: str, selector: Selector | None = None, **fields: Any) -> str:
    """Return the address of the form of an order, filled in.

    >>> order_link("freeze", Selector(tags=("city=Ghent",)), next="/streams")
    '/orders/freeze?tag=city%3DGhent&next=%2Fstreams'
    """
    told: dict[str, Any] = {}
    if selector is not None:
        told = {
            "tag": list(selector.tags),
            "search": selector.search,
            "unique_id": list(selector.unique_ids[:MOST_NAMES]),
        }
    return address(f"/orders/{kind}", **told, **fields)


def local(sent: str, fallback: str) -> str:
    """Return an address that somebody sent along, if it is one of this server.

    >>> local("/audit?by=ann", "/"), local("//elsewhere.example", "/"), local("/\\t/x", "/")
    ('/audit?by=ann', '/', '/')
    """
    plain = all(33 <= ord(char) < 127 and char != "\\" for char in sent)
    if not plain or not sent.startswith("/") or sent.startswith("//"):
        return fallback
    parts = urlsplit(sent)
    return fallback if parts.scheme or parts.netloc else sent


def with_done(sent: str, action: int) -> str:
    """Return an address that tells of an action that was recorded.

    >>> with_done("/audit?by=ann&done=3#list", 7)
    '/audit?by=ann&done=7'
    """
    parts = urlsplit(sent)
    pairs = [pair for pair in parse_qsl(parts.query) if pair[0] != "done"]
    told: dict[str, Any] = {}
    for name, value in [*pairs, ("done", str(action))]:
        told.setdefault(name, []).append(value)
    return address(parts.path, **told)
