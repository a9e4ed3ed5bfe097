"""Tables of what was found, in Markdown and as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from faults.killer import PHASES
from faults.kills import Totals


@dataclass(frozen=True)
class Finding:
    """What one scenario showed.

    told
        what happened, in words with figures.
    """

    name: str
    store: str
    holds: bool
    told: str


def shown(totals: Mapping[str, Totals], findings: Sequence[Finding]) -> str:
    """Return the tables."""
    parts = []
    if totals:
        parts.append(_sums(totals))
        parts.append(_phases(totals))
    if findings:
        rows = [[one.name, one.store, "yes" if one.holds else "NO", one.told] for one in findings]
        parts.append(_table(["scenario", "store", "holds", "what happened"], rows))
    problems = [problem for total in totals.values() for problem in total.problems]
    parts += [f"- {problem}" for problem in problems]
    return "\n\n".join(parts)


def _sums(totals: Mapping[str, Totals]) -> str:
    head = [
        *("store", "histories", "kills", "acknowledged rows", "sent again", "lost", "twice"),
        *("missing", "ledgers unequal", "cycles", "requests", "events", "events again", "minutes"),
    ]
    rows = [
        [
            *(kind, one.histories, one.kills.total(), one.acknowledged, one.resent, one.lost),
            *(one.twice, one.missing, one.unequal, one.cycles, one.requests, one.events),
            *(one.duplicates, f"{one.seconds / 60:.1f}"),
        ]
        for kind, one in totals.items()
    ]
    return _table(head, rows)


def _phases(totals: Mapping[str, Totals]) -> str:
    rows = [[kind, *(one.kills[phase] for phase in PHASES)] for kind, one in totals.items()]
    return _table(["kills", *PHASES], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def document(
    totals: Mapping[str, Totals], findings: Sequence[Finding], seed: int
) -> dict[str, Any]:
    """Return all of it as plain values."""
    return {
        "seed": seed,
        "kills": {kind: one.plain() for kind, one in totals.items()},
        "scenarios": [asdict(one) for one in findings],
    }
