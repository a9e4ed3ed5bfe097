"""What was left out of a run, why, and the first three examples: nothing is silently dropped."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A reason, how many rows, streams or columns it concerns, and the first three of them.

    ``note`` is what the first of them said, if there is more to tell.
    """

    reason: str
    unit: Literal["rows", "streams", "columns"]
    count: int
    examples: tuple[str, ...] = ()
    note: str = ""

    def __str__(self) -> str:
        shown = f" ({', '.join(self.examples)}{', ...' if self.count > len(self.examples) else ''})"
        told = f"; the first: {self.note}" if self.note else ""
        return f"{self.count} {self.unit}: {self.reason}{shown if self.examples else ''}{told}"


def merge_left_out(*groups: Iterable[LeftOut]) -> tuple[LeftOut, ...]:
    """Return one entry per reason and unit: counts add up, the first three examples stay.

    >>> today, yesterday = LeftOut("missing y", "rows", 2), LeftOut("missing y", "rows", 3)
    >>> merge_left_out([today], [yesterday])[0].count
    5
    """
    merged: dict[tuple[str, str], LeftOut] = {}
    for entry in (entry for group in groups for entry in group):
        key = (entry.reason, entry.unit)
        before = merged.get(key, LeftOut(entry.reason, entry.unit, 0))
        examples = tuple(dict.fromkeys(before.examples + entry.examples))[:3]
        count, note = before.count + entry.count, before.note or entry.note
        merged[key] = LeftOut(entry.reason, entry.unit, count, examples, note)
    return tuple(merged.values())
