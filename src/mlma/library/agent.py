"""`mlma.Agent`: the cycle for people who already have forecasts and actuals.

Takes one batch of losses (or forecasts with their actuals) per call, gives a verdict and a decision
per stream. No model is needed; who re-trains tells the agent so.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from os import PathLike
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.adapters.frames.losses import read_losses, read_pairs
from mlma.adapters.frames.native import like
from mlma.adapters.frames.tags import read_tags
from mlma.agent.cycle import monitor_of
from mlma.agent.held_out import held_out_batches
from mlma.agent.tagging import Tags
from mlma.agent.watch import Memory, Said, Watch
from mlma.domain.batches import LossBatch
from mlma.domain.durations import duration
from mlma.domain.errors import SettingsError, StateError
from mlma.domain.fleet import Finding, FleetState
from mlma.domain.leftovers import LeftOut, merge_left_out
from mlma.domain.policy import Policy
from mlma.domain.rows import LossRows
from mlma.domain.settings import one_model, policy_from
from mlma.domain.state import AgentState
from mlma.library.calls import (
    all_left_out,
    benchmark_means,
    calendar_of,
    excluded_of,
    named,
    not_named,
    scored_rows,
    slot_of,
)
from mlma.library.findings import audit_frame, findings_frame
from mlma.library.result import evidence_frame
from mlma.library.saved import Checkpoint, SavedAgent, read_agent, write_agent
from mlma.stats.losses import Loss, loss_from
from mlma.steps.lay import loss_block, same_windows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Agent:
    """Watches the losses of many streams, one batch per call.

    Parameters
    ----------
    policy
        what turns evidence into decisions, or its text form; default `MLMA` for one model at a time
        (``pool=1``): a pool is a matter of the forecasts, which are made elsewhere.
    loss
        loss of a pair, for `observe`; a name or a function of ``(y, y_hat)``. Scaled losses need a
        history and are not known here.
    batch
        period that a call covers: it tells which calendar effect a batch has, and groups held-out
        losses into batches.
    slot
        length of a slot: only the test ``profile`` needs it, to find the place of a loss in its
        batch.
    seed
        seed of random phases.
    tags
        frame or path: ``unique_id`` and one column per tag (city, vehicle...). Streams of a tag are
        a group: what they have in common becomes one finding (`findings`).
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
    37 loss above the reference
    """

    def __init__(
        self,
        policy: Policy | str | None = None,
        *,
        loss: Any = "absolute",
        batch: str | timedelta = "1d",
        slot: str | timedelta | None = None,
        seed: int = 0,
        tags: Any = None,
        unique_id: str = "unique_id",
        ds: str = "ds",
        y: str = "y",
        y_hat: str = "y_hat",
    ) -> None:
        self.policy = one_model(policy)
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
        self._slot = slot_of(slot, self._batch, monitor_of(self.policy))
        self._columns = {"id_column": unique_id, "ds_column": ds}
        self._y, self._y_hat = y, y_hat
        self._watch = Watch(self.policy, self._batch, self._slot, seed)
        self._memory = self._watch.nothing()
        self._found: tuple[Finding, ...] = ()
        self._tags = Tags()
        self._example: Any = None
        if tags is not None:
            self.tag(tags)

    @property
    def streams(self) -> list[str]:
        """Names of the streams seen so far, in the order of their first batch."""
        return list(self._memory.row)

    @property
    def rows(self) -> dict[str, int]:
        """Row of each stream in ``state``, by name."""
        return self._memory.row

    @property
    def state(self) -> AgentState:
        """The columns that the agent remembers, in the order of ``streams``."""
        return self._memory.state

    @property
    def fleet(self) -> FleetState:
        """What the agent remembers of groups, and the counts of its audit."""
        return self._memory.fleet

    @property
    def findings(self) -> Any:
        """What groups of streams had in common in the last call and is no longer healthy.

        One row per group: ``scope`` (``fleet`` or ``tag=value``), ``state`` (opened, open, closed),
        ``since`` (cycle), ``streams``, ``alarmed`` (on their own), ``score``, ``p_value``,
        ``evidence``, ``effect`` (median relative rise), ``alarm``. The kind of the last frame.
        """
        return like(findings_frame(self._found), self._example)

    def audit(self) -> Any:
        """Return how often the agent is wrong, as counted on its own healthy batches.

        One row per nominal level and one for the dial: ``kind, expected, mirror, realised,
        stream_batches``. ``mirror`` is what the same procedure alarms of falls of the loss, which
        no break explains: the realised rate of false alarms. The kind of the last frame.
        """
        return like(audit_frame(self.fleet.audit), self._example)

    def tag(self, tags: Any) -> None:
        """Take tags of streams, known or to come: a frame or path, ``unique_id`` and text columns.

        A value that a stream already has is replaced.

        Raises
        ------
        DataError
            There is no column of names, or a stream has two values of one tag.
        """
        self._tags.take(read_tags(tags, self._columns["id_column"]))

    def observe(
        self,
        forecasts: Any,
        actuals: Any = None,
        *,
        benchmark: Any = None,
        exclude: Iterable[str] | str | bool = (),
    ) -> Any:
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
        exclude
            streams whose batch counts neither as evidence nor for the reference, because of an
            event or because it is labelled; True = all of the call.

        Returns
        -------
        frame
            one row per stream of the call: ``unique_id, verdict, decision, reason, p_value,
            p_adjusted, effect, loss, reference_loss, n`` and more; the kind of ``forecasts``.
            What could not be used is in ``left_out``.
        """
        rows = self._scored(forecasts, actuals)
        hard = None if benchmark is None else self._scored(benchmark, actuals)
        return self._observed(rows, hard, forecasts, exclude)

    def observe_losses(
        self,
        losses: Any,
        *,
        benchmark: Any = None,
        exclude: Iterable[str] | str | bool = (),
    ) -> Any:
        """Return verdict and decision per stream for one batch of losses.

        ``losses`` has ``unique_id, loss`` and perhaps ``ds``; ``benchmark`` the losses of a
        benchmark model in the same form. Otherwise as `observe`.
        """
        rows = read_losses(losses, **self._columns)
        hard = None if benchmark is None else read_losses(benchmark, **self._columns)
        return self._observed(rows, hard, losses, exclude)

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
        known, watch = self._memory, self._watch
        names = named(
            unique_ids, self._pending if rows is None else rows.ids, known.row, "retrained"
        )
        at, brought = known.at(names), None
        if rows is not None and names:
            level = known.state.benchmark_level[at]
            brought = held_out_batches(
                rows, names, level, self._batch, watch.monitor, slot=self._slot
            )
        self._memory = watch.deployed(known, at, brought)
        if rows is not None:
            self.left_out = merge_left_out(rows.left_out, not_named(rows.ids, names))

    def not_retrained(self, unique_ids: Iterable[str] | str) -> None:
        """Take note that re-trainings that were asked for failed: the streams may ask again.

        Raises
        ------
        DataError
            A stream is unknown.
        """
        at = self._memory.at(named(unique_ids, (), self._memory.row, "not_retrained"))
        state = self.state
        asked = state.pending.copy()
        asked[at] = False
        self._memory = replace(self._memory, state=replace(state, pending=asked))

    def checkpoint(self, unique_ids: Iterable[str] | str | None = None) -> Checkpoint:
        """Return what is remembered of some streams, None = all: to `restore` it at a roll-back."""
        row = self._memory.row
        names = named(unique_ids, row, row, "checkpoint")
        return Checkpoint(tuple(names), self.state.rows(self._memory.at(names)))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put streams back to a checkpoint: model version, reference and evidence together.

        Their number of cycles goes on; a re-training that is asked for stays asked for.

        Raises
        ------
        DataError
            A stream was never observed here.
        """
        at = self._memory.at(named(checkpoint.ids, (), self._memory.row, "restore"))
        now = self.state.rows(at)
        state, old = same_windows(self.state, checkpoint.state)
        back = replace(old, cycle=now.cycle, pending=now.pending)
        self._memory = replace(self._memory, state=state.with_rows(at, back))

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
            "slot": None if self._slot is None else int(self._slot.astype(np.int64)),
            "seed": self.seed,
            **self._columns,
            "y": self._y,
            "y_hat": self._y_hat,
        }
        saved = SavedAgent(settings, self.streams, self._tags.values, self.state, self.fleet)
        write_agent(path, saved)

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
            slot=None if known["slot"] is None else np.timedelta64(known["slot"], "us"),  # type: ignore[arg-type]
            seed=known["seed"],
            unique_id=known["id_column"],
            ds=known["ds_column"],
            y=known["y"],
            y_hat=known["y_hat"],
        )
        rows = {name: row for row, name in enumerate(saved.ids)}
        agent._memory = Memory(rows, saved.state, saved.fleet)
        agent._tags = Tags(saved.tags)
        return agent

    def __repr__(self) -> str:
        return f"Agent({self.policy.label}, {len(self._memory.row)} streams)"

    @property
    def _pending(self) -> list[str]:
        """Streams whose re-training was asked for and is not reported yet."""
        return [name for name, row in self._memory.row.items() if self.state.pending[row]]

    def _scored(self, forecasts: Any, actuals: Any) -> LossRows:
        return scored_rows(
            read_pairs(
                forecasts, actuals, **self._columns, y_column=self._y, y_hat_column=self._y_hat
            ),
            self.loss,
        )

    def _observed(
        self,
        rows: LossRows,
        hard: LossRows | None,
        example: Any,
        exclude: Iterable[str] | str | bool,
    ) -> Any:
        """Run one cycle on the streams of the call; all or nothing."""
        watch, known = self._watch, self._watch.known(self._memory, rows.ids)
        at = known.at(rows.ids)
        losses = loss_block(rows, self._batch, self._slot)
        calendar = calendar_of(rows, self._batch, watch.monitor.calendar)
        after, cycled = watch.cycle(
            known,
            at,
            LossBatch(losses, calendar),
            self._tags.groups(tuple(known.row), watch.monitor).rows(at),
            benchmark=benchmark_means(rows, hard),
            said=Said(excluded=excluded_of(rows.ids, exclude)),
        )
        own = cycled.state
        ids = pl.Series(self._columns["id_column"], rows.ids, dtype=pl.String)
        seen = evidence_frame(cycled.evidence, slice(None), watch.monitor.level)
        frame = ids.to_frame().hstack(seen)
        news = like(frame.with_columns(age=own.age, version=own.version), example)
        self._memory, self._found = after, cycled.findings
        self._example = like(pl.DataFrame(), example)
        self.left_out = all_left_out(rows, hard)
        return news
