"""Lateness: which judged periods have rows that came, or changed, afterwards.

Takes the desk and the cycles that may still be opened, gives what they would read now. Next is
`mlma.agent.recomputing`.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import numpy as np

from mlma.agent.closing import over_since
from mlma.agent.desk import Desk, Reading
from mlma.agent.judging import Inputs
from mlma.agent.recomputing import read_entry
from mlma.domain.ledger import CycleEntry, CycleInfo

_COLUMNS = ("n", "loss", "benchmark", "forecasts")
_WITH_NAN = ("loss", "benchmark")


def late_readings(
    desk: Desk, judged: Mapping[int, CycleInfo], now: datetime
) -> tuple[dict[int, Reading], dict[int, CycleInfo]]:
    """Return what judged periods would read now, those that would read something else.

    And the heads of the cycles that may still be opened, where rows that change nothing are noted
    as seen: they are not looked at again. ``judged`` has the newest head of each period.
    """
    near = {
        period: info
        for period, info in judged.items()
        if over_since(period, desk.settings, now) <= desk.settings.reopen
    }
    last = desk.store.periods(first=min(near)) if near else {}
    seen, late = dict(near), {}
    for period, info in near.items():
        stamps = desk.stamps(period)
        if last.get(period, 0) <= info.through and stamps == (info.summary["stamps"] or {}):
            continue
        reading = desk.again(period)
        if _same(reading.inputs, read_entry(desk.store, info.cycle)):
            summary = {**info.summary, "stamps": reading.stamps}
            seen[period] = replace(info, through=reading.through, summary=summary)
        else:
            late[period] = reading
    return late, seen


def _same(inputs: Inputs, entry: CycleEntry) -> bool:
    """Return whether a cycle would read the same."""
    return np.array_equal(inputs.rows, entry.streams) and all(
        np.array_equal(getattr(inputs, name), entry.evidence[name], equal_nan=name in _WITH_NAN)
        for name in _COLUMNS
    )
