"""`EventTarget`: where events of the live agent go, one signed message each.

Takes an event, gives what went wrong with an attempt to deliver it. Next is the outbox, which tries
again.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from mlma.adapters.notify.addresses import Resolve, resolved
from mlma.adapters.notify.documents import compact, utc_now, written_time
from mlma.adapters.notify.sender import Sender, Trouble
from mlma.domain.ledger import Event

if TYPE_CHECKING:
    import httpx

TEST = "test"
"""Kind of an event that everybody gets: somebody looks whether it arrives."""


class EventTarget:
    """A receiver of events.

    Parameters
    ----------
    name
        as it stands in the settings and in the outbox.
    events
        kinds that it is told; those of a test are always.
    url, secret, timeout, allow_private, headers, clock, resolve
        as those of `mlma.adapters.notify.webhook.Webhook`.

    Raises
    ------
    MissingExtraError
        httpx is not installed.
    SettingsError
        A setting is not what it must be, or the address is not public.

    >>> EventTarget("desk", "https://desk.example/hook?token=abc", events=["decisions"])
    EventTarget(desk, https://desk.example:443)
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        events: Sequence[str] = ("decisions", "findings", "requests", "revised"),
        secret: str | bytes | None = None,
        timeout: float = 10.0,
        allow_private: bool = False,
        headers: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = utc_now,
        resolve: Resolve = resolved,
    ) -> None:
        self.name = name
        self._events = frozenset(events) | {TEST}
        self._sender = Sender(
            url,
            secret=secret,
            timeout=timeout,
            allow_private=allow_private,
            headers=headers,
            clock=clock,
            resolve=resolve,
        )

    def wants(self, kind: str) -> bool:
        """Return whether events of a kind are sent here."""
        return kind in self._events

    def deliver(self, event: Event, attempt: int) -> Trouble | None:
        """Post an event once; None = it has arrived. ``attempt`` counts from 0."""
        try:
            body = event_message(event)
        except (ValueError, TypeError) as error:
            return Trouble(f"its document is no JSON: {error}", refused=True)
        return self._sender.post(self._transport, body, event.id, attempt)

    @cached_property
    def _transport(self) -> "httpx.HTTPTransport":
        import httpx

        return httpx.HTTPTransport()

    def __repr__(self) -> str:
        return f"EventTarget({self.name}, {self._sender.endpoint})"


def event_message(event: Event) -> bytes:
    """Return the body of the message about an event: the same bytes however often it is sent.

    Raises
    ------
    TypeError, ValueError
        Its document is no JSON.
    """
    document = {
        "id": event.id,
        "kind": event.kind,
        "at": written_time(event.at),
        "document": dict(event.document),
    }
    return compact(document).encode()
