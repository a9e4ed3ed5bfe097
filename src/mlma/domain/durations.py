"""Lengths of time written as text: ``"15m"``, ``"1h"``, ``"1d"``, ``"7d"``, ``"1d12h"``.

The frame reader, the library and the command line share it. Months, quarters and years have no
fixed length and are refused.
"""

import re
from datetime import timedelta

import numpy as np

from mlma.domain.errors import SettingsError

MICROSECONDS = {
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_ALIASES = {"min": "m", "D": "d", "H": "h", "W": "w"}
_CALENDAR = re.compile(r"\d*(mo|M|ME|MS|q|Q|QE|QS|y|Y|YE|YS|A)")
_WHOLE = re.compile(r"(\d*[A-Za-z]+)(\d+[A-Za-z]+)*")
_LONGEST = 100 * 366 * MICROSECONDS["d"]


def duration(text: str | timedelta | np.timedelta64, setting: str = "duration") -> np.timedelta64:
    """Return a length of time as timedelta64[us]; always positive.

    Units are s, m (minutes; also ``min``), h, d and w; parts add up, and a bare unit means one.
    ``setting`` names the setting in messages.

    Raises
    ------
    SettingsError
        The text is not a length of time, names months, quarters or years, or is not positive.

    >>> int(duration("1h30m") // np.timedelta64(1, "m"))
    90
    """
    micros = _parsed(text, setting) if isinstance(text, str) else _counted(text, setting)
    if not 0 < micros <= _LONGEST:
        raise _refused(setting, text, "positive, and at most a hundred years")
    return np.timedelta64(micros, "us")


def duration_text(length: np.timedelta64) -> str:
    """Return a length of time in the form that `duration` reads.

    >>> duration_text(np.timedelta64(90, "m")), duration_text(np.timedelta64(14, "D"))
    ('1h30m', '14d')
    """
    left = int(length.astype("timedelta64[us]").astype(np.int64))
    parts = []
    for unit in ("d", "h", "m"):
        count, left = divmod(left, MICROSECONDS[unit])
        parts.append(f"{count}{unit}" if count else "")
    parts.append(f"{left / MICROSECONDS['s']:g}s" if left else "")
    return "".join(parts) or "0s"


def _parsed(text: str, setting: str) -> int:
    word = text.strip()
    if _CALENDAR.fullmatch(word):
        raise SettingsError(
            f"`{setting}` must have a fixed length: seconds, minutes, hours, days or weeks. "
            f"Got `{text}`; months, quarters and years are not supported. "
            f'Hint: write days, such as "28d".',
        )
    if not _WHOLE.fullmatch(word):
        raise _refused(setting, text, 'a length of time such as "15m", "1h", "1d" or "7d"')
    total = 0
    for count, name in re.findall(r"(\d*)([A-Za-z]+)", word):
        unit = _ALIASES.get(name, name)
        if unit not in MICROSECONDS:
            raise _refused(setting, text, "made of the units s, m, h, d and w")
        total += int(count or 1) * MICROSECONDS[unit]
    return total


def _counted(length: timedelta | np.timedelta64, setting: str) -> int:
    if isinstance(length, timedelta):
        return length // timedelta(microseconds=1)
    if not isinstance(length, np.timedelta64):
        raise _refused(setting, length, 'a length of time such as "15m", "1h" or "1d"')
    if np.isnat(length) or np.datetime_data(length.dtype)[0] in {"Y", "M", "generic"}:
        raise _refused(setting, length, "a length of time with a fixed unit")
    return int(length.astype("timedelta64[us]").astype(np.int64))


def _refused(setting: str, got: object, expected: str) -> SettingsError:
    return SettingsError(
        f"`{setting}` must be {expected}. Got {got!r}. "
        f"Hint: m is minutes, h hours, d days, w weeks.",
    )
