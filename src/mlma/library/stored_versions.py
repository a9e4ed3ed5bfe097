"""The model versions of a replay, in a store: what was in production for which stream when.

Takes what the first MLMA policy of a replay brought into service, gives versions and a deployment
log in a `ModelStore`. Next are ``mlma versions at`` and `ModelStore.deployed`.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import groupby, islice
from os import PathLike
from typing import Any

import numpy as np

from mlma.agent.service import LONG_HISTORY, InService, Kind, ServiceLog, Training
from mlma.domain.errors import (
    ArtefactError,
    ArtefactWarning,
    MlmaError,
    SettingsError,
    first_three,
)
from mlma.domain.policy import Policy
from mlma.domain.settings import MLMA
from mlma.domain.streams import Grid, Series
from mlma.domain.versions import Action, Deployment, NewVersion, VersionRecord, wall_time
from mlma.library.versions import ModelStore, fingerprint

ENDED = "no observations from here on"
EVENTS_PER_FILE = 200_000

_WEEK = np.timedelta64(7, "D")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LONGEST = 1000  # characters of a description


@dataclass(slots=True)
class Shelf:
    """A store that is ready for the versions of a replay, and the log that they come from."""

    store: ModelStore
    log: ServiceLog

    @classmethod
    def of(
        cls,
        place: "str | PathLike[str] | ModelStore",
        streams: Sequence[str],
        policies: Sequence[Policy],
    ) -> "Shelf":
        """Return a shelf, after a look at whether all of it can be written later.

        Raises
        ------
        SettingsError
            ``place`` is no place, or no policy of the replay looks at losses.
        ArtefactError
            The place cannot be written, or its log names one of the streams already.
        """
        store = _opened(place)
        if not any(isinstance(policy, MLMA) for policy in policies):
            raise SettingsError(
                f"`store` of `replay` keeps the versions of the first MLMA policy. Expected one "
                f"among the policies. Got {', '.join(policy.label for policy in policies)}. "
                f'Hint: policies=["mlma", ...].'
            )
        store.prepare()
        taken = sorted(set(streams) & set(store.streams()))
        if taken:
            raise ArtefactError(
                f"{store!r} says already what was in production for {first_three(taken)}. "
                f"Expected a store without events of the streams of this replay: two replays of "
                f"a stream would be mixed in one log. Hint: take another folder for each replay."
            )
        return cls(store, ServiceLog(check=store.check))

    def fill(self, settings: Mapping[str, Any], forecaster: Any, seed: int) -> None:
        """Write versions and events; a replay that is over is not lost where that goes wrong."""
        try:
            shown = {**settings, "policy": self.log.policy, "model": _described(forecaster)}
            _written(self.store, self.log, _Recipe(forecaster.name, seed, shown))
        except MlmaError as error:
            warnings.warn(
                f"The replay is complete, but not all of its versions are stored. {error}",
                ArtefactWarning,
                stacklevel=3,
            )


def _opened(place: Any) -> ModelStore:
    if isinstance(place, ModelStore):
        return place
    if not isinstance(place, str | PathLike) or not str(place):
        raise SettingsError(
            f"`store` of `replay` must be a path, an address or a `ModelStore`. Got {place!r}."
        )
    return ModelStore(place)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What all versions have in common."""

    name: str
    seed: int
    settings: Mapping[str, Any]


@dataclass(slots=True)
class _Made:
    """One version: how it was made, what it is, and the streams that it came into service for."""

    fitted: Any
    training: Training
    batch: int
    rows: set[int] = field(default_factory=set)
    kinds: set[Kind] = field(default_factory=set)
    record: VersionRecord | None = None


def _written(store: ModelStore, log: ServiceLog, recipe: _Recipe) -> None:
    """Write all versions, week by week, then the events, so that these name what is there."""
    kept = set(log.kept.tolist())
    entries = [entry for entry in log.entries if entry.row in kept]
    made = _versions(entries)
    grid = log.series[0].grid
    by_name = {series.unique_id: series for series in log.series}
    week = max(int(_WEEK // grid.batch), 1)
    for _, some in groupby(made.values(), key=lambda one: one.batch // week):
        listed = list(some)
        new = [_new(one, log, by_name, recipe) for one in listed]
        for one, record in zip(listed, store.save_many(new), strict=True):
            one.record = record
    events = _events(entries, made, log, grid)
    while some_events := list(islice(events, EVENTS_PER_FILE)):
        store.write_down(some_events)


def _versions(entries: Sequence[InService]) -> dict[int, _Made]:
    """Return each version once, in the order in which they came into service."""
    made: dict[int, _Made] = {}
    for entry in entries:
        one = made.get(id(entry.fitted))
        if one is None:
            assert entry.training is not None  # no version comes back before it was there
            one = made[id(entry.fitted)] = _Made(entry.fitted, entry.training, entry.batch)
        one.rows.add(entry.row)
        one.kinds.add(entry.kind)
    return made


def _new(one: _Made, log: ServiceLog, by_name: Mapping[str, Series], recipe: _Recipe) -> NewVersion:
    training = one.training
    starts = log.series[0].grid.batch_starts()
    members = [by_name[stream] for stream in training.streams]
    in_service = (log.series[row].unique_id for row in sorted(one.rows))
    role = {"role": LONG_HISTORY} if one.kinds == {"member"} else {}
    window = {"window": f"{training.at - training.first} batches"}
    return NewVersion(
        one.fitted,
        streams=tuple(dict.fromkeys((*training.streams, *in_service))),
        trained_from=starts[training.first],
        trained_until=starts[training.at],
        live_from=starts[one.batch],
        seed=recipe.seed,
        fit_seconds=training.seconds,
        data_fingerprint=shared_fingerprint(members, training.first, training.at),
        forecaster_name=recipe.name,
        settings={**recipe.settings, **window, **role},
    )


def shared_fingerprint(members: Sequence[Series], first: int, last: int) -> str:
    """Return a hash of what a version was trained on, of one stream or of all that share it.

    Of one stream it is its `fingerprint`; of many, sha256 of their fingerprints, one below the
    other, in the order in which they were trained on.
    """
    each = [fingerprint(series, first, last) for series in members]
    return each[0] if len(each) == 1 else sha256("\n".join(each).encode()).hexdigest()


def _events(
    entries: Sequence[InService], made: Mapping[int, _Made], log: ServiceLog, grid: Grid
) -> Iterator[Deployment]:
    """Yield the events in the order of the batches; the ends of streams come last."""
    times = [wall_time(start) for start in grid.batch_starts()]
    for entry in entries:
        record = made[id(entry.fitted)].record
        if entry.kind == "member" or record is None:
            continue
        action: Action = "roll_back" if entry.kind == "returned" else "deploy"
        at, stream = times[entry.batch], log.series[entry.row].unique_id
        yield Deployment(stream, action, record.version, at, entry.reason, record.sha256, at)
    for row in sorted({entry.row for entry in entries}):
        if log.stop[row] < grid.n_batches:
            yield _ended(log.series[row].unique_id, times[int(log.stop[row])])


def _ended(stream: str, at: datetime) -> Deployment:
    return Deployment(stream, "retire", None, at, ENDED, None, at)


def _described(forecaster: Any) -> str:
    """Return a recipe with its settings, as its own class writes it."""
    inner = getattr(forecaster, "inner", forecaster)
    text = _ADDRESS.sub("", " ".join(repr(inner).split()))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
