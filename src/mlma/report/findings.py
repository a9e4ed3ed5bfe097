"""Findings of a run: what groups of streams had in common, one row per finding.

Takes the findings of every batch, gives one row from the batch in which each opened to the last one
in which it was open. Next is the page.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.runs import PolicyRun, Replayed

MOST = 20
"""Findings that a page lists: the largest."""


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One finding: its group, its days, its size.

    ``effect`` is the largest median relative rise of the group's losses, ``alarm`` whether its
    members were re-trained for it.
    """

    scope: str
    first: str
    last: str
    streams: int
    effect: float
    alarm: bool


def finding_rows(replayed: Replayed, run: PolicyRun) -> list[FindingRow]:
    """Return the findings of a run by time; of many, the ones with the largest rise."""
    starts = replayed.grid.batch_starts().astype("datetime64[D]")
    open_now: dict[str, list[int]] = {}
    spans: list[list[int]] = []
    for at, (_, found) in enumerate(run.findings):
        if found.state == "closed":
            open_now.pop(found.scope, None)
        elif found.state == "opened" or found.scope not in open_now:
            open_now[found.scope] = [at]
            spans.append(open_now[found.scope])
        else:
            open_now[found.scope].append(at)
    rows = [_row(run, span, starts) for span in spans]
    largest = sorted(rows, key=lambda row: -row.effect)[:MOST]
    return sorted(largest, key=lambda row: (row.first, row.scope))


def _row(run: PolicyRun, span: list[int], starts: NDArray[np.datetime64]) -> FindingRow:
    batches, found = zip(*(run.findings[at] for at in span), strict=True)
    effects = [one.effect for one in found if np.isfinite(one.effect)]
    return FindingRow(
        scope=found[0].scope,
        first=str(starts[batches[0]]),
        last=str(starts[batches[-1]]),
        streams=max(one.streams for one in found),
        effect=max(effects, default=0.0),
        alarm=any(one.alarm for one in found),
    )
