"""Signatures of messages: HMAC-SHA256 over a time stamp and the body.

Takes body and secret, gives the header of the sender; the receiver verifies with the same secret.
The header is ``t=1704110400,v1=5d41...``: seconds since 1970, and the hexadecimal HMAC of
``b"1704110400." + body``. There may be several ``v1``, while a secret is being replaced.
"""

import hashlib
import hmac
import time

from mlma.domain.errors import SettingsError

SIGNATURE_HEADER = "mlma-signature"

_LONGEST_HEADER = 4096
_LONGEST_STAMP = 12


def signature(body: bytes, secret: str | bytes, timestamp: int) -> str:
    """Return the header that signs a body.

    Raises
    ------
    SettingsError
        The secret is empty, or neither text nor bytes.

    >>> signature(b"{}", "secret", 1704110400)[:20]
    't=1704110400,v1=f381'
    """
    return f"t={timestamp},v1={_code(body, secret_bytes(secret), str(timestamp))}"


def verify_signature(
    body: bytes,
    header: str | None,
    secret: str | bytes,
    tolerance: float = 300.0,
    *,
    now: float | None = None,
) -> bool:
    """Return whether a message was signed with this secret, and not long ago.

    Signatures are compared in constant time.

    Parameters
    ----------
    body
        the bytes as they were received, not JSON that was written anew.
    header
        of the request, named ``mlma-signature``; None or anything that is none: not signed.
    tolerance
        seconds by which its time may differ from now, so that an old message cannot be played back.
    now
        seconds since 1970; None = the clock.

    Raises
    ------
    SettingsError
        The secret is empty, or neither text nor bytes.

    >>> header = signature(b"{}", "secret", 1704110400)
    >>> verify_signature(b"{}", header, "secret", now=1704110401)
    True
    >>> verify_signature(b"{ }", header, "secret", now=1704110401)
    False
    """
    key = secret_bytes(secret)
    stamp, codes = _parts(header)
    if stamp is None or not abs((time.time() if now is None else now) - int(stamp)) <= tolerance:
        return False
    expected = _code(body, key, stamp).encode()
    same = [hmac.compare_digest(expected, code.encode()) for code in codes]
    return any(same)


def secret_bytes(secret: object) -> bytes:
    """Return a secret as bytes; messages never show it.

    Raises
    ------
    SettingsError
        It is empty, or neither text nor bytes.
    """
    if not isinstance(secret, (str, bytes)):
        raise SettingsError(
            f"The secret of a webhook must be text or bytes. Got {type(secret).__name__}."
        )
    if not secret:
        raise SettingsError("The secret of a webhook must not be empty. Hint: None signs nothing.")
    return secret.encode() if isinstance(secret, str) else secret


def _code(body: bytes, key: bytes, stamp: str) -> str:
    return hmac.new(key, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _parts(header: object) -> tuple[str | None, list[str]]:
    """Return time stamp and signatures of a header; None = it has no time stamp."""
    if not isinstance(header, str) or len(header) > _LONGEST_HEADER:
        return None, []
    pairs = [part.strip().partition("=")[::2] for part in header.split(",")]
    stamps = [value for name, value in pairs if name == "t"]
    if len(stamps) != 1 or not (stamps[0].isascii() and stamps[0].isdecimal()):
        return None, []
    stamp = stamps[0] if len(stamps[0]) <= _LONGEST_STAMP else None
    return stamp, [value for name, value in pairs if name == "v1"]
