"""`Webhook`: requests for re-training as signed messages over HTTP.

Takes requests, posts one JSON document per portion, tries again where that may help. A receiver
answers 2xx, trains, and tells the agent when the new version is live.
"""

import time
from collections.abc import Callable, Mapping, Sequence
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
from mlma.adapters.notify.documents import batch_id, digest, message, portions, utc_now
from mlma.adapters.notify.endpoint import Endpoint, checked_headers
from mlma.adapters.notify.signature import SIGNATURE_HEADER, secret_bytes, signature
from mlma.domain.errors import SettingsError
from mlma.ports import DeliveryError, RetrainingRequest

if TYPE_CHECKING:
    import httpx

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why an attempt failed; may another one help, and after how many seconds at least?"""

    why: str
    again: bool = False
    wait_seconds: float = 0.0
    refused: bool = False


class Webhook:
    """Posts requests for re-training to an address.

    Parameters
    ----------
    url
        ``http`` or ``https``. User and password in it become an ``Authorization`` header. Messages
        and logs of this library show scheme, host and port only.
    secret
        signs each message, see `verify_signature`; None = messages are not signed.
    timeout
        seconds that one attempt may take, from the connection to the status.
    retries
        further attempts after a status of 500 or more, 429, a time-out or a failed connection.
        Pauses double from half a second to a minute, less a random share of up to a half;
        ``Retry-After`` lengthens a pause, to a minute at most.
    allow_private
        whether the host may have an address that is not public: loopback, private, link-local.
    max_requests, max_bytes
        bounds of one message.
    headers
        further headers, such as a token.
    sleep, clock, resolve
        how to wait some seconds, to tell the time (with a time zone), to find the addresses of a
        host.

    The connection goes to the addresses that were checked; no proxy is used. A redirect is not
    followed, wherever it leads. What the receiver answers beside the status is not read.

    Raises
    ------
    MissingExtraError
        httpx is not installed.
    SettingsError
        A setting is not what it must be, or the address is not public.

    >>> Webhook("https://user:word@models.example/train?token=abc", secret="s")
    Webhook(https://models.example:443, signed)
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | bytes | None = None,
        timeout: float = 10.0,
        retries: int = 3,
        allow_private: bool = False,
        max_requests: int = 1000,
        max_bytes: int = 262_144,
        headers: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], datetime] = utc_now,
        resolve: Resolve = resolved,
    ) -> None:
        self._endpoint = Endpoint(url, allow_private=allow_private)
        self._secret = None if secret is None else secret_bytes(secret)
        self.timeout = _above("timeout", timeout, 0.0, open_end=True)
        self.retries = int(_above("retries", retries, 0))
        self.allow_private = allow_private
        self.max_requests = int(_above("max_requests", max_requests, 1))
        self.max_bytes = int(_above("max_bytes", max_bytes, 1))
        self._headers = checked_headers(headers or {})
        self._sleep, self._clock, self._resolve = sleep, clock, resolve

    def batches(self, requests: Sequence[RetrainingRequest]) -> list[tuple[RetrainingRequest, ...]]:
        """Return the requests in portions, each for one message."""
        return portions(requests, self.max_requests, self.max_bytes)

    def send(self, batch: Sequence[RetrainingRequest]) -> None:
        """Post one message and wait for a status of 2xx.

        Raises
        ------
        DeliveryError
            None came, or the message is too long. The receiver may have it all the same: its
            ``id`` is the same when it is sent again.
        """
        body, key = message(batch, self._clock()), batch_id(batch)
        if len(body) > self.max_bytes:
            raise DeliveryError(
                f"The message about {_streams(batch)} has {len(body)} bytes. Expected at most "
                f"{self.max_bytes} (`max_bytes`). Nothing was sent.",
                refused=True,
            )
        tried, trouble = self._tried(body, key)
        if trouble is not None:
            times = "" if tried == 1 else f" ({tried} attempts)"
            raise DeliveryError(
                f"The webhook at {self._endpoint} did not take the message about "
                f"{_streams(batch)}: {trouble.why}{times}.",
                refused=trouble.refused,
            )

    def __repr__(self) -> str:
        return f"Webhook({self._endpoint}, {'not ' * (self._secret is None)}signed)"

    def _tried(self, body: bytes, key: str) -> tuple[int, _Trouble | None]:
        """Return the number of attempts, and why the last one failed; None = it did not."""
        import httpx

        with httpx.HTTPTransport() as transport:
            for attempt in range(self.retries + 1):
                trouble = self._attempt(transport, body, key, attempt)
                if trouble is None or not trouble.again or attempt == self.retries:
                    break
                self._sleep(max(_pause(key, attempt), trouble.wait_seconds))
        return attempt + 1, trouble

    def _attempt(
        self, transport: "httpx.HTTPTransport", body: bytes, key: str, attempt: int
    ) -> _Trouble | None:
        """Post once; None = the message has arrived."""
        import httpx

        try:
            request = self._request(body, key, attempt)
        except ForbiddenAddressError as error:
            return _Trouble(str(error).rstrip("."))
        except OSError as error:
            return _Trouble(f"its host has no address: {error}", again=True)
        with Deadline(self.timeout) as deadline:
            request.extensions["trace"] = deadline.trace
            try:
                response = transport.handle_request(request)
                response.close()
            except httpx.TransportError as error:
                return self._broken(error, deadline)
        return self._judged(response)

    def _broken(self, error: "httpx.TransportError", deadline: Deadline) -> _Trouble:
        import httpx

        if deadline.passed or isinstance(error, httpx.TimeoutException):
            return _Trouble(f"no answer within {self.timeout:g} s", again=True)
        if isinstance(error, httpx.ConnectError):
            return _Trouble(f"no connection: {error}", again=True)
        return _Trouble(f"the connection broke ({type(error).__name__})", again=True)

    def _request(self, body: bytes, key: str, attempt: int) -> "httpx.Request":
        """Return the request to an address of the host that was looked up and checked just now."""
        host, port = self._endpoint.host, self._endpoint.port
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
        return self._endpoint.request(
            addresses[attempt % len(addresses)], body, headers, self.timeout
        )

    def _judged(self, response: "httpx.Response") -> _Trouble | None:
        """Return what is wrong with an answer; None = the message has arrived."""
        status = response.status_code
        if 200 <= status < 300:
            return None
        if 300 <= status < 400:
            to = self._endpoint.where_to(response.headers.get("location", ""))
            return _Trouble(
                f"it answered {status}, a redirect to {to}, which is not followed. "
                f"Hint: if that is right, give the new address"
            )
        again = status >= 500 or status == 429
        wait = _wait_seconds(response.headers.get("retry-after"), self._clock()) if again else 0.0
        return _Trouble(f"it answered {status}", again, wait, refused=not again)


def _above(name: str, value: float, least: float, *, open_end: bool = False) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and least <= value < float("inf") and not (open_end and value == least):
        return value
    raise SettingsError(
        f"`{name}` of `Webhook` must be {'above' if open_end else 'at least'} {least:g} and "
        f"finite. Got {value!r}."
    )


def _streams(batch: Sequence[RetrainingRequest]) -> str:
    if not batch:
        return "no stream"
    name = batch[0].unique_id[:80]
    first = name if name.isprintable() else repr(name)
    return first if len(batch) < 2 else f"{first} and {len(batch) - 1} more"


def _pause(key: str, attempt: int) -> float:
    """Return the seconds before the next attempt; messages differ, so they do not come in step."""
    longest = min(FIRST_PAUSE_SECONDS * 2.0**attempt, LONGEST_PAUSE_SECONDS)
    share = int(digest([key, attempt])[:8], 16) / 2**32
    return longest * (1 - share / 2)


def _wait_seconds(retry_after: str | None, now: datetime) -> float:
    """Return the seconds that a receiver asks for, a minute at most; 0 = it asks for none."""
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
    return min(max(seconds, 0.0), LONGEST_PAUSE_SECONDS)
