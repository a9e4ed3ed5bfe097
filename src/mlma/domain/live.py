"""Settings and standing of the live agent."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from mlma.domain.periods import Periods
from mlma.domain.policy import Policy


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What the live agent has to know beside its policy.

    loss
        name of the loss of a pair.
    complete_share
        share of a batch's forecasts whose actuals must be there to judge it.
    delay
        a batch is not judged before its period is over for so long.
    timeout
        so long after the end of its period a batch is judged with what is there. None = it waits.
    reopen
        so long after the end of its period late and revised rows open a batch again.
    retention
        so long after the end of its period pushed rows are kept.
    benchmark
        ``none``; ``pushed`` rows; or ``seasonal_naive``: the actuals one ``season`` earlier.
    wait_for_fits
        the next cycle waits until no fit of the agent's own trainer is open or running: versions
        go live before the next batch, as in a replay.
    """

    policy: Policy
    periods: Periods
    loss: str = "absolute"
    seed: int = 0
    complete_share: float = 0.9
    delay: timedelta = timedelta(0)
    timeout: timedelta | None = timedelta(hours=6)
    reopen: timedelta = timedelta(days=7)
    retention: timedelta = timedelta(days=14)
    benchmark: Literal["none", "pushed", "seasonal_naive"] = "none"
    season: timedelta = timedelta(days=7)
    wait_for_fits: bool = False
    snapshot_every: int = 7
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """How the live agent stands.

    next_period
        first instant of the period that is judged next; None = nothing came yet.
    waits_for
        why it is not judged yet, in words.
    complete
        share of its batches that are complete.
    leader
        who holds the lease; None = nobody.
    """

    cycle: int
    streams: int
    next_period: datetime | None
    waits_for: str
    complete: float | None
    leader: str | None
    leads: bool
    verdicts: dict[str, int] = field(default_factory=dict)
