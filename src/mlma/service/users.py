"""People who sign in: passwords that are kept as slow hashes, and compared in constant time.

Takes the entries of [[users]], gives who somebody is that shows a name and a password. Next are the
sessions of those who are known, `mlma.service.sessions`.
"""

import hmac
import secrets
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import scrypt, sha256
from typing import Protocol

from pydantic import SecretStr

from mlma.domain.errors import SettingsError
from mlma.service.roles import UserRole

SHORTEST = 12
LONGEST = 256
"""Letters of a password."""

_SALT, _DIGEST = 16, 32
_MOST_MEMORY = 256 * 2**20
_LEAST_N = 2**14


@dataclass(frozen=True, slots=True)
class Cost:
    """How much work one hash is: scrypt's ``n``, ``r`` and ``p``."""

    n: int = 2**15
    r: int = 8
    p: int = 3

    @property
    def memory(self) -> int:
        """Bytes that a hash takes while it is made."""
        return 128 * self.r * (self.n + self.p + 2)


@dataclass(frozen=True, slots=True)
class UserInfo:
    """Who somebody is, and what they may do.

    mark
        changes with the role and the password: a session of another mark is over.
    """

    name: str
    role: UserRole
    mark: str


class UserEntry(Protocol):
    """An entry of [[users]]."""

    @property
    def name(self) -> str:
        """What the person types to sign in."""
        ...

    @property
    def password_hash(self) -> SecretStr:
        """What `mlma user` printed."""
        ...

    @property
    def role(self) -> UserRole:
        """What the person may do."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class _Hash:
    cost: Cost
    salt: bytes
    digest: bytes

    def fits(self, password: str) -> bool:
        """Return whether this is the hash of a password."""
        return hmac.compare_digest(_digest(self.cost, self.salt, password), self.digest)


def password_hash(password: str, cost: Cost | None = None) -> str:
    """Return what is kept of a password: ``scrypt$n$r$p$salt$digest``, the last two hexadecimal.

    Passwords are words that people choose and can be guessed, so a guess has to be dear: by default
    32 MiB and a quarter of a second.
    """
    cost = cost or Cost()
    salt = secrets.token_bytes(_SALT)
    digest = _digest(cost, salt, password)
    return f"scrypt${cost.n}${cost.r}${cost.p}${salt.hex()}${digest.hex()}"


def check_password(password: str) -> None:
    """Check that a new password is long enough to resist guessing.

    Raises
    ------
    SettingsError
        It is too short, too long, or one letter again and again; it is not quoted.
    """
    told = _normal(password)
    if not SHORTEST <= len(told) <= LONGEST:
        raise SettingsError(
            f"A password must have {SHORTEST} to {LONGEST} letters. Got {len(told)}. "
            f"Hint: four or five words that do not belong together."
        )
    if len(set(told)) < 4:
        raise SettingsError("A password must be of more than three different letters.")


def checked_password_hash(text: SecretStr) -> SecretStr:
    """Return a hash as it is in the file, looked at.

    Raises
    ------
    ValueError
        It is none, or weaker than ``n = 16384``, or takes more than 256 MiB.
    """
    _parsed(text.get_secret_value())
    return text


class UserBook:
    """The people of the settings.

    >>> UserBook([]).signed_in("ann", "guess") is None
    True
    """

    def __init__(self, entries: Iterable[UserEntry]) -> None:
        made = [(_of(entry), entry) for entry in entries]
        self._known = {entry.name: (kept, _info(entry)) for kept, entry in made}
        self._nobody = _nobody([kept.cost for kept, _ in made])

    def __len__(self) -> int:
        return len(self._known)

    def __repr__(self) -> str:
        return f"UserBook({', '.join(self._known)})"

    def user(self, name: str) -> UserInfo | None:
        """Return who has a name; None = nobody."""
        return self._known[name][1] if name in self._known else None

    def signed_in(self, name: str, password: str) -> UserInfo | None:
        """Return who shows this name and password; None = nobody.

        For a name that nobody has, a hash is made all the same: how long it takes does not tell
        which names there are, as long as all hashes of the file are of one cost.
        """
        kept, info = self._known.get(name, (self._nobody, None))
        return info if kept.fits(password) else None


def _nobody(costs: list[Cost]) -> _Hash:
    """Return a hash that no password has, as costly as most of those that are kept."""
    cost = Counter(costs).most_common(1)[0][0] if costs else Cost()
    return _Hash(cost, secrets.token_bytes(_SALT), secrets.token_bytes(_DIGEST))


def _info(entry: UserEntry) -> UserInfo:
    told = f"{entry.name}\n{entry.role}\n{entry.password_hash.get_secret_value()}"
    return UserInfo(entry.name, entry.role, sha256(told.encode()).hexdigest())


def _of(entry: UserEntry) -> _Hash:
    try:
        return _parsed(entry.password_hash.get_secret_value())
    except ValueError:
        raise SettingsError(
            f"`password_hash` of the user `{entry.name}` must be what `mlma user` printed."
        ) from None


def _parsed(text: str) -> _Hash:
    kind, *rest = text.split("$")
    n, r, p, salt, digest = rest  # a ValueError, if there are others
    made = _Hash(Cost(int(n), int(r), int(p)), bytes.fromhex(salt), bytes.fromhex(digest))
    power_of_two = made.cost.n & (made.cost.n - 1) == 0
    strong = made.cost.n >= _LEAST_N and power_of_two and made.cost.r >= 8
    bearable = 1 <= made.cost.p <= 16 and made.cost.memory <= _MOST_MEMORY
    if kind != "scrypt" or not strong or not bearable:
        raise ValueError("no hash of a password")
    if len(made.salt) < _SALT or len(made.digest) != _DIGEST:
        raise ValueError("no hash of a password")
    return made


def _digest(cost: Cost, salt: bytes, password: str) -> bytes:
    told = _normal(password[: 4 * LONGEST]).encode("utf-8", "surrogatepass")
    return scrypt(
        told, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=2 * cost.memory, dklen=_DIGEST
    )


def _normal(password: str) -> str:
    """Return a password in one form: keyboards write an accented letter in several."""
    return unicodedata.normalize("NFKC", password)
