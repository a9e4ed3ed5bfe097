"""Words: what an incident says to an engineer, and which orders it suggests.

Takes an incident with its figures, gives its sentences. They are plain text: names and errors of
others are in them as they are, and whoever shows them has to escape them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from mlma.agent.incident_sheet import Sheet
from mlma.domain.groups import FLEET
from mlma.domain.incidents import Incident

TOGETHER = 0.05
"""A group whose median loss rose by less is told by those of its streams that are hit."""


NEARLY_ALL = 0.8


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts over the members of an incident.

    asked, fitted, back
        members for which a re-training was asked for, that have a new version since, and whose loss
        is back.
    """

    members: int
    asked: int
    fitted: int
    back: int
    alarms: int
    rise: float | None


def figures_of(sheet: Sheet, incident: Incident) -> Figures:
    """Return the counts of an incident as of this cycle."""
    rows = sheet.members(incident)
    own = sheet.traces.rows(rows)
    excess = own.excess[own.troubled]
    return Figures(
        members=len(rows),
        asked=int((own.asked > 0).sum()),
        fitted=int((own.fits > 0).sum()),
        back=int((~own.troubled).sum()),
        alarms=int(own.alarms.max(initial=0)),
        rise=float(np.expm1(np.median(excess))) if len(excess) else None,
    )


def told(sheet: Sheet, incident: Incident) -> Incident:
    """Return an incident with its sentences of this cycle."""
    figures = figures_of(sheet, incident)
    cause, done, advice, suggests = _WORDS[incident.kind](incident, figures)
    evidence = {**incident.evidence}
    if incident.kind not in ("trainer", "data"):
        kept = {"asked": figures.asked, "fitted": figures.fitted, "back": figures.back}
        evidence |= kept | {"alarms": figures.alarms}
    return sheet.put(
        incident, cause=cause, done=done, advice=advice, suggests=suggests, evidence=evidence
    )


Words = tuple[str, str, str, tuple[str, ...]]


def _common(incident: Incident, figures: Figures) -> Words:
    evidence, n = incident.evidence, incident.streams
    of = max(int(evidence.get("of") or 0), n)
    where = "" if incident.scope == FLEET else f" of {incident.scope}"
    effect, since = evidence.get("effect") or 0.0, f"since {_day(evidence)}"
    if effect >= TOGETHER:
        cause = (
            f"Losses of {of:,} streams{where} rose together by {effect:.0%} {since}; {n:,} of them "
            f"{_is(n)} degraded by {'itself' if n == 1 else 'themselves'}."
        )
    else:
        rise = _percent(incident.effect)
        cause = f"Losses of {n:,} of {of:,} streams{where} rose together{rise} {since}."
    scopes = [one["scope"] for one in evidence.get("findings", ())]
    others = len(scopes) - (incident.scope in scopes)
    if others:
        cause += f" {_count(others, 'finding')} of other groups {_is(others)} part of it."
    suggests: tuple[str, ...]
    if n and figures.back >= NEARLY_ALL * n:
        advice, suggests = "They are back: nothing is left to do.", ("resolve",)
    elif n and figures.fitted >= n / 2:
        advice = (
            "New versions are live for most of them, and the loss is not back yet. Ask what "
            "changed in the world or the data: label the batches as a one-off event, or as a real "
            "shift that is the new normal."
        )
        suggests = ("label", "event", "roll_back")
    else:
        advice = (
            "Ask what these streams have in common: a holiday, weather, a change of the data. If "
            "it is a one-off, label it, so that it leaves references and training."
        )
        suggests = ("label", "event", "freeze", "retrain")
    return cause, _done(figures), advice, suggests


def _event(incident: Incident, figures: Figures) -> Words:
    evidence, n = incident.evidence, incident.streams
    of = int(evidence.get("of") or 0)
    cause = (
        f"{n:,} of {of:,} streams alarm inside the event “{evidence.get('name', '')}”, which is "
        f"not muted, since {_day(evidence)}{_percent(incident.effect, ', losses ')}."
    )
    advice = (
        "If the event explains it, mute it or exclude its batches. If not, the models need a look."
    )
    return cause, _done(figures), advice, ("event", "label", "retrain")


