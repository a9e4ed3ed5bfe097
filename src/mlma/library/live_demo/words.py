"""Words: what a day brought and what came of it all, for people.

Takes days and outcomes, gives lines of text. Next is the display.
"""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from mlma.library.live_demo.outcome import FOUND_DAYS, HEALED_WITHIN, Outcome
from mlma.library.live_demo.play import Day

_MOST = 3
_DONE = {
    "retrain": "re-trained",
    "hold": "the old version stays",
    "defer": "waits for the budget",
    "switch": "another version goes live",
    "escalate": "a person has to look",
}


def line(day: Day) -> str:
    """Return a day in one line."""
    verdicts = ", ".join(f"{count} {name}" for name, count in day.verdicts.items())
    failed = f" ({day.failed} failed)" if day.failed else ""
    return (
        f"{day.date}  day {day.day}/{day.days}: {verdicts}; re-trained {day.trained}{failed}; "
        f"loss {relative(day.against_reference)} its reference, "
        f"{relative(day.against_never)} never re-training; {rate(day)} rows/s"
    )


def told(day: Day) -> Iterator[str]:
    """Yield the most telling decisions and findings of a day."""
    opened = [one for one in day.findings if one["state"] == "opened"]
    yield from (_finding(one) for one in opened[:_MOST])
    acted = [one for one in day.decided if one["decision"] in _DONE]
    yield from (_decision(one) for one in acted[:_MOST])
    if len(acted) > _MOST:
        yield f"and {len(acted) - _MOST} more"


def _decision(one: dict[str, Any]) -> str:
    seen = f"loss {relative(one['effect'])} its reference"
    if not one["reason"].startswith("loss"):
        seen = f"{one['reason']}, {seen}"
    elif "finding" in one["reason"]:
        seen += " with its group"
    return f"{one['unique_id']}: {seen}, {_DONE[one['decision']]}"


def _finding(one: dict[str, Any]) -> str:
    scope = one["scope"].partition("=")[2] or one["scope"]
    return (
        f"{scope}: the {one['streams']} streams have something in common, loss "
        f"{relative(one['effect'])} their references"
    )


def relative(effect: float | None) -> str:
    """Return a relative change in words.

    >>> relative(0.42), relative(-0.05), relative(0.001), relative(None)
    ('42 % above', '5 % below', 'as', 'not comparable with')
    """
    if effect is None or not isfinite(effect):
        return "not comparable with"
    percent = round(100 * effect)
    return f"{abs(percent)} % {'above' if percent > 0 else 'below'}" if percent else "as"


def _saved(gain: float) -> str:
    return f"{100 * abs(gain):.1f} % {'lower' if gain >= 0 else 'higher'}"


def rate(day: Day) -> int:
    """Return the rows per second of a day."""
    return round(day.rows / max(day.seconds, 1e-9))


def summary(made: Outcome) -> list[tuple[str, str]]:
    """Return the outcome as labels and texts."""
    days = "" if made.days_to_find is None else f", after {made.days_to_find:g} days (median)"
    late = f"; {made.too_late} of them in the last week" if made.too_late else ""
    broken = "" if made.broken_gain is None else f"; of broken streams {_saved(made.broken_gain)}"
    size = "unknown" if made.store_bytes is None else f"{made.store_bytes / 1e6:.1f} MB"
    holds = "computed once more, the same to the bit" if made.ledger_holds else "DIFFERS"
    lost = "none lost" if made.lost == 0 else f"{made.lost} pairs are not in the ledger"
    return [
        ("Breaks planted", f"{made.planted}{late}"),
        ("Breaks found", f"{made.found} within {FOUND_DAYS} days{days}"),
        (
            "Breaks healed",
            f"{made.healed} of {made.mendable} that were found and are two weeks old: loss at "
            f"most {100 * HEALED_WITHIN:.0f} % above what a model since the break reaches",
        ),
        (
            "Re-trainings",
            f"{made.retrainings}: {made.alarms} for alarms, {made.follow_ups} follow-ups, "
            f"{made.reviews} reviews of old models; {made.failed} failed",
        ),
        (
            "False re-trainings",
            f"{made.false_retrainings} for alarms of streams without a break "
            f"(the dial allows {made.expected_false:.1f})",
        ),
        ("Loss against never", f"{_saved(made.fleet_gain)}{broken}"),
        ("Findings", f"{made.findings} about groups of streams"),
        (
            "For a person",
            f"{made.incidents} incidents, {made.on_the_desk} still on the desk; "
            f"{made.minutes:.1f} minutes per 1,000 streams and week",
        ),
        ("Cycles", f"{made.cycles}; {made.revisions} revisions for late and corrected actuals"),
        (
            "Rows",
            f"{made.stored:,} of {made.pushed:,} stored, {lost}; {made.rows_per_second:,.0f} a "
            f"second over {made.seconds:.0f} s",
        ),
        ("Store", size),
        ("Ledger", holds),
    ]
