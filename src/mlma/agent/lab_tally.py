"""Tallies of the policy lab: what each side lost and did, by cycle and by stream.

Takes cycle after cycle, gives plain values for pages and the command line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MOST_ROWS = 50
"""Streams that the result lists: those that gain most and those that lose most."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One cycle on both sides; all ``(n,)`` but the first two.

    cycle, ds
        number of the cycle; start of its batch.
    rows
        of the registry.
    loss
        real mean losses; NaN = none.
    change
        by which the log of the loss is another under the tried policy, as estimated.
    apart
        bool, the versions differ: the row is counterfactual.
    real_asks, tried_asks
        bool, a re-training was asked for.
    real_alarms, tried_alarms
        how many.
    """

    cycle: int
    ds: str
    rows: Ints
    loss: Floats
    change: Floats
    apart: Bools
    real_asks: Bools
    tried_asks: Bools
    real_alarms: int
    tried_alarms: int


class Tally:
    """Adds up what both sides lost and did."""

    def __init__(self, n_streams: int) -> None:
        self._loss = np.zeros((n_streams, 4))  # real; tried with the gain taken 1, 0 and 2 times
        self._batches = np.zeros(n_streams, dtype=np.int64)
        self._apart = np.zeros(n_streams, dtype=np.int64)
        self._asks = np.zeros((n_streams, 2), dtype=np.int64)
        self._alarms = [0, 0]
        self.by_cycle: list[dict[str, Any]] = []

    def add(self, seen: Seen) -> None:
        """Add a cycle."""
        told = np.isfinite(seen.loss)
        rows, loss, change = seen.rows[told], seen.loss[told], seen.change[told]
        tried = loss * np.exp(change)
        self._loss[rows] += np.stack([loss, tried, loss, loss * np.exp(2 * change)], axis=1)
        self._batches[rows] += 1
        self._apart[rows] += seen.apart[told]
        self._asks[seen.rows] += np.stack([seen.real_asks, seen.tried_asks], axis=1)
        self._alarms[0] += seen.real_alarms
        self._alarms[1] += seen.tried_alarms
        self.by_cycle.append(
            {
                "cycle": seen.cycle,
                "ds": seen.ds,
                "real_loss": _mean(loss),
                "tried_loss": _mean(tried),
                "real_retrainings": int(seen.real_asks.sum()),
                "tried_retrainings": int(seen.tried_asks.sum()),
                "counterfactual": float(seen.apart[told].mean()) if told.any() else 0.0,
            }
        )

    @property
    def streams(self) -> int:
        """Streams with a loss in some cycle."""
        return int((self._batches > 0).sum())

    def counterfactual_share(self) -> float:
        """Return the share of the losses that are estimates."""
        return float(self._apart.sum() / max(self._batches.sum(), 1))

    def real(self) -> dict[str, Any]:
        """Return what really happened: loss, re-trainings and alarms."""
        return {
            "loss": self._total(0),
            "retrainings": int(self._asks[:, 0].sum()),
            "alarms": self._alarms[0],
        }

    def tried(self) -> dict[str, Any]:
        """Return the same under the tried policy, and the range of its loss."""
        losses = [self._total(column) for column in (1, 2, 3)]
        known = [loss for loss in losses if loss is not None]
        return {
            "loss": losses[0],
            "loss_low": min(known, default=None),
            "loss_high": max(known, default=None),
            "retrainings": int(self._asks[:, 1].sum()),
            "alarms": self._alarms[1],
        }

    def rows(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return the streams whose loss differs most, those that lose most first."""
        n = np.maximum(self._batches, 1)
        real, tried = self._loss[:, 0] / n, self._loss[:, 1] / n
        more = tried - real
        differs = np.flatnonzero((self._apart > 0) | (self._asks[:, 0] != self._asks[:, 1]))
        order = differs[np.lexsort((differs, -more[differs]))]
        half = MOST_ROWS // 2
        shown = order if len(order) <= MOST_ROWS else np.concatenate([order[:half], order[-half:]])
        return [
            {
                "unique_id": names[at],
                "real_loss": float(real[at]),
                "tried_loss": float(tried[at]),
                "real_retrainings": int(self._asks[at, 0]),
                "tried_retrainings": int(self._asks[at, 1]),
                "counterfactual": float(self._apart[at] / n[at]),
                "mark": _mark(float(more[at])),
            }
            for at in shown.tolist()
        ]

    def _total(self, column: int) -> float | None:
        batches = int(self._batches.sum())
        return float(self._loss[:, column].sum() / batches) if batches else None


def _mark(more: float) -> str:
    if not more:
        return "same"
    return "worse" if more > 0 else "better"


def _mean(losses: Floats) -> float | None:
    mean = float(losses.mean()) if len(losses) else float("nan")
    return mean if isfinite(mean) else None
