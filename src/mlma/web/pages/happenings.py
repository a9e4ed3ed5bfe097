"""What happens in the calendar: events, planned re-trainings and labelled batches.

Takes what of the orders is in force, gives happenings of a span. Next is the page of the calendar.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from mlma.agent.standing import Labelled, Planned, Standing
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.selectors import Selector
from mlma.web.pages.links import order_link
from mlma.web.pages.months import Happening
from mlma.web.pages.order_fields import LABEL_WORDS

_HANDLING = {"exclude": "excluded", "matched": "compared with the last one", "mute": "muted"}


def happenings(standing: Standing, begins: datetime, ends: datetime, back: str) -> list[Happening]:
    """Return what touches a span, by time; their links lead back to an address."""
    made = [
        *(_event(one, back) for one in standing.events.values()),
        *(_plan(one, back) for one in standing.plans.values()),
        *_labels(standing.labels, back),
    ]
    inside = [one for one in made if one.touches(begins, ends)]
    return sorted(inside, key=lambda one: (one.begins, one.ends, one.kind, one.name))


def _event(one: CalendarEvent, back: str) -> Happening:
    how = [words for name, words in _HANDLING.items() if getattr(one, name)]
    return Happening(
        "event",
        one.name,
        one.begins,
        one.ends,
        ", ".join([one.type, *(how or ["counts as usual"])]),
        one.selector.text,
        order_link("event", id=one.id, next=back),
        order_link("cancel_event", event=one.id, next=back),
    )


def _plan(one: Planned, back: str) -> Happening:
    return Happening(
        "plan",
        "Re-training",
        one.at,
        one.at,
        "asked for" if one.done else "planned",
        _whom(one.unique_ids),
        "",
        "" if one.done else order_link("undo", action=one.action, next=back),
    )


def _labels(labels: Sequence[Labelled], back: str) -> list[Happening]:
    """Return labels that are in force: a label that was taken off shows no more."""
    return [
        Happening(
            "label",
            LABEL_WORDS[one.label].capitalize(),
            one.begins,
            one.ends,
            "label",
            _whom(one.unique_ids),
            "",
            order_link("undo", action=one.action, next=back),
        )
        for one in labels
        if one.label != "none"
    ]


def _whom(names: tuple[str, ...]) -> str:
    return Selector(unique_ids=names).text if names else "nobody"


def frame_of(found: Sequence[Happening]) -> pl.DataFrame:
    """Return happenings as a table."""
    schema: dict[str, Any] = {
        "kind": pl.String,
        "name": pl.String,
        "begins": pl.Datetime("us", "UTC"),
        "ends": pl.Datetime("us", "UTC"),
        "detail": pl.String,
        "whom": pl.String,
    }
    rows = [[getattr(one, name) for name in schema] for one in found]
    return pl.DataFrame(rows, schema=schema, orient="row")
