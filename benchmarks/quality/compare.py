"""What got worse between two runs of the detection benchmark?

    python benchmarks/quality/compare.py BASE.json HEAD.json [--all]

Compares the figures of `mlma` (with ``--all`` those of everybody), names what got worse by more
than its tolerance, and ends with 1 if anything did; with 2 if the settings are not the same.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much a figure may get worse.

    absolute, relative
        the larger of the two counts; ``relative`` of the base.
    higher_is_better
        else lower is.
    promised
        no figure at or below it is worse than another: a test may be too strict.
    """

    absolute: float
    relative: float = 0.0
    higher_is_better: bool = False
    promised: float = -inf

    def broken(self, base: float, head: float) -> bool:
        """Tell whether the head is worse than the base by more than the tolerance."""
        if self.higher_is_better:
            base, head = -base, -head
        base = max(base, self.promised)
        room = max(self.absolute, self.relative * abs(base)) if base < inf else 0.0
        return head > base + room


TOLERANCES = {
    "level 0.05": Tolerance(0.003, promised=0.05),
    "level 0.01": Tolerance(0.0015, promised=0.01),
    "level 0.001": Tolerance(0.0005, promised=0.001),
    "false re-trainings": Tolerance(0.5, 0.2),
    "precision": Tolerance(0.03, higher_is_better=True),
    "recall": Tolerance(0.03, higher_is_better=True),
    "f1": Tolerance(0.03, higher_is_better=True),
    "median delay": Tolerance(1.0, 0.1),
    "found": Tolerance(0.06, higher_is_better=True),
    "as one": Tolerance(0.15, higher_is_better=True),
    "reported": Tolerance(0.15, higher_is_better=True),
    "alone": Tolerance(0.03),
}
"""By figure; what is not here is told, not judged."""


def worse(base: Figures, head: Figures) -> list[str]:
    """Return a line for each figure that got worse by more than its tolerance, or is gone.

    >>> worse({"mlma/recall/breaks": 0.9}, {"mlma/recall/breaks": 0.8})
    ['mlma/recall/breaks: 0.9 -> 0.8']
    """
    lines = []
    for name, before in base.items():
        tolerance = TOLERANCES.get(name.split("/")[1])
        if tolerance is None:
            continue
        after = head.get(name, "gone")
        if after == "gone" or tolerance.broken(_number(before), _number(after)):
            lines.append(f"{name}: {_word(before)} -> {_word(after)}")
    return lines


def ours(figures: Figures) -> Figures:
    """Return the figures of `mlma`, default and tuned."""
    return {name: value for name, value in figures.items() if name.startswith("mlma")}


def _number(value: float | None) -> float:
    return inf if value is None else value


def _word(value: float | str | None) -> str:
    return "never" if value is None else f"{value}"


def main() -> int:
    """Compare two files; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("head", type=Path)
    parser.add_argument("--all", action="store_true", help="peers, too")
    asked = parser.parse_args()
    base, head = (json.loads(path.read_text()) for path in (asked.base, asked.head))
    if base["settings"] != head["settings"]:
        print(f"Not the same settings: {base['settings']}, {head['settings']}.")
        return 2
    chosen = (one["figures"] if asked.all else ours(one["figures"]) for one in (base, head))
    lines = worse(*chosen)
    print("\n".join(["Worse:", *lines]) if lines else "Nothing got worse.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
