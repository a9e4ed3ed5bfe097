"""`mlma.replay_recorded`: what the agent would have said of forecasts that were really made.

Takes recorded forecasts and actuals, gives verdict, decision and reason per stream and batch. It is
the cycle of the live service, on a store in memory and a clock that jumps to the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from mlma.adapters.frames.native import like
from mlma.adapters.frames.opening import open_frame
from mlma.adapters.frames.rows import Door, named_rows
from mlma.adapters.frames.tags import read_tags
from mlma.agent.live import LiveAgent
from mlma.agent.recomputing import read_entry
from mlma.agent.watch import watch_for
from mlma.domain.durations import duration
from mlma.domain.errors import DataError, MissingExtraError
from mlma.domain.inbox import Kind, NamedRows, Rows, by_period
from mlma.domain.ledger import CycleInfo, unpacked
from mlma.domain.leftovers import LeftOut, merge_left_out
from mlma.domain.live import LiveSettings
from mlma.domain.periods import Periods, moment_of
from mlma.domain.policy import Policy
from mlma.domain.settings import one_model
from mlma.library.result import evidence_frame
from mlma.ports.store import Store
from mlma.steps.show import shown


@dataclass(frozen=True)
class RecordedReplay:
    """What the agent said of a recorded history.

    evidence
        one row per stream and batch: ``unique_id, ds`` (start of the batch), then the columns of
        `mlma.Agent.observe`. The kind of the forecasts.
    cycles
        one row per batch: counts of verdicts and decisions.
    left_out
        rows that could not be used.
    """

    evidence: Any
    cycles: Any
    left_out: tuple[LeftOut, ...]


def replay_recorded(
    forecasts: Any,
    actuals: Any = None,
    *,
    policy: Policy | str | None = None,
    slot: str | timedelta,
    batch: str | timedelta = "1d",
    loss: str = "absolute",
    complete_share: float = 0.5,
    deployed: Any = None,
    tags: Any = None,
    timezone: str | None = None,
    seed: int = 0,
) -> RecordedReplay:
    """Return verdicts and decisions on a recorded history, batch after batch.

    Nothing is re-trained: ``deployed`` tells when new versions really went live.

    Parameters
    ----------
    forecasts, actuals
        frames or paths: ``unique_id, ds, y_hat`` (perhaps ``cutoff``) and ``unique_id, ds, y``;
        None where the forecasts have ``y`` too.
    policy
        as in `mlma.Agent`.
    slot, batch
        lengths of a slot and of a batch.
    complete_share
        share of a batch's actuals it takes to judge it.
    deployed
        frame ``unique_id, ds``: new versions that went live before the batch that holds ``ds``.
    tags
        frame ``unique_id`` and one column per tag.
    timezone
        zone on whose clock batches are cut; None = times as they come.

    Raises
    ------
    DataError
        A column is missing or of the wrong type, or no forecast has an actual.
    MissingExtraError
        The extra ``serve`` is not installed.

    >>> day = [datetime(2024, 1, 1) + timedelta(days=day) for day in range(40)]
    >>> levels = [1.0] * 35 + [2.0] * 5
    >>> losses = [level * (1 + 0.1 * np.cos(7 * at)) for at, level in enumerate(levels)]
    >>> frame = pl.DataFrame({"unique_id": "a", "ds": day, "y_hat": 0.0, "y": losses})
    >>> seen = replay_recorded(frame, slot="1d", policy="mlma(level=0.01)").evidence
    >>> seen.filter(pl.col("decision") == "retrain")["ds"].dt.date().to_list()
    [datetime.date(2024, 2, 6)]
    """
    periods = Periods(duration(batch, "batch"), duration(slot, "slot"), timezone)
    settings = LiveSettings(
        policy=one_model(policy),
        periods=periods,
        loss=loss,
        seed=seed,
        complete_share=complete_share,
        timeout=timedelta(0),
        reopen=timedelta(0),
    )
    store, clock = _store(), _End()
    door = Door(periods, np.datetime64(clock.now().replace(tzinfo=None), "us"))
    made = [_read(forecasts, "forecasts", door)]
    made.append(_read(forecasts if actuals is None else actuals, "actuals", door))
    ids = sorted({name for rows in made for name in rows.ids})
    store.register(ids)
    for rows in made:
        _accept(store, rows, ids, periods)
    agent = LiveAgent(settings, store, clock)
    if tags is not None:
        agent.tag(read_tags(tags, "unique_id"))
    _play(agent, clock, periods, _deployments(deployed, periods))
    evidence, cycles = _frames(store, settings, ids)
    if evidence.is_empty():
        raise DataError("No forecast has its actual: nothing could be judged.")
    out = merge_left_out(*(rows.left_out for rows in made))
    return RecordedReplay(like(evidence, forecasts), like(cycles, forecasts), out)


class _End:
    """A clock that is set."""

    def __init__(self) -> None:
        self._now = datetime(2261, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time."""
        return self._now

    def set(self, now: datetime) -> None:
        """Set the time."""
        self._now = now


