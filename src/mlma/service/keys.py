"""Keys that open the door of the server: made once, kept as hashes, recognised in constant time.

Takes what somebody presents, gives whose key it is and what it may do.
"""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from pydantic import SecretStr

from mlma.domain.errors import SettingsError
from mlma.service.roles import Role

PREFIX = "mlma_"
_BYTES = 32
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """Whose key it is, and what it may do: read, ingest (push rows), engineer, admin."""

    name: str
    role: Role


class KeyEntry(Protocol):
    """An entry of [[keys]]."""

    @property
    def name(self) -> str:
        """Whose it is."""
        ...

    @property
    def hash(self) -> SecretStr:
        """What `mlma key` printed."""
        ...

    @property
    def role(self) -> Role:
        """What it may do."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class _Hash:
    salt: bytes
    digest: bytes

    def fits(self, presented: str) -> bool:
        """Return whether this is the hash of what was presented."""
        return hmac.compare_digest(_digest(self.salt, presented), self.digest)


def new_key() -> str:
    """Return a new key: 256 bits of chance after a prefix that scanners for secrets can find."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def key_hash(key: str) -> str:
    """Return what is kept of a key: ``sha256$salt$digest``, both hexadecimal.

    One round is enough here. Slow hashes protect words that people choose, which can be guessed;
    a key of 256 random bits cannot be, at any speed, and a hash that costs 50 ms would let whoever
    presents nonsense keep the server busy. The salt keeps equal keys from having equal hashes.
    """
    salt = secrets.token_bytes(16)
    return f"sha256${salt.hex()}${_digest(salt, key).hex()}"


def checked_hash(text: SecretStr) -> SecretStr:
    """Return a hash as it is in the file, looked at.

    Raises
    ------
    ValueError
        It is none.
    """
    _parsed(text.get_secret_value())
    return text


class KeyRing:
    """The keys of the settings.

    >>> entries = []
    >>> KeyRing(entries).role_of("mlma_guess") is None
    True
    """

    def __init__(self, entries: Iterable[KeyEntry]) -> None:
        self._known = [(_of(entry), KeyInfo(entry.name, entry.role)) for entry in entries]

    def __len__(self) -> int:
        return len(self._known)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(info.name for _, info in self._known)})"

    def role_of(self, presented: str) -> KeyInfo | None:
        """Return whose key this is; None = nobody's.

        Every known key is compared, each in constant time, whether or not one fits: how long the
        answer takes tells nothing but how many keys there are.
        """
        found: KeyInfo | None = None
        for known, info in self._known:
            found = info if known.fits(presented) else found
        return found


def _of(entry: KeyEntry) -> _Hash:
    try:
        return _parsed(entry.hash.get_secret_value())
    except ValueError:
        raise SettingsError(
            f"`hash` of the key `{entry.name}` must be what `mlma key` printed."
        ) from None


def _parsed(text: str) -> _Hash:
    kind, _, rest = text.partition("$")
    salt, _, digest = rest.partition("$")
    made = _Hash(bytes.fromhex(salt), bytes.fromhex(digest))
    if kind != "sha256" or len(made.salt) < 16 or len(made.digest) != sha256().digest_size:
        raise ValueError("no hash of a key")
    return made


def _digest(salt: bytes, key: str) -> bytes:
    told = key[:_LONGEST].encode("utf-8", "surrogatepass")
    return hmac.digest(salt, told, "sha256")
