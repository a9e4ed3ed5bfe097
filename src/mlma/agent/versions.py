"""Versions: which model version of a stream was live when, and its reference as it then stood.

Takes the ledger, gives spans of versions, and what a roll-back needs of former ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.agent.recomputing import recomputed
from mlma.domain.errors import DataError, first_three
from mlma.domain.ledger import ABSENT, Action
from mlma.domain.live import LiveSettings
from mlma.ports.store import Store
from mlma.steps.rollback import Former, remembered

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class VersionSpan:
    """A version of one stream: the cycles in which it was live.

    artefact
        what whoever trained it called the model; empty = it was not told.
    by, why
        who deployed it and why; empty for the first one.
    restores
        whether it is a former version that came back.
    """

    version: int
    first: int
    last: int
    artefact: str = ""
    by: str = ""
    why: str = ""
    restores: bool = False


def version_spans(store: Store, unique_id: str, row: int) -> list[VersionSpan]:
    """Return the versions of a stream, oldest first."""
    cycles, records = store.history(row)
    there = records["n"] != ABSENT
    cycles, versions = cycles[there], records["version"][there]
    told = {
        one.cycle: one
        for one in store.actions(kind="deployed")
        if one.cycle is not None and unique_id in one.payload["unique_ids"]
    }
    made: list[VersionSpan] = []
    for version in dict.fromkeys(versions.tolist()):
        at = cycles[versions == version]
        after = made[-1].last if made else 0
        brought = [told[cycle] for cycle in sorted(told) if after < cycle <= int(at[0])]
        made.append(_span(int(version), at, brought[-1] if brought else None, unique_id))
    return made


def _span(version: int, at: Ints, action: Action | None, unique_id: str) -> VersionSpan:
    first, last = int(at[0]), int(at[-1])
    if action is None:
        return VersionSpan(version, first, last)
    return VersionSpan(
        version,
        first,
        last,
        artefact=str(action.payload.get("artefacts", {}).get(unique_id, "")),
        by=action.by,
        why=action.why,
        restores=unique_id in action.payload.get("restored", {}).values(),
    )


@dataclass(frozen=True, slots=True)
class FormerVersions:
    """Former versions of some streams; all in the order of ``names``.

    version, cycle
        ``(k,) int64``, number of the version, and the last cycle in which it was live.
    artefacts
        what the models are called; empty = not told.
    former
        with their references.
    """

    names: tuple[str, ...]
    version: Ints
    cycle: Ints
    artefacts: tuple[str, ...]
    former: Former


def former_versions(
    store: Store, settings: LiveSettings, wanted: Mapping[str, int | None]
) -> FormerVersions:
    """Return former versions by stream; None = the one before the one that is live.

    References are computed once more from the ledger, as they stood after the last batch of the
    version.

    Raises
    ------
    DataError
        A stream is unknown, never had that version, or has it live.
    """
    names = store.streams()
    row = {name: at for at, name in enumerate(names)}
    unknown = [name for name in wanted if name not in row]
    if unknown:
        raise DataError(f"{len(unknown)} streams are not known: {first_three(unknown)}.")
    told = list(wanted)
    rows = np.array([row[name] for name in told], dtype=np.int64)
    version, cycle = _last_cycles(store, told, rows, [wanted[name] for name in told])
    order = np.argsort(cycle, kind="stable")
    parts: list[Former] = []
    for made in recomputed(store, settings, int(cycle.min()), int(cycle.max()), in_words=False):
        at = order[cycle[order] == made.entry.info.cycle]
        if len(at):
            parts.append(remembered(made.memory.state, rows[at]))
    former = parts[0]
    for part in parts[1:]:
        former = former.joined(part)
    return FormerVersions(
        tuple(told),
        version,
        cycle,
        _artefacts(store, told, cycle),
        former.rows(np.argsort(order, kind="stable")),
    )


def _last_cycles(
    store: Store, names: Sequence[str], rows: Ints, wanted: Sequence[int | None]
) -> tuple[Ints, Ints]:
    """Return version and last cycle of what is wanted of each stream; cycles are read backwards."""
    target = np.array([-1 if one is None else one for one in wanted], dtype=np.int64)
    live = np.full(len(rows), -1, dtype=np.int64)
    cycle = np.zeros(len(rows), dtype=np.int64)
    for info in store.cycles(newest_first=True):
        streams, records = store.evidence(info.cycle)
        place = np.minimum(np.searchsorted(streams, rows), max(len(streams) - 1, 0))
        if not len(streams):
            continue
        there = (streams[place] == rows) & (records["n"][place] != ABSENT)
        now = np.where(there, records["version"][place], -1)
        live = np.where((live < 0) & there, now, live)
        before = (target < 0) & (now >= 0) & (now != live)
        target = np.where(before, now, target)
        found = (cycle == 0) & (now == target) & (target >= 0)
        cycle[found] = info.cycle
        if cycle.all():
            break
    _check(names, target, live, cycle)
    return target, cycle


def _check(names: Sequence[str], target: Ints, live: Ints, cycle: Ints) -> None:
    missing = [name for name, at in zip(names, cycle.tolist(), strict=True) if not at]
    if missing:
        raise DataError(
            f"{len(missing)} streams never had the version to go back to, or have had one version "
            f"only: {first_three(missing)}."
        )
    same = [name for name, old, now in zip(names, target, live, strict=True) if old == now]
    if same:
        raise DataError(
            f"The version is live already for {len(same)} streams: {first_three(same)}."
        )


def _artefacts(store: Store, names: Sequence[str], cycle: Ints) -> tuple[str, ...]:
    """Return what the models are called that were live in a cycle of each stream."""
    called = dict.fromkeys(names, "")
    until = dict(zip(names, cycle.tolist(), strict=True))
    for action in store.actions(kind="deployed"):
        for name, artefact in action.payload.get("artefacts", {}).items():
            if name in until and action.cycle is not None and action.cycle <= until[name]:
                called[name] = str(artefact)
    return tuple(called[name] for name in names)
