"""Replay: a history under many policies, every fit shared, every policy with its yardsticks.

Takes a panel and settings, gives the record that summary, frames and report show. First the
policies that look at losses are played in lockstep; then, as many re-trainings are known that they
needed, the baselines that must match them are played stream by stream on the same fits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlma.agent.evidence_player import EvidencePlayer
from mlma.agent.play import Play, needs_held_out
from mlma.agent.scheduled_player import (
    StreamPlayed,
    StreamTask,
    fitted_apart,
    play_schedules,
    unplayable,
)
from mlma.agent.service import ServiceLog
from mlma.agent.stage import ReplaySettings, Stage, build_stage, rows_of
from mlma.agent.training import Failure, Recipe, lost_version
from mlma.agent.workshop import Workshop, limited
from mlma.domain.batches import mean_losses
from mlma.domain.errors import DataError
from mlma.domain.leftovers import LeftOut
from mlma.domain.policy import Policy, Pooled
from mlma.domain.runs import PolicyRun, Replayed
from mlma.domain.settings import MLMA, Always, Never, Periodic, Random
from mlma.domain.streams import Panel
from mlma.ports import Executor, FittedForecaster, Forecaster, SharedForecaster
from mlma.stats.losses import Loss
from mlma.steps.schedule import scheduled

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done and how much there is."""


class Benchmark(Forecaster, FittedForecaster, Protocol):
    """A forecaster that needs no training: recipe and model in one."""


@dataclass(frozen=True, slots=True)
class Player:
    """Models and machines of a replay.

    ``service`` takes what the first policy that looks at losses brings into service.
    """

    forecaster: Forecaster
    benchmark: Benchmark
    executor: Executor
    progress: Progress | None = None
    shared: SharedForecaster | None = None
    service: ServiceLog | None = None

    def report(self, label: str, done: int, total: int) -> None:
        """Tell the caller how far the replay is."""
        if self.progress:
            self.progress(label, done, total)


@dataclass(frozen=True, slots=True)
class _Schedule:
    """A schedule of one phase of one policy."""

    label: str
    due: Bools


def replay_panel(
    panel: Panel, left_out: tuple[LeftOut, ...], settings: ReplaySettings, player: Player
) -> Replayed:
    """Return the record of all policies on one history.

    Raises
    ------
    DataError
        No stream is long enough, or the model failed on every stream.
    """
    begun = perf_counter()
    stage, dropped = build_stage(panel, settings, player.benchmark)
    workshop = Workshop.of(stage, _recipe(settings, player), player.executor)
    plays = _play_in_lockstep(
        [(policy, None) for policy in settings.policies if isinstance(policy, MLMA)],
        workshop,
        player,
        "monitor",
        player.service,
    )
    roles = _roles(settings.policies, plays, stage)
    pooled = {policy.label: (policy, role) for policy, role in roles if _in_lockstep(policy, stage)}
    schedules = _schedules(roles, stage, settings)
    first = {one.label: one.due for one in reversed(schedules)}
    pool_plays = _play_in_lockstep(
        [(policy, first[label]) for label, (policy, _) in pooled.items()], workshop, player, "pool"
    )
    schedules = [one for one in schedules if one.label not in pooled]
    played = _play_streams(schedules, workshop, player) if schedules else []
    broken = {row: made.broken for row, made in enumerate(played) if made.broken}
    broken.update(workshop.broken)
    soft = {row: made.failures[0] for row, made in enumerate(played) if made.failures}
    soft.update(workshop.failures)
    kept = _unbroken(stage, broken)
    if player.service is not None and plays:
        player.service.close(stage, kept, plays[0].policy)
    runs = [
        _seasonal_naive(stage, kept),
        *_scheduled_runs(
            [one for one in roles if one[0].label not in pooled], schedules, played, kept
        ),
        *[_lockstep_run(play, "policy", kept) for play in plays],
        *[_lockstep_run(play, pooled[play.policy.label][1], kept) for play in pool_plays],
    ]
    shown = rows_of(stage.panel, kept)
    return Replayed(
        ids=shown.ids,
        tags=shown.tags,
        grid=panel.grid,
        y_mean=mean_losses(shown.y),
        runs=tuple(_in_order(runs, settings.policies)),
        left_out=(*left_out, *dropped, *_failed(stage, broken, soft)),
        settings={},
        seconds=perf_counter() - begun,
        failures={stage.panel.ids[row]: text for row, text in broken.items()},
    )


