"""The watch: the cycle for losses that come from elsewhere, and what it remembers between calls.

Library and live service both watch through this. Takes dense batches of losses, gives what was
seen and the memory afterwards; a memory is never changed, so a call is all or nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlma.agent.births import born, first_ages, with_streams
from mlma.agent.cycle import Cycled, Others, monitor_of, run_cycle
from mlma.domain.batches import LossBatch
from mlma.domain.errors import SettingsError
from mlma.domain.fleet import FleetState
from mlma.domain.groups import FLEET, Groups
from mlma.domain.live import LiveSettings
from mlma.domain.policy import Policy
from mlma.domain.settings import MLMA
from mlma.domain.state import AgentState, HeldOut
from mlma.stats.registry import batch_test
from mlma.steps.compare import Incoming
from mlma.steps.ease import difficulty
from mlma.steps.lay import same_width
from mlma.steps.refer import deploy, start_anew
from mlma.steps.rollback import Former
from mlma.steps.rollback import restored as rolled_back

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_WEEK = np.timedelta64(7, "D")


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered between two cycles.

    row
        row of each stream in ``state``, in the order of their rows.
    """

    row: dict[str, int]
    state: AgentState
    fleet: FleetState

    def at(self, names: Sequence[str]) -> Ints:
        """Return the rows of some streams."""
        return np.array([self.row[name] for name in names], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Said:
    """What people said of the streams of a cycle; columns are ``(n_streams,)``, None = nothing.

    excluded, hold, verdict
        as ``excluded``, ``hold`` and ``told`` of `mlma.steps.compare.Incoming`.
    expected
        float64, times the usual loss that is expected of this batch.
    policies
        policies of some streams, and their rows in the cycle.
    """

    excluded: Bools | None = None
    hold: NDArray[np.int8] | None = None
    verdict: NDArray[np.int8] | None = None
    expected: Floats | None = None
    policies: Others = ()


NOTHING_SAID = Said()


@dataclass(frozen=True, slots=True)
class Watch:
    """How it is watched: policy, length of a batch and of a slot (None = no places), seed."""

    policy: Policy
    batch: np.timedelta64
    slot: np.timedelta64 | None = None
    seed: int = 0

    @property
    def monitor(self) -> MLMA:
        """The settings by which the evidence is read."""
        return monitor_of(self.policy)

    @property
    def reads_single_losses(self) -> bool:
        """Whether the test reads more of a batch than its mean."""
        return batch_test(self.monitor.test).memory != "means"

    def nothing(self) -> Memory:
        """Return the memory before the first call."""
        return Memory({}, self._newborn([]), FleetState.new((FLEET,)))

    def known(self, memory: Memory, names: Sequence[str]) -> Memory:
        """Return the memory with streams, new ones added: their first version is live."""
        state, row = with_streams(memory.state, memory.row, names, self._newborn)
        return replace(memory, state=state, row=row)

    def cycle(
        self,
        memory: Memory,
        at: Ints,
        batch: LossBatch,
        groups: Groups,
        *,
        benchmark: Floats | None = None,
        said: Said = NOTHING_SAID,
    ) -> tuple[Memory, Cycled]:
        """Return the memory after one loss batch of the streams in rows ``at``, and what was seen.

        ``benchmark (len(at),)`` is the mean loss of a benchmark, NaN = none; ``groups`` are those
        of the streams of the call.
        """
        state, losses = memory.state, batch.losses
        if self.reads_single_losses:
            state, losses = same_width(state, losses)
        own = first_ages(state.rows(at), self.monitor, self.seed)
        hard = np.full(len(at), np.nan) if benchmark is None else benchmark
        ease, level = difficulty(hard, own.benchmark_level, self.monitor.adjustment)
        if said.expected is not None:
            ease = said.expected if ease is None else ease * said.expected
        cycled = run_cycle(
            replace(own, benchmark_level=level),
            Incoming(replace(batch, losses=losses), ease, said.excluded, said.hold, said.verdict),
            memory.fleet,
            groups,
            self.policy,
            others=said.policies,
            seed=self.seed,
            batches_per_week=float(_WEEK / self.batch),
        )
        state = state.with_rows(at, cycled.state)
        return Memory(memory.row, state, cycled.fleet), cycled

    def deployed(self, memory: Memory, at: Ints, held_out: HeldOut | None) -> Memory:
        """Return the memory after new versions of the streams in rows ``at`` went live."""
        state, brought = memory.state, held_out
        if held_out is not None:
            state, losses = same_width(state, held_out.losses)
            brought = replace(held_out, losses=losses)
        return replace(memory, state=deploy(state, at, brought, self.monitor, self.seed))

    def started_anew(self, memory: Memory, at: Ints) -> Memory:
        """Return the memory in which the references of the streams in rows ``at`` start empty."""
        return replace(memory, state=start_anew(memory.state, at, self.monitor))

    def restored(self, memory: Memory, at: Ints, former: Former) -> Memory:
        """Return the memory after former versions and their references came back."""
        state = rolled_back(memory.state, at, former, self.monitor)
        return replace(memory, state=state)

    def _newborn(self, names: Sequence[str]) -> AgentState:
        slots = 1 if self.slot is None else int(self.batch // self.slot)
        ageless = replace(self.monitor, max_age=None, review_age=None)  # see `first_ages`
        return born(names, ageless, slots, self.seed)


def watch_for(settings: LiveSettings) -> Watch:
    """Return the watch that settings ask for.

    Raises
    ------
    SettingsError
        The test reads the places of single losses, and periods are cut by the clock of a zone.
    """
    periods = settings.periods
    watch = Watch(settings.policy, periods.batch, None, settings.seed)
    if not watch.reads_single_losses:
        return watch
    if periods.zone is not None:
        raise SettingsError(
            f"The test `{watch.monitor.test}` reads single losses by their slots; days of 23 and "
            f"25 hours have no fixed ones. `timezone` must be empty. Got {periods.zone}. "
            f'Hint: test="moderated_t", or push times without a zone.',
        )
    return replace(watch, slot=periods.slot)
