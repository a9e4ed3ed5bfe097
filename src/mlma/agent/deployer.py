"""Deployment in a replay: what the policies want is trained, tried, and let into the pools.

Takes the plays of all policies before a batch, gives the plays with the versions that are live in
it. Next is the batch itself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.agent.play import Play
from mlma.agent.pools import LONG_WINDOWS
from mlma.agent.stage import Stage
from mlma.agent.trials import Trials
from mlma.agent.workshop import Workshop
from mlma.domain.batches import mean_losses
from mlma.domain.state import HeldOut
from mlma.domain.verdicts import Reason
from mlma.ports import FittedForecaster
from mlma.steps.refer import admit, deploy
from mlma.steps.rollback import remembered, restored

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class Deployer:
    """Brings versions to the plays of a stage.

    ``naive`` forecasts the value of a week ago: a member of the pools that want it.
    """

    stage: Stage
    workshop: Workshop
    naive: FittedForecaster

    def deploy_all(self, plays: list[Play], long_ones: Bools, batch: int) -> None:
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
            self._conclude_trials(play, batch)
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
            going.append(row)
        gone_wrong = np.array(failed, dtype=np.int64)
        play.clear_requests(gone_wrong)
        if play.watches:
            self._book_fits(play, wanted, gone_wrong, batch)
        live = batch < self.stage.stop[gone_wrong]
        play.hold(gone_wrong[play.wanted[gone_wrong] & live], batch, Reason.FAILED)
        arrived = self._past_the_gate(play, np.array(going, dtype=np.int64), batch)
        if len(arrived):
            self._deploy(play, arrived, batch)

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
            self._watch(play, rows)
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

    def _past_the_gate(self, play: Play, rows: Ints, batch: int) -> Ints:
        """Return the rows whose new version goes live now; the others are tried or dropped."""
        challenged = rows[play.pools.alive()[rows]]
        if not play.gated or play.trials is None or not len(challenged):
            return rows
        window = self.workshop.recipe.window
        versions = [self.workshop.version(row, window) for row in challenged.tolist()]
        made = [version for version in versions if version is not None]
        held_out = [version.held_out for version in made if version.held_out is not None]
        y_hat = np.stack(held_out)[:, -play.monitor.reference_batches :]
        first = batch - y_hat.shape[1]
        new = mean_losses(self.stage.losses(challenged, first, y_hat))
        old = np.asarray(play.columns["loss"][challenged, first:batch], dtype=np.float64)
        age = play.state.age[challenged].astype(np.int64)
        deploy, drop = play.trials.open(challenged, made, old, new, age)
        tried = np.setdiff1d(challenged, np.concatenate([deploy, drop]))
        play.hold(tried, batch, Reason.TRIAL)
        self._drop(play, drop, batch)
        play.trials.close(deploy)
        return np.setdiff1d(rows, np.concatenate([tried, drop]))

    def _drop(self, play: Play, rows: Ints, batch: int) -> None:
        """Let candidates go that are not better, and the streams ask again."""
        assert play.trials is not None  # only a trial drops
        play.trials.close(rows)
        play.clear_requests(rows)
        play.hold(rows, batch, Reason.GATE)

    def _conclude_trials(self, play: Play, batch: int) -> None:
        """Deploy the candidates, and bring back the former versions, that the last batch chose."""
        trials = play.trials
        if trials is None:
            return
        for row in trials.returning:
            former, fitted = trials.former[row]
            play.state = restored(play.state, np.array([row]), former, play.monitor)
            play.pools.admit(np.array([row]), [fitted], batch)
            trials.close(np.array([row]))
        for row in trials.deploying:
            self._promote(play, trials, row, batch)
        trials.returning, trials.deploying = [], []

    def _promote(self, play: Play, trials: Trials, row: int, batch: int) -> None:
        """Let a candidate go live; its reference is made of held-out and of shadow losses."""
        candidate, rows = trials.candidates[row], np.array([row])
        shadow = trials.shadow_forecasts(row, batch, self.workshop)
        before = candidate.version.held_out
        y_hat = shadow if before is None else np.concatenate([before, shadow])
        self._watch(play, rows)
        held_out = self._judged_on(play, rows, y_hat[None], batch)
        provisional = ~self.stage.whole[rows, candidate.since]
        seed = self.stage.seed
        play.state = deploy(play.state, rows, held_out, play.monitor, seed, provisional=provisional)
        play.pools.admit(rows, [candidate.version.fitted], batch)
        play.retrained[row, batch] = True
        play.arrived[row] = True
        if not play.monitor.rollback_batches:
            trials.close(rows)

    def _watch(self, play: Play, rows: Ints) -> None:
        """Remember what is about to be replaced, where the policy may go back to it."""
        if play.trials is None or not play.monitor.rollback_batches:
            return
        for row in rows.tolist():
            fitted = play.pools.members[row][0]
            if fitted is not None:
                play.trials.watch(row, remembered(play.state, np.array([row])), fitted)

    def _held_out(self, play: Play, rows: Ints, batch: int) -> HeldOut | None:
        if play.monitor.reference_from != "held_out" or not self.workshop.recipe.held_out:
            return None
        window = self.workshop.recipe.window
        versions = [self.workshop.version(row, window) for row in rows.tolist()]
        forecasts = [version.held_out for version in versions if version is not None]
        y_hat = np.stack([made for made in forecasts if made is not None])
        return self._judged_on(play, rows, y_hat, batch)

    def _judged_on(self, play: Play, rows: Ints, y_hat: Floats, batch: int) -> HeldOut:
        """Return the losses of forecasts ``(k, n, slots)`` of the last batches, as a reference."""
        first = batch - y_hat.shape[1]
        calendar = self.stage.calendar[play.monitor.calendar][first:batch]
        return HeldOut(
            losses=self.stage.losses(rows, first, y_hat),
            calendar=np.broadcast_to(calendar, (len(rows), len(calendar))),
            difficulty=play.difficulty[rows, first:batch],
        )


def _wanted(play: Play, batch: int) -> Bools:
    return play.wanted if play.due is None else play.due[:, batch]
