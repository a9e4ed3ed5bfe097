"""Going back, looked at: a former version of a model is live again, and its reference with it.

Takes an order and what is known, gives its draft.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlma.agent.formers import FORMER, former_payload
from mlma.agent.versions import FormerVersions, former_versions
from mlma.domain.errors import DataError, first_three
from mlma.domain.orders import RollBack
from mlma.service.orders.asking import restorations
from mlma.service.orders.draft import MOST_CHANGES, Change, Draft, Known, also, streams_text
from mlma.service.orders.versions import Versions, all_gone


def roll_back(order: RollBack, known: Known) -> Draft:
    """Look at a way back to a former version.

    Raises
    ------
    DataError
        A stream never had this version, or its artefact is gone, or nobody is left.
    """
    names, versions = known.fleet.of(order), Versions(known.store, known.fleet.row)
    asked = [known.open_requests[name] for name in names if name in known.open_requests]
    running = [one.request.unique_id for one in asked if one.status == "claimed"]
    unseen = [name for name in names if versions.unseen(name)]
    out = {*running, *unseen}
    left = tuple(name for name in names if name not in out)
    skipped = (
        f"{also(len(running), 'being re-trained, and left as they are')}"
        f"{also(len(unseen), 'new since the last cycle, and left as they are')}"
    )
    if not left:
        raise DataError(
            f"None of the {streams_text(len(names))} can go back now{skipped}. "
            f"Hint: wait until the fits have ended and a cycle was judged."
        )
    withdrawn = tuple(one.request.id for one in asked if one.request.unique_id not in out)
    draft = restoring(dict.fromkeys(left, order.version), known, versions)
    return Draft(
        sentence=f"Goes back to {_which(order)} of {streams_text(len(left))} "
        f"({order.selector.text}), model and reference together{skipped}.",
        streams=left,
        changes=draft.changes,
        total=draft.total,
        counts={
            "versions that come back": len(left),
            "re-trainings withdrawn": len(withdrawn),
            "left as they are": len(out),
        },
        warnings=draft.warnings,
        payload={**draft.payload, "withdrawn": list(withdrawn)},
        requested=draft.requested,
        withdrawn=withdrawn,
    )


def restoring(wanted: Mapping[str, int | None], known: Known, versions: Versions) -> Draft:
    """Return what brings versions back: the number of each, by stream; None = the one before.

    Raises
    ------
    DataError
        A stream never had its version, or its artefact is gone.
    """
    back = former_versions(known.store, known.settings, wanted)
    _check_artefacts(back)
    targets = dict(zip(back.names, back.version.tolist(), strict=True))
    called = dict(zip(back.names, back.artefacts, strict=True))
    requests = restorations(known, targets, called, versions)
    return Draft(
        sentence="",
        streams=back.names,
        changes=_changes(targets, known, versions),
        total=len(targets),
        warnings=_untold(back),
        payload={
            "requests": {one.unique_id: one.id for one in requests},
            "versions": {name: [versions.live(name), target] for name, target in targets.items()},
            FORMER: former_payload(back.names, back.former),
        },
        requested=requests,
    )


def _check_artefacts(back: FormerVersions) -> None:
    """Refuse where the model of a former version is a file that is gone.

    Raises
    ------
    DataError
        It names the first stream, and the file.
    """
    called = dict(zip(back.names, back.artefacts, strict=True))
    lost = all_gone(called)
    if lost:
        version = int(back.version[back.names.index(lost[0])])
        more = f", and those of {len(lost) - 1:,} more streams" if len(lost) > 1 else ""
        raise DataError(
            f"The artefact of version {version} of {first_three(lost[:1])} is gone{more}: there "
            f"is no {called[lost[0]][:300]!r}. Expected a model that can be loaded. "
            f"Hint: choose another version, or re-train."
        )


def _untold(back: FormerVersions) -> tuple[str, ...]:
    untold = sum(not artefact for artefact in back.artefacts)
    if not untold:
        return ()
    return (
        f"Of {streams_text(untold)} it was not told what the former model is called: whoever "
        f"trains has to know it by its number.",
    )


def _which(order: RollBack) -> str:
    return "the version before" if order.version is None else f"version {order.version}"


def _changes(targets: Mapping[str, int], known: Known, versions: Versions) -> list[Change]:
    """Return the versions and the levels of their references, before and after."""
    made: list[Change] = []
    if not known.dry:
        return made
    for name, target in list(targets.items())[:MOST_CHANGES]:
        _, records = known.store.history(known.fleet.row[name])
        live = versions.live(name)
        before, after = _told(records, live), _told(records, target)
        made.append(Change(name, None, "version", before, after))
    return made


def _told(records: Any, version: int) -> str:
    """Return a version and the newest level of its reference, in words."""
    level = records["reference_log"][records["version"] == version]
    level = level[np.isfinite(level)]
    if not len(level):
        return f"version {version}, reference not known"
    return f"version {version}, reference {np.exp(float(level[-1])):.4g}"
