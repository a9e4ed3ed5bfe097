"""Causes: what opens an incident, who belongs to it, and when it is over.

Takes a sheet with a cycle on it, writes incidents on it; one function per cause. Next are the
sentences (`mlma.agent.incident_words`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.agent.incident_sheet import Sheet, by_person, code_of
from mlma.domain.groups import FLEET
from mlma.domain.incidents import BY_ITSELF, Incident, IncidentKind
from mlma.domain.verdicts import Decision
from mlma.steps.follow import faulty, holed, unhealed
from mlma.steps.group import MOST, SAME, Spot, clusters, members_of, scopes

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FEWEST_HIT, SHARE_HIT = 3, 0.05
"""A finding matters when so many of its streams are hit, and such a share of them ..."""
SMALLEST_EFFECT, CLEAR = 0.05, 1e-4
"""... or when its losses rose by so much, and it is no matter of one batch that may be chance: this
p-value is reached, the evidence calls for re-trainings, or it is open for the second cycle."""

FAULTS = ("missing", "gone", "dead")
CLEARLY = 1.25
"""An incident changes its name when another group fits its members so many times as well."""
FEWEST_GONE = 8
"""A stream or two that end are no incident: streams are born and die."""


# Losses that rise together.


def common(sheet: Sheet) -> None:
    """Findings: one incident for each cause that a group of streams has in common."""
    spots = _spots(sheet)
    new: list[Spot] = []
    for spot in spots:
        owner = _listing(sheet, spot)
        if owner is None and _matters(sheet, spot):
            owner = _adopting(sheet, spot)
            if owner is None:
                new.append(spot)
                continue
            _list(sheet, owner, [spot])
        if owner is not None:
            _take_in(sheet, owner, spot)
    whole = [spot for spot in new if spot.scope == FLEET]
    for cluster in (
        [[*whole, *(one for one in new if one.scope != FLEET)]] if whole else clusters(new)
    ):
        best = cluster[0]
        home = _event_of(sheet, best.hit)
        if home is None:
            kind: IncidentKind = "fleet" if best.scope == FLEET else "group"
            home = sheet.open(kind, best.scope, np.zeros(0, dtype=np.int64))
        _list(sheet, home, cluster)
        for spot in cluster:
            _take_in(sheet, home, spot)
    _rename(sheet, spots)
    _close_common(sheet, {(spot.scope, spot.since) for spot in spots})


def _rename(sheet: Sheet, spots: Sequence[Spot]) -> None:
    """Call incidents by the group that fits their members best by now, if it is clearly better."""
    for one in list(sheet.unfinished("group")):
        here = [spot for spot in spots if _listed(one).get(spot.scope) == spot.since]
        member = np.zeros(len(sheet.there), dtype=np.bool_)
        member[sheet.members(one)] = True
        fit = {spot.scope: _overlap(member, spot.members) for spot in here}
        now = fit.get(one.scope, _overlap(member, members_of(one.scope, sheet.groups)))
        best = max(sorted(fit), key=lambda scope: fit[scope], default=one.scope)
        if best == one.scope or fit[best] <= CLEARLY * now:
            continue
        told = _finding(sheet, best)
        sheet.put(one, scope=best)
        effect = 0.0 if told["effect"] is None else round(told["effect"], 4)
        sheet.note(one, tag=best, effect=effect, of=told["streams"])


def _overlap(one: Bools, other: Bools) -> float:
    """Return what two sets of streams share of all that is in either."""
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else 0.0


def _spots(sheet: Sheet) -> list[Spot]:
    """Return the findings that are open, the fleet first."""
    made = []
    for found in sheet.entry.info.summary.get("findings", ()):
        if found["state"] != "closed":
            members = members_of(found["scope"], sheet.groups) & sheet.there
            made.append(Spot(found["scope"], int(found["since"]), members, members & sheet.hit))
    return sorted(made, key=lambda spot: (spot.scope != FLEET, spot.scope))


def _finding(sheet: Sheet, scope: str) -> dict[str, Any]:
    findings = sheet.entry.info.summary["findings"]
    return dict(next(one for one in findings if one["scope"] == scope))


def _matters(sheet: Sheet, spot: Spot) -> bool:
    """Return whether a finding is large enough to be told."""
    hit, size = int(spot.hit.sum()), int(spot.members.sum())
    if hit >= max(FEWEST_HIT, SHARE_HIT * size):
        return True
    told = _finding(sheet, spot.scope)
    p_value = 1.0 if told["p_value"] is None else told["p_value"]
    clear = told["alarm"] or told["state"] == "open" or p_value <= CLEAR
    return bool(clear) and size > 0 and (told["effect"] or 0.0) >= SMALLEST_EFFECT


def _listed(incident: Incident) -> dict[str, int]:
    return {one["scope"]: one["since"] for one in incident.evidence.get("findings", ())}


def _listing(sheet: Sheet, spot: Spot) -> Incident | None:
    """Return the incident of which a finding is part already."""
    for one in sorted(sheet.desk.values(), key=lambda one: (-one.opened_cycle, one.id)):
        if _listed(one).get(spot.scope) == spot.since and (one.unfinished or by_person(one)):
            return one
    return None


def _adopting(sheet: Sheet, spot: Spot) -> Incident | None:
    """Return the incident to which a new finding belongs; None = it is a new cause."""
    if spot.scope == FLEET:
        return _risen_to_fleet(sheet) or _again(sheet, spot)
    for one in sorted(sheet.desk.values(), key=lambda one: (-one.opened_cycle, one.id)):
        lasts = sheet.cycle - one.evidence.get("last", one.opened_cycle) <= sheet.patience.couple
        if one.kind == "fleet" and lasts and (one.unfinished or by_person(one)):
            return one
    hit = np.flatnonzero(spot.hit)
    for one in sheet.unfinished("group", "event", "fleet"):
        shared = np.isin(hit, sheet.members(one)).sum()
        lately = sheet.cycle - one.evidence.get("last", -sheet.cycle) <= sheet.patience.linger
        ours, listed = shared >= max(1, SAME * len(hit)), spot.scope in _listed(one)
        if (ours and listed) or (lately and (ours or listed)):
            return one
    return _again(sheet, spot)


def _risen_to_fleet(sheet: Sheet) -> Incident | None:
    """Return what opened as that of a group just before, and is that of the fleet now."""
    for one in sheet.unfinished("fleet"):
        if sheet.cycle - one.evidence.get("last", one.opened_cycle) <= sheet.patience.linger:
            return one
    fresh = [
        one
        for one in sheet.unfinished("group")
        if sheet.cycle - one.opened_cycle <= sheet.patience.couple
    ]
    if not fresh:
        return None
    first = min(fresh, key=lambda one: (-one.streams, one.scope))
    findings = list(first.evidence["findings"])
    for one in fresh:
        if one.id != first.id:
            findings += one.evidence["findings"]
            rows = sheet.members(one)
            sheet.close(one, done="It is part of what happened to the whole fleet.")
            sheet.join(first, rows)
    sheet.put(first, kind="fleet", scope=FLEET)
    return sheet.note(first, findings=_in_order(findings))


def _again(sheet: Sheet, spot: Spot) -> Incident | None:
    """Return an incident of the scope that closed itself lately, open again."""
    for one in sorted(sheet.desk.values(), key=lambda one: (-(one.closed_cycle or 0), one.id)):
        late = sheet.cycle - (one.closed_cycle or 0) <= sheet.patience.linger
        ours = one.kind in ("fleet", "group") and one.scope == spot.scope
        if ours and late and one.closed_by == BY_ITSELF:
            return sheet.put(one, state="open", closed_cycle=None, closed_at=None, closed_by="")
    return None


def _list(sheet: Sheet, incident: Incident, spots: Sequence[Spot]) -> None:
    known = [dict(one) for one in sheet.desk[incident.id].evidence.get("findings", ())]
    fresh = {spot.scope: spot.since for spot in spots}
    kept = [one for one in known if one["scope"] not in fresh]
    new = [{"scope": scope, "since": fresh[scope], "cycle": sheet.cycle} for scope in fresh]
    sheet.note(incident, findings=_in_order([*kept, *new]))


def _in_order(findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(findings, key=lambda one: str(one["scope"]))


def _take_in(sheet: Sheet, incident: Incident, spot: Spot) -> None:
    """Make what is hit members of an incident, unless another one has them."""
    told = _finding(sheet, spot.scope)
    if sheet.takes(incident):
        # A trouble that is older than a shock of the fleet is a cause of its own.
        older = (spot.scope == FLEET) & (
            sheet.traces.batches > sheet.cycle - incident.opened_cycle + sheet.patience.linger
        )
        sheet.join(incident, np.flatnonzero(spot.hit & (sheet.traces.cause == 0) & ~older))
    known = sheet.desk[incident.id]
    best = spot.scope == known.scope or "last" not in known.evidence
    changed: dict[str, Any] = {"last": sheet.cycle}
    if best and told["effect"] is not None:
        largest = max(known.evidence.get("effect") or 0.0, round(told["effect"], 4))
        changed |= {"effect": largest, "of": max(told["streams"], known.evidence.get("of", 0))}
    sheet.note(incident, **changed)
    sheet.put(incident, updated_cycle=sheet.cycle)  # its cause is seen, whoever resolved it


def _close_common(sheet: Sheet, still: set[tuple[str, int]]) -> None:
    """Close incidents whose findings are closed and whose members are back."""
    for one in list(sheet.unfinished("fleet", "group")):
        if still & set(_listed(one).items()):
            continue
        rows = sheet.members(one)
        troubled = sheet.traces.troubled[rows]
        if troubled.any():
            sheet.put(one, updated_cycle=sheet.cycle)
        # One or two may have a trouble of their own, of which is told when it does not heal.
        if troubled.sum() <= max((1 - sheet.patience.back) * len(rows), FEWEST_HIT - 1):
            sheet.close(one)


# Events of the calendar that are not muted.


def events(sheet: Sheet) -> None:
    """Alarms inside an event that is declared and not muted: one incident per event."""
    now = sheet.events()
    for event, inside in now:
        known = [one for one in sheet.desk.values() if one.evidence.get("event") == event.id]
        rows = np.flatnonzero(inside & sheet.hit & (sheet.traces.cause == 0))
        alarming = np.zeros(len(inside), dtype=np.bool_)
        alarming[sheet.at] = sheet.seen.alarm
        rows = rows[alarming[rows]]
        size = int((inside & sheet.there).sum())
        if any(one.unfinished for one in known):
            sheet.join(next(one for one in known if one.unfinished), rows)
        elif not known and len(rows) >= (max(FEWEST_HIT, 0.01 * size) if size >= 8 else 1):
            _open_event(sheet, event, inside, rows)
    lasting = {event.id for event, _ in now}
    for one in list(sheet.unfinished("event")):
        rows = sheet.members(one)
        troubled = int(sheet.traces.troubled[rows].sum())
        ended = one.evidence["event"] not in lasting
        if ended and troubled <= (1 - sheet.patience.back) * len(rows):
            sheet.close(one)


def _open_event(sheet: Sheet, event: Any, inside: Bools, rows: Ints) -> Incident:
    return sheet.open(
        "event",
        FLEET if event.selector.everything else event.selector.text,
        rows,
        part=event.id,
        event=event.id,
        name=event.name,
        of=int((inside & sheet.there).sum()),
    )


def _event_of(sheet: Sheet, hit: Bools) -> Incident | None:
    """Return the incident of an event in which most of some streams are; opened if need be."""
    for event, inside in sheet.events():
        if hit.any() and (hit & inside).sum() >= SAME * hit.sum():
            for one in sheet.unfinished("event"):
                if one.evidence["event"] == event.id:
                    return one
            return _open_event(sheet, event, inside, np.flatnonzero(hit & inside))
    return None


# Data that are missing or dead.


def data(sheet: Sheet) -> None:
    """Missing actuals, forecasts that stopped, dead sensors: one incident per group and onset."""
    _let_go(sheet)
    for fault in FAULTS:
        _join_holes(sheet, fault)
        _open_holes(sheet, fault)
    _close_holes(sheet)


def _let_go(sheet: Sheet) -> None:
    """Free the streams of incidents that a person resolved, once their data are there again."""
    taken = sheet.traces.hole != 0
    if not taken.any():
        return
    whole = ~np.logical_or.reduce([holed(sheet.traces, fault) for fault in FAULTS])
    kept = [code_of(one.id) for one in sheet.unfinished("data")]
    rows = np.flatnonzero(taken & whole & ~np.isin(sheet.traces.hole, kept))
    sheet.fill(rows)


def _candidates(sheet: Sheet, fault: str) -> Bools:
    """Return which streams have a fault and no incident of it."""
    return np.asarray(faulty(sheet.traces, fault, sheet.patience) & (sheet.traces.hole == 0))


def _join_holes(sheet: Sheet, fault: str) -> None:
    """Let streams join the incident of their group that is open already."""
    waiting = _candidates(sheet, fault)
    if not waiting.any():
        return
    for one in list(sheet.unfinished("data")):
        if one.evidence["fault"] == fault and one.evidence["tag"]:
            rows = np.flatnonzero(waiting & members_of(one.scope, sheet.groups))
            if len(rows):
                sheet.join(one, rows)
                waiting[rows] = False


def _open_holes(sheet: Sheet, fault: str) -> None:
    long, traces = _candidates(sheet, fault), sheet.traces
    # Half of a group at once is a fault of what they have in common: nobody waits for more of it.
    at_once = (traces.missed > 0) & (traces.hole == 0) if fault == "missing" else long
    rows = np.flatnonzero(at_once)
    if not len(rows):
        return
    alive = sheet.known & ((traces.gone == 0) | (fault == "gone"))
    for scope in scopes(rows, alive, sheet.groups):
        chosen = scope.rows
        if not scope.name:
            chosen = chosen[long[chosen]]
            if not len(chosen) or (fault == "gone" and len(chosen) < FEWEST_GONE):
                continue
        of = int((members_of(scope.name, sheet.groups) & alive).sum()) if scope.name else 0
        sheet.open(
            "data",
            scope.name,
            chosen,
            part=fault,
            fault=fault,
            of=of,
        )


def _close_holes(sheet: Sheet) -> None:
    for one in list(sheet.unfinished("data")):
        rows = sheet.members(one)
        still = int(holed(sheet.traces, one.evidence["fault"])[rows].sum())
        if still > (1 - sheet.patience.back) * len(rows):
            sheet.put(one, updated_cycle=sheet.cycle)
            sheet.note(one, still=still)
        else:
            sheet.close(one)


# Models that re-training does not help.


def _left_over(sheet: Sheet, left: Bools) -> Bools:
    """Let streams join the incident of a group most of which is not back; return the others."""
    for one in list(sheet.unfinished("fleet", "group")) if left.any() else ():
        inside = members_of(one.scope, sheet.groups) & sheet.there
        rows = np.flatnonzero(left & inside)
        still = int(sheet.traces.troubled[sheet.members(one)].sum())
        if len(rows) and still >= MOST * inside.sum():
            sheet.join(one, rows)
            left = left & ~inside
    return left


def model(sheet: Sheet) -> None:
    """Troubles that no re-training helps: one incident per stream, or for many of one cycle."""
    traces = sheet.traces
    escalated = np.zeros(len(traces), dtype=np.bool_)
    escalated[sheet.at] = sheet.seen.decision == Decision.ESCALATE
    waits = {one.request.unique_id for one in sheet.view.outstanding} if sheet.newest else set()
    left = (unhealed(traces, sheet.patience) | escalated) & (traces.cause == 0) & sheet.there
    left = _left_over(sheet, left)
    rows = np.flatnonzero(left)
    rows = rows[[sheet.view.names[row] not in waits for row in rows.tolist()]] if waits else rows
    for scope in scopes(rows, sheet.there, sheet.groups) if len(rows) else ():
        sheet.open(
            "model",
            scope.name,
            scope.rows,
        )
    for one in list(sheet.unfinished("model")):
        members = sheet.members(one)
        troubled = int(sheet.traces.troubled[members].sum())
        if troubled <= (1 - sheet.patience.back) * len(members):
            sheet.close(one)
        else:
            sheet.put(one, updated_cycle=sheet.cycle)
