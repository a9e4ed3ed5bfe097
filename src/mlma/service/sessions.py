"""Sessions: who signed in, told by a signed cookie; and tokens that forms carry.

Takes people who are known, gives text for a cookie and reads it back. Nothing is kept but one
secret, in the store, so that all servers on it agree and a restart signs nobody out.
"""

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from threading import Lock
from typing import Any, Protocol, cast

from itsdangerous import BadSignature, URLSafeTimedSerializer
from itsdangerous.timed import TimestampSigner

from mlma.service.users import UserBook, UserInfo

SECRET = "session_secret"
LONGEST = timedelta(days=30)
"""After so long a session is over, however often it was used."""

_RENEWED_AFTER = 20  # a session is renewed once a twentieth of its lifetime is over
_LOOK_AGAIN = 2.0  # seconds
_SIGNED = {"digest_method": sha256}
_SALT = 16


class Memory(Protocol):
    """What keeps the secret: a store."""

    def setting(self, name: str) -> str | None:
        """Return what was remembered."""
        ...

    def remember(self, name: str, value: str) -> None:
        """Remember a value."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in.

    id
        chance, new with each sign-in; what forms are bound to.
    begun, signed
        seconds since 1970: of the sign-in, and of the cookie as it is.
    """

    user: UserInfo
    id: str
    begun: int
    signed: int


class Sessions:
    """Signs cookies and tokens, and reads them.

    Parameters
    ----------
    lifetime
        so long a session lives without a request.
    clock
        seconds since 1970, of the wall: sessions are of people, not of the agent.
    """

    def __init__(
        self,
        memory: Memory,
        users: UserBook,
        lifetime: timedelta,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock, self._memory, self._users, self._lifetime = clock, memory, users, lifetime
        self._lock, self._signer = Lock(), _timed(self)
        self._secret = ""
        self._looked = float("-inf")

    @property
    def ready(self) -> bool:
        """Whether the secret was read."""
        return bool(self._secret)

    def refresh(self) -> None:
        """Read the secret of the store, or make it.

        Raises
        ------
        StoreError
            The store is away.
        """
        with self._lock:
            found = self._memory.setting(SECRET)
            if not found:
                self._memory.remember(SECRET, secrets.token_urlsafe(32))
                found = self._memory.setting(SECRET)  # another server may have been last
            self._secret, self._looked = found or "", time.monotonic()

    def may_be_old(self) -> bool:
        """Return whether it is worth while to read the secret again.

        Two servers that start on a new store at the same time each make one; the last one counts.
        """
        return time.monotonic() - self._looked > _LOOK_AGAIN

    def cookie_name(self, secure: bool) -> str:
        """Return the name of the cookie: of this store, as ports of one host share cookies.

        Where the connection is encrypted its prefix makes browsers refuse one that another host of
        the domain set.
        """
        of_store = sha256(self._key()).hexdigest()[:8]
        return f"{'__Host-' if secure else ''}mlma-{of_store}"

    def begin(self, user: UserInfo) -> Session:
        """Return a new session of somebody."""
        now = int(self.clock())
        return Session(user, secrets.token_urlsafe(16), begun=now, signed=now)

    def cookie(self, session: Session) -> str:
        """Return a session as text that only this agent can have written."""
        mark = self._bound(session.user.mark)
        return cast(
            "str",
            self._serializer().dumps([session.user.name, mark, session.id, session.begun]),
        )

    def renewed(self, session: Session) -> Session:
        """Return a session as of now."""
        return replace(session, signed=int(self.clock()))

    def read(self, text: str) -> Session | None:
        """Return the session that a cookie tells of; None = none, or it is over.

        It is over where it was silent for too long, where its user left the settings, or where the
        role or the password of the user changed there.
        """
        try:
            told, signed = self._serializer().loads(
                text.encode("utf-8", "replace"),
                max_age=int(self._lifetime.total_seconds()),
                return_timestamp=True,
            )
        except BadSignature:  # expired ones, too
            return None
        name, mark, number, begun = told
        user = self._users.user(name)
        if user is None or not hmac.compare_digest(self._bound(user.mark), mark):
            return None
        if self.clock() - begun > LONGEST.total_seconds():
            return None
        return Session(user, number, begun, int(signed.timestamp()))

    def wants_renewal(self, session: Session) -> bool:
        """Return whether a cookie should be written anew: not with each request."""
        age = self.clock() - session.signed
        return age > self._lifetime.total_seconds() / _RENEWED_AFTER

    def seconds(self, session: Session) -> int:
        """Return for how long a browser should keep the cookie of a session."""
        left = session.begun + LONGEST.total_seconds() - self.clock()
        return max(int(min(self._lifetime.total_seconds(), left)), 1)

    def token(self, whose: str, number: str) -> str:
        """Return the token of a form that somebody sends within a session.

        No two are alike: pages come compressed, and from the lengths of many with the same token
        one could guess it.
        """
        salt = secrets.token_hex(_SALT)
        return f"{salt}.{self._mac(salt, whose, '')}.{self._mac(salt, whose, number)}"

    def fits(self, token: str, whose: str, number: str) -> bool:
        """Return whether a form was made within this session."""
        salt, _, rest = token.partition(".")
        made = f"{self._mac(salt, whose, '')}.{self._mac(salt, whose, number)}"
        return hmac.compare_digest(_raw(rest), made.encode())

    def fitted(self, token: str, whose: str) -> bool:
        """Return whether a form was made for the same person, within whatever session."""
        salt, _, rest = token.partition(".")
        return hmac.compare_digest(
            _raw(rest.partition(".")[0]), self._mac(salt, whose, "").encode()
        )

    def _mac(self, salt: str, whose: str, number: str) -> str:
        told = _raw(f"form\n{salt}\n{whose}\n{number}")
        return hmac.new(self._key(), told, sha256).hexdigest()

    def _bound(self, mark: str) -> str:
        """Return a mark that tells nothing of the hash that it comes from."""
        return hmac.new(self._key(), f"mark\n{mark}".encode(), sha256).hexdigest()[:32]

    def _key(self) -> bytes:
        if not self._secret:
            self.refresh()
        return self._secret.encode()

    def _serializer(self) -> Any:
        return URLSafeTimedSerializer(
            self._key(), salt="mlma.session.1", signer=self._signer, signer_kwargs=_SIGNED
        )


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _timed(sessions: Sessions) -> type[TimestampSigner]:
    """Return a signer that takes the time from the clock of the sessions."""

    class Clocked(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(sessions.clock())

    return Clocked
