"""Types of settings: lengths of time, sizes, addresses, and texts that have a meaning.

Takes what stands in the file, gives what the service works with; the tables are made of these.
"""

from datetime import date, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from pydantic import BeforeValidator, ByteSize, Field, PlainSerializer, SecretStr, Strict
from pydantic_core import PydanticCustomError

from mlma.domain.durations import duration, duration_text
from mlma.domain.errors import SettingsError

HIDDEN = "***"
NEVER = "never"


def expected(what: str, hint: str = "") -> PydanticCustomError:
    """Return the error for a value that is not what it must be; ``what`` follows "must be"."""
    return PydanticCustomError("expected", "{what}", {"what": what, "hint": hint})


def text_of(length: timedelta | None) -> str:
    """Return a length of time as it is written in the file; None is `never`.

    >>> text_of(timedelta(hours=6)), text_of(timedelta(0)), text_of(None)
    ('6h', '0s', 'never')
    """
    return NEVER if length is None else duration_text(np.timedelta64(length, "us"))


def _length(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise expected('a length of time as text, such as "15m", "6h" or "7d"')
    try:
        return timedelta(microseconds=int(duration(value).astype(np.int64)))
    except SettingsError as error:
        raise expected(
            'a length of time above zero, such as "15m", "6h" or "7d"',
            "units are s, m, h, d and w; months and years have no fixed length",
        ) from error


def _length_or_zero(value: Any) -> timedelta:
    if isinstance(value, str) and value.strip() in {"0", "0s", "0m", "0h", "0d", "0w"}:
        return timedelta(0)
    return _length(value)


def _length_or_never(value: Any) -> timedelta | None:
    if value is None or (isinstance(value, str) and value.strip().lower() == NEVER):
        return None
    return _length(value)


def size_text(size: int) -> str:
    """Return a size in the largest unit that it is a whole number of.

    >>> size_text(64 * 2**20), size_text(1000)
    ('64MiB', '1000B')
    """
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return f"{size}B"


def _size(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise expected('a size such as "64MiB"')
    return value


def _zone(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return value
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = 'empty = times are taken as they come; "UTC" is a zone too'
        raise expected('the name of a time zone, such as "Europe/Paris"', hint) from None
    return value


def _day(value: Any) -> Any:
    text = value.isoformat() if isinstance(value, date) else value  # TOML has dates of its own
    if not isinstance(text, str):
        return value
    try:
        if text and datetime.fromisoformat(text).tzinfo is not None:
            raise ValueError("a zone")
    except ValueError:
        raise expected("a day or time without a zone, such as 2024-01-31, or empty") from None
    return text


_as_text = PlainSerializer(text_of, return_type=str)

Length = Annotated[timedelta, BeforeValidator(_length), _as_text]
LengthOrZero = Annotated[timedelta, BeforeValidator(_length_or_zero), _as_text]
LengthOrNever = Annotated[timedelta | None, BeforeValidator(_length_or_never), _as_text]
Size = Annotated[ByteSize, BeforeValidator(_size), PlainSerializer(size_text, return_type=str)]
Zone = Annotated[str, BeforeValidator(_zone)]
Day = Annotated[str, BeforeValidator(_day)]
Share = Annotated[float, Strict(), Field(gt=0, le=1)]
Count = Annotated[int, Strict(), Field(ge=1)]
CountOrNone = Annotated[int, Strict(), Field(ge=0)]


class Url(SecretStr):
    """An address; shown without its password and without its query.

    `get_secret_value` returns all of it.

    >>> Url("postgresql://mlma:word@db.example/mlma?sslpassword=other")
    Url('postgresql://mlma:***@db.example/mlma?***')
    """

    def __str__(self) -> str:
        return shown(self.get_secret_value())

    def __repr__(self) -> str:
        return f"Url({str(self)!r})"


def shown(url: str) -> str:
    """Return an address without what may be secret: password, query, and the path on the web.

    >>> shown("sqlite:///mlma.db"), shown("https://user:word@models.example/hooks/token")
    ('sqlite:///mlma.db', 'https://user:***@models.example/***')
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    if not parts.scheme:
        return HIDDEN
    rest = url[url.index(":") + 1 :].removeprefix("//").removeprefix(parts.netloc)
    if "@" in rest:  # a password with one of /?# in it, unless it is a path: not worth the risk
        return f"{parts.scheme}://{HIDDEN}"
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    login = f"{name}{colon}{HIDDEN if colon else ''}{at}"
    on_the_web = parts.scheme in {"http", "https"} and parts.path not in {"", "/"}
    path = f"/{HIDDEN}" if on_the_web else parts.path
    return f"{parts.scheme}://{login}{host}{path}" + (f"?{HIDDEN}" if parts.query else "")
