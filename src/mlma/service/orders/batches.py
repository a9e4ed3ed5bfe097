"""Orders about batches, looked at: labels, verdicts, batches opened again, and calendar events.

Takes an order and what is known, gives its draft. What it changes is what judging the batches
anew changes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import numpy as np

from mlma.agent.rehearsing import Difference, rehearsed
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.errors import ConflictError, DataError, first_three, unknown_name
from mlma.domain.ledger import Action, CycleInfo
from mlma.domain.orders import CancelEvent, Declare, LabelBatches, Order, Overrule, Rejudge
from mlma.service.orders.draft import Change, Draft, Known, streams_text, when

ANEW = "cycles judged anew"
_SEEN = ("n", "loss", "verdict", "decision")
"""What is the stream's own in a record, and is seen of it; the rest moves a little with the fleet.
"""


def label(order: LabelBatches, known: Known) -> Draft:
    """Look at a label.

    Raises
    ------
    ConflictError
        A batch was revised since it was seen, and says something else of these streams.
    """
    names = known.fleet.of(order)
    heads = known.judged(order.begins, order.ends)
    _check_seen(order.revisions, names, known)
    whose = f"{_batches(heads)} of {streams_text(len(names))} ({order.selector.text})"
    if order.label == "none":
        sentence = f"Takes the label off {whose}"
    else:
        sentence = f"Labels {whose} as {order.label.replace('_', '-')}"
    ahead = () if heads else ("No batch of this span is judged yet: it counts once one is.",)
    return _judging_anew(order, known, names, heads, sentence, warnings=ahead)


def overrule(order: Overrule, known: Known) -> Draft:
    """Look at a verdict of an engineer.

    Raises
    ------
    DataError
        There is no such cycle, or none of the streams was in it.
    ConflictError
        The batch was revised since it was seen, and says something else of these streams.
    """
    head = _head(order.cycle, order.kind, known)
    names = known.fleet.of(order)
    rows, _ = known.store.evidence(head.cycle)
    there = set(rows.tolist())
    inside = tuple(name for name in names if known.fleet.row[name] in there)
    if not inside:
        raise DataError(
            f"Cycle {order.cycle} has no batch of {first_three(names)}. Expected streams that "
            f"were in it."
        )
    if order.revision is not None:
        _check_seen({str(order.cycle): order.revision}, inside, known)
    whose = f"{streams_text(len(inside))} ({order.selector.text})"
    sentence = f"Says that cycle {order.cycle} of {whose} is {order.verdict}"
    out = len(names) - len(inside)
    warnings = (f"{out:,} of the streams were not in the cycle.",) if out else ()
    return _judging_anew(order, known, inside, (head,), sentence, warnings=warnings)


def rejudge(order: Rejudge, known: Known) -> Draft:
    """Look at a cycle that is opened again.

    Raises
    ------
    DataError
        There is no such cycle, or its rows are gone.
    """
    head = _head(order.cycle, order.kind, known)
    kept = head.period in known.store.periods(first=head.period)
    if not (kept or known.reads):
        raise DataError(
            f"The rows of cycle {order.cycle} are gone: they are kept for "
            f"{known.settings.retention.days} days. Hint: push them again, then it is judged "
            f"anew by itself."
        )
    rows, _ = known.store.evidence(head.cycle)
    names = tuple(known.fleet.names[row] for row in rows.tolist())
    sentence = f"Opens cycle {order.cycle} again"
    warnings = ("Rows that came since it was judged are read when it is opened: not told here.",)
    return _judging_anew(order, known, names, (head,), sentence, warnings=warnings, named=False)


def declare(order: Declare, known: Known) -> Draft:
    """Look at an event of the calendar, new or changed.

    Raises
    ------
    DataError
        It concerns nobody, or overlaps another event of the same streams and that is not confirmed.
    """
    event = order.event
    if not event.id.strip():
        raise DataError("`id` of an event must not be empty.")
    everybody = event.selector.everything  # streams to come are in it, so there may be none yet
    names = tuple(known.fleet.names) if everybody else known.fleet.fitting(event.selector)
    others = _overlapping(event, names, known)
    if others and not order.overlap:
        raise DataError(
            f"The event {event.name!r} overlaps {_words(others)} of the same streams. "
            f"Expected one event at a time. Hint: overlap = true, if it is meant so."
        )
    former = known.standing.events.get(event.id)
    heads = _touched((event, former), known)
    verb = "Declares" if former is None else "Changes"
    sentence = (
        f"{verb} the event {event.name!r} ({event.type}), {when(event.begins)} to "
        f"{when(event.ends)}, for {streams_text(len(names))} now ({event.selector.text})"
    )
    warnings = (f"It overlaps {_words(others)}.",) if others else ()
    draft = _judging_anew(order, known, names, heads, sentence, warnings=warnings, named=False)
    return draft if former is None else _with_edits(draft, former, event)


def cancel(order: CancelEvent, known: Known) -> Draft:
    """Look at an event that is taken out of the calendar.

    Raises
    ------
    SettingsError
        There is no such event.
    """
    event = known.standing.events.get(order.event)
    if event is None:
        raise unknown_name("event", order.event[:200], known.standing.events or ["(none)"])
    at = np.flatnonzero(event.selector.mask(known.fleet.names, known.fleet.tags)).tolist()
    names = tuple(known.fleet.names[row] for row in at)
    sentence = f"Cancels the event {event.name!r} of {when(event.begins)}"
    return _judging_anew(order, known, names, _touched((event,), known), sentence, named=False)


def difference(order: Order, names: Sequence[str], known: Known) -> Difference:
    """Return what an order changes of batches that are judged already."""
    return rehearsed(known.store, known.settings, [trial(order, names, known)])


def changes_of(made: Difference) -> list[Change]:
    """Return what is told one by one of a difference."""
    return [
        Change(one.unique_id, one.cycle, one.what, one.before, one.after) for one in made.changes
    ]


def anew(made: Difference) -> str:
    """Return a difference in words."""
    return f"{made.cycles:,} cycles are judged anew, {made.total:,} things change"


def trial(order: Order, names: Sequence[str], known: Known) -> Action:
    """Return an order as the action that it would be recorded as."""
    payload = {"order": order.payload(), "unique_ids": list(names)}
    return Action(order.kind, payload, known.now, known.by, number=known.newest + 1)


def _judging_anew(
    order: Order,
    known: Known,
    names: tuple[str, ...],
    heads: Sequence[CycleInfo],
    sentence: str,
    *,
    warnings: tuple[str, ...] = (),
    named: bool = True,
) -> Draft:
    """Return the draft of an order that has batches judged anew."""
    if not (heads and known.dry):
        told = f"{sentence}; nothing that is judged changes."
        counts = {"batches touched": len(heads), ANEW: 0}
        return Draft(told, names, named=named, counts=counts, warnings=warnings)
    made = difference(order, names, known)
    return Draft(
        sentence=f"{sentence}; {anew(made)}.",
        streams=names,
        named=named,
        changes=changes_of(made),
        total=made.total,
        counts={"batches touched": len(heads), ANEW: made.cycles, **made.counts},
        warnings=warnings,
    )


def _with_edits(draft: Draft, former: CalendarEvent, event: CalendarEvent) -> Draft:
    """Return a draft that tells first what is edited of an event."""
    old, new = former.plain(), event.plain()
    edits = [
        Change("", None, spec.name, _shown(old[spec.name]), _shown(new[spec.name]))
        for spec in fields(CalendarEvent)
        if old[spec.name] != new[spec.name]
    ]
    total = len(draft.changes) if draft.total is None else draft.total
    return replace(draft, changes=[*edits, *draft.changes], total=total + len(edits))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else ", ".join(f"{k} {v}" for k, v in value.items())


def _touched(events: Iterable[CalendarEvent | None], known: Known) -> tuple[CycleInfo, ...]:
    """Return the judged cycles that one of some events touches."""
    found = {
        head.cycle: head
        for event in events
        if event is not None
        for head in known.judged(event.begins, event.ends)
    }
    return tuple(found[cycle] for cycle in sorted(found))


def _overlapping(event: CalendarEvent, names: Sequence[str], known: Known) -> list[CalendarEvent]:
    """Return other events with a moment and a stream in common."""
    return [
        one
        for one in known.standing.events.values()
        if one.id != event.id
        and one.overlaps(event)
        and one.selector.mask(names, known.fleet.tags).any()
    ]


def _words(events: Sequence[CalendarEvent]) -> str:
    return first_three(f"{one.name!r} ({when(one.begins)} to {when(one.ends)})" for one in events)


def _head(cycle: int, kind: str, known: Known) -> CycleInfo:
    found = next((head for head in known.heads if head.cycle == cycle), None)
    if found is None:
        there = f"1 to {known.cycle}" if known.heads else "(none yet)"
        raise DataError(f"`cycle` of `{kind}` must be a judged one. Got {cycle}. Known: {there}.")
    return found


def _check_seen(seen: Any, names: Sequence[str], known: Known) -> None:
    """Refuse where a batch was revised since it was seen, and these streams differ in it.

    Raises
    ------
    ConflictError
        It names the cycle, and when it was judged anew.
    """
    heads = {head.cycle: head for head in known.heads}
    rows = np.array(sorted(known.fleet.row[name] for name in names), dtype=np.int64)
    for text, revision in seen.items():
        head = heads.get(_cycle(text))
        if head is None or head.revision == revision:
            continue
        if _records(head.cycle, revision, rows, known) != _records(
            head.cycle, head.revision, rows, known
        ):
            raise ConflictError(
                f"Cycle {head.cycle} was judged anew at {when(head.judged_at)}: its revision is "
                f"{head.revision}, and says something else of these streams than revision "
                f"{revision}, which was seen. Nothing was written. Hint: look at the batch again."
            )


def _cycle(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(
            f"`revisions` of a label must be by number of the cycle. Got {text[:40]!r}."
        ) from None


def _records(cycle: int, revision: int, rows: Any, known: Known) -> bytes:
    """Return what a revision says of some streams; of one that is gone: nothing."""
    streams, evidence = known.store.evidence(cycle, revision)
    return evidence[np.isin(streams, rows)][list(_SEEN)].tobytes()


def _batches(heads: Sequence[CycleInfo]) -> str:
    return "1 batch" if len(heads) == 1 else f"{len(heads):,} batches"


def span_of(order: Order, known: Known) -> tuple[datetime, datetime] | None:
    """Return the time of which an order speaks; None = of no time in particular."""
    if isinstance(order, LabelBatches):
        return order.begins, order.ends
    if isinstance(order, Overrule | Rejudge):
        head = next((one for one in known.heads if one.cycle == order.cycle), None)
        return None if head is None else known.span(head)
    return None
