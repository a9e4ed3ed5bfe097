"""What was left out of a run, why, and the first three examples: nothing is silently dropped."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A reason, how many rows or streams it concerns, and the first three of them."""

    reason: str
    unit: Literal["rows", "streams"]
    count: int
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = f" ({', '.join(self.examples)}{', ...' if self.count > len(self.examples) else ''})"
        return f"{self.count} {self.unit}: {self.reason}{shown if self.examples else ''}"
