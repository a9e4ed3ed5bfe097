"""`Sender`: one attempt to post a signed JSON message to an address that may be posted to.

Takes a body and its id, gives what went wrong, if anything did. The webhook and the outbox decide
what becomes of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from mlma.adapters.notify.addresses import (
    ForbiddenAddressError,
    Resolve,
    check_public,
    resolved,
)
from mlma.adapters.notify.deadline import Deadline
from mlma.adapters.notify.documents import digest, utc_now
from mlma.adapters.notify.endpoint import Endpoint, checked_headers
from mlma.adapters.notify.signature import SIGNATURE_HEADER, secret_bytes, signature

if TYPE_CHECKING:
    import httpx

LONGEST_WAIT_SECONDS = 3600.0
"""A receiver that asks for more patience gets this much."""

_PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an attempt failed.

    again
        whether another attempt may help, as it is: the receiver was not reached, has too much to
        do, or broke.
    wait_seconds
        for which the receiver asks at least.
    refused
        the receiver was reached and does not want this message: others may pass.
    """

    why: str
    again: bool = False
    wait_seconds: float = 0.0
    refused: bool = False


class Sender:
    """Posts messages to one address, each once; see `mlma.adapters.notify.webhook.Webhook`.

    The connection goes to the addresses that were checked; no proxy is used. A redirect is not
    followed, wherever it leads. What the receiver answers beside the status is not read.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | bytes | None = None,
        timeout: float = 10.0,
        allow_private: bool = False,
        headers: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = utc_now,
        resolve: Resolve = resolved,
    ) -> None:
        self.endpoint = Endpoint(url, allow_private=allow_private)
        self._secret = None if secret is None else secret_bytes(secret)
        self.timeout = timeout
        self.allow_private = allow_private
        self._headers = checked_headers(headers or {})
        self._clock, self._resolve = clock, resolve

    @property
    def signs(self) -> bool:
        """Whether messages are signed."""
        return self._secret is not None

    def post(
        self, transport: "httpx.HTTPTransport", body: bytes, key: str, attempt: int
    ) -> Trouble | None:
        """Post once; None = the message has arrived. ``attempt`` counts from 0."""
        import httpx

        try:
            request = self._request(body, key, attempt)
        except ForbiddenAddressError as error:
            return Trouble(str(error).rstrip("."))
        except OSError as error:
            return Trouble(f"its host has no address: {error}", again=True)
        with Deadline(self.timeout) as deadline:
            request.extensions["trace"] = deadline.trace
            try:
                response = transport.handle_request(request)
                response.close()
            except httpx.TransportError as error:
                return self._broken(error, deadline)
        return self._judged(response)

    def _broken(self, error: "httpx.TransportError", deadline: Deadline) -> Trouble:
        import httpx

        if deadline.passed or isinstance(error, httpx.TimeoutException):
            return Trouble(f"no answer within {self.timeout:g} s", again=True)
        if isinstance(error, httpx.ConnectError):
            return Trouble(f"no connection: {error}", again=True)
        return Trouble(f"the connection broke ({type(error).__name__})", again=True)

    def _request(self, body: bytes, key: str, attempt: int) -> "httpx.Request":
        """Return the request to an address of the host that was looked up and checked just now."""
        host, port = self.endpoint.host, self.endpoint.port
        addresses = list(self._resolve(host, port))
        if not addresses:
            raise OSError("none was found")
        if not self.allow_private:
            check_public(host, addresses)
        headers = {
            **self._headers,
            "content-type": "application/json",
            "user-agent": "mlma",
            "idempotency-key": key,
            "connection": "close",
        }
        if self._secret is not None:
            stamp = int(self._clock().timestamp())
            headers[SIGNATURE_HEADER] = signature(body, self._secret, stamp)
        return self.endpoint.request(
            addresses[attempt % len(addresses)], body, headers, self.timeout
        )

    def _judged(self, response: "httpx.Response") -> Trouble | None:
        """Return what is wrong with an answer; None = the message has arrived."""
        status = response.status_code
        if 200 <= status < 300:
            return None
        if 300 <= status < 400:
            to = self.endpoint.where_to(response.headers.get("location", ""))
            return Trouble(
                f"it answered {status}, a redirect to {to}, which is not followed. "
                f"Hint: if that is right, give the new address"
            )
        again = status >= 500 or status in _PASSING
        wait = _wait_seconds(response.headers.get("retry-after"), self._clock()) if again else 0.0
        return Trouble(f"it answered {status}", again, wait, refused=not again)


def pause_seconds(key: str, attempt: int, first: float, longest: float) -> float:
    """Return the seconds before the next attempt; messages differ, so they do not come in step.

    Pauses double from ``first`` to ``longest``, less a share of up to a half.
    """
    most = min(first * 2.0 ** min(attempt, 60), longest)
    share = int(digest([key, attempt])[:8], 16) / 2**32
    return most * (1 - share / 2)


def _wait_seconds(retry_after: str | None, now: datetime) -> float:
    """Return the seconds that a receiver asks for, an hour at most; 0 = it asks for none."""
    text = (retry_after or "").strip()
    try:
        if text.isascii() and text.isdecimal():
            seconds = float(text)
        else:
            moment = parsedate_to_datetime(text)
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = (aware - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)
