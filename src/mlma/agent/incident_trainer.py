"""The trainer: fits that fail with one error, and requests that nobody answers.

Takes a sheet with a cycle on it, writes incidents on it. Next are the sentences
(`mlma.agent.incident_words`).
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlma.agent.incident_sheet import Sheet
from mlma.domain.incidents import Incident
from mlma.domain.ledger import Action
from mlma.steps.group import scopes

WEEK = 7
"""Cycles in which failures count."""

LONGEST_ERROR = 300


def trainer(sheet: Sheet) -> None:
    """Fits that fail with one error, and requests that nobody answers."""
    _failures(sheet)
    _unanswered(sheet)


def _failures(sheet: Sheet) -> None:
    failed, deployed = _of_late(sheet)
    by_error: dict[str, list[Action]] = {}
    for action in failed:
        by_error.setdefault(signature(str(action.payload.get("error", ""))), []).append(action)
    known = {one.evidence["part"]: one for one in sheet.unfinished("trainer")}
    for part in sorted(by_error):
        actions = by_error[part]
        last = _last(actions)
        open_ones = {name for name, at in last.items() if deployed.get(name, -1) < at}
        times = sum(len(one.payload["unique_ids"]) for one in actions)
        wrong = bool(open_ones) and times >= sheet.patience.failures
        key = f"failed: {part}"
        if wrong or key in known:
            error = str(actions[-1].payload.get("error", ""))[:LONGEST_ERROR]
            _write_trainer(sheet, known.pop(key, None), key, open_ones, error=error, times=times)
    for key, one in sorted(known.items()):
        if key.startswith("failed: "):
            sheet.close(one)


def _write_trainer(
    sheet: Sheet, known: Incident | None, part: str, names: set[str], **evidence: Any
) -> None:
    """Open, follow or close an incident about the trainer; nobody left = it is over."""
    if known is not None and not names:
        sheet.close(known)
        return
    row = {name: at for at, name in enumerate(sheet.view.names)}
    rows = np.array(sorted(row[name] for name in names if name in row), dtype=np.int64)
    if known is None:
        scope = scopes(rows, sheet.known, sheet.groups)[0] if len(rows) else None
        whole = scope is not None and scope.name and len(scope.rows) == len(rows)
        told = scope.name if scope is not None and whole else ""
        known = sheet.open("trainer", told, rows, part=part)
    known = sheet.note(known, **evidence)
    told = known.scope if known.evidence["tag"] else sheet.named(rows)
    sheet.put(
        known,
        scope=told,
        members=tuple(rows.tolist()),
        streams=len(rows),
        updated_cycle=sheet.cycle,
    )


def _of_late(sheet: Sheet) -> tuple[list[Action], dict[str, int]]:
    """Return the failures of the last week, and when each stream had a new version last."""
    first = sheet.cycle - WEEK
    of_late = [
        one
        for one in sheet.view.ended
        if one.cycle is not None and first < one.cycle <= sheet.cycle
    ]
    failed = [one for one in of_late if one.kind == "failed"]
    return failed, _last([one for one in of_late if one.kind == "deployed"])


def _last(actions: Sequence[Action]) -> dict[str, int]:
    """Return the number of the last of some actions by stream."""
    return {name: one.number for one in actions for name in one.payload["unique_ids"]}


def signature(error: str) -> str:
    """Return what errors of one cause have in common: their words, without numbers and names.

    >>> signature("singular matrix of 'shop 07' at 0x7f2a (attempt 3)")
    'singular matrix of _ at # (attempt #)'
    """
    short = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", "_", error.strip()[:LONGEST_ERROR])
    return re.sub(r"0x[0-9a-fA-F]+|\d+(\.\d+)?", "#", short)


def _unanswered(sheet: Sheet) -> None:
    """One incident for all requests that wait for too long."""
    periods, now = sheet.view.periods, sheet.entry.info.judged_at
    longest = sheet.patience.unanswered * periods.batch.astype("timedelta64[us]").item()
    late = [one.request for one in sheet.view.outstanding if now - one.request.asked_at > longest]
    known = [one for one in sheet.unfinished("trainer") if one.evidence["part"] == "unanswered"]
    if not (late or known):
        return
    since = min((one.asked_at for one in late), default=now)
    _write_trainer(
        sheet,
        known[0] if known else None,
        "unanswered",
        {one.unique_id for one in late},
        oldest=since.isoformat(),
        waiting=len(sheet.view.outstanding),
    )
