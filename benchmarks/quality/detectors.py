"""Detectors: what they give, simple rules on batch means, and how a dial is tuned.

Takes worlds, gives alarms. An alarm restarts the evidence and the reference of its stream, as a
re-training would: the new reference is the last batches. Next are the scores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quality.scores import false_alarms_per_batch
from quality.worlds import World

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

MOST_FALSE_ALARMS = 0.01
"""Per batch and stream; to this every tuned detector keeps on the tuning world."""


@dataclass(frozen=True, slots=True)
class Detection:
    """What a detector says. Shapes ``(n_days, n_streams)``, reference days included.

    alarms
        bool, re-trainings asked for.
    p_values
        float64, of each batch alone; NaN = none; None = the detector has none.
    own
        bool, alarms on a stream's own evidence, not as part of a finding; None = all are.
    findings
        day and scope of what was reported as common to a group; scopes as in `Common`.
    """

    alarms: Bools
    p_values: Floats | None = None
    own: Bools | None = None
    findings: tuple[tuple[int, str], ...] = ()

    @property
    def alone(self) -> Bools:
        """Alarms of streams on their own."""
        return self.alarms if self.own is None else self.own


class Detector(Protocol):
    """What is measured."""

    @property
    def name(self) -> str:
        """Its row in the tables."""

    def detect(self, world: World) -> Detection:
        """Return its alarms."""


@dataclass(frozen=True, slots=True)
class Every:
    """Alarm every ``batches`` batches, each stream at its own phase; 0 = never."""

    batches: int = 0

    @property
    def name(self) -> str:
        return f"every {self.batches} batches" if self.batches else "never"

    def detect(self, world: World) -> Detection:
        days, n = world.shape
        if not self.batches:
            return Detection(np.zeros((days, n), dtype=np.bool_))
        day, stream = np.arange(days)[:, None], np.arange(n)
        due = (day + stream) % self.batches == 0
        return Detection(due & (day >= world.reference))


@dataclass(frozen=True, slots=True)
class BatchRule:
    """A one-sided rule on batch means, standardised by the reference of their calendar class.

    With ``allowance`` None a batch above ``limit`` standard deviations is an alarm; else those
    above the allowance are added up until they reach the limit (Page, 1954).
    """

    name: str
    limit: float
    allowance: float | None = None

    def detect(self, world: World) -> Detection:
        means = world.losses.mean(axis=2, dtype=np.float64)
        days, n = world.shape
        alarms, total = np.zeros((days, n), dtype=np.bool_), np.zeros(n)
        centre, spread = reference_of(means, world, world.reference)
        for day in range(world.reference, days):
            score = (means[day] - centre[world.calendar[day]]) / spread
            total = self._added(total, np.nan_to_num(score))
            alarms[day] = total >= self.limit
            rows = np.flatnonzero(alarms[day])
            total[rows] = 0.0
            centre[:, rows], spread[rows] = reference_of(means[:, rows], world, day + 1)
        return Detection(alarms)

    def _added(self, total: Floats, score: Floats) -> Floats:
        return score if self.allowance is None else np.maximum(total + score - self.allowance, 0.0)


def reference_of(means: Floats, world: World, end: int) -> tuple[Floats, Floats]:
    """Return mean per calendar class ``(2, n)`` and spread ``(n,)`` before batch ``end``."""
    days = slice(max(0, end - world.reference), end)
    held, weekend = means[days], world.calendar[days] == 1
    centre = np.stack([held[~weekend].mean(axis=0), held[weekend].mean(axis=0)])
    rest = held - centre[weekend.astype(np.int64)]
    spread = np.sqrt((rest**2).sum(axis=0) / max(1, len(held) - 2))
    return centre, np.where(spread > 0, spread, np.inf)


SIMPLE = (
    BatchRule("cusum", 5.0, 0.5),
    BatchRule("3 sigma", 3.0),
    Every(0),
    Every(28),
    Every(100),
)
"""As the textbooks have them, and dummies."""

TUNABLE: dict[str, tuple[Callable[[float], "Detector"], Sequence[float]]] = {
    "cusum": (lambda dial: BatchRule("cusum, tuned", dial, 0.5), np.geomspace(60.0, 1.0, 100)),
    "3 sigma": (lambda dial: BatchRule("3 sigma, tuned", dial), np.geomspace(40.0, 1.0, 100)),
}
"""How each is made at a dial, and dials from strict to sensitive."""


def tuned(
    make: Callable[[float], Detector], dials: Sequence[float], worlds: Sequence[World]
) -> Detector:
    """Return the most sensitive detector with few enough alarms in healthy batches.

    ``dials`` go from strict to sensitive; false alarms are taken to become more on the way, so that
    half of the dials that are left can be dismissed at each step.
    """
    low, high = 0, len(dials)
    while high - low > 1:
        middle = (low + high) // 2
        detector = make(dials[middle])
        rates = [false_alarms_per_batch(detector.detect(one).alarms, one) for one in worlds]
        if np.mean(rates) <= MOST_FALSE_ALARMS:
            low = middle
        else:
            high = middle
    return make(dials[low])
