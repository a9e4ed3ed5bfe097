"""Incidents of a commit: which alarms an engineer has to see, and grouped how.

Takes the entries of a commit and what is known beside them, gives the incidents that are new or
changed, and the traces to remember. An alarm that the agent heals by itself is none.

How the live agent calls it
---------------------------
The agent keeps ``traces`` beside its memory: ``traces_of(snapshot.columns, n)`` when it loads,
``columns_of(desk.traces)`` among the columns of each snapshot (names ``incidents.``...). In a
commit, after requests are known::

    first, earlier = entries[0].info.cycle, ()
    traces = self._traces
    if entries[0].info.revision:  # batches judged anew: from the state before them
        snapshot = store.snapshot(before=first)
        traces = traces_of(snapshot.columns if snapshot else {}, n)
        began = snapshot.cycle + 1 if snapshot else 1
        earlier = [read_entry(store, cycle) for cycle in range(began, first)]
    every = (*earlier, *entries)
    desk = incidents_after(
        store.incidents(touched_since=known_since(every[0].info.cycle)),
        every,
        DeskView(
            names, registered.tags, seen, registered.groups(seen, seen, watch), standing,
            settings.periods, traces, outstanding, ended,
        ),
    )

``seen`` are the rows that were in a cycle, ``np.flatnonzero(memory.state.cycle > 0)``.
``outstanding``: open and claimed requests, those of this commit added, the withdrawn left out.
``ended``: ``store.actions(kind=("deployed", "failed"), cycles=(first - 7, last))`` and those that
this commit carries out, each ``replace(action, cycle=cycle)``. Then ``desk.incidents`` go into
`Commit.incidents`, and after the commit ``desk.traces`` are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlma.agent.incident_causes import common, data, events, model
from mlma.agent.incident_sheet import DeskView, Sheet, by_person
from mlma.agent.incident_trainer import trainer
from mlma.agent.incident_words import told
from mlma.domain.incidents import BY_ITSELF, WITHDRAWN, Incident
from mlma.domain.ledger import CycleEntry
from mlma.steps.trace import Patience, Traces, columns_of, traces_of

__all__ = ["DeskView", "LaidOut", "columns_of", "incidents_after", "known_since", "traces_of"]


@dataclass(frozen=True, slots=True)
class LaidOut:
    """What comes of a commit: incidents that are new or changed, by id; and the traces after it."""

    incidents: tuple[Incident, ...]
    traces: Traces


def known_since(cycle: int) -> int:
    """Return since which cycle touched incidents have to be known, to lay out this one."""
    return max(0, cycle - Patience().linger - 1)


def incidents_after(
    known: Sequence[Incident], entries: Sequence[CycleEntry], at: DeskView
) -> LaidOut:
    """Return the incidents that the entries change, and the traces after them.

    The same whoever computes it, in whatever order streams were registered.

    Parameters
    ----------
    known
        incidents that are not resolved, and those touched since `known_since` of the first entry.
    entries
        one for a new cycle; several where batches are judged anew: all cycles since, in order,
        after those that lead from ``at.traces`` to them.
        Incidents that opened since are made anew: one of the same cause keeps its id and what
        people did to it, one that is gone is resolved by `WITHDRAWN`.
    """
    began = entries[0].info.cycle
    anew = entries[0].info.revision > 0 or len(entries) > 1
    sheet = Sheet.blank(at, entries[0], told)
    _lay_known(sheet, known, began if anew else None)
    for number, entry in enumerate(entries):
        sheet.turn(entry, newest=number == len(entries) - 1)
        _one_cycle(sheet)
    for one in sheet.former:
        _withdraw(sheet, one)
    before = {one.id: one for one in known}
    changed = [one for one in sheet.desk.values() if before.get(one.id) != one]
    ordered = sorted(changed, key=lambda one: (one.opened_cycle, one.id))
    return LaidOut(tuple(ordered), sheet.traces)


def _one_cycle(sheet: Sheet) -> None:
    """Lay one cycle out: causes in the order in which they take streams."""
    for one in list(sheet.desk.values()):
        if by_person(one) and (one.closed_cycle or 0) < sheet.cycle:
            sheet.forget(one)
    _wake(sheet)
    data(sheet)
    common(sheet)
    events(sheet)
    model(sheet)
    if sheet.newest:
        trainer(sheet)
    for one in sheet.unfinished("fleet", "group", "data", "event", "model", "trainer"):
        told(sheet, sheet.refreshed(one))


def _wake(sheet: Sheet) -> None:
    """Open what was snoozed until now."""
    now = sheet.entry.info.judged_at
    for one in list(sheet.desk.values()):
        over = one.snoozed_until is not None and one.snoozed_until <= now
        if one.state == "snoozed" and over:
            sheet.put(one, state="open", snoozed_until=None)


def _lay_known(sheet: Sheet, known: Sequence[Incident], anew: int | None) -> None:
    """Lay what is known on the sheet, as it was before the first entry."""
    for one in known:
        if anew is None or one.kind == "trainer":
            sheet.desk[one.id] = one
        elif one.opened_cycle >= anew:
            sheet.former.append(one)
        else:
            sheet.desk[one.id] = _as_before(one, anew)


def _as_before(incident: Incident, cycle: int) -> Incident:
    """Return an incident without what cycles since ``cycle`` did to it."""
    evidence = dict(incident.evidence)
    if "findings" in evidence:
        evidence["findings"] = [one for one in evidence["findings"] if one["cycle"] < cycle]
        evidence["last"] = min(evidence.get("last", cycle - 1), cycle - 1)
    made = replace(
        incident, updated_cycle=min(incident.updated_cycle, cycle - 1), evidence=evidence
    )
    closed = incident.closed_cycle is not None and incident.closed_cycle >= cycle
    if closed and incident.closed_by in (BY_ITSELF, WITHDRAWN):
        made = replace(made, state="open", closed_cycle=None, closed_at=None, closed_by="")
    return made


def _withdraw(sheet: Sheet, incident: Incident) -> None:
    """Resolve what batches that were judged anew no longer show; what is resolved stays so."""
    sheet.desk[incident.id] = incident
    if incident.state != "resolved":
        sheet.close(incident, by=WITHDRAWN, stake=0.0)
