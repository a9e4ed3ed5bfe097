"""`Webhook`: requests for re-training as signed messages over HTTP.

Takes requests, posts one JSON document per portion, tries again where that may help. A receiver
answers 2xx, trains, and tells the agent when the new version is live.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from mlma.adapters.notify.addresses import Resolve, resolved
from mlma.adapters.notify.documents import batch_id, message, portions, utc_now
from mlma.adapters.notify.sender import Sender, Trouble, pause_seconds
from mlma.domain.errors import SettingsError
from mlma.ports import DeliveryError, RetrainingRequest

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0


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
        further attempts after a status of 500 or more, 408, 425 or 429, a time-out or a failed
        connection.
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
        self._sender = Sender(
            url,
            secret=secret,
            timeout=_above("timeout", timeout, 0.0, open_end=True),
            allow_private=allow_private,
            headers=headers,
            clock=clock,
            resolve=resolve,
        )
        self.timeout, self.allow_private = timeout, allow_private
        self.retries = int(_above("retries", retries, 0))
        self.max_requests = int(_above("max_requests", max_requests, 1))
        self.max_bytes = int(_above("max_bytes", max_bytes, 1))
        self._sleep, self._clock = sleep, clock

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
                f"The webhook at {self._sender.endpoint} did not take the message about "
                f"{_streams(batch)}: {trouble.why}{times}.",
                refused=trouble.refused,
            )

    def __repr__(self) -> str:
        return f"Webhook({self._sender.endpoint}, {'not ' * (not self._sender.signs)}signed)"

    def _tried(self, body: bytes, key: str) -> tuple[int, Trouble | None]:
        """Return the number of attempts, and why the last one failed; None = it did not."""
        import httpx

        with httpx.HTTPTransport() as transport:
            for attempt in range(self.retries + 1):
                trouble = self._sender.post(transport, body, key, attempt)
                if trouble is None or not trouble.again or attempt == self.retries:
                    break
                pause = pause_seconds(key, attempt, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
                asked = min(trouble.wait_seconds, LONGEST_PAUSE_SECONDS)
                self._sleep(max(pause, asked))
        return attempt + 1, trouble


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
