"""The address of a webhook: taken apart once, shown without what may be secret.

Takes a URL, gives requests to one address of its host. Next is the connection.
"""

from base64 import b64encode
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mlma.adapters.notify.addresses import ForbiddenAddressError, check_public, numeric
from mlma.domain.errors import MissingExtraError, SettingsError

if TYPE_CHECKING:
    import httpx

_PORTS = {"http": 80, "https": 443}
_OWN = frozenset({"content-length", "host", "transfer-encoding"})


class Endpoint:
    """Where messages go; its text form has scheme, host and port, never path, query or password.

    >>> str(Endpoint("https://user:word@models.example/train?token=abc", allow_private=False))
    'https://models.example:443'
    """

    def __init__(self, url: str, *, allow_private: bool) -> None:
        self._url = _parsed(url)
        self.host = self._url.raw_host.decode("ascii")
        self.port = self._url.port or _PORTS[self._url.scheme]
        if not allow_private:
            try:
                check_public(self.host, numeric(self.host, self.port))
            except ForbiddenAddressError as error:
                raise SettingsError(f"`url` of `Webhook`: {error}") from None

    def __str__(self) -> str:
        return _shown(self._url)

    def request(
        self, address: str, body: bytes, headers: Mapping[str, str], timeout: float
    ) -> "httpx.Request":
        """Return a POST to ``address`` that names the host as the URL does, in TLS too."""
        import httpx

        named = {"host": self._url.netloc.decode("ascii"), **headers}
        if self._url.userinfo:
            pair = f"{self._url.username}:{self._url.password}".encode()
            named["authorization"] = f"Basic {b64encode(pair).decode()}"
        extensions = {
            "timeout": httpx.Timeout(timeout).as_dict(),
            "sni_hostname": self.host,
        }
        pinned = self._url.copy_with(host=address)
        return httpx.Request("POST", pinned, headers=named, content=body, extensions=extensions)

    def where_to(self, location: str) -> str:
        """Return scheme, host and port that a redirect leads to."""
        import httpx

        try:
            return _shown(self._url.join(location))
        except (httpx.InvalidURL, ValueError, TypeError):
            return "an address that cannot be read"


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return further headers with names in lower case; messages never show a value.

    Raises
    ------
    SettingsError
        A name or a value is not printable ASCII text, or is the sender's own.
    """
    for name, value in headers.items():
        texts = isinstance(name, str) and isinstance(value, str)
        plain = texts and name and (name + value).isascii() and (name + value).isprintable()
        if not plain or name.lower() in _OWN or set(name) & set(' ":,;=\t'):
            shown = name if texts and name.isprintable() else "..."
            raise SettingsError(
                f"The header `{shown}` of `Webhook` must have a plain name and a value of "
                f"printable ASCII, and not be {', '.join(sorted(_OWN))}."
            )
    return {name.lower(): value for name, value in headers.items()}


def _parsed(url: str) -> "httpx.URL":
    if find_spec("httpx") is None:
        raise MissingExtraError("`Webhook`", "webhook")
    import httpx

    if not isinstance(url, str):
        raise SettingsError(f"`url` of `Webhook` must be text. Got {type(url).__name__}.")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        # The error of httpx may quote the URL, which may hold a password.
        raise SettingsError("`url` of `Webhook` cannot be read as a URL.") from None
    if parsed.scheme not in _PORTS:
        raise SettingsError(
            f"`url` of `Webhook` must start with http:// or https://. "
            f"Got the scheme `{parsed.scheme}`."
        )
    host = parsed.raw_host.decode("ascii", "replace")
    if not host or "%" in host or not 0 < (parsed.port or 1) <= 65535:
        raise SettingsError("`url` of `Webhook` must name a host, and a port from 1 to 65535.")
    return parsed


def _shown(url: "httpx.URL") -> str:
    host = url.raw_host.decode("ascii", "replace")
    shown = f"[{host}]" if ":" in host else host
    port = url.port or _PORTS.get(url.scheme)
    return f"{url.scheme}://{shown}" + (f":{port}" if port else "")