def _model(incident: Incident, figures: Figures) -> Words:
    evidence, n = incident.evidence, incident.streams
    rise = "" if figures.rise is None else f", {abs(figures.rise):.0%} above its level before"
    if n == 1:
        many = f" after {_count(figures.alarms, 'alarm')}" if figures.alarms > 1 else ""
        cause = f"Re-training does not help {incident.scope}: its loss is not back{many}{rise}."
    else:
        where = f" of {incident.scope}" if evidence.get("tag") else ""
        cause = f"Re-training does not help {n:,} streams{where}: their losses are not back{rise}."
    if figures.fitted == 0:
        advice = (
            "No new version went live since the alarm. See whether it is frozen, pinned, or waits "
            "for the budget or the trainer."
        )
        return cause, _done(figures), advice, ("retrain", "unfreeze", "unpin", "budget")
    advice = (
        "Is it the data? Label what is broken. Is it a new normal? Label it as a real shift. "
        "Otherwise keep the better version, or try another policy in the lab."
    )
    return cause, _done(figures), advice, ("label", "roll_back", "pin", "policy")


def _data(incident: Incident, figures: Figures) -> Words:
    evidence, n = incident.evidence, incident.streams
    who = _count(n, "stream")
    if evidence.get("tag"):
        of = max(int(evidence.get("of") or 0), n)
        who = f"{n:,} of {of:,} streams of {_whole(incident.scope)}"
    elif n == 1:
        who = incident.scope
    fault, since = evidence.get("fault"), f"since {_day(evidence)}"
    if fault == "missing":
        cause = f"Actuals of {who} are missing {since}."
        advice = (
            "Look at the source of the actuals. Rows that come late are judged anew by themselves."
        )
        return (
            cause,
            "The agent cannot judge these streams; it keeps their models.",
            advice,
            ("event",),
        )
    if fault == "gone":
        cause = f"Forecasts of {who} stopped {since}."
        advice = "Look at the platform. Resolve this if the streams have ended."
        return cause, "The agent waits for them no longer.", advice, ("resolve",)
    cause = (
        f"The sensors of {who} seem dead {since}: losses of exactly 0, or references without "
        f"variance or full of outliers, so that nothing can be told."
    )
    advice = "Look at the sensors. Label the batches as broken, so that references forget them."
    return cause, "The agent does not re-train them.", advice, ("label", "freeze")


def _trainer(incident: Incident, figures: Figures) -> Words:
    evidence, who = incident.evidence, _count(incident.streams, "stream")
    if evidence.get("part") == "unanswered":
        cause = (
            f"Re-trainings of {who} are asked for and not answered, the oldest since "
            f"{_written(str(evidence.get('oldest', '')))}."
        )
        advice = "See whether the trainer runs and reads its requests."
        return cause, "The old versions stay; the requests stay open.", advice, ("budget", "freeze")
    cause = (
        f"Re-trainings of {who} fail: {_count(int(evidence.get('times', 0)), 'time')} in a week "
        f"with the same error: {evidence.get('error') or 'no error was told'}"
    )
    advice = "Read the error where the models are trained; then ask for the re-trainings again."
    return cause, "The old versions stay.", advice, ("retrain", "freeze")


_WORDS: dict[str, Callable[[Incident, Figures], Words]] = {
    "fleet": _common,
    "group": _common,
    "event": _event,
    "model": _model,
    "data": _data,
    "trainer": _trainer,
}


def _done(figures: Figures) -> str:
    if not figures.asked and not figures.fitted:
        return "The agent re-trained none of them."
    return (
        f"The agent asked for {_count(figures.asked, 're-training')}; {figures.fitted:,} of them "
        f"{'has' if figures.fitted == 1 else 'have'} a new version; {figures.back:,} "
        f"{_is(figures.back)} back."
    )


def _percent(effect: float | None, lead: str = " ") -> str:
    if effect is None:
        return ""
    return f"{lead}by {effect:.0%}" if effect > 0 else ""


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def _is(n: int) -> str:
    return "is" if n == 1 else "are"


def _whole(scope: str) -> str:
    return "the fleet" if scope == FLEET else scope


def _day(evidence: object) -> str:
    begins = evidence.get("begins", "") if hasattr(evidence, "get") else ""
    return _written(str(begins))


def _written(moment: str) -> str:
    at = datetime.fromisoformat(moment)
    return f"{at.day} {at:%B %Y}" + ("" if at.hour == at.minute == 0 else f", {at:%H:%M} UTC")
