"""Bundles: all versions of one cycle in one file, and a file of records beside it.

Takes new versions and the name of a commit, gives records; takes a record, gives the model. The
file of records is written last: a bundle without one was interrupted and counts as never saved.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from json import dumps
from typing import Any

from mlma.adapters.artefacts.codec import decoded, encoded
from mlma.adapters.artefacts.commits import commit_time, is_commit
from mlma.adapters.artefacts.files import Files
from mlma.adapters.artefacts.foreign import Foreign
from mlma.adapters.artefacts.libraries import python_version, versions_of
from mlma.adapters.artefacts.lines import needle, sealed, unsealed
from mlma.domain.errors import ArtefactError, SettingsError, first_three
from mlma.domain.versions import NewVersion, VersionRecord, record_from, wall_time

FOLDER, MODELS, RECORDS = "bundles", ".models", ".jsonl"


@dataclass(slots=True)
class Bundles:
    """The models of a store and their records.

    ``damaged`` collects, in words, what could not be read.
    """

    files: Files
    trust: frozenset[str]
    allow_pickle: bool
    damaged: list[str]

    def foreign(self) -> Foreign:
        """Return the door for what other libraries made."""
        return Foreign(self.trust, self.allow_pickle)

    def save(self, new: Sequence[NewVersion], commit: str) -> list[VersionRecord]:
        """Write all versions, or none."""
        chunks, records, offset = [], [], 0
        for row, version in enumerate(new):
            foreign = self.foreign()
            raw = encoded(version.fitted, foreign)
            records.append(_record(version, f"{commit}.{row}", raw, offset, foreign))
            chunks.append(raw)
            offset += len(raw)
        rows = sealed(record.to_dict() for record in records)
        self.files.write(f"{FOLDER}/{commit}{MODELS}", chunks)
        self.files.write(f"{FOLDER}/{commit}{RECORDS}", [rows])
        return records

    def check(self, fitted: Any) -> None:
        """Raise what saving this model would raise, and write nothing."""
        encoded(fitted, self.foreign())

    def commits(self) -> list[str]:
        """Return the names of all bundles that were saved, oldest first."""
        return [name.removesuffix(RECORDS) for name in self.files.names(FOLDER, RECORDS)]

    def unfinished(self) -> list[str]:
        """Return the bundles that were interrupted before their records were written."""
        models = {name.removesuffix(MODELS) for name in self.files.names(FOLDER, MODELS)}
        return sorted(models - set(self.commits()))

    def records(self, commit: str, wanted: str = "") -> Iterator[VersionRecord]:
        """Yield the records of a bundle; with ``wanted``, those that may name it."""
        name = f"{FOLDER}/{commit}{RECORDS}"
        lines = unsealed(self.files.read(name) or b"", name, needle(wanted) if wanted else b"")
        self.damaged += lines.damaged
        for number, row in lines.rows:
            try:
                yield record_from(row)
            except (TypeError, ValueError, KeyError) as error:
                self.damaged.append(f"line {number} of {name} ({error})")

    def record(self, version: str) -> VersionRecord:
        """Return the record of a version; raises ``ArtefactError`` that names the nearest."""
        commit = str(version).rpartition(".")[0]
        if is_commit(commit):
            for record in self.records(commit, version):
                if record.version == version:
                    return record
        raise self._unknown(str(version), commit)

    def records_of(self, versions: Iterable[str]) -> dict[str, VersionRecord]:
        """Return the records of many versions, reading each bundle once."""
        wanted: dict[str, set[str]] = {}
        for version in versions:
            wanted.setdefault(version.rpartition(".")[0], set()).add(version)
        found: dict[str, VersionRecord] = {}
        for commit, names in wanted.items():
            if len(names) > 1 and is_commit(commit):
                found |= {r.version: r for r in self.records(commit) if r.version in names}
            found |= {name: self.record(name) for name in names - found.keys()}
        return found

    def model(self, record: VersionRecord) -> Any:
        """Return the fitted model of a record, whose bits are those that were saved."""
        return self._decoded(record, self.raw(record))

    def models(self, records: Sequence[VersionRecord]) -> list[Any]:
        """Return fitted models, in order, reading each bundle once."""
        bundles: dict[str, list[int]] = {}
        for place, record in enumerate(records):
            bundles.setdefault(record.version.rpartition(".")[0], []).append(place)
        out: list[Any] = [None] * len(records)
        for places in bundles.values():
            first = min(records[place].offset for place in places)
            last = max(records[place].offset + records[place].nbytes for place in places)
            read = self._bytes(records[places[0]], first, last)
            for place in places:
                start = records[place].offset - first
                raw = checked(records[place], read[start : start + records[place].nbytes])
                out[place] = self._decoded(records[place], raw)
        return out

    def raw(self, record: VersionRecord) -> bytes:
        """Return the artefact of a record; raises ``ArtefactError`` unless its hash fits."""
        return checked(record, self._bytes(record, record.offset, record.offset + record.nbytes))

    def whole(self, record: VersionRecord) -> dict[str, bytes]:
        """Return the two files that hold a version and those saved with it, by name."""
        commit = record.version.rpartition(".")[0]
        rows = self.files.read(f"{FOLDER}/{commit}{RECORDS}") or b""
        return {f"{commit}{MODELS}": self.bytes_of(commit), f"{commit}{RECORDS}": rows}

    def bytes_of(self, commit: str) -> bytes:
        """Return all artefacts of a commit; empty where the file is missing."""
        return self.files.read(f"{FOLDER}/{commit}{MODELS}") or b""

    def _bytes(self, record: VersionRecord, start: int, stop: int) -> bytes:
        name = f"{FOLDER}/{record.version.rpartition('.')[0]}{MODELS}"
        read = self.files.read(name, start, stop)
        if read is None:
            raise ArtefactError(
                f"The artefact of version {record.version} is missing: there is no {name} in the "
                f"store at {self.files.where}. Its record is still there."
            )
        return read

    def _decoded(self, record: VersionRecord, raw: bytes) -> Any:
        try:
            return decoded(raw, self.foreign())
        except ArtefactError as error:
            raise ArtefactError(f"Version {record.version}, {_whose(record)}: {error}") from error

    def _unknown(self, version: str, near: str) -> ArtefactError:
        commits = self.commits()
        if near in commits:
            rows = [record.version for record in self.records(near)]
            known = f"That commit has {_span(rows)}."
        else:
            close = get_close_matches(near or version, commits, n=1) or commits[-1:]
            names = [f"{commit}.0" for commit in close]
            known = f"Nearest: {names[0]}." if names else "The store has no version yet."
        if self.damaged:
            known += f" {first_three(self.damaged)} cannot be read."
        return ArtefactError(
            f"There is no version {version!r:.100} in the store at {self.files.where}. {known} "
            f"Hint: mlma versions list {self.files.where}"
        )


def checked(record: VersionRecord, raw: bytes) -> bytes:
    """Return the artefact, or raise ``ArtefactError`` where its bits are not those saved."""
    told = f"The artefact of version {record.version}, {_whose(record)}, is damaged: "
    if len(raw) != record.nbytes:
        raise ArtefactError(f"{told}it was cut. Expected {record.nbytes} bytes. Got {len(raw)}.")
    found = sha256(raw).hexdigest()
    if found != record.sha256:
        raise ArtefactError(
            f"{told}it was changed after it was saved. Expected sha256 {record.sha256}. Got "
            f"{found}. It was not opened."
        )
    return raw


def _whose(record: VersionRecord) -> str:
    others = len(record.streams) - 1
    return f"stream `{record.streams[0]}`" + (f" and {others} more" if others else "")


def _span(rows: Sequence[str]) -> str:
    return f"{rows[0]} to {rows[-1]}" if rows else "no readable record"


def _record(
    new: NewVersion, version: str, raw: bytes, offset: int, foreign: Foreign
) -> VersionRecord:
    libraries, needs = versions_of(frozenset(foreign.roots))
    record = VersionRecord(
        version=version,
        streams=tuple(new.streams),
        forecaster=new.forecaster_name,
        settings=dict(new.settings),
        trained_from=wall_time(new.trained_from),
        trained_until=wall_time(new.trained_until),
        live_from=None if new.live_from is None else wall_time(new.live_from),
        seed=int(new.seed),
        fit_seconds=float(new.fit_seconds),
        data_fingerprint=new.data_fingerprint,
        format=foreign.format,
        needs=needs,
        libraries=libraries,
        python=python_version(),
        sha256=sha256(raw).hexdigest(),
        nbytes=len(raw),
        offset=offset,
        saved_at=commit_time(version.rpartition(".")[0]),
    )
    try:
        dumps(record.settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"`settings` of a version must be plain JSON values. Got {record.settings!r:.100}: "
            f"{error}."
        ) from error
    return record
