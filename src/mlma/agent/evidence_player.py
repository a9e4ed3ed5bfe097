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
from mlma.agent.play import Play, new_play
from mlma.agent.pools import LONG_WINDOWS, long_due
from mlma.agent.rationing import rationed
from mlma.agent.stage import Stage
from mlma.agent.workshop import Workshop
from mlma.domain.batches import LossBatch, mean_losses
from mlma.domain.policy import Policy, Pooled
from mlma.domain.state import HeldOut
from mlma.domain.verdicts import CycleRecord, Decision, Reason
from mlma.ports import FittedForecaster
from mlma.stats.calendar import slot_classes
from mlma.steps.compare import Incoming
from mlma.steps.gate import passes_gate
from mlma.steps.refer import admit, deploy

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
    ) -> list[Play]:
        """Return the plays of all policies after the last batch.

        A policy that does not look at losses comes with the batches at which it re-trains,
        ``(n_streams, n_batches) bool``.
        """
        plays = [new_play(self.stage, policy, due) for policy, due in policies]
        n_batches = self.stage.panel.grid.n_batches
        long_ones = long_due(self.stage, self.workshop.recipe.window)
        first = int(self.stage.start.min()) if len(self.stage.start) else n_batches
        for batch in range(first, n_batches):
            self.workshop.book.turned(batch)
            self._retrain(plays, long_ones[:, batch], batch)
            for play in plays:
                start = perf_counter()
                self._cycle(play, batch)
                play.seconds += perf_counter() - start
            if progress:
                progress(batch - first + 1, n_batches - first)
        return plays

    def _retrain(self, plays: list[Play], long_ones: Bools, batch: int) -> None:
        """Train what any policy wants at this batch, and let it in."""
        born = np.flatnonzero(self.stage.start == batch)
        grown = np.setdiff1d(np.flatnonzero(long_ones), born)
        window = self.workshop.recipe.window
        asked = [np.union1d(np.flatnonzero(_wanted(play, batch)), born) for play in plays]
        orders: dict[tuple[int, int], bool] = dict.fromkeys(
            ((row, window) for row in born.tolist()), False
        )
        for play, wanted in zip(plays, asked, strict=True):
            for row in wanted.tolist():
                needed = play.needs_held_out(row)
                orders[row, window] = orders.get((row, window), False) or needed
            if play.pools.long_place is not None:
                orders |= dict.fromkeys(((row, self._long(batch)) for row in grown.tolist()), False)
        self.workshop.train(orders, batch)
        for play, wanted in zip(plays, asked, strict=True):
            self._bring(play, wanted, batch)
            self._bring_long(play, grown, batch)
            play.wanted[:] = False

    def _long(self, batch: int) -> int:
        return min(batch, LONG_WINDOWS * self.workshop.recipe.window)

    def _bring(self, play: Play, wanted: Ints, batch: int) -> None:
        """Let the new versions go live, or clear the request where there is none."""
        window = self.workshop.recipe.window
        going: list[int] = []
        failed: list[int] = []
        for row in wanted.tolist():
            version = self.workshop.version(row, window)
            if version is None:
                failed.append(row)
                continue
            play.charge(row, version, judged=play.needs_held_out(row))
            if self._passes(play, row, batch):
                going.append(row)
        held = np.setdiff1d(wanted, going)
        play.clear_requests(held)
        gone_wrong = np.array(failed, dtype=np.int64)
        if play.watches:
            self._book_fits(play, wanted, gone_wrong, batch)
        live = batch < self.stage.stop[gone_wrong]
        play.hold(gone_wrong[play.wanted[gone_wrong] & live], batch, Reason.FAILED)
        if going:
            self._deploy(play, np.array(going, dtype=np.int64), batch)

    def _book_fits(self, play: Play, wanted: Ints, failed: Ints, batch: int) -> None:
        """Write into the ledger what was trained, and give back what came to nothing."""
        window = self.workshop.recipe.window
        play.ledger = play.ledger.with_refund(failed[play.wanted[failed]])
        for paid in (True, False):
            rows = np.setdiff1d(wanted[play.wanted[wanted] == paid], failed)
            versions = [self.workshop.version(row, window) for row in rows.tolist()]
            seconds = [version.seconds for version in versions if version is not None]
            play.ledger = play.ledger.with_fits(rows, np.array(seconds), paid=paid)

    def _deploy(self, play: Play, rows: Ints, batch: int) -> None:
        """Put new versions into the pools, and tell the agent's state."""
        first = ~play.pools.alive()[rows]
        if play.watches:
            self._restart(play, rows, rows if play.pools.single else rows[first], batch)
        play.retrained[rows[~first], batch] = True
        play.arrived[rows[~first]] = True
        fitted = self._fitted(rows, self.workshop.recipe.window)
        play.pools.admit(rows, fitted, batch)
        newborn = rows[first]
        if play.pools.long_place is not None and len(newborn):
            window = self.workshop.recipe.window
            play.pools.admit_long(newborn, self._fitted(newborn, window), batch)
        if play.pools.naive_place is not None and len(newborn):
            play.pools.admit_naive(newborn, self.naive, batch)

    def _restart(self, play: Play, rows: Ints, fresh: Ints, batch: int) -> None:
        """Tell the agent's state: ``fresh`` ones forecast alone, the others join a pool."""
        if len(fresh):
            play.state = deploy(
                play.state,
                fresh,
                self._held_out(play, fresh, batch),
                play.monitor,
                self.stage.seed,
                provisional=~self.stage.whole[fresh, batch],
            )
        joining = np.setdiff1d(rows, fresh)
        if len(joining):
            play.state = admit(play.state, joining, play.monitor, self.stage.seed)

    def _bring_long(self, play: Play, grown: Ints, batch: int) -> None:
        """Let new long-history members in."""
        if play.pools.long_place is None:
            return
        window = self._long(batch)
        made = [row for row in grown.tolist() if self.workshop.version(row, window)]
        for row in made:
            version = self.workshop.version(row, window)
            assert version is not None
            play.charge(row, version, judged=False)
        if made:
            rows = np.array(made, dtype=np.int64)
            play.pools.admit_long(rows, self._fitted(rows, window), batch)

    def _fitted(self, rows: Ints, window: int) -> list[FittedForecaster]:
        versions = [self.workshop.version(row, window) for row in rows.tolist()]
        return [version.fitted for version in versions if version is not None]

    def _passes(self, play: Play, row: int, batch: int) -> bool:
        """Whether a new version may replace the old one; writes the decision if it may not."""
        version = self.workshop.version(row, self.workshop.recipe.window)
        if not play.gated or version is None or version.held_out is None:
            return True
        if not play.pools.state.active[row].any():
            return True
        held_out = version.held_out[-play.monitor.reference_batches :]
        first = batch - len(held_out)
        new = mean_losses(self._losses(np.array([row]), first, held_out[None])[0])
        old = np.asarray(play.columns["loss"][row, first:batch], dtype=np.float64)
        if passes_gate(old[None], new[None])[0]:
            return True
        play.hold(np.array([row]), batch, Reason.GATE)
        return False

    def _losses(self, rows: Ints, first: int, y_hat: Floats) -> Floats:
        """Return losses of ``(k, ..., n, slots)`` forecasts; NaN in incomplete batches."""
        last = first + y_hat.shape[-2]
        y = self.stage.panel.y[rows, first:last]
        y = np.where(self.stage.complete[rows, first:last, None], y, np.nan)
        spare = (1,) * (y_hat.ndim - 3)
        y = y.reshape(len(rows), *spare, *y.shape[1:])
        scale = self.stage.scale[rows].reshape(len(rows), *spare, 1, 1)
        return self.stage.loss(np.broadcast_to(y, y_hat.shape), y_hat, scale)

    def _held_out(self, play: Play, rows: Ints, batch: int) -> HeldOut | None:
        if play.monitor.reference_from != "held_out" or not self.workshop.recipe.held_out:
            return None
        window = self.workshop.recipe.window
        versions = [self.workshop.version(row, window) for row in rows.tolist()]
        forecasts = [version.held_out for version in versions if version is not None]
        y_hat = np.stack([made for made in forecasts if made is not None])
        first = batch - y_hat.shape[1]
        calendar = self.stage.calendar[play.monitor.calendar][first:batch]
        return HeldOut(
            losses=self._losses(rows, first, y_hat),
            calendar=np.broadcast_to(calendar, (len(rows), len(calendar))),
            difficulty=play.difficulty[rows, first:batch],
        )

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
        losses = self._losses(rows, batch, y_hat[:, None])[:, 0]
        if play.watches:
            self._judge(play, rows, losses, batch)
        else:
            play.columns["loss"][rows, batch] = mean_losses(losses)
        if not play.pools.single:
            self._learn(play, rows, batch, place, classes)

    def _judge(self, play: Play, rows: Ints, losses: Floats, batch: int) -> None:
        """Run the cycle of the agent on this batch, and write what it gives."""
        calendar = self.stage.calendar[play.monitor.calendar][batch]
        everyone = len(rows) == len(play.state)
        incoming = Incoming(
            LossBatch(losses, np.full(len(rows), calendar)), play.difficulty[rows, batch]
        )
        cycled = run_cycle(
            play.state if everyone else play.state.rows(rows),
            incoming,
            play.fleet,
            play.groups if everyone else play.groups.rows(rows),
            play.policy,
            seed=self.stage.seed,
            batches_per_week=self.stage.batches_per_week,
        )
        state, seen = cycled.state, cycled.record
        play.state = state if everyone else play.state.with_rows(rows, state)
        play.fleet = cycled.fleet
        play.findings += [(batch, one) for one in cycled.findings]
        for name, column in play.columns.items():
            column[rows, batch] = getattr(seen, name)
        self._ration(play, rows, seen, batch)

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
        )
        play.state = play.state.with_rows(rows, made.state)
        play.ledger = play.ledger.with_rows(rows, made.ledger)
        play.columns["decision"][rows, batch] = made.settled.decision
        play.columns["reason"][rows, batch] = made.settled.reason
        play.wanted[rows] = made.settled.decision == Decision.RETRAIN
        play.arrived[:] = False

    def _learn(
        self, play: Play, rows: Ints, batch: int, place: int, classes: NDArray[np.int8]
    ) -> None:
        """Let the pools learn from the members' losses; note the weights and a switch of leader."""
        y_hat = play.pools.forecasts[rows, :, place, None]
        before = play.pools.shares(rows) if _selects(play.policy) else None
        play.pools.learn(rows, self._losses(rows, batch, y_hat)[:, :, 0], classes)
        shares = play.pools.shares(rows)
        assert play.shares is not None  # a pool notes them
        play.shares[rows, batch] = shares
        if before is not None and play.watches:
            switched = (before.argmax(axis=1) != shares.argmax(axis=1)) & ~play.wanted[rows]
            play.columns["decision"][rows[switched], batch] = Decision.SWITCH
            play.columns["reason"][rows[switched], batch] = Reason.SELECTED

    def _classes(self, batch: int) -> NDArray[np.int8]:
        grid = self.stage.panel.grid
        first = grid.start + grid.batch * batch
        return slot_classes(first + grid.step * np.arange(grid.slots), grid.step)


def _wanted(play: Play, batch: int) -> Bools:
    return play.wanted if play.due is None else play.due[:, batch]


def _selects(policy: Policy) -> bool:
    return isinstance(policy, Pooled) and policy.combine == "select"
