"""The record of a replay: what every policy cost and what it lost.

Takes what the players of the agent wrote, gives the arrays that summary, frames and report show.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import unknown_name
from mlma.domain.fleet import Finding
from mlma.domain.leftovers import LeftOut
from mlma.domain.streams import Grid
from mlma.domain.verdicts import Evidence

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PolicyRun:
    """One policy, played on the whole history.

    label
        the policy as it is written on the command line, ``mlma(level=0.001)``.
    role
        ``"policy"`` (asked for), ``"baseline"`` (always in the table) or ``"matched"`` (as many
        re-trainings as the MLMA run had).
    loss
        ``(n_streams, n_batches)`` mean loss per batch; NaN = not forecast or not observed. Mean
        over phases where a policy was played in several random phases.
    retrained
        ``(n_streams, n_batches) bool``, a new version was deployed at the start of this batch (the
        first version of a stream is not a re-training). First phase only.
    fits
        ``(n_streams,) float64``, models trained, the first one and held-out siblings included;
        mean over phases.
    seconds
        wall time that this policy took beyond the work it shares with the others.
    evidence
        shape ``(n_streams, n_batches)``; None for policies that do not look at losses.
    phases
        number of random phases that were averaged.
    findings
        batch and `Finding`, in the order in which they were made.
    shares
        ``(n_streams, n_batches, 4) float32``, weights in the pool after each batch: newest version,
        older versions, long-history member, naive member; None without a pool.
    """

    label: str
    role: str
    settings: str
    loss: Floats
    retrained: NDArray[np.bool_]
    fits: Floats
    seconds: float
    evidence: Evidence | None = None
    phases: int = 1
    findings: tuple[tuple[int, Finding], ...] = ()
    shares: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """All policies on one history.

    ``ids``, ``tags`` and the first axis of all arrays name the same streams: those that were
    played. ``y_mean`` is the ``(n_streams, n_batches)`` mean observed value per batch.
    ``runs`` holds seasonal naive, never and always first.
    """

    ids: tuple[str, ...]
    tags: dict[str, tuple[str, ...]]
    grid: Grid
    y_mean: Floats
    runs: tuple[PolicyRun, ...]
    left_out: tuple[LeftOut, ...]
    settings: dict[str, str]
    seconds: float
    id_column: str = "unique_id"
    failures: dict[str, str] = field(default_factory=dict)

    def run(self, label: str) -> PolicyRun:
        """Return the run with this label.

        Raises
        ------
        SettingsError
            No policy with this label was played.
        """
        for run in self.runs:
            if run.label == label:
                return run
        raise unknown_name("policy of this replay", label, [run.label for run in self.runs])

    @property
    def always(self) -> PolicyRun:
        """The run that re-trains before every batch: the yardstick."""
        return self.run("always")

    def relative_loss(self, run: PolicyRun) -> Floats:
        """Return each stream's loss relative to always, ``(n_streams,)``.

        Sums run over the batches that both have. NaN = always lost nothing to speak of there
        (a dead stream), so that a ratio means nothing.
        """
        shared = np.isfinite(run.loss) & np.isfinite(self.always.loss)
        own = np.where(shared, run.loss, 0.0).sum(axis=1)
        yardstick = np.where(shared, self.always.loss, 0.0).sum(axis=1)
        scale = np.nanmax(np.abs(np.where(np.isfinite(self.y_mean), self.y_mean, 0.0)), axis=1)
        telling = yardstick > 1e-9 * np.maximum(scale, 1e-300) * np.maximum(shared.sum(axis=1), 1)
        out = np.full(len(own), np.nan)
        relative: Floats = np.divide(own, yardstick, out=out, where=telling)
        return relative
