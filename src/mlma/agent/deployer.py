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
from mlma.agent.training import Failure, Version
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

CHOSEN_ON = 14
"""Held-out batches by whose loss the best of several windows is chosen."""

Brought = dict[int, Version]
"""The new version of each stream that got one."""


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
        asked = [self._asked(play, born, batch) for play in plays]
        growing = [play.growing(grown) for play in plays]
        self.workshop.train(self._orders(plays, asked, born, growing, batch), batch)
        for play, wanted, due in zip(plays, asked, growing, strict=True):
            self._conclude_trials(play, batch)
            self._bring(play, wanted, batch)
            self._adopt(play, born, batch)
            self._bring_long(play, due, batch)
            play.wanted[:] = False

    def _asked(self, play: Play, born: Ints, batch: int) -> Ints:
        """Return the streams that want a version now; those that share a model want it together."""
        own = play.wanted if play.due is None else play.due[:, batch]
        alive = play.pools.alive()
        if not self.stage.shared:
            return np.union1d(np.flatnonzero(own), born)
        models = self.stage.model[np.flatnonzero(own & alive)]
        unborn = born[~np.isin(self.stage.model[born], self.stage.model[alive])]
        alive[born] = True  # born into a model that is trained anew: they have their part in it
        return np.union1d(np.flatnonzero(np.isin(self.stage.model, models) & alive), unborn)

    def _orders(
        self,
        plays: list[Play],
        asked: list[Ints],
        born: Ints,
        growing: list[Ints],
        batch: int,
    ) -> dict[tuple[int, int], bool]:
        """Return what to train: (stream, batches of its window), and whether it is judged."""
        window = self.workshop.recipe.window
        orders: dict[tuple[int, int], bool] = {}
        if not self.stage.shared:
            orders = dict.fromkeys(((row, window) for row in born.tolist()), False)
        for play, wanted, due in zip(plays, asked, growing, strict=True):
            for row in wanted.tolist():
                needed = play.needs_held_out(row)
                for one in self._windows(play, row, batch):
                    orders[row, one] = orders.get((row, one), False) or needed
            orders |= dict.fromkeys(((row, self._long(batch)) for row in due.tolist()), False)
        return orders

    def _windows(self, play: Play, row: int, batch: int) -> list[int]:
        """Return the windows of a stream's new version; those that share a model have the same."""
        if self.stage.shared and not play.pools.state.active[row].any():
            kin = np.flatnonzero(play.pools.alive() & (self.stage.model == self.stage.model[row]))
            row = int(kin[0]) if len(kin) else row
        return play.windows(row, self.workshop.recipe.window, batch)

    def _long(self, batch: int) -> int:
        return min(batch, LONG_WINDOWS * self.workshop.recipe.window)

    def _adopt(self, play: Play, born: Ints, batch: int) -> None:
        """Let streams that are born into a shared model have its latest version, at no cost."""
        alive = np.flatnonzero(play.pools.alive())
        for row in np.setdiff1d(born, alive).tolist() if self.stage.shared else ():
            kin = alive[self.stage.model[alive] == self.stage.model[row]]
            if len(kin):
                fitted = play.pools.latest(int(kin[0]))
                version = self.workshop.adopted(row, fitted, batch)
                if version is not None:
                    self._deploy(play, {row: version}, batch)

    def _bring(self, play: Play, wanted: Ints, batch: int) -> None:
        """Let the new versions go live, or clear the request where there is none."""
        brought: Brought = {}
        best: dict[int, int] = {}
        for row in wanted.tolist():
            version = self._trained(play, row, batch, best)
            if version is not None:
                brought[row] = version
        failed = np.setdiff1d(wanted, list(brought))
        play.clear_requests(failed)
        if play.watches:
            self._book_fits(play, wanted, brought)
        play.hold(self._let_down(play, failed, batch), batch, Reason.FAILED)
        arrived = self._past_the_gate(play, brought, batch)
        if arrived:
            self._deploy(play, arrived, batch)

    def _let_down(self, play: Play, failed: Ints, batch: int) -> Ints:
        """Return the streams whose model asked in vain: all that share it."""
        model = self.stage.model
        asked = np.isin(model[failed], model[play.wanted])
        live = (batch < self.stage.stop[failed]) & play.pools.alive()[failed]
        return failed[asked & live]

    def _trained(self, play: Play, row: int, batch: int, best: dict[int, int]) -> Version | None:
        """Return the version that a stream gets, the best of those that were trained for it.

        ``best`` remembers the window that was chosen for each model.
        """
        judged, model = play.needs_held_out(row), int(self.stage.model[row])
        made = self._made(row, self._windows(play, row, batch))
        for version in made.values():
            play.charge(row, version, judged=judged)
        if len(made) < 2:
            return next(iter(made.values()), None)
        if model not in best:
            best[model] = self._best_window(row, [*made])
        return made.get(best[model])

    def _made(self, row: int, windows: list[int]) -> dict[int, Version]:
        """Return the versions of a stream that were trained for this batch, by window."""
        made = {window: self.workshop.version(row, window) for window in windows}
        return {window: version for window, version in made.items() if version is not None}

    def _best_window(self, row: int, windows: list[int]) -> int:
        """Return the window with the lowest held-out loss, over all streams of the model."""
        of_model = [row]
        if self.stage.shared:
            of_model = np.flatnonzero(self.stage.model == self.stage.model[row]).tolist()
        made = [(one, self._made(one, windows)) for one in of_model]
        each = [
            self._held_out_losses(one, [*of.values()])
            for one, of in made
            if len(of) == len(windows)
        ]
        return windows[int(np.sum(each, axis=0).argmin())]

    def _held_out_losses(self, row: int, made: list[Version]) -> Floats:
        """Return the versions' losses on the last batches that all held out, in their mean.

        Zeros = there are no such batches.
        """
        before = [version.held_out for version in made if version.held_out is not None]
        if len(before) < len(made):
            return np.zeros(len(made))
        y_hat = np.stack(before)[None, :, -CHOSEN_ON:]
        losses = self.stage.losses(np.array([row]), made[0].at - y_hat.shape[2], y_hat)[0]
        common = np.isfinite(losses).all(axis=0)
        mean = losses[:, common].mean(axis=1) if common.any() else np.zeros(len(made))
        return np.asarray(mean / max(float(mean.mean()), np.finfo(np.float64).tiny))

    def _book_fits(self, play: Play, wanted: Ints, brought: Brought) -> None:
        """Write into the ledger what was trained, and give back what came to nothing."""
        failed = np.setdiff1d(wanted, list(brought))
        play.ledger = play.ledger.with_refund(failed[play.wanted[failed]])
        # Without a limit in seconds every fit costs the same: clocks would decide who comes first.
        timed = play.monitor.budget_seconds is not None
        for paid in (True, False):
            rows = np.setdiff1d(wanted[play.wanted[wanted] == paid], failed)
            own = [brought[row] for row in rows.tolist()]
            seconds = [one.seconds / one.part if timed else 1.0 for one in own]
            play.ledger = play.ledger.with_fits(rows, np.array(seconds), paid=paid)

    def _deploy(self, play: Play, brought: Brought, batch: int) -> None:
        """Put new versions into the pools, and tell the agent's state."""
        rows = np.array(sorted(brought), dtype=np.int64)
        fitted = [brought[row].fitted for row in rows.tolist()]
        first = ~play.pools.alive()[rows]
        if play.watches:
            self._watch(play, rows)
            self._restart(play, brought, rows if play.pools.single else rows[first], batch)
        play.retrained[rows[~first], batch] = True
        play.arrived[rows[~first]] = True
        play.pools.admit(rows, fitted, batch)
        newborn = rows[first]
        if play.service is not None:
            play.service.brought(brought, newborn, play.columns["reason"][:, batch - 1], batch)
        if play.pools.long_place is not None and len(newborn):
            whole = [brought[row].fitted for row in newborn.tolist()]
            play.pools.admit_long(newborn, whole, batch)
        if play.pools.naive_place is not None and len(newborn):
            play.pools.admit_naive(newborn, self.naive, batch)

    def _restart(self, play: Play, brought: Brought, fresh: Ints, batch: int) -> None:
        """Tell the agent's state: ``fresh`` ones forecast alone, the others join a pool."""
        if len(fresh):
            play.state = deploy(
                play.state,
                fresh,
                self._held_out(play, brought, fresh, batch),
                play.monitor,
                self.stage.seed,
                provisional=~self.stage.whole[fresh, batch],
            )
        joining = np.setdiff1d(sorted(brought), fresh).astype(np.int64)
        if len(joining):
            play.state = admit(play.state, joining, play.monitor, self.stage.seed)

    def _bring_long(self, play: Play, due: Ints, batch: int) -> None:
        """Let new long-history members in."""
        window = self._long(batch)
        made: Brought = {}
        for row in due.tolist():
            version = self.workshop.version(row, window)
            if version is not None:
                made[row] = version
                play.charge(row, version, judged=False)
        if made:
            rows = np.array(sorted(made), dtype=np.int64)
            play.pools.admit_long(rows, [made[row].fitted for row in rows.tolist()], batch)
            if play.service is not None:
                play.service.long_history(made, batch)

    def _past_the_gate(self, play: Play, brought: Brought, batch: int) -> Brought:
        """Return the versions that go live now; the others are tried or dropped."""
        alive = play.pools.alive()
        rows = np.array([row for row in sorted(brought) if alive[row]], dtype=np.int64)
        if not play.gated or play.trials is None or not len(rows):
            return brought
        held_out = [made for row in rows.tolist() if (made := brought[row].held_out) is not None]
        y_hat = np.stack(held_out)[:, -play.monitor.reference_batches :]
        first = batch - y_hat.shape[1]
        new = mean_losses(self.stage.losses(rows, first, y_hat))
        old = np.asarray(play.columns["loss"][rows, first:batch], dtype=np.float64)
        age = play.state.age[rows].astype(np.int64)
        versions = [brought[row] for row in rows.tolist()]
        going, dropped = play.trials.open(rows, versions, old, new, age)
        tried = np.setdiff1d(rows, np.concatenate([going, dropped]))
        play.hold(tried, batch, Reason.TRIAL)
        self._drop(play, dropped, batch)
        play.trials.close(going)
        stay = {*tried.tolist(), *dropped.tolist()}
        return {row: version for row, version in brought.items() if row not in stay}

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
        live = batch < self.stage.stop
        for row in [one for one in trials.returning if live[one]]:
            former, fitted = trials.former[row]
            play.state = restored(play.state, np.array([row]), former, play.monitor)
            play.pools.admit(np.array([row]), [fitted], batch)
            if play.service is not None:
                play.service.returned(row, fitted, batch)
            trials.close(np.array([row]))
        for row in [one for one in trials.deploying if live[one]]:
            self._promote(play, trials, row, batch)
        trials.returning, trials.deploying = [], []

    def _promote(self, play: Play, trials: Trials, row: int, batch: int) -> None:
        """Let a candidate go live; its reference is made of held-out and of shadow losses."""
        candidate, rows = trials.candidates[row], np.array([row])
        shadow = trials.shadow_forecasts(row, batch, self.workshop)
        if isinstance(shadow, Failure):
            self._drop(play, rows, batch)
            return
        before = candidate.version.held_out
        y_hat = shadow if before is None else np.concatenate([before, shadow])
        self._watch(play, rows)
        play.state = deploy(
            play.state,
            rows,
            self._judged_on(play, rows, y_hat[None], batch),
            play.monitor,
            self.stage.seed,
            provisional=~self.stage.whole[rows, candidate.since],
        )
        play.pools.admit(rows, [candidate.version.fitted], batch)
        if play.service is not None:
            play.service.promoted(row, candidate.version, batch)
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

    def _held_out(self, play: Play, brought: Brought, rows: Ints, batch: int) -> HeldOut | None:
        if play.monitor.reference_from != "held_out" or not self.workshop.recipe.held_out:
            return None
        forecasts = [brought[row].held_out for row in rows.tolist()]
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
