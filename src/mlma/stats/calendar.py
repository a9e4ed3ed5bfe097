"""Calendar classes of batches: which days a loss may be compared with.

Takes the starts of batches, gives their class. Next is the reference, which keeps it.
"""

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import unknown_name

EFFECTS = ("weekend", "weekday", "none")
_COUNTS = {"weekend": 2, "weekday": 7, "none": 1}


def class_count(effect: str) -> int:
    """Return how many calendar classes an effect has.

    >>> class_count("weekday")
    7
    """
    if effect not in EFFECTS:
        raise unknown_name("calendar effect", effect, EFFECTS)
    return _COUNTS[effect]


def calendar_class(
    starts: NDArray[np.datetime64], batch: np.timedelta64, effect: str
) -> NDArray[np.int8]:
    """Return the calendar class of each batch, of the shape of ``starts``.

    ``weekend``: 0 = Monday to Friday, 1 = Saturday and Sunday, by the day of the batch's start.
    ``weekday``: 0 = Monday to 6 = Sunday. ``none``: 0. A batch that is neither one day nor a
    divisor of a day has no such effect and is 0: a week holds every weekday.

    Parameters
    ----------
    starts
        first slots, wall clock.
    batch
        length of a batch.
    effect
        ``weekend``, ``weekday`` or ``none``.

    Raises
    ------
    SettingsError
        ``effect`` is unknown.

    >>> days = np.array(["2024-03-01", "2024-03-02"], dtype="datetime64[us]")  # Friday, Saturday
    >>> calendar_class(days, np.timedelta64(1, "D"), "weekend").tolist()
    [0, 1]
    """
    if effect not in EFFECTS:
        raise unknown_name("calendar effect", effect, EFFECTS)
    day = np.timedelta64(1, "D")
    if effect == "none" or day % batch != np.timedelta64(0):
        return np.zeros(starts.shape, dtype=np.int8)
    days = starts.astype("datetime64[D]").astype(np.int64)
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
    return np.asarray(weekday >= 5 if effect == "weekend" else weekday, dtype=np.int8)


SLOT_BLOCK = np.timedelta64(3, "h")
"""Slots of one block of the day share their weights in a pool."""

_BLOCKS = int(np.timedelta64(24, "h") // SLOT_BLOCK)


def slot_class_count(step: np.timedelta64) -> int:
    """Return how many slot classes there are: blocks of three hours, or 1, times weekend or not.

    >>> slot_class_count(np.timedelta64(15, "m"))
    16
    """
    return 2 * _BLOCKS if step < np.timedelta64(1, "D") else 2


def slot_classes(times: NDArray[np.datetime64], step: np.timedelta64) -> NDArray[np.int8]:
    """Return the class of each slot, of the shape of ``times``: block of the day, weekend or not.

    Classes of Monday to Friday come first. Slots of a day or longer have the weekend only, slots
    of several days none (0).

    >>> hours = np.array(["2024-03-01T00", "2024-03-01T23", "2024-03-02T04"], dtype="M8[us]")
    >>> slot_classes(hours, np.timedelta64(1, "h")).tolist()
    [0, 7, 9]
    """
    day = times.astype("datetime64[D]")
    weekend = (day.astype(np.int64) + 3) % 7 >= 5
    if step > np.timedelta64(1, "D"):
        return np.zeros(times.shape, dtype=np.int8)
    if step == np.timedelta64(1, "D"):
        return weekend.astype(np.int8)
    block = (times - day) // SLOT_BLOCK
    return np.asarray(block + _BLOCKS * weekend, dtype=np.int8)
