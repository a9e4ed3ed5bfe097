"""Model versions as nouns: what is saved, what is remembered of it, what was in production when.

Takes what was trained and how, gives records without models. Next is the store that keeps them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from math import isfinite
from typing import Any, Literal

import numpy as np

from mlma.domain.errors import SettingsError

Time = datetime | date | np.datetime64 | str
Action = Literal["deploy", "roll_back", "retire"]


def wall_time(value: Time, name: str = "time") -> datetime:
    """Return a time on the clock of the streams, without a zone.

    Raises
    ------
    SettingsError
        It is no time, or it has a zone: slots have none, so the answer would be shifted.

    >>> wall_time("2024-06-01 12:00")
    datetime.datetime(2024, 6, 1, 12, 0)
    """
    try:
        made: Any = value
        if isinstance(value, str):
            made = datetime.fromisoformat(value)
        elif isinstance(value, np.datetime64):
            made = value.astype("datetime64[us]").item()
        elif isinstance(value, date) and not isinstance(value, datetime):
            made = datetime(value.year, value.month, value.day)
    except ValueError:
        made = None
    if not isinstance(made, datetime):
        raise _refused(name, 'a time such as "2024-06-01T12:00"', value)
    if made.tzinfo is not None:
        hint = "write the time of the slots (`ds`), as the clock on the wall shows it"
        raise _refused(name, "a time without a zone", value, hint)
    return datetime.combine(made.date(), made.time())


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A trained model and where it comes from; what a store saves.

    fitted
        the model, a `mlma.ports.FittedForecaster`.
    streams
        name of its stream, or names of all streams that share it.
    trained_from, trained_until
        training window: first slot, and the first slot after it; clock of the streams, no zone.
    live_from
        first slot that it forecasts; None = not known yet. Never inside the training window.
    fit_seconds
        seconds of the fit.
    data_fingerprint
        hash of the training values, see `mlma.library.versions.fingerprint`.
    settings
        what else describes the training, as plain JSON values.
    """

    fitted: Any
    streams: str | Sequence[str]
    trained_from: Time
    trained_until: Time
    seed: int
    fit_seconds: float
    data_fingerprint: str
    forecaster_name: str
    live_from: Time | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not callable(getattr(self.fitted, "predict", None)):
            raise _refused("fitted", "a fitted model with `predict`", self.fitted)
        names = (self.streams,) if isinstance(self.streams, str) else tuple(self.streams)
        if not names or not all(isinstance(name, str) for name in names):
            raise _refused("streams", "a name or a list of names", self.streams)
        start = wall_time(self.trained_from, "trained_from")
        stop = wall_time(self.trained_until, "trained_until")
        live = None if self.live_from is None else wall_time(self.live_from, "live_from")
        if not start < stop:
            raise _refused("trained_until", f"after `trained_from`, {start}", stop)
        if live is not None and live < stop:
            raise _refused("live_from", f"at or after `trained_until`, {stop}", live)
        if not (isfinite(self.fit_seconds) and self.fit_seconds >= 0):
            raise _refused("fit_seconds", "a finite number of seconds", self.fit_seconds)
        parts = {"trained_from": start, "trained_until": stop, "live_from": live}
        for name, value in {"streams": names, **parts}.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What a store remembers of a version besides the model itself.

    version
        its name in the store: the commit that wrote it, and its row in there.
    format
        the least safe part of the artefact: ``arrays``, ``lightgbm``, ``xgboost``, ``skops`` or
        ``pickle``.
    needs
        libraries, of those in ``libraries``, that must fit to read it.
    sha256, nbytes, offset
        hash and size of the artefact, and its place in the bundle.
    saved_at
        time of saving, UTC.
    """

    version: str
    streams: tuple[str, ...]
    forecaster: str
    settings: Mapping[str, Any]
    trained_from: datetime
    trained_until: datetime
    live_from: datetime | None
    seed: int
    fit_seconds: float
    data_fingerprint: str
    format: str
    needs: tuple[str, ...]
    libraries: Mapping[str, str]
    python: str
    sha256: str
    nbytes: int
    offset: int
    saved_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; times in ISO form."""
        return {spec.name: _plain(getattr(self, spec.name)) for spec in fields(self)}


_TIMES = ("trained_from", "trained_until", "live_from", "saved_at")


def record_from(values: Mapping[str, Any]) -> VersionRecord:
    """Return what `VersionRecord.to_dict` wrote; raises ``TypeError`` or ``ValueError``."""
    read = {**values, "streams": tuple(values["streams"]), "needs": tuple(values["needs"])}
    for name in _TIMES:
        read[name] = None if read[name] is None else datetime.fromisoformat(read[name])
    return VersionRecord(**read)


@dataclass(frozen=True, slots=True)
class Deployment:
    """One event of the deployment log, for one stream.

    ``version`` and ``sha256`` are what is in production from ``at`` on; None after ``retire``.
    ``at`` is on the clock of the streams; ``recorded_at``, UTC, is when the log was written.
    """

    stream: str
    action: Action
    version: str | None
    at: datetime
    reason: str
    sha256: str | None
    recorded_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; times in ISO form."""
        return {spec.name: _plain(getattr(self, spec.name)) for spec in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _refused(name: str, expected: str, got: object, hint: str = "") -> SettingsError:
    tail = f" Hint: {hint}." if hint else ""
    shown = got.isoformat(" ") if isinstance(got, datetime) else repr(got)
    return SettingsError(f"`{name}` of a version must be {expected}. Got {shown}.{tail}")
