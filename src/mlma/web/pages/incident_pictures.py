"""Pictures of an incident: the losses of its members against what their references expected.

Takes losses of the members per cycle, gives charts made on the server.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from mlma.domain.incidents import Incident
from mlma.domain.ledger import CycleInfo
from mlma.domain.periods import Periods
from mlma.web.charts import Band, Line, Mark, Marks, Scale, plot, sparkline
from mlma.web.pages.loss_shelf import MemberLosses
from mlma.web.pages.words import number, percent

Floats = NDArray[np.float64]


def small(ratios: Floats) -> Markup:
    """Return the losses of the newest cycles as a line; nothing where there are fewer than two."""
    newest = ratios[np.isfinite(ratios)][-1:]
    if not len(newest):
        return Markup()
    title = (
        f"Mean loss against its reference over the last {len(ratios)} cycles; "
        f"newest {percent(float(newest[0]) - 1, signed=True)}"
    )
    return sparkline(ratios, title, width=168, height=40)


def times_of(cycles: Sequence[CycleInfo], periods: Periods) -> NDArray[np.datetime64]:
    """Return the starts of the batches of cycles, ``(n,) datetime64[us]``."""
    return np.array([periods.start(info.period) for info in cycles], dtype="datetime64[us]")


def levels(one: Incident, losses: MemberLosses, periods: Periods) -> Markup:
    """Return mean loss and mean reference of the members around the opening."""
    times = times_of(losses.cycles, periods)
    tips = [
        f"cycle {info.cycle}: loss {number(loss)}, reference {number(reference)}"
        for info, loss, reference in zip(losses.cycles, losses.loss, losses.reference, strict=True)
    ]
    return plot(
        "Loss of the members",
        f"Mean loss of the members and what their references expected, cycles "
        f"{_span(losses.cycles)}; opened in cycle {one.opened_cycle}.",
        times,
        [
            Line(losses.reference, "second"),
            Line(losses.loss),
            Marks(_marks(one, losses.cycles, times)),
        ],
        scale=Scale(zero=True),
        tips=tips,
    )


def rises(one: Incident, losses: MemberLosses, periods: Periods) -> Markup:
    """Return how far the members rose above their references: the median, and 80 % of them."""
    times = times_of(losses.cycles, periods)
    tips = [
        f"cycle {info.cycle}: median {percent(float(rise), signed=True)}, 80 % of the members "
        f"from {percent(float(low), signed=True)} to {percent(float(high), signed=True)}"
        for info, rise, low, high in zip(
            losses.cycles, losses.rise, losses.low, losses.high, strict=True
        )
    ]
    return plot(
        "Rise of the members",
        f"Relative rise of each member's loss above its reference, cycles "
        f"{_span(losses.cycles)}: median and the middle 80 %.",
        times,
        [
            Band(losses.low, losses.high),
            Line(losses.rise),
            Marks(_marks(one, losses.cycles, times)),
        ],
        scale=Scale(zero=True, percent=True, signed=True),
        tips=tips,
    )


def _marks(one: Incident, cycles: Sequence[CycleInfo], times: NDArray[np.datetime64]) -> list[Mark]:
    at = {info.cycle: time for info, time in zip(cycles, times, strict=True)}
    made = []
    if one.opened_cycle in at:
        made.append(Mark(at[one.opened_cycle], f"opened in cycle {one.opened_cycle}", "alarm"))
    if one.closed_cycle in at:
        made.append(Mark(at[one.closed_cycle], f"closed in cycle {one.closed_cycle}"))
    return made


def _span(cycles: Sequence[CycleInfo]) -> str:
    return f"{cycles[0].cycle} to {cycles[-1].cycle}" if cycles else "none"
