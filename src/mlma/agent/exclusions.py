"""Exclusions: spans of a stream that no model may be trained on, out of labels and events.

Takes what stands of an engineer's orders, gives spans and the moment before which a stream was
another one. Next are the requests for re-training, and trainers that ask by themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from mlma.agent.standing import Labelled, Standing
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.periods import Periods, instant_of, moment_of
from mlma.domain.requests import Span

_LEFT_OUT = ("one_off", "broken")
_MOMENT = np.timedelta64(1, "us")


@dataclass(frozen=True, slots=True)
class Exclusions:
    """What may not be trained on.

    spans
        ascending, apart from each other, whole batches.
    train_from
        start of the newest batch that is labelled as a real shift; None = there is none.
    """

    spans: tuple[Span, ...] = ()
    train_from: datetime | None = None


NOTHING_LEFT_OUT = Exclusions()


def exclusions(
    standing: Standing,
    names: Sequence[str],
    tags: Mapping[str, Mapping[str, str]],
    periods: Periods,
) -> dict[str, Exclusions]:
    """Return what may not be trained on, by stream; streams without anything are left out."""
    labels = standing.labels
    events = [one for one in standing.events.values() if one.exclude]
    keys = _keys(names, labels, events, tags)
    made = {key: _made(key, labels, events, periods) for key in set(keys.values())}
    told = {name: made[key] for name, key in keys.items()}
    return {name: one for name, one in told.items() if one != NOTHING_LEFT_OUT}


_Key = tuple[tuple[int, ...], tuple[int, ...]]
"""Places of the labels and of the events that concern a stream: most streams share theirs."""


def _keys(
    names: Sequence[str],
    labels: Sequence[Labelled],
    events: Sequence[CalendarEvent],
    tags: Mapping[str, Mapping[str, str]],
) -> dict[str, _Key]:
    own_labels: dict[str, list[int]] = {name: [] for name in names}
    own_events: dict[str, list[int]] = {name: [] for name in names}
    for place, label in enumerate(labels):
        for name in label.unique_ids:
            if name in own_labels:
                own_labels[name].append(place)
    for place, event in enumerate(events):
        for at in np.flatnonzero(event.selector.mask(names, tags)).tolist():
            own_events[names[at]].append(place)
    return {
        name: (tuple(own_labels[name]), tuple(own_events[name]))
        for name in names
        if own_labels[name] or own_events[name]
    }


def _made(
    key: _Key, labels: Sequence[Labelled], events: Sequence[CalendarEvent], periods: Periods
) -> Exclusions:
    out: list[Span] = []
    shifts: dict[int, list[Span]] = {}
    for place in key[0]:  # in their order: a later label of the same batch counts
        label = labels[place]
        span = batches_of(label.begins, label.ends, periods)
        out = _without(out, span)
        shifts = {one: _without(spans, span) for one, spans in shifts.items()}
        if label.label in _LEFT_OUT:
            out.append(span)
        elif label.label == "real_shift":
            shifts[place] = [span]
    out += [batches_of(events[place].begins, events[place].ends, periods) for place in key[1]]
    began = [min(spans)[0] for spans in shifts.values() if spans]
    return Exclusions(_joined(out), max(began, default=None))


def batches_of(begins: datetime, ends: datetime, periods: Periods) -> Span:
    """Return the span of the whole batches that a span touches; ``ends`` is exclusive."""
    first = periods.at(instant_of(begins))
    last = periods.at(instant_of(ends) - _MOMENT)
    return moment_of(periods.start(first)), moment_of(periods.end(last))


def _without(spans: Iterable[Span], cut: Span) -> list[Span]:
    left: list[Span] = []
    for begins, ends in spans:
        parts = ((begins, min(ends, cut[0])), (max(begins, cut[1]), ends))
        left += [(first, last) for first, last in parts if first < last]
    return left


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    made: list[Span] = []
    for begins, ends in sorted(spans):
        if made and begins <= made[-1][1]:
            made[-1] = made[-1][0], max(made[-1][1], ends)
        else:
            made.append((begins, ends))
    return tuple(made)
