"""Plays policies batch after batch, all streams in lockstep: those that look at losses or pool.

Every policy has its own agent state and runs the same cycle as the live agent. A version that two
policies want at the same batch is trained once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from mlma.agent.cycle import run_cycle
from mlma.agent.deployer import Deployer
from mlma.agent.play import Play, new_play
from mlma.agent.pools import long_due
from mlma.agent.rationing import rationed
from mlma.agent.service import ServiceLog
from mlma.agent.stage import Stage
from mlma.agent.trials import Trials
from mlma.agent.workshop import Workshop
from mlma.domain.batches import LossBatch, mean_losses
from mlma.domain.policy import Policy, Pooled
from mlma.domain.verdicts import CycleRecord, Decision, Reason
from mlma.ports import FittedForecaster
from mlma.stats.calendar import slot_classes
from mlma.steps.compare import Incoming
from mlma.steps.together import echoed, speakers, together, voiced

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class EvidencePlayer:
    """Plays policies on a stage; ``play`` returns one `Play` per policy.

    ``naive`` forecasts the value of a week ago: a member of the pools that want it.
    """

    stage: Stage
    workshop: Workshop
    naive: FittedForecaster

    def play(
        self,
        policies: Sequence[tuple[Policy, Bools | None]],
        progress: Callable[[int, int], None] | None = None,
        service: ServiceLog | None = None,
    ) -> list[Play]:
        """Return the plays of all policies after the last batch.

        A policy that does not look at losses comes with the batches at which it re-trains,
        ``(n_streams, n_batches) bool``. ``service`` takes what the first policy brings into
        service.
        """
        plays = [new_play(self.stage, policy, due) for policy, due in policies]
        plays[0].service = service
        deployer = Deployer(self.stage, self.workshop, self.naive)
        n_batches = self.stage.panel.grid.n_batches
        long_ones = long_due(self.stage, self.workshop.recipe.window)
        first = int(self.stage.start.min()) if len(self.stage.start) else n_batches
        for batch in range(first, n_batches):
            self.workshop.book.turned(batch)
            deployer.deploy_all(plays, long_ones[:, batch], batch)
            for play in plays:
                start = perf_counter()
                self._cycle(play, batch)
                play.seconds += perf_counter() - start
            if progress:
                progress(batch - first + 1, n_batches - first)
        return plays

    def _cycle(self, play: Play, batch: int) -> None:
        """Let the policy see one batch of every stream that is live."""
        live = (self.stage.start <= batch) & (batch < self.stage.stop)
        live[list(self.workshop.broken)] = False
        live &= play.pools.alive()
        rows = play.pools.ready(np.flatnonzero(live), batch, self.workshop)
        if not len(rows):
            return
        place = batch - self.workshop.book.first
        classes = self._classes(batch) if not play.pools.single else np.zeros(1, dtype=np.int8)
        y_hat = play.pools.combined(rows, place, classes)
        losses = self.stage.losses(rows, batch, y_hat[:, None])[:, 0]
        if play.watches:
            self._judge(play, rows, losses, batch)
            if play.trials is not None:
                self._judge_trials(play, play.trials, rows, losses, batch)
        else:
            play.columns["loss"][rows, batch] = mean_losses(losses)
        if not play.pools.single:
            self._learn(play, rows, batch, place, classes)

    def _judge(self, play: Play, rows: Ints, losses: Floats, batch: int) -> None:
        """Run the cycle of the agent on this batch, and write what it gives."""
        calendar = self.stage.calendar[play.monitor.calendar][batch]
        waited = play.state.reference.waiting.batches[rows]
        everyone = len(rows) == len(play.state)
        incoming = Incoming(
            LossBatch(losses, np.full(len(rows), calendar)), play.difficulty[rows, batch]
        )
        cycled = run_cycle(
            play.state if everyone else play.state.rows(rows),
            incoming,
            play.fleet,
            play.groups if everyone else play.groups.rows(rows),
            play.monitor,
            seed=self.stage.seed,
            batches_per_week=self.stage.batches_per_week,
        )
        state, seen = cycled.state, cycled.record
        play.state = state if everyone else play.state.with_rows(rows, state)
        play.fleet = cycled.fleet
        play.findings += [(batch, one) for one in cycled.findings]
        for name, column in play.columns.items():
            column[rows, batch] = getattr(seen, name)
        if play.models is not None:
            model = self.stage.model[rows]
            play.models, seen = together(
                play.models, seen, model, play.monitor, self.stage.batches_per_week
            )
            shown = voiced(seen.alarm, model) | (seen.reason == Reason.UNFIT)
            play.columns["alarm"][rows, batch] = shown
        self._note_breaks(play, rows, seen.alarm, waited, batch)
        self._ration(play, rows, seen, batch)

    def _note_breaks(
        self, play: Play, rows: Ints, alarm: Bools, waited: NDArray[np.float32], batch: int
    ) -> None:
        """Remember when what an alarm speaks of began: with the first batch that was suspect.

        ``waited`` counts the suspect batches before this one.
        """
        began = batch - waited.astype(np.int64)
        if play.models is None:
            play.broke[rows[alarm]] = began[alarm]
            return
        model = self.stage.model[rows]
        for one in np.unique(model[alarm]):
            play.broke[self.stage.model == one] = int(np.median(began[model == one]))

    def _judge_trials(
        self, play: Play, trials: Trials, rows: Ints, losses: Floats, batch: int
    ) -> None:
        """Let the challengers see the batch too, and write what comes of it."""
        on_trial = np.array(sorted(trials.candidates), dtype=np.int64)
        play.ask(on_trial)
        made = trials.judge(rows, losses, batch, self.workshop, self.stage.losses)
        self._take_back(play, made.back)
        play.clear_requests(made.drop)
        play.hold(made.drop, batch + 1, Reason.GATE)
        play.columns["decision"][made.deploy, batch] = Decision.SWITCH
        play.columns["reason"][made.deploy, batch] = Reason.TRIAL
        play.columns["decision"][made.back, batch] = Decision.SWITCH
        play.columns["reason"][made.back, batch] = Reason.ROLLED_BACK

    def _take_back(self, play: Play, rows: Ints) -> None:
        """Take back what was asked of versions that make way for their predecessors."""
        asked = rows[play.wanted[rows]]
        play.wanted[asked] = False
        play.clear_requests(asked)
        play.ledger = play.ledger.with_refund(asked)

    def _ration(self, play: Play, rows: Ints, seen: CycleRecord, batch: int) -> None:
        """Let budget, outcomes and chance have their say on the decisions of the cycle."""
        made = rationed(
            play.state.rows(rows),
            play.ledger.rows(rows),
            seen,
            play.monitor,
            difficulty=play.difficulty[rows, batch],
            deployed=play.arrived[rows],
            cycle=batch,
            seed=self.stage.seed,
            batches_per_week=self.stage.batches_per_week,
            speaks=self._speaks(rows),
        )
        play.state = play.state.with_rows(rows, made.state)
        play.ledger = play.ledger.with_rows(rows, made.ledger)
        decision = made.settled.decision
        play.wanted[rows] = decision == Decision.RETRAIN
        reason = made.settled.reason
        if play.models is not None:
            decision, reason = echoed(decision, reason, self.stage.model[rows])
        play.columns["decision"][rows, batch] = decision
        play.columns["reason"][rows, batch] = reason
        play.arrived[:] = False

    def _speaks(self, rows: Ints) -> Bools:
        """Return which streams speak for their model."""
        speaks = np.zeros(len(rows), dtype=np.bool_)
        speaks[speakers(self.stage.model[rows])] = True
        return speaks

    def _learn(
        self, play: Play, rows: Ints, batch: int, place: int, classes: NDArray[np.int8]
    ) -> None:
        """Let the pools learn from the members' losses; note the weights and a switch of leader."""
        y_hat = play.pools.forecasts[rows, :, place, None]
        before = play.pools.leaders(rows) if _selects(play.policy) else None
        play.pools.learn(rows, self.stage.losses(rows, batch, y_hat)[:, :, 0], classes)
        assert play.shares is not None  # a pool notes them
        play.shares[rows, batch] = play.pools.shares(rows)
        if before is not None and play.watches:
            idle = play.columns["decision"][rows, batch] == Decision.KEEP
            switched = rows[(before != play.pools.leaders(rows)) & idle]
            play.columns["decision"][switched, batch] = Decision.SWITCH
            play.columns["reason"][switched, batch] = Reason.SELECTED

    def _classes(self, batch: int) -> NDArray[np.int8]:
        grid = self.stage.panel.grid
        first = grid.start + grid.batch * batch
        return slot_classes(first + grid.step * np.arange(grid.slots), grid.step)


def _selects(policy: Policy) -> bool:
    return isinstance(policy, Pooled) and policy.combine == "select"
