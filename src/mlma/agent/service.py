"""What came into service in a replay, of which model, from when on and why.

Takes each version that a policy lets in, as the deployer does so, gives entries in the order of the
batches. Next is a store of model versions. Kept only where it is asked for: it holds every model.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlma.agent.stage import Stage
from mlma.agent.training import Version
from mlma.domain.policy import Policy
from mlma.domain.streams import Series
from mlma.domain.verdicts import REASONS, Reason
from mlma.ports import FittedForecaster

Ints = NDArray[np.int64]

FIRST = "first version"
ADOPTED = "born into a shared model that was there already"
TOGETHER = "re-trained with the streams that share its model"
PROMOTED = "better than the former version in a trial beside it"
RETURNED = REASONS[Reason.ROLLED_BACK]
LONG_HISTORY = "long-history member"
OTHER = "re-training asked for before the former version came back"

Kind = Literal["deployed", "returned", "member"]

_WRITTEN_OVER = frozenset({Reason.ROLLED_BACK, Reason.TRIAL, Reason.GATE, Reason.SELECTED})


@dataclass(frozen=True, slots=True)
class Training:
    """How a version was made: on batches ``first`` to ``at - 1`` of ``streams``, in ``seconds``."""

    first: int
    at: int
    streams: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class InService:
    """A version that came into service for one stream.

    row, batch
        the stream, and the first batch that the version forecasts for it.
    kind
        ``deployed``, ``returned`` (it was in service before) or ``member`` (it stands in the pool
        beside the deployed one).
    training
        how it was made; None = it was in service before.
    """

    row: int
    batch: int
    fitted: FittedForecaster
    kind: Kind
    reason: str
    training: Training | None


@dataclass(slots=True)
class ServiceLog:
    """What one policy of a replay brought into service.

    check
        called with the first model of all: it may raise what stops the replay.
    entries
        in the order of the batches; of one batch and stream, the last one counts.
    series
        the streams, by row; ``kept`` are the rows of those that are in the result.
    stop
        ``(n_streams,) int64``, one past each stream's last batch.
    policy
        the policy, as it is written on the command line.
    """

    check: Callable[[FittedForecaster], None] | None = None
    entries: list[InService] = field(default_factory=list)
    series: tuple[Series, ...] = ()
    kept: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    stop: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    policy: str = ""
    _known: set[int] = field(default_factory=set)

    def brought(
        self, made: dict[int, Version], first: Ints, reasons: NDArray[np.generic], batch: int
    ) -> None:
        """Note new versions by stream; ``first`` are streams that had none.

        ``reasons (n_streams,) int8`` of the decisions of the batch before.
        """
        born = set(first.tolist())
        adopted = {row for row, version in made.items() if id(version.fitted) in self._known}
        for row in sorted(made):
            version = made[row]
            if row in adopted:
                self._note(InService(row, batch, version.fitted, "deployed", ADOPTED, None))
                continue
            cause = FIRST if row in born else _cause(Reason(int(reasons[row])), version)
            self._note(_entry(row, batch, version, cause))

    def promoted(self, row: int, version: Version, batch: int) -> None:
        """Note a candidate that goes live."""
        self._note(_entry(row, batch, version, PROMOTED))

    def returned(self, row: int, fitted: FittedForecaster, batch: int) -> None:
        """Note that a stream is back at its former version."""
        self._note(InService(row, batch, fitted, "returned", RETURNED, None))

    def long_history(self, made: dict[int, Version], batch: int) -> None:
        """Note new long-history members by stream."""
        for row in sorted(made):
            self._note(_entry(row, batch, made[row], LONG_HISTORY, "member"))

    def close(self, stage: Stage, kept: Ints, policy: Policy) -> None:
        """Note whose log this is, when the replay is over."""
        self.series, self.stop, self.kept = stage.series, stage.stop, kept
        self.policy = policy.label

    def _note(self, entry: InService) -> None:
        if self.check is not None and not self.entries:
            self.check(entry.fitted)
        self._known.add(id(entry.fitted))  # the entry keeps the model: no other one gets its id
        self.entries.append(entry)


def _entry(
    row: int, batch: int, version: Version, reason: str, kind: Kind = "deployed"
) -> InService:
    seconds = version.seconds / version.part
    training = Training(version.first, version.at, version.streams, seconds)
    return InService(row, batch, version.fitted, kind, reason, training)


def _cause(reason: Reason, version: Version) -> str:
    """Return why a stream got a version: the reason of its decision, where that still stands."""
    if reason == Reason.UNFIT and len(version.streams) > 1:
        return TOGETHER
    return OTHER if reason in _WRITTEN_OVER else reason.label
