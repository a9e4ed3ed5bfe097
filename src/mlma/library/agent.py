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
from mlma.domain.errors import DataError, SettingsError, StateError, first_three
from mlma.domain.leftovers import LeftOut, merge_left_out
from mlma.domain.settings import MLMA, Policy, policy_from
from mlma.domain.state import AgentState
from mlma.library.blocks import loss_block, same_width, widened
from mlma.library.held_out import held_out_batches
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
        if self.loss.needs_scale:
            raise SettingsError(
                f"The loss `{self.loss.name}` needs the scale of a history, which `Agent` has not. "
                f"Hint: scale the losses yourself and use `observe_losses`.",
            )
        self.seed = seed
        self.left_out: tuple[LeftOut, ...] = ()
        self._loss_name = loss if isinstance(loss, str) else None
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
        return self._observed(rows, hard, forecasts)

    def observe_losses(self, losses: Any, *, benchmark: Any = None) -> Any:
        """Return verdict and decision per stream for one batch of losses.

        ``losses`` has ``unique_id, loss`` and perhaps ``ds``; ``benchmark`` the losses of a
        benchmark model in the same form. Otherwise as `observe`.
        """
        rows = read_losses(losses, **self._columns)
        hard = None if benchmark is None else read_losses(benchmark, **self._columns)
        return self._observed(rows, hard, losses)

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

        What could not be used of ``held_out`` is in ``left_out``.

        Raises
        ------
        DataError
            A stream is unknown, or held-out losses have no times.
        """
        rows = None if held_out is None else read_losses(held_out, **self._columns)
        names = self._named(unique_ids, rows)
        at = np.array([self._row[name] for name in names], dtype=np.int64)
        state, brought, monitor = self._state, None, monitor_of(self.policy)
        if rows is not None and names:
            level = state.benchmark_level[at]
            brought = held_out_batches(rows, names, level, self._batch, monitor)
            state, losses = same_width(state, brought.losses)
            brought = replace(brought, losses=losses)
        self._state = deploy(state, at, brought, monitor, self.seed)
        if rows is not None:
            self.left_out = merge_left_out(rows.left_out, _not_named(rows.ids, names))

    def save(self, path: str | PathLike[str]) -> None:
        """Write all that the agent remembers to one file (NumPy's npz; nothing is pickled).

        A loss that was not given by its name is not written: hand it to `load` again.

        Raises
        ------
        StateError
            The file cannot be written; an older one is left as it was.
        """
        settings = {
            "policy": self.policy.full_label,
            "loss": self._loss_name,
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

        ``loss`` is needed where the saved agent's loss was not given by its name.

        Raises
        ------
        StateError
            The file is missing, damaged or of another version, or the loss is needed.
        """
        saved = read_agent(path)
        known = saved.settings
        if loss is None and known["loss"] is None:
            raise StateError(
                f"The agent in {path} has a loss that is not written to the file. "
                f"Hint: hand it to `load` again, load(path, loss=...).",
            )
        try:
            policy = policy_from(known["policy"])
        except SettingsError as error:
            raise StateError(f"The policy in {path} is of another version: {error}") from error
        agent = cls(
            policy,
            loss=known["loss"] if loss is None else loss,
            batch=np.timedelta64(known["batch"], "us"),  # type: ignore[arg-type]
            seed=known["seed"],
            unique_id=known["id_column"],
            ds=known["ds_column"],
            y=known["y"],
            y_hat=known["y_hat"],
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

    def _observed(self, rows: LossRows, hard: LossRows | None, example: Any) -> Any:
        """Run one cycle on the streams of the call; all or nothing."""
        state, known = self._with_streams(rows.ids)
        at = np.array([known[name] for name in rows.ids], dtype=np.int64)
        state, losses = same_width(state, loss_block(rows))
        own = state.rows(at)
        ease, level = self._difficulty(own, rows, hard)
        own = replace(own, benchmark_level=level)
        batch = LossBatch(losses, self._calendar(rows))
        own, seen = run_cycle(own, batch, ease, self.policy, self.seed)
        ids = pl.Series(self._columns["id_column"], rows.ids, dtype=pl.String)
        frame = ids.to_frame().hstack(evidence_frame(seen, slice(None)))
        news = like(frame.with_columns(age=own.age, version=own.version), example)
        self._state, self._row = state.with_rows(at, own), known
        self.left_out = _all_left_out(rows, hard)
        return news

    def _with_streams(self, ids: Sequence[str]) -> tuple[AgentState, dict[str, int]]:
        """Return the state and the rows with new streams added."""
        new = [name for name in ids if name not in self._row]
        if not new:
            return self._state, self._row
        fresh = self._new_state(new)
        losses = self._state.reference.losses
        if losses is not None:
            fresh = widened(fresh, losses.shape[2])
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
            means = LossBatch(loss_block(hard), np.zeros(len(hard.ids), np.int8)).mean()
            found = dict(zip(hard.ids, means, strict=True))
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


def _without_loss(ids: tuple[str, ...], code: Ints, loss: str) -> tuple[LeftOut, ...]:
    if not len(code):
        return ()
    names = tuple(ids[one] for one in dict.fromkeys(code.tolist()))
    return (LeftOut(f"no {loss} loss for this pair", "rows", len(code), names[:3]),)


def _all_left_out(rows: LossRows, hard: LossRows | None) -> tuple[LeftOut, ...]:
    if hard is None:
        return rows.left_out
    of_benchmark = [replace(out, reason=f"benchmark: {out.reason}") for out in hard.left_out]
    return merge_left_out(rows.left_out, of_benchmark)


def _not_named(ids: tuple[str, ...], names: Sequence[str]) -> tuple[LeftOut, ...]:
    others = sorted(set(ids) - set(names))
    if not others:
        return ()
    reason = "held-out losses of a stream that is not re-trained"
    return (LeftOut(reason, "streams", len(others), tuple(others[:3])),)
