"""`mlma.Agent`: the cycle for people who already have forecasts and actuals.

Takes one batch of losses (or forecasts with their actuals) per call, gives a verdict and a decision
per stream. No model is needed; who re-trains tells the agent so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from os import PathLike
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.frames.losses import LossRows, read_losses, read_pairs
from mlma.adapters.frames.native import like
from mlma.agent.cycle import monitor_of, run_cycle
from mlma.domain.batches import LossBatch
from mlma.domain.chance import stream_keys
from mlma.domain.durations import duration
from mlma.domain.errors import DataError, first_three
from mlma.domain.leftovers import LeftOut, merge_left_out
from mlma.domain.settings import MLMA, Policy, policy_from
from mlma.domain.state import AgentState, HeldOut
from mlma.library.result import evidence_frame
from mlma.library.saved import SavedAgent, read_agent, write_agent
from mlma.stats.calendar import calendar_class
from mlma.stats.losses import Loss, loss_from
from mlma.stats.registry import batch_test
from mlma.steps.ease import difficulty
from mlma.steps.refer import deploy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Agent:
    """Watches the losses of many streams, one batch per call.

    Parameters
    ----------
    policy
        what turns evidence into decisions, or its text form; default `MLMA`.
    loss
        loss of a pair, for `observe`; a name or a function of ``(y, y_hat)``. Scaled losses need a
        history and are not known here.
    batch
        period that a call covers: it tells which calendar effect a batch has, and groups held-out
        losses into batches.
    seed
        seed of random phases.
    unique_id, ds, y, y_hat
        column names.

    >>> rng = np.random.default_rng(1)
    >>> agent = Agent(policy="mlma(level=0.01)")
    >>> for day in range(40):
    ...     level = 1.0 if day < 35 else 2.0
    ...     losses = rng.gamma(20, level / 20, size=24)
    ...     news = agent.observe_losses(pl.DataFrame({"unique_id": ["a"] * 24, "loss": losses}))
    ...     if news["decision"][0] == "retrain":
    ...         print(day, news["reason"][0])
    36 loss above the reference
    """

    def __init__(
        self,
        policy: Policy | str | None = None,
        *,
        loss: Any = "absolute",
        batch: str | timedelta = "1d",
        seed: int = 0,
        unique_id: str = "unique_id",
        ds: str = "ds",
        y: str = "y",
        y_hat: str = "y_hat",
    ) -> None:
        self.policy = MLMA() if policy is None else policy_from(policy)
        self.loss: Loss = loss_from(loss)
        self.seed = seed
        self.left_out: tuple[LeftOut, ...] = ()
        self._batch = duration(batch, "batch")
        self._columns = {"id_column": unique_id, "ds_column": ds}
        self._y, self._y_hat = y, y_hat
        self._row: dict[str, int] = {}
        self._state = self._new_state([])

    @property
    def streams(self) -> list[str]:
        """Names of the streams seen so far, in the order of their first batch."""
        return list(self._row)

    @property
    def state(self) -> AgentState:
        """The columns that the agent remembers, in the order of ``streams``."""
        return self._state

    def observe(self, forecasts: Any, actuals: Any = None, *, benchmark: Any = None) -> Any:
        """Return verdict and decision per stream for one batch of forecasts and actuals.

        Parameters
        ----------
        forecasts
            frame or path: ``unique_id, ds, y_hat`` (or one column named after the model) and
            perhaps ``cutoff``: the latest forecast of a slot counts.
        actuals
            frame or path: ``unique_id, ds, y``; None where ``forecasts`` has ``y`` too.
        benchmark
            forecasts of a benchmark model for the same slots, in the same form; takes out what was
            hard for every model (``adjustment`` of the policy).

        Returns
        -------
        frame
            one row per stream of the call: ``unique_id, verdict, decision, reason, p_value,
            p_adjusted, effect, loss, reference_loss, n`` and more; the kind of ``forecasts``.
            What could not be used is in ``left_out``.
        """
        rows = self._scored(forecasts, actuals)
        hard = None if benchmark is None else self._scored(benchmark, actuals)
        return like(self._observed(rows, hard), forecasts)

    def observe_losses(self, losses: Any, *, benchmark: Any = None) -> Any:
        """Return verdict and decision per stream for one batch of losses.

        ``losses`` has ``unique_id, loss`` and perhaps ``ds``; ``benchmark`` the losses of a
        benchmark model in the same form. Otherwise as `observe`.
        """
        rows = read_losses(losses, **self._columns)
        hard = None if benchmark is None else read_losses(benchmark, **self._columns)
        return like(self._observed(rows, hard), losses)

    def retrained(
        self, unique_ids: Iterable[str] | str | None = None, *, held_out: Any = None
    ) -> None:
        """Take note of new versions: model and reference change together.

        Parameters
        ----------
        unique_ids
            streams whose new version is live; None = all that are in ``held_out``, or, without
            it, all that were asked for.
        held_out
            frame ``unique_id, ds, loss``: losses of the new versions on batches that they were not
            trained on. They start the new reference; without them it starts from the next batches.

        Raises
        ------
        DataError
            A stream is unknown.
        """
        rows = None if held_out is None else read_losses(held_out, **self._columns)
        if rows is not None and rows.ds is None:
            raise DataError(
                f"Held-out losses need the column `{self._columns['ds_column']}`, so that they "
                f"can be grouped into batches.",
            )
        names = self._named(unique_ids, rows)
        at = np.array([self._row[name] for name in names], dtype=np.int64)
        brought = None if rows is None else self._held_out(names, at, rows)
        monitor = monitor_of(self.policy)
        self._state = deploy(self._state, at, brought, monitor, self.seed)

    def save(self, path: str | PathLike[str]) -> None:
        """Write all that the agent remembers to one file (NumPy's npz; nothing is pickled).

        Raises
        ------
        StateError
            The loss is a function of the user's: it is not written; hand it to `load` again.
        """
        settings = {
            "policy": self.policy.full_label,
            "loss": self.loss.name,
            "batch": int(self._batch.astype(np.int64)),
            "seed": self.seed,
            **self._columns,
            "y": self._y,
            "y_hat": self._y_hat,
        }
        write_agent(path, SavedAgent(settings, self.streams, self._state))

    @classmethod
    def load(cls, path: str | PathLike[str], *, loss: Any = None) -> "Agent":
        """Return the agent that `save` wrote, the same to the bit.

        ``loss`` is needed where the saved agent had a function of the user's.

        Raises
        ------
        StateError
            The file is missing, damaged or of another version.
        """
        saved = read_agent(path)
        known = saved.settings
        agent = cls(
            str(known["policy"]),
            loss=known["loss"] if loss is None else loss,
            batch=np.timedelta64(int(known["batch"]), "us"),  # type: ignore[arg-type]
            seed=int(known["seed"]),
            unique_id=str(known["id_column"]),
            ds=str(known["ds_column"]),
            y=str(known["y"]),
            y_hat=str(known["y_hat"]),
        )
        agent._row = {name: row for row, name in enumerate(saved.ids)}
        agent._state = saved.state
        return agent

    def __repr__(self) -> str:
        return f"Agent({self.policy.label}, {len(self._row)} streams)"

    def _scored(self, forecasts: Any, actuals: Any) -> LossRows:
        pairs = read_pairs(
            forecasts, actuals, **self._columns, y_column=self._y, y_hat_column=self._y_hat
        )
        losses = self.loss(pairs.y, pairs.y_hat)
        bad = ~np.isfinite(losses)
        lost = _without_loss(pairs.ids, pairs.code[bad], self.loss.name)
        return LossRows(
            ids=pairs.ids,
            code=pairs.code[~bad],
            ds=pairs.ds[~bad],
            loss=losses[~bad],
            left_out=merge_left_out(pairs.left_out, lost),
        )

    def _observed(self, rows: LossRows, hard: LossRows | None) -> pl.DataFrame:
        """Run one cycle on the streams of the call; all or nothing."""
        lost = rows.left_out if hard is None else merge_left_out(rows.left_out, hard.left_out)
        state, known = self._with_streams(rows.ids)
        at = np.array([known[name] for name in rows.ids], dtype=np.int64)
        losses = _dense(rows.code, rows.loss, len(rows.ids))
        state, losses = _same_width(state, losses)
        own = state.rows(at)
        ease, level = self._difficulty(own, rows, hard)
        batch = LossBatch(losses, self._calendar(rows))
        own = replace(own, benchmark_level=level)
        own, seen = run_cycle(own, batch, ease, self.policy, self.seed)
        frame = pl.DataFrame({self._columns["id_column"]: list(rows.ids)})
        frame = frame.hstack(evidence_frame(seen, slice(None)))
        frame = frame.with_columns(age=own.age, version=own.version)
        self._state, self._row, self.left_out = state.with_rows(at, own), known, tuple(lost)
        return frame

    def _with_streams(self, ids: Sequence[str]) -> tuple[AgentState, dict[str, int]]:
        """Return the state and the rows with new streams added."""
        new = [name for name in ids if name not in self._row]
        if not new:
            return self._state, self._row
        fresh = self._new_state(new)
        losses = self._state.reference.losses
        if losses is not None:
            fresh = _widened(fresh, losses.shape[2])
        state = self._state.joined(fresh) if self._row else fresh
        first = len(self._row)
        return state, {**self._row, **{name: first + place for place, name in enumerate(new)}}

    def _new_state(self, ids: Sequence[str]) -> AgentState:
        """Return the state of streams whose first version goes live now."""
        monitor = monitor_of(self.policy)
        slots = 1 if batch_test(monitor.test).needs_losses else None
        empty = AgentState.new(stream_keys(ids), monitor.reference_batches, slots)
        return deploy(empty, np.arange(len(ids)), None, monitor, self.seed)

    def _calendar(self, rows: LossRows) -> NDArray[np.int8]:
        """Return the calendar class of each stream's batch, by its first slot."""
        if rows.ds is None:
            return np.zeros(len(rows.ids), dtype=np.int8)
        never = np.datetime64("9999-01-01", "us")
        first = np.full(len(rows.ids), never)
        np.minimum.at(first, rows.code, rows.ds)
        effect = monitor_of(self.policy).calendar
        classes = calendar_class(first, self._batch, effect)
        return np.where(first == never, np.int8(0), classes)

    def _difficulty(
        self, state: AgentState, rows: LossRows, hard: LossRows | None
    ) -> tuple[Floats, Floats]:
        power = monitor_of(self.policy).adjustment
        benchmark = np.full(len(rows.ids), np.nan)
        if hard is not None:
            mean = LossBatch(_dense(hard.code, hard.loss, len(hard.ids)), np.zeros(0, np.int8))
            found = dict(zip(hard.ids, mean.mean(), strict=True))
            benchmark = np.array([found.get(name, np.nan) for name in rows.ids])
        return difficulty(benchmark, state.benchmark_level, power)

    def _named(self, unique_ids: Iterable[str] | str | None, rows: LossRows | None) -> list[str]:
        if isinstance(unique_ids, str):
            unique_ids = [unique_ids]
        if unique_ids is not None:
            names = list(dict.fromkeys(str(name) for name in unique_ids))
        elif rows is not None:
            names = list(rows.ids)
        else:
            names = [name for name, row in self._row.items() if self._state.pending[row]]
        unknown = [name for name in names if name not in self._row]
        if unknown:
            raise DataError(
                f"`retrained` names {len(unknown)} streams that were never observed: "
                f"{first_three(unknown)}. Known: {first_three(self._row) or 'none'}.",
            )
        return names

    def _held_out(self, names: list[str], at: Ints, rows: LossRows) -> HeldOut:
        """Return held-out losses as ``(k, n_batches, slots)``, the last batch of each at the end."""
        assert rows.ds is not None  # checked by the caller
        period = (rows.ds - np.datetime64("1969-12-29", "us")) // self._batch  # a Monday
        last = np.full(len(rows.ids), np.iinfo(np.int64).min)
        np.maximum.at(last, rows.code, period)
        back = last[rows.code] - period
        kept = back < monitor_of(self.policy).reference_batches
        place = {name: code for code, name in enumerate(rows.ids)}
        batches = int(back[kept].max(initial=0)) + 1
        cell = rows.code[kept] * batches + (batches - 1 - back[kept])
        dense = _dense(cell, rows.loss[kept], len(rows.ids) * batches)
        slots = self._state.reference.losses
        width = dense.shape[1] if slots is None else max(dense.shape[1], slots.shape[2])
        if slots is not None:
            self._state = _widened(self._state, width)
        wide = np.full((len(dense), width), np.nan)
        wide[:, : dense.shape[1]] = dense
        by_stream = wide.reshape(len(rows.ids), batches, width)
        nothing = np.full((batches, width), np.nan)
        losses = np.stack([by_stream[place[n]] if n in place else nothing for n in names])
        ends = np.array([last[place[n]] if n in place else 0 for n in names])
        periods = ends[:, None] - np.arange(batches)[::-1]
        starts = np.datetime64("1969-12-29", "us") + periods * self._batch
        effect = monitor_of(self.policy).calendar
        level = self._state.benchmark_level[at]
        ease, _ = difficulty(np.full(len(at), np.nan), level, monitor_of(self.policy).adjustment)
        return HeldOut(
            losses=losses,
            calendar=calendar_class(starts, self._batch, effect),
            difficulty=np.repeat(ease[:, None], batches, axis=1),
        )


def _dense(code: Ints, values: Floats, n: int) -> Floats:
    """Return values as ``(n, width)``, each row's values in their order; NaN behind the last."""
    order = np.argsort(code, kind="stable")
    sorted_code = code[order]
    counts = np.bincount(sorted_code, minlength=n)
    starts = np.cumsum(counts) - counts
    width = max(int(counts.max(initial=0)), 1)
    dense = np.full((n, width), np.nan)
    dense[sorted_code, np.arange(len(code)) - starts[sorted_code]] = values[order]
    return dense


def _same_width(state: AgentState, losses: Floats) -> tuple[AgentState, Floats]:
    """Return state and losses with as many slots, where the state keeps single losses."""
    kept = state.reference.losses
    if kept is None:
        return state, losses
    width = max(kept.shape[2], losses.shape[1])
    wide = np.full((len(losses), width), np.nan)
    wide[:, : losses.shape[1]] = losses
    return _widened(state, width), wide


def _widened(state: AgentState, slots: int) -> AgentState:
    reference = state.reference

    def padded(losses: Floats | None) -> Floats | None:
        if losses is None or losses.shape[2] >= slots:
            return losses
        missing = np.full((*losses.shape[:2], slots - losses.shape[2]), np.nan)
        return np.concatenate([losses, missing], axis=2)

    wide = replace(
        reference,
        losses=padded(reference.losses),
        anchor_losses=padded(reference.anchor_losses),
    )
    return replace(state, reference=wide)


def _without_loss(ids: tuple[str, ...], code: Ints, loss: str) -> tuple[LeftOut, ...]:
    if not len(code):
        return ()
    names = tuple(ids[one] for one in dict.fromkeys(code.tolist()))
    return (LeftOut(f"no {loss} loss for this pair", "rows", len(code), names[:3]),)
