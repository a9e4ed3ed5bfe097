"""`/stream?unique_id=...`: one stream, from its rows to what was decided about it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mlma.agent.standing import Standing
from mlma.domain.periods import Periods
from mlma.domain.selectors import Selector
from mlma.web.charts import Span
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk, Desk
from mlma.web.pages.addresses import Here
from mlma.web.pages.environment import page
from mlma.web.pages.fleet import RANGES, Range, heads_of
from mlma.web.pages.in_force import standing_now
from mlma.web.pages.kept_rows import kept_rows
from mlma.web.pages.links import order_link
from mlma.web.pages.sheets import csv_of
from mlma.web.pages.story import story_of
from mlma.web.pages.stream_charts import evidence_chart, loss_chart, rows_chart
from mlma.web.pages.stream_facts import stream_facts
from mlma.web.pages.words import words

router = APIRouter(include_in_schema=False)

_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Said:
    """Something that an engineer said or ordered about a stream; ``action`` leads to the audit."""

    what: str
    begins: datetime | None
    ends: datetime | None
    action: int | None = None
    kind: str = "hold"


@router.get("/stream")
def stream(
    request: Request,
    at: AtDesk,
    unique_id: Annotated[str, Query(min_length=1, max_length=2000)],
    weeks: Annotated[Range, Query()] = "13",
    format: Annotated[Literal["", "csv"], Query()] = "",
) -> Response:
    """Show one stream."""
    row = at.room.row(unique_id)
    if row is None:
        raise RefusedError(
            404, f"There is no stream `{unique_id[:200]}`.", hint="look for it among the streams"
        )
    story = story_of(at.room, row, heads_of(at.room, weeks))
    if format == "csv":
        return csv_of(story.sheet(), "stream")
    standing = standing_now(at)
    tags = [(name, of[unique_id]) for name, of in sorted(at.room.tags().items()) if unique_id in of]
    said = said_of(unique_id, dict(tags), standing)
    spans = spans_of(said, at.settings.periods)
    rows = kept_rows(at.room.store, at.settings.periods, row)
    risen = risen_since_best(at, unique_id)
    return page(
        request,
        "stream.html",
        name=unique_id,
        weeks=weeks,
        ranges=RANGES,
        story=story,
        facts=stream_facts(story),
        tags=tags,
        said=said,
        holds=[one for one in said if one.kind == "hold"],
        asked=at.room.open_requests().get(unique_id),
        charts=[loss_chart(story, risen, spans), evidence_chart(story, spans)]
        if story.heads
        else [],
        rows=rows_chart(rows) if len(rows) else None,
        kept=rows,
        retention=at.settings.retention,
        shown=_SHOWN,
        actions=_actions(unique_id, standing, str(Here(request))),
    )


def risen_since_best(at: Desk, name: str) -> float | None:
    """Return the log by which the adaptive reference of a stream stands above the anchored one.

    Both as the agent remembers them now; None = not known.
    """
    memory = at.service.live.memory
    row = memory.row.get(name)
    if row is None or row >= len(memory.state):
        return None
    reference = memory.state.rows(slice(row, row + 1)).reference
    risen = float((reference.moments.level() - reference.anchor_level)[0])
    return risen if np.isfinite(risen) else None


def said_of(name: str, tags: dict[str, str], standing: Standing) -> list[Said]:
    """Return what engineers said and ordered about a stream, the newest first."""
    made = []
    if name in standing.frozen:
        hold = standing.frozen[name]
        made.append(Said("frozen", None, hold.until, hold.action))
    if name in standing.pinned:
        made.append(Said("pinned", None, None, standing.pinned[name].action))
    if name in standing.policies:
        action, policy = standing.policies[name]
        made.append(Said(f"policy {policy}", None, None, action, "policy"))
    made += [
        Said(f"label: {words(one.label)}", one.begins, one.ends, one.action, "label")
        for one in reversed(standing.labels)
        if name in one.unique_ids
    ]
    made += [
        Said(f"overruled: {one.verdict} in cycle {one.cycle}", None, None, one.action, "overruled")
        for one in reversed(standing.overruled)
        if name in one.unique_ids
    ]
    made += [
        Said(f"{one.type}: {one.name}", one.begins, one.ends, None, "event")
        for one in standing.events.values()
        if _concerns(one.selector, name, tags)
    ]
    return made


def spans_of(said: list[Said], periods: Periods) -> list[Span]:
    """Return the stretches of time of events and labels, on the clock of the charts."""
    return [
        Span(_wall(one.begins, periods), _wall(one.ends, periods), one.what)
        for one in said
        if one.begins is not None and one.ends is not None
    ]


def _concerns(selector: Selector, name: str, tags: dict[str, str]) -> bool:
    return bool(selector.mask([name], {tag: {name: value} for tag, value in tags.items()})[0])


def _wall(moment: datetime, periods: Periods) -> np.datetime64:
    zone = UTC if periods.zone is None else ZoneInfo(periods.zone)
    return np.datetime64(moment.astimezone(zone).replace(tzinfo=None), "us")


def _actions(name: str, standing: Standing, here: str) -> list[tuple[str, str]]:
    """Return what can be ordered about a stream, as text and address."""
    frozen, pinned = name in standing.frozen, name in standing.pinned
    kinds = (
        ("retrain", "Re-train now"),
        ("plan", "Plan a re-training"),
        ("unfreeze", "Unfreeze") if frozen else ("freeze", "Freeze"),
        ("unpin", "Unpin") if pinned else ("pin", "Pin this version"),
        ("roll_back", "Roll back"),
        ("label", "Label batches"),
        ("overrule", "Overrule a verdict"),
        ("policy", "Switch policy"),
        ("event", "Declare an event"),
    )
    selector = Selector(unique_ids=(name,))
    return [(text, order_link(kind, selector, next=here)) for kind, text in kinds]