def _store() -> Store:
    try:
        from mlma.adapters.store import open_store
    except ImportError as error:
        raise MissingExtraError("`replay_recorded`", "serve") from error
    return open_store("memory://")


def _read(frame: Any, kind: Kind, door: Door) -> NamedRows:
    value = "y" if kind == "actuals" else "y_hat"
    opened = open_frame(frame, ("unique_id", "ds", value, "cutoff"))
    return named_rows(pl.DataFrame(opened.frame), kind, door, strict=False)


def _accept(store: Store, rows: NamedRows, ids: list[str], periods: Periods) -> None:
    row = {name: at for at, name in enumerate(ids)}
    stream = np.array([row[name] for name in rows.ids], dtype=np.int32)[rows.code]
    period, place = periods.locate(rows.instant)
    columns = Rows(stream, place.astype(np.int32), rows.value, rows.cutoff)
    store.accept(list(by_period(rows.kind, period, columns)))


def _deployments(deployed: Any, periods: Periods) -> Iterator[tuple[int, list[str]]]:
    """Yield the periods before which new versions went live, and of which streams."""
    if deployed is None:
        return
    opened = open_frame(deployed, ("unique_id", "ds"))
    names, times = opened.frame["unique_id"], opened.frame["ds"].cast(pl.Datetime("us"))
    period, _ = periods.locate(times.to_numpy())
    for number in np.unique(period):
        yield int(number), names.filter(pl.Series(period == number)).to_list()


def _play(
    agent: LiveAgent,
    clock: _End,
    periods: Periods,
    deployments: Iterator[tuple[int, list[str]]],
) -> None:
    """Let the agent judge all periods, new versions going live before theirs."""
    end = clock.now()
    for period, names in deployments:
        clock.set(moment_of(periods.start(period)))
        agent.tick()
        agent.deployed(names)
    clock.set(end)
    agent.tick()


def _frames(
    store: Store, settings: LiveSettings, ids: list[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    monitor, names = watch_for(settings).monitor, pl.Series(ids, dtype=pl.String)
    parts, heads = [], []
    for info in store.cycles():
        entry = read_entry(store, info.cycle)
        seen = evidence_frame(shown(unpacked(entry.evidence), monitor), slice(None), monitor.level)
        start = start_of(info, settings)
        named = pl.DataFrame({"unique_id": names.gather(entry.streams)})
        named = named.with_columns(ds=pl.lit(start, dtype=pl.Datetime("us")))
        parts.append(named.hstack(seen))
        counts = {**info.summary["verdicts"], **info.summary["decisions"]}
        heads.append({"ds": start, "streams": info.streams, **counts})
    nothing = pl.DataFrame(schema={"unique_id": pl.String, "ds": pl.Datetime("us")})
    return (pl.concat(parts) if parts else nothing), pl.DataFrame(heads)


def start_of(info: CycleInfo, settings: LiveSettings) -> datetime:
    """Return when the period of a cycle began, by the clock on the wall."""
    return moment_of(settings.periods.wall_start(info.period)).replace(tzinfo=None)
