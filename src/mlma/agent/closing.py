"""Closing: when the batches of a period are judged.

Takes what was gathered and the time, gives whether to judge now and why not yet.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from mlma.agent.gathering import Gathering
from mlma.domain.live import LiveSettings
from mlma.domain.periods import moment_of

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Closing:
    """Whether a period is judged now.

    closed
        ``complete``, ``timeout``, or empty: not yet.
    empty
        no forecast came, and none is waited for any more.
    waits_for
        why not yet, in words.
    complete
        share of the expected batches that are complete; None = none is expected.
    """

    closed: str = ""
    empty: bool = False
    waits_for: str = ""
    complete: float | None = None


def told(forecasts: Ints, pairs: Ints, share: float) -> Bools:
    """Return which batches have enough actuals to be judged, ``(n_streams,) bool``."""
    return np.asarray((forecasts > 0) & (pairs >= np.ceil(share * forecasts)))


def before_end(period: int, now: datetime, settings: LiveSettings) -> Closing | None:
    """Return what a period waits for that is not over; None = it is."""
    due = moment_of(settings.periods.end(period)) + settings.delay
    return Closing(waits_for=f"its end at {_shown(due)}") if now < due else None


def closing(
    gathered: Gathering,
    expected: Bools,
    now: datetime,
    settings: LiveSettings,
    *,
    later: bool,
) -> Closing:
    """Return whether a period that is over is judged now.

    ``expected (n_streams,)`` marks the streams that are waited for beside those that have a
    forecast; ``later`` tells that rows of a later period are there.
    """
    end = moment_of(settings.periods.end(gathered.period))
    forecasts, pairs = gathered.counts()
    awaited = expected | (forecasts > 0)
    over = settings.timeout is not None and now >= end + settings.timeout
    if not forecasts.any():
        gone = over or (settings.timeout is None and later)
        return Closing(empty=gone, waits_for="" if gone else f"forecasts{_until(end, settings)}")
    ready = told(forecasts, pairs, settings.complete_share)
    share = float(ready[awaited].mean())
    if ready[awaited].all():
        return Closing("complete", complete=share)
    if over:
        return Closing("timeout", complete=share)
    missing = int(awaited.sum() - ready[awaited].sum())
    return Closing(waits_for=f"{missing} batches{_until(end, settings)}", complete=share)


def _until(end: datetime, settings: LiveSettings) -> str:
    if settings.timeout is None:
        return ""
    return f", until {_shown(end + settings.timeout)} at most"


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def over_since(period: int, settings: LiveSettings, now: datetime) -> timedelta:
    """Return how long a period is over; negative = it is not."""
    return now - moment_of(settings.periods.end(period))
