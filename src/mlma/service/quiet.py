"""Quiet hours: a span of each day in which nobody is woken.

Takes a moment, gives when the quiet that it falls into is over. Used by the alerts.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From ``begins`` until ``ends`` on the clock of a zone, over midnight where it ends earlier.

    >>> nights = QuietHours.of("22:00-07:00", "Europe/Brussels")
    >>> str(nights.over_at(datetime(2024, 1, 1, 23, tzinfo=UTC)))
    '2024-01-02 06:00:00+00:00'
    """

    begins: time
    ends: time
    zone: str = "UTC"

    @classmethod
    def of(cls, text: str, zone: str = "") -> "QuietHours | None":
        """Return the hours that a text such as ``22:00-07:00`` means; None = it is empty.

        Raises
        ------
        ValueError
            It is no such text, or begins when it ends.
        """
        if not text:
            return None
        if not re.fullmatch(r"\d\d:\d\d\s*-\s*\d\d:\d\d", text, re.ASCII):
            raise ValueError(text)
        begins, ends = (time.fromisoformat(part.strip()) for part in text.split("-"))
        if begins == ends:
            raise ValueError(text)
        return cls(begins, ends, zone or "UTC")

    def over_at(self, now: datetime) -> datetime | None:
        """Return when the quiet is over, in UTC; None = it is not quiet.

        Hours that a change of the clock leaves out or repeats are quiet as the clock shows them.
        """
        there = now.astimezone(ZoneInfo(self.zone))
        if not self._has(there.time()):
            return None
        # Two days, and both hours of that name where the clock is put back: the next one counts.
        ends = (
            datetime.combine(
                there.date() + timedelta(days=day), self.ends.replace(fold=fold), there.tzinfo
            ).astimezone(UTC)
            for day in (0, 1, 2)
            for fold in (0, 1)
        )
        # An hour that the clock leaves out has no such moment: one of its readings is quiet yet.
        return min(
            end for end in ends if end > now and not self._has(end.astimezone(there.tzinfo).time())
        )

    def _has(self, wall: time) -> bool:
        if self.begins < self.ends:
            return self.begins <= wall < self.ends
        return wall >= self.begins or wall < self.ends
