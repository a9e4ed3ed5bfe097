"""What people read: the text of a message about an incident, a digest or a test.

Takes an event, gives a title and plain text. Whatever stands in names and sentences stays text:
`mlma.adapters.notify.apprise_target` has it escaped for the form that a receiver shows.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from mlma.domain.ledger import Event

Document = Mapping[str, Any]

LONGEST_TITLE, LONGEST_LINE = 120, 500
MOST_LISTED = 20
_CALLS = re.compile(r"@(?=everyone|here|channel|all)", re.IGNORECASE)
_JOINER = "\u2060"  # has no width: the word is read as before, and calls nobody
_DID = (
    ("retrain", "asked for {}"),
    ("switch", "went to another version for {}"),
    ("defer", "deferred {} for the budget"),
    ("hold", "held {}"),
    ("escalate", "gave up on {}"),
)


@dataclass(frozen=True, slots=True)
class Message:
    """Title and text, both plain."""

    title: str
    body: str


def message_of(event: Event, *, public_url: str = "", zone: str = "UTC") -> Message:
    """Return what people read about an event.

    Parameters
    ----------
    public_url
        address of the pages, for links; empty = none.
    zone
        in which times are told.

    >>> from datetime import UTC
    >>> test = Event("t", "test", datetime(2024, 1, 2, 7, tzinfo=UTC), {"by": "user:ann"})
    >>> message_of(test, zone="Europe/Brussels").body
    'user:ann looks whether messages arrive. Sent on 2024-01-02 08:00 CET.'
    """
    made = {"incident": _incident, "digest": _digest}.get(event.kind, _test)
    title, lines = made(event, public_url, zone)
    return Message(plain(title, LONGEST_TITLE), "\n".join(line for line in lines if line))


def plain(text: str, longest: int = LONGEST_LINE) -> str:
    """Return a text as one line without control characters, which calls nobody by name.

    >>> plain("a\\nb\\x1b[2J"), plain("word " * 9, 12)
    ('a b [2J', 'word word...')
    """
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    if len(line) > longest:
        line = line[: longest - 3].rstrip() + "..."
    return _CALLS.sub(f"@{_JOINER}", line)


def _incident(event: Event, public_url: str, zone: str) -> tuple[str, list[str]]:
    told = event.document
    title = f"Incident {told['change']}: {told['scope']}"
    cycle = f"Cycle {told['cycle']}, judged on {_moment(told['judged_at'], zone)}."
    if told["change"] in {"resolved", "withdrawn"}:
        return title, [_ending(told), plain(str(told["cause"])), cycle, _link(told, public_url)]
    facts = f"{_streams(told['streams'])}, {_stake(told)}{_rise(told['effect'])}."
    names = [] if told["kind"] == "fleet" else [_names(told)]
    lines = [plain(str(told["cause"])), facts, *names]
    lines += [plain(f"{head}: {told[name]}") for name, head in _HEADS if told[name]]
    return title, [*lines, cycle, _link(told, public_url)]


_HEADS = (("done", "The agent"), ("advice", "Advice"))


def _digest(event: Event, public_url: str, zone: str) -> tuple[str, list[str]]:
    told = event.document
    counts = ", ".join(
        f"{told[name]} {name}" for name in ("opened", "escalated", "resolved") if told[name]
    )
    title = f"Cycle {told['cycle']}: {counts or 'nothing new'}, {told['open']} open"
    judged = f"{_streams(told['streams'])} judged on {_moment(told['judged_at'], zone)}."
    lines = [judged, _verdicts(told), _did(told)]
    if told["incidents"]:
        lines += ["", "Incidents, the largest stake first:"]
        shown, rest = told["incidents"][:MOST_LISTED], told["incidents"][MOST_LISTED:]
        lines += [line for one in shown for line in _listed(one, public_url)]
        more = len(rest) + told["more"]
        lines.append(f"... and {more} more." if more else "")
    else:
        lines.append("No incident is open.")
    return title, [*lines, f"{public_url}/fleet" if public_url else ""]


def _test(event: Event, _: str, zone: str) -> tuple[str, list[str]]:
    by = plain(str(event.document.get("by", "somebody")))
    at = _moment(event.at.isoformat(), zone)
    return "Test message of mlma", [f"{by} looks whether messages arrive. Sent on {at}."]


def _listed(one: Document, public_url: str) -> Iterator[str]:
    state = one["change"] or one["state"]
    facts = f"{_streams(one['streams'])}, {_stake(one)}{_rise(one['effect'])}"
    yield plain(f"- [{state}] {one['scope']}: {one['cause']} ({facts})")
    if one["done"]:
        yield plain(f"  The agent: {one['done']}")
    link = _link(one, public_url)
    if link:
        yield f"  {link}"


def _ending(told: Document) -> str:
    who = told["closed_by"]
    if told["change"] == "withdrawn":
        return "A batch that was judged anew no longer shows it."
    return "It closed itself." if who in {"agent", ""} else plain(f"Resolved by {who}.")


def _verdicts(told: Document) -> str:
    shown = [f"{count} {name}" for name, count in told["verdicts"].items() if count]
    return plain(f"Verdicts: {', '.join(shown)}.") if shown else ""


def _did(told: Document) -> str:
    done = told["decisions"]
    parts = [words.format(_retrainings(done[name])) for name, words in _DID if done.get(name)]
    return f"The agent {', '.join(parts)}." if parts else "The agent asked for no re-training."


def _retrainings(count: int) -> str:
    return f"{count} re-training{'s' if count != 1 else ''}"


def _streams(count: int) -> str:
    return f"{count:,} stream{'s' if count != 1 else ''}"


def _stake(told: Document) -> str:
    return f"loss at stake {told['stake']:.3g}"


def _rise(effect: float | None) -> str:
    return "" if effect is None else f", {100 * effect:+.0f} % in the middle"


def _names(told: Document) -> str:
    names = told["unique_ids"]
    more = told["streams"] - len(names)
    if not names or [told["scope"]] == names:
        return ""
    return plain(f"Streams: {', '.join(names)}{f' and {more} more' if more > 0 else ''}.")


def _link(told: Document, public_url: str) -> str:
    return f"{public_url}{told['path']}" if public_url else ""


def _moment(text: str, zone: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M %Z}"
