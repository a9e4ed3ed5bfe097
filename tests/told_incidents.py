"""Incidents, and the cycles that show them, for tests of what is told of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from mlma.agent.judging import Registered
from mlma.domain.incidents import Incident
from mlma.domain.ledger import EVIDENCE, CycleEntry, CycleInfo
from threads import DAYS, FIRST

PERIODS = DAYS
AT = datetime(2024, 1, 2, 0, 5, tzinfo=UTC)
NAMES = [f"shop {row}" for row in range(40)]
TAGS = {"city": {name: "Ghent" if row < 10 else "Antwerp" for row, name in enumerate(NAMES)}}


def incident(name="i1", **changes):
    made = Incident(
        id=name,
        kind="group",
        scope="city=Ghent",
        state="open",
        opened_cycle=1,
        opened_at=AT,
        updated_cycle=1,
        streams=4,
        members=(0, 1, 2, 3),
        stake=12.5,
        effect=0.34,
        cause="Losses of 4 streams rose together.",
        done="Asked for 4 re-trainings.",
        advice="Look at the weather.",
        suggests=("acknowledge",),
    )
    return replace(made, **changes)


def resolved(one, by="agent", cycle=2):
    return replace(
        one,
        state="resolved",
        closed_cycle=cycle,
        closed_at=one.opened_at + timedelta(days=cycle - one.opened_cycle),
        closed_by=by,
        stake=0.0,
    )


def info(cycle=1, revision=0, streams=40, **summary):
    told = {"verdicts": {"healthy": 36, "degraded": 4}, "decisions": {"keep": 36, "retrain": 4}}
    return CycleInfo(
        cycle=cycle,
        revision=revision,
        period=FIRST + cycle - 1,
        judged_at=AT + timedelta(days=cycle - 1),
        through=0,
        closed="complete",
        streams=streams,
        summary=told | summary,
    )


def entry(cycle=1, revision=0, **summary):
    rows = np.arange(40)
    return CycleEntry(info(cycle, revision, **summary), rows, np.zeros(40, dtype=EVIDENCE))


def registered():
    made = Registered(list(NAMES))
    made.tag(TAGS)
    return made