def _play_in_lockstep(
    policies: list[tuple[Policy, Bools | None]],
    workshop: Workshop,
    player: Player,
    label: str,
    service: ServiceLog | None = None,
) -> list[Play]:
    if not policies:
        return []
    evidence = EvidencePlayer(workshop.stage, workshop, player.benchmark)
    return evidence.play(policies, lambda done, total: player.report(label, done, total), service)


def _in_lockstep(policy: Policy, stage: Stage) -> bool:
    """Whether a policy that does not look at losses is played like those that do."""
    return stage.shared or (isinstance(policy, Pooled) and policy.has_pool)


def _unbroken(stage: Stage, broken: dict[int, str]) -> NDArray[np.int64]:
    """Return the rows of the streams on which the model did not fail."""
    kept = [row for row in range(len(stage.panel)) if row not in broken]
    if not kept:
        raise DataError(
            f"The model failed on all {len(stage.panel)} streams. First message: "
            f"{next(iter(broken.values()))}",
        )
    return np.array(kept, dtype=np.int64)


def _recipe(settings: ReplaySettings, player: Player) -> Recipe:
    asked = [
        policy.reference_batches
        for policy in settings.policies
        if isinstance(policy, MLMA) and needs_held_out(policy)
    ]
    held_out = min(max(asked, default=0), settings.window // 2)
    return Recipe(player.forecaster, settings.window, held_out, settings.seed, player.shared)


def _roles(
    policies: tuple[Policy, ...], plays: list[Play], stage: Stage
) -> list[tuple[Policy, str]]:
    """Return the scheduled policies with their roles, each label once."""
    roles: dict[str, tuple[Policy, str]] = {}
    asked = [policy for policy in policies if not isinstance(policy, MLMA)]
    baselines: list[Policy] = [Never(), Always()]
    matched = [policy for play in plays for policy in _matched(play, stage)]
    for role, members in (("baseline", baselines), ("policy", asked), ("matched", matched)):
        for policy in members:
            roles.setdefault(policy.label, (policy, role))
    return list(roles.values())


def _matched(play: Play, stage: Stage) -> list[Policy]:
    """Return the dummies that train as often as this play did."""
    span = float((stage.stop - stage.start).sum())
    again = float(play.fits.sum() - (play.fits > 0).sum())
    if stage.shared:  # a model's streams are re-trained together, and each pays a part
        again = float(play.retrained.sum())
    if not again:
        return []
    every = round(max(span / again, 1.0), 2)
    dummies: list[Policy] = [Periodic(every), Random(round(min(again / span, 1.0), 5))]
    policy = play.policy
    if isinstance(policy, Pooled) and policy.has_pool:
        settings = {spec.name: getattr(policy, spec.name) for spec in fields(Pooled)}
        late = float(play.retrained.sum())  # without the fits of long-history members
        if late:
            dummies.append(Periodic(round(max(span / late, 1.0), 2), **settings))
    return dummies


def _schedules(
    roles: list[tuple[Policy, str]], stage: Stage, settings: ReplaySettings
) -> list[_Schedule]:
    number = np.arange(stage.panel.grid.n_batches)
    schedules = []
    for policy, _ in roles:
        for phase in range(_phases(policy, settings)):
            due = np.zeros(stage.complete.shape, dtype=np.bool_)
            for row, start in enumerate(stage.start):
                head = int(stage.heads[row])  # streams that share a model share its schedule
                since = np.maximum(number - stage.start[head], 0)
                keys = np.broadcast_to(stage.keys[head], since.shape)
                due[row] = scheduled(policy, keys, since, settings.seed + 7919 * phase)
                due[row, start] = True
            due &= number < stage.stop[:, None]
            schedules.append(_Schedule(policy.label, due))
    return schedules


def _phases(policy: Policy, settings: ReplaySettings) -> int:
    chancy = isinstance(policy, Random)
    chancy |= isinstance(policy, Periodic) and policy.phase == "random"
    return settings.phases if chancy else 1


def _play_streams(
    schedules: list[_Schedule],
    workshop: Workshop,
    player: Player,
) -> list[StreamPlayed]:
    stage = workshop.stage
    known: list[dict[int, tuple[FittedForecaster, float]]] = [{} for _ in stage.panel.ids]
    for (row, window, at), made_before in workshop.known.items():
        if window == workshop.recipe.window:
            known[row][at] = made_before
    due = np.stack([schedule.due for schedule in schedules])
    tasks = [
        (
            workshop.recipe,
            stage.loss,
            StreamTask(
                stage.series[row],
                due[:, row],
                stage.trainable[row],
                stage.complete[row],
                float(stage.scale[row]),
                known[row],
                {int(stage.start[row]): workshop.broken[row]} if row in workshop.broken else {},
            ),
        )
        for row in range(len(stage.panel))
    ]
    played = []
    for done, made in enumerate(_streams_played(tasks, player.executor), start=1):
        task = tasks[done - 1][-1]
        played.append(unplayable(task, made) if isinstance(made, Failure) else made)
        player.report("play", done, len(tasks))
    return played


def _streams_played(
    tasks: list[tuple[Recipe, Loss, StreamTask]], executor: Executor
) -> Iterator[StreamPlayed | Failure]:
    if not limited(executor):
        played: Iterator[StreamPlayed | Failure]
        played = executor.map(play_schedules, tasks, "play", lost=lost_version)
        yield from played
        return
    for recipe, loss, task in tasks:
        yield play_schedules(recipe, loss, fitted_apart(recipe, task, executor))


def _seasonal_naive(stage: Stage, kept: NDArray[np.int64]) -> PolicyRun:
    number = np.arange(stage.panel.grid.n_batches)
    on = (number >= stage.start[:, None]) & (number < stage.stop[:, None])
    loss = np.where(on, stage.benchmark, np.nan)[kept]
    none = np.zeros(loss.shape, dtype=np.bool_)
    text = "seasonal_naive"
    return PolicyRun(text, "baseline", text, loss, none, np.zeros(len(kept)), 0.0)


def _scheduled_runs(
    roles: list[tuple[Policy, str]],
    schedules: list[_Schedule],
    played: list[StreamPlayed],
    kept: NDArray[np.int64],
) -> list[PolicyRun]:
    if not roles:
        return []
    loss = np.stack([played[row].loss for row in kept], axis=1)
    deployed = np.stack([played[row].deployed for row in kept], axis=1)
    seconds = np.stack([played[row].seconds for row in kept], axis=1)
    runs = []
    for policy, role in roles:
        at = [i for i, schedule in enumerate(schedules) if schedule.label == policy.label]
        runs.append(
            PolicyRun(
                label=policy.label,
                role=role,
                settings=policy.full_label,
                loss=loss[at].mean(axis=0),
                retrained=_after_first(deployed[at[0]]),
                fits=deployed[at].sum(axis=2).mean(axis=0),
                seconds=float(seconds[at].sum(axis=1).mean()),
                phases=len(at),
            )
        )
    return runs


def _after_first(deployed: Bools) -> Bools:
    """Return the re-trainings: every version but a stream's first."""
    return np.asarray(deployed & (np.cumsum(deployed, axis=1) > 1))


def _lockstep_run(play: Play, role: str, kept: NDArray[np.int64]) -> PolicyRun:
    play.columns = {name: column[kept] for name, column in play.columns.items()}
    evidence = play.evidence()
    return PolicyRun(
        label=play.policy.label,
        role=role,
        settings=play.policy.full_label,
        loss=evidence.loss,
        retrained=play.retrained[kept],
        fits=play.fits[kept].astype(np.float64),
        seconds=play.seconds,
        evidence=evidence if play.watches else None,
        findings=tuple(play.findings),
        shares=None if play.shares is None else play.shares[kept],
    )


def _failed(stage: Stage, broken: dict[int, str], soft: dict[int, str]) -> tuple[LeftOut, ...]:
    out = []
    ids = stage.panel.ids
    stayed = [row for row in soft if row not in broken]
    for reason, rows, note in (
        ("model failed", list(broken), ""),
        (
            "played, but a training failed and the old version stayed",
            stayed,
            soft[stayed[0]] if stayed else "",
        ),
    ):
        if rows:
            names = tuple(ids[row] for row in rows[:3])
            out.append(LeftOut(reason, "streams", len(rows), names, note))
    return tuple(out)


def _in_order(runs: list[PolicyRun], policies: tuple[Policy, ...]) -> list[PolicyRun]:
    """Return baselines first, then the policies as they were asked for, then what matches."""
    asked = {policy.label: place for place, policy in enumerate(policies)}
    rank = {"baseline": 0, "policy": 1, "matched": 2}
    return sorted(runs, key=lambda run: (rank[run.role], asked.get(run.label, 0)))
