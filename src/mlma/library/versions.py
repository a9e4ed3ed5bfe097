"""`mlma.ModelStore`: model versions on disk, and what was in production when.

Takes trained models and deployments, gives records; later gives the models back, the same to the
bit, and one answer to "what forecast this stream at that time?".
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from os import PathLike
from typing import Any

from mlma.adapters.artefacts.bundles import Bundles, checked
from mlma.adapters.artefacts.commits import Commits, commit_time, utc_now
from mlma.adapters.artefacts.files import files_at
from mlma.adapters.artefacts.fingerprints import fingerprint
from mlma.adapters.artefacts.libraries import check
from mlma.adapters.artefacts.log import DeploymentLog, before_current, current
from mlma.adapters.artefacts.marker import Marker
from mlma.adapters.artefacts.mlflow_log import MLflowLog
from mlma.domain.errors import ArtefactError, ArtefactWarning, SettingsError, first_three
from mlma.domain.versions import (
    Action,
    Deployment,
    NewVersion,
    Time,
    VersionRecord,
    wall_time,
)
from mlma.ports import FittedForecaster

__all__ = [
    "Deployment",
    "MLflowLog",
    "ModelStore",
    "NewVersion",
    "Verified",
    "VersionRecord",
    "fingerprint",
]


@dataclass(frozen=True, slots=True)
class Verified:
    """What `ModelStore.verify` found.

    ``damaged`` says in words what is damaged; ``unfinished`` names bundles of interrupted saves,
    which are harmless.
    """

    versions: int
    events: int
    damaged: tuple[str, ...]
    unfinished: tuple[str, ...]


class ModelStore:
    """A store of model versions, with an append-only log of deployments.

    Every call that writes adds new files and changes none; a file appears as a whole or not at all.
    So many writers may use one store at the same time.

    Parameters
    ----------
    url
        a folder, which is made when it is needed, or any address that fsspec knows
        (``memory://models``, ``s3://bucket/models``), which needs the extra ``artefacts``.
    trust
        full names of further types that may stand in artefacts, such as
        ``"shop.models.Fitted"``. Known without this: this library's own, and those of
        scikit-learn, LightGBM and XGBoost.
    allow_pickle
        True lets pickle write and read what nothing else can. Reading a pickle can run any code.
    clock
        time of saving, UTC.

    Raises
    ------
    MissingExtraError
        The address needs fsspec, or a model a library, that is not installed.
    SettingsError
        An address, a time or a setting is not what was asked for.
    ArtefactError
        All else: a place that cannot be written, a version that is not there, is damaged, is not
        trusted, or was saved with another major version of a library.

    >>> from tempfile import TemporaryDirectory
    >>> from mlma.adapters.models.seasonal_naive import SeasonalNaive
    >>> folder = TemporaryDirectory()
    >>> store = ModelStore(folder.name)
    >>> record = store.save(
    ...     SeasonalNaive(), streams="a", trained_from="2024-01-01", trained_until="2024-03-01",
    ...     seed=1, fit_seconds=0.1, data_fingerprint="", forecaster_name="seasonal_naive")
    >>> _ = store.deploy([("a", record)], "2024-03-01", "first version")
    >>> store.deployed("a", "2024-03-02").version == record.version
    True
    >>> store.deployed("a", "2024-02-29") is None
    True
    >>> store.load(record.version).name
    'seasonal_naive'
    >>> folder.cleanup()
    """

    def __init__(
        self,
        url: str | PathLike[str],
        *,
        trust: Iterable[str] = (),
        allow_pickle: bool = False,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        if isinstance(trust, str):
            raise SettingsError(f"`trust` of `ModelStore` must be a list of names. Got {trust!r}.")
        self._files = files_at(url)
        self._marker = Marker(self._files)
        self._damaged: list[str] = []
        self._bundles = Bundles(self._files, frozenset(trust), allow_pickle, self._damaged)
        self._log = DeploymentLog(self._files, self._damaged)
        self._commits = Commits(clock)

    def __repr__(self) -> str:
        return f"ModelStore({self._files.where!r})"

    @property
    def exists(self) -> bool:
        """Whether something was ever written here."""
        return self._marker.exists()

    def save(
        self,
        fitted: FittedForecaster,
        *,
        streams: str | Sequence[str],
        trained_from: Time,
        trained_until: Time,
        seed: int,
        fit_seconds: float,
        data_fingerprint: str,
        forecaster_name: str,
        live_from: Time | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> VersionRecord:
        """Save one version and return its record; the arguments are those of `NewVersion`."""
        new = NewVersion(
            fitted,
            streams=streams,
            trained_from=trained_from,
            trained_until=trained_until,
            seed=seed,
            fit_seconds=fit_seconds,
            data_fingerprint=data_fingerprint,
            forecaster_name=forecaster_name,
            live_from=live_from,
            settings=settings or {},
        )
        return self.save_many([new])[0]

    def save_many(self, new: Sequence[NewVersion]) -> list[VersionRecord]:
        """Save the versions of one cycle in one file, all or none; records in order.

        A version that many streams share is saved once, with all their names.
        """
        if not new:
            return []
        with self._writing():
            return self._bundles.save(new, self._commits.next())

    def load(self, version: str) -> FittedForecaster:
        """Return a fitted model; it forecasts the same to the bit as the one that was saved.

        Warns with `ArtefactWarning` where a library has another minor version.
        """
        return self.load_many([version])[0]

    def load_many(self, versions: Sequence[str]) -> list[FittedForecaster]:
        """Return fitted models, in order; each bundle is read once."""
        with self._reading():
            found = self._bundles.records_of(versions)
            told = {text: None for record in found.values() for text in check(record)}
            for text in told:
                warnings.warn(text, ArtefactWarning, stacklevel=2)
            return self._bundles.models([found[version] for version in versions])

    def record(self, version: str) -> VersionRecord:
        """Return what is remembered of a version."""
        with self._reading():
            return self._bundles.record(version)

    def records(self, stream: str | None = None) -> list[VersionRecord]:
        """Return the records of all versions, or of one stream's; oldest first."""
        with self._reading():
            return list(self._records(stream))

    def deploy(
        self, pairs: Iterable[tuple[str, str | VersionRecord]], at: Time, reason: str = ""
    ) -> list[Deployment]:
        """Write down that versions are in production from ``at`` on; ``pairs`` (stream, version).

        ``at`` is on the clock of the streams. The model of a stream must have been saved for it.
        """
        listed = [
            (name, version if isinstance(version, str) else version.version)
            for name, version in pairs
        ]
        _refuse_twice([name for name, _ in listed])
        with self._reading():
            records = self._bundles.records_of({version for _, version in listed})
        members = {version: set(record.streams) for version, record in records.items()}
        strange = [name for name, version in listed if name not in members[version]]
        if strange:
            raise ArtefactError(
                f"A version can be deployed for its own streams. Got others: "
                f"{first_three(strange)}. Hint: `store.record(version).streams` names its streams."
            )
        events = [(name, version, records[version].sha256) for name, version in listed]
        return self._add("deploy", events, at, reason)

    def roll_back(
        self, streams: str | Iterable[str], at: Time, reason: str = ""
    ) -> list[Deployment]:
        """Write down that streams are back at the version before the one that is in production."""
        time, names = wall_time(at, "at"), _names(streams)
        back = []
        for name, events in self._events_of(names).items():
            earlier = before_current(event for event in events if event.at <= time)
            if earlier is None:
                raise ArtefactError(
                    f"Stream `{name}` had no version before the one in production at {time}. "
                    f"Expected two deployments. Got {len(events)}."
                )
            back.append((name, earlier.version, earlier.sha256))
        return self._add("roll_back", back, at, reason)

    def retire(self, streams: str | Iterable[str], at: Time, reason: str = "") -> list[Deployment]:
        """Write down that streams have no model in production from ``at`` on."""
        gone = [(name, None, None) for name in _names(streams)]
        return self._add("retire", gone, at, reason)

    def write_down(self, events: Iterable[Deployment]) -> list[Deployment]:
        """Write events of any times in one file, with the time of writing in ``recorded_at``.

        Their versions and hashes are those of records of this store.
        """
        with self._writing():
            commit = self._commits.next()
            made = [replace(event, recorded_at=commit_time(commit)) for event in events]
            self._log.add(made, commit)
        return made

    def prepare(self) -> None:
        """Make the store; raises ``ArtefactError`` now if it cannot be written."""
        self.write_down([])

    def check(self, fitted: FittedForecaster) -> None:
        """Raise now what saving this model would raise; nothing is written."""
        self._bundles.check(fitted)

    def deployed(self, stream: str, at: Time | None = None) -> Deployment | None:
        """Return what was in production for a stream at a time, or after all that is written.

        None = nothing was: before its first deployment, or after it was retired.
        """
        return self.production(at, [stream]).get(stream)

    def production(
        self, at: Time | None = None, streams: Iterable[str] | None = None
    ) -> dict[str, Deployment]:
        """Return what was in production at a time, by stream; the log is read once for all.

        ``at`` None = after all that is written. Streams without anything in production are left
        out.
        """
        time = None if at is None else wall_time(at, "at")
        names = None if streams is None else list(streams)
        with self._reading():
            events = self._log.events(names[0] if names and len(names) == 1 else None)
        found = current(events, time)
        asked = found if names is None else [name for name in names if name in found]
        return {name: found[name] for name in asked if found[name].version is not None}

    def history(self, stream: str) -> list[Deployment]:
        """Return all events of a stream by time; of one time, in the order of writing."""
        with self._reading():
            return self._log.events(stream)

    def streams(self) -> list[str]:
        """Return the names of all streams that the log names, sorted."""
        with self._reading():
            return sorted({event.stream for event in self._log.events()})

    def bundle(self, version: str) -> dict[str, bytes]:
        """Return the files that hold a version and those saved with it, by name."""
        with self._reading():
            return self._bundles.whole(self._bundles.record(version))

    def verify(self) -> Verified:
        """Read everything, compute every hash anew, and return what is damaged."""
        self._marker.check()
        self._damaged.clear()
        known: dict[str, str] = {}
        for commit in self._bundles.commits():
            known |= self._verified(commit)
        events = self._log.events()
        for event in events:
            if event.version is not None and known.get(event.version) != event.sha256:
                self._damaged.append(
                    f"the log deploys version {event.version} for stream `{event.stream}`, which "
                    f"{'has another hash' if event.version in known else 'is not in the store'}"
                )
        told = tuple(dict.fromkeys(self._damaged))
        self._damaged.clear()
        return Verified(len(known), len(events), told, tuple(self._bundles.unfinished()))

    def _verified(self, commit: str) -> dict[str, str]:
        """Return the hash of each record of a commit; what is damaged is written down."""
        records = list(self._bundles.records(commit))
        raw = self._bundles.bytes_of(commit)
        if records and not raw:
            self._damaged.append(f"the artefacts of commit {commit} are missing")
            return {record.version: record.sha256 for record in records}
        for record in records:
            try:
                checked(record, raw[record.offset : record.offset + record.nbytes])
            except ArtefactError as error:
                self._damaged.append(str(error))
        return {record.version: record.sha256 for record in records}

    def _records(self, stream: str | None) -> Iterator[VersionRecord]:
        for commit in self._bundles.commits():
            for record in self._bundles.records(commit, stream or ""):
                if stream is None or stream in record.streams:
                    yield record

    def _events_of(self, names: Sequence[str]) -> Mapping[str, list[Deployment]]:
        with self._reading():
            events = self._log.events(names[0] if len(names) == 1 else None)
        by_stream: dict[str, list[Deployment]] = {name: [] for name in names}
        for event in events:
            if event.stream in by_stream:
                by_stream[event.stream].append(event)
        return by_stream

    def _add(
        self,
        action: Action,
        listed: Sequence[tuple[str, str | None, str | None]],
        at: Time,
        reason: str,
    ) -> list[Deployment]:
        if not listed:
            return []
        time = wall_time(at, "at")
        return self.write_down(
            Deployment(name, action, version, time, reason, digest, time)
            for name, version, digest in listed
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._marker.write()
        yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Tell by a warning what could not be read, once per call."""
        self._marker.check()
        self._damaged.clear()
        yield
        told = tuple(dict.fromkeys(self._damaged))
        self._damaged.clear()
        if told:
            warnings.warn(
                f"The model store at {self._files.where} is damaged: {first_three(told)} cannot be "
                f"read and was left out. Hint: mlma versions verify {self._files.where}",
                ArtefactWarning,
                stacklevel=2,
            )


def _names(streams: str | Iterable[str]) -> list[str]:
    names = [streams] if isinstance(streams, str) else list(streams)
    _refuse_twice(names)
    return names


def _refuse_twice(names: Sequence[str]) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise SettingsError(
            f"A stream can stand once in a call. Got more than once: {first_three(twice)}."
        )
