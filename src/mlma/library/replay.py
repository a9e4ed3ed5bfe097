"""`mlma.replay`: a history under many policies, in one call.

Takes a frame or a path and settings, wires reader, models and workers, gives a `ReplayResult`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from os import PathLike
from typing import Any

import numpy as np

from mlma.adapters.executors.registry import executor_from
from mlma.adapters.executors.threads import one_thread
from mlma.adapters.frames.history import Columns, History, read_history
from mlma.adapters.models.guard import GuardedForecaster, check_picklable
from mlma.adapters.models.registry import forecaster_from
from mlma.adapters.models.rhythm import day_slots, week_slots
from mlma.adapters.models.seasonal_naive import SeasonalNaive
from mlma.adapters.models.shared_guard import GuardedShared
from mlma.adapters.models.shared_registry import shared_from
from mlma.adapters.models.solo import Solo
from mlma.agent.replay import Player, Progress, replay_panel
from mlma.agent.stage import STREAM, ReplaySettings
from mlma.domain.durations import duration, duration_text
from mlma.domain.errors import SettingsError
from mlma.domain.labour import LabourModel
from mlma.domain.policy import Policy
from mlma.domain.settings import MLMA, policy_from
from mlma.domain.streams import Grid
from mlma.library.exclusions import without_excluded
from mlma.library.labour import with_labour
from mlma.library.progress import progress_for
from mlma.library.result import ReplayResult
from mlma.library.stored_versions import Shelf
from mlma.library.versions import ModelStore
from mlma.ports import Forecaster, SharedForecaster
from mlma.stats.losses import Loss, loss_from

LossSpec = str | Loss | Callable[[Any, Any], Any]

_WINDOW_DAYS, _WINDOW_BATCHES = 84, 56


def replay(
    history: Any,
    *,
    model: Any = "ridge",
    policies: Sequence[Policy | str] | Policy | str | None = None,
    loss: LossSpec = "absolute",
    batch: str | timedelta = "1d",
    window: str | int | None = None,
    mode: str = "day_ahead",
    step: str | None = None,
    unique_id: str = "unique_id",
    ds: str = "ds",
    y: str = "y",
    tags: Sequence[str] | None = None,
    exogenous: Sequence[str] | None = None,
    exclude: Any = None,
    scope: str = "stream",
    complete_share: float = 0.5,
    phases: int = 5,
    seed: int = 0,
    n_jobs: int | None = None,
    executor: Any = "local",
    time_limit: float | None = None,
    progress: bool | Progress | None = None,
    store: str | PathLike[str] | ModelStore | None = None,
    labour: LabourModel | None = None,
) -> ReplayResult:
    """Return what every policy would have cost and lost on this history.

    Parameters
    ----------
    history
        long frame (pandas, polars, Arrow) or path of a Parquet or CSV file: ``unique_id, ds, y``;
        further columns are tags (text) or exogenous features known in advance (numbers).
    model
        name (``"ridge"``, ``"lightgbm(n_estimators=50)"``), scikit-learn regressor, or an object
        with the methods of `mlma.ports.Forecaster`.
    policies
        policies or their text form; default `MLMA` with its defaults. Seasonal naive, never and
        always are added, and for every `MLMA` periodic and random re-training at its number of
        fits.
    loss
        name (``absolute``, ``squared``, ``pinball(q=0.9)``, ``mase``, ``rmsse``, ``poisson``,
        ``tweedie(power=1.5)``) or a function of ``(y, y_hat)``.
    batch
        length of a batch: the unit of the statistics and the horizon of a day-ahead forecast.
    window
        training window as a length or a number of batches; default 84 days or 56 batches,
        whichever is longer.
    mode
        ``day_ahead`` (the whole batch from its start) or ``one_step``.
    exclude
        frame or path with what is labelled as broken: ``start`` and ``end`` (exclusive; empty where
        ``start`` is a day: that day) and ``unique_id`` (empty, or no such column: all streams).
        These values count as missing: in training, references and judgement.
    scope
        who shares a model: ``"stream"`` (every stream has its own), ``"fleet"`` (one for all), or
        the name of a tag (one for all streams with the same value).
    complete_share
        share of a batch's actuals that must be there for it to be judged.
    phases
        random phases over which periodic and random policies are averaged.
    n_jobs
        worker processes; default all cores. The result is the same to the bit.
    executor
        where models are trained: ``"local"``, ``"ray"``, ``"ray(address='host:port')"``, or an
        object with the method ``map`` of `mlma.ports.Executor`.
    time_limit
        seconds that one fit may take; a fit that takes longer is a failure, and the old version
        stays.
    progress
        True, False, a function of ``(label, done, total)``, or None: a bar on an interactive
        stderr.
    store
        folder, fsspec address or `ModelStore` that gets the versions that the first MLMA policy
        brings into service, and the log of what was in production for which stream when. Its log
        must not name these streams yet. Needs memory for all of these versions.
    labour
        how long things take a person, for the incidents and minutes of `ReplayResult.summary`;
        default `LabourModel` with its defaults.

    Raises
    ------
    DataError
        The history is not what was asked for.
    SettingsError
        A setting is unknown or out of range.
    ArtefactError
        The store cannot be written, cannot hold such models, or its log names these streams
        already; told before the policies are played. If writing fails at the end, the result is
        returned with an `ArtefactWarning`.

    >>> import polars as pl
    >>> from datetime import date
    >>> days = pl.date_range(date(2024, 1, 1), date(2024, 6, 30), eager=True)
    >>> frame = pl.DataFrame({"unique_id": "a", "ds": days, "y": np.arange(len(days)) % 7 + 1.0})
    >>> result = replay(frame, policies=["never"], n_jobs=1)
    >>> result.summary()["policy"].to_list()
    ['seasonal_naive', 'never', 'always']
    """
    chosen = _policies(policies)
    _check_scope(chosen, scope)
    scored = loss_from(loss)
    here = executor == "local" and n_jobs == 1
    forecaster, shared = _models(model, _mode(mode), scope, travels=not here)
    _check("complete_share", 0 < complete_share <= 1, complete_share, "above 0, at most 1")
    _check("phases", phases >= 1, phases, "at least 1")
    workers = executor_from(executor, n_jobs=n_jobs, time_limit=time_limit)
    batch_length = duration(batch, "batch")
    read = read_history(
        history,
        columns=Columns(unique_id, ds, y),
        batch=duration_text(batch_length),
        step=step,
        tags=tags,
        exogenous=exogenous,
        forbid_negative=scored.forbids_negative,
    )
    grid, panel, left_out = read.panel.grid, read.panel, read.left_out
    if exclude is not None:
        panel, excluded = without_excluded(panel, exclude, unique_id)
        left_out = (*left_out, *excluded)
    settings = ReplaySettings(
        policies=chosen,
        loss=scored,
        window=_window_batches(window, grid),
        share=complete_share,
        season=week_slots(grid) or day_slots(grid),
        phases=phases,
        seed=seed,
        scope=scope,
    )
    shelf = None if store is None else Shelf.of(store, read.panel.ids, chosen)
    with progress_for(progress) as report, one_thread():
        service = None if shelf is None else shelf.log
        player = Player(forecaster, SeasonalNaive(), workers, report, shared, service)
        played = replay_panel(panel, left_out, settings, player)
    shown = _settings(history, read, settings, forecaster, mode)
    if exclude is not None:
        shown["exclude"] = _source(exclude)
    if shelf is not None:
        shelf.fill(shown, shared or forecaster, seed)
    named = replace(with_labour(played, labour), settings=shown, id_column=unique_id)
    return ReplayResult(named, example=history, columns=Columns(unique_id, ds, y))


def _policies(policies: Sequence[Policy | str] | Policy | str | None) -> tuple[Policy, ...]:
    if policies is None:
        return (MLMA(),)
    listed: list[Any] = (
        list(policies)
        if isinstance(policies, Iterable) and not isinstance(policies, str)
        else [policies]
    )
    for policy in listed:
        if not isinstance(policy, Policy | str):
            raise SettingsError(
                f"`policies` must hold policies or their text form. Got {policy!r}. "
                f'Hint: policies=[mlma.MLMA(), "periodic(every=28)"].',
            )
    chosen = {made.label: made for made in (policy_from(policy) for policy in listed)}
    return tuple(chosen.values()) or (MLMA(),)


def _models(
    spec: Any, mode: Any, scope: str, *, travels: bool
) -> tuple[Forecaster, SharedForecaster | None]:
    """Return what trains one model per stream, and what trains one for many.

    ``travels`` = to other processes.
    """
    if scope != STREAM:
        shared = GuardedShared(shared_from(spec, mode))
        alone = Solo(shared.inner)
        if travels:
            check_picklable(alone, shared.name)
        return GuardedForecaster(alone), shared
    forecaster = forecaster_from(spec, mode)
    if travels:
        check_picklable(forecaster, forecaster.name)
    return GuardedForecaster(forecaster), None


def _check_scope(policies: Sequence[Policy], scope: str) -> None:
    """Raise where versions would be tried stream by stream although streams share them."""
    for policy in policies:
        tried = isinstance(policy, MLMA) and (policy.gate or policy.rollback_batches)
        if scope != STREAM and tried:
            raise SettingsError(
                f"`gate` and `rollback_batches` of `{policy.label}` compare versions stream by "
                f"stream. Expected scope='stream'. Got scope={scope!r}. "
                f"Hint: without them, or a model for every stream."
            )


def _mode(mode: str) -> Any:
    _check("mode", mode in ("day_ahead", "one_step"), mode, "`day_ahead` or `one_step`")
    return mode


def _window_batches(window: str | int | None, grid: Grid) -> int:
    """Return the training window as a number of batches."""
    if window is None:
        days = int(np.timedelta64(_WINDOW_DAYS, "D") // grid.batch)
        return max(days, _WINDOW_BATCHES)
    if isinstance(window, int | np.integer):
        batches = int(window)
    else:
        batches = int(duration(window, "window") // grid.batch)
    length = duration_text(grid.batch)
    _check("window", batches >= 4, window, f"at least 4 batches of {length}")
    return batches


def _check(setting: str, good: bool, got: object, expected: str) -> None:
    if not good:
        raise SettingsError(f"`{setting}` of `replay` must be {expected}. Got {got!r}.")


def _source(source: Any) -> str:
    """Return what a frame or path is called in the report."""
    name = str(source) if isinstance(source, str) or hasattr(source, "suffix") else "a frame"
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _settings(
    history: Any, read: History, settings: ReplaySettings, forecaster: Forecaster, mode: str
) -> dict[str, str]:
    """Return what it takes to repeat the replay, as the report shows it."""
    grid = read.panel.grid
    return {
        "history": _source(history),
        "model": forecaster.name,
        "mode": mode,
        "scope": settings.scope,
        "loss": settings.loss.name,
        "slot": duration_text(grid.step),
        "batch": duration_text(grid.batch),
        "window": f"{settings.window} batches",
        "complete_share": str(settings.share),
        "phases": str(settings.phases),
        "seed": str(settings.seed),
    }
