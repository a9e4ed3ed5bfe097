"""`AppriseTarget`: messages to people, by mail, chat or whatever Apprise can reach.

Takes an event, gives what went wrong with an attempt to deliver it. Next is the outbox, which tries
again. The address is a secret as a whole: it stands in no log line, no error and no text form.
"""

import logging
import re
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mlma.adapters.notify.alert_texts import Message, message_of
from mlma.adapters.notify.sender import Trouble
from mlma.domain.errors import MissingExtraError, SettingsError
from mlma.domain.ledger import Event

if TYPE_CHECKING:
    from apprise import Apprise

TIMEOUT_SECONDS = 20.0
"""For a whole attempt, however many receivers one address has."""

_KINDS = ("incident", "digest")
_TEST = "test"
_HIDDEN = "***"
_STATUS = re.compile(r"\berror=(\d{3})\b")
_PASSING = frozenset({408, 425, 429})
_SHORTEST_SECRET = 3
_LONGEST_REASON = 300


class AppriseTarget:
    """Receivers behind one address of Apprise.

    Parameters
    ----------
    name
        as it stands in the settings.
    url
        of Apprise, such as ``mailtos://user:password@mail.example``.
    kinds
        of events that are sent; those of a test are always.
    public_url, zone
        see `mlma.adapters.notify.alert_texts.message_of`.

    Nothing is sent, and no host is looked up, before `deliver` is called.

    Raises
    ------
    MissingExtraError
        apprise is not installed.
    SettingsError
        Apprise does not know such an address.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        kinds: Iterable[str] = _KINDS,
        public_url: str = "",
        zone: str = "UTC",
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self.name = name
        self._kinds = frozenset(kinds) | {_TEST}
        self._public_url, self._zone, self._timeout = public_url, zone, timeout
        self._secrets = _secrets(url)
        self._apprise = _opened(name, url)

    def wants(self, kind: str) -> bool:
        """Return whether events of a kind are sent here."""
        return kind in self._kinds

    def deliver(self, event: Event, attempt: int) -> Trouble | None:
        """Send an event once; None = it has arrived. ``attempt`` counts from 0, and tells nothing.

        A receiver that was reached and refuses (a status of 4xx) has ``refused`` it; all else is
        tried again. Where an address has several receivers, one that fails fails the attempt.
        """
        return self.send(message_of(event, public_url=self._public_url, zone=self._zone))

    def send(self, message: Message) -> Trouble | None:
        """Send a message once; None = it has arrived."""
        from apprise import NotifyFormat

        result = self._apprise.notify(
            title=message.title,
            body=message.body,
            body_format=NotifyFormat.TEXT,  # so that it is escaped for HTML and Markdown
            timeout=self._timeout,
        )
        if result:
            return None
        told = [str(entry.message) for entry in result.logs()]
        return _trouble(result.status.name, [self._without_secrets(one) for one in told])

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return " ".join(text.split())

    def __repr__(self) -> str:
        return f"AppriseTarget({self.name})"


def _opened(name: str, url: str) -> "Apprise":
    try:
        import apprise
    except ImportError:
        raise MissingExtraError("`[[alerts]]`", "alerts") from None
    _hush()
    asset = apprise.AppriseAsset(
        app_id="mlma",
        app_desc="mlma",
        app_url="",
        image_url_mask="",  # no picture of another host in a message
        image_url_logo="",
        image_path_mask="",
        async_mode=False,
        storage_mode="memory",  # nothing is written to the disk
        secure_logging=True,
    )
    made = apprise.Apprise(asset=asset)
    with warnings.catch_warnings():  # of the libraries of all its receivers, which it loads here
        warnings.simplefilter("ignore", DeprecationWarning)
        known = made.add(url)
    if not known:
        raise SettingsError(
            f"`url` of the alert `{name}` must be an address of Apprise. Got {_scheme(url)}. "
            f"Hint: mailtos://user:password@mail.example, slack://..., msteams://..., json://..."
        )
    return made


def _hush() -> None:
    """Keep addresses out of the logs: Apprise and what it sends with write them on many levels.

    What Apprise tells of an attempt is read from its result.
    """
    told = logging.getLogger("apprise")
    told.propagate = False
    if not told.handlers:
        told.addHandler(logging.NullHandler())
    for name in ("urllib3", "requests", "requests_oauthlib", "oauthlib"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.ERROR))


def _trouble(status: str, told: list[str]) -> Trouble:
    why = told[-1].rstrip(".") if told else ""
    found = _STATUS.findall(why)
    code = int(found[-1]) if found else 0
    refused = 400 <= code < 500 and code not in _PASSING
    words = f"not delivered ({status.lower()})"
    if why:
        words += f": {why[:_LONGEST_REASON]}"
    return Trouble(words, again=not refused, refused=refused)


def _secrets(url: str) -> list[str]:
    """Return all parts of an address that may be secret, the longest first."""
    rest = url.partition("://")[2]
    parts = {part for part in re.split(r"[/?&=:@,#]", rest) if len(part) >= _SHORTEST_SECRET}
    parts |= {unquote(part) for part in parts}
    return sorted(parts, key=lambda part: (-len(part), part))


def _scheme(url: str) -> str:
    """Return what of an address can be told."""
    scheme, found, _ = url.partition("://")
    known = found and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,20}", scheme)
    return f"{scheme}://{_HIDDEN}" if known else "a text without a scheme"
