"""Asking: requests for re-training that an engineer's order makes.

Takes streams, gives requests for new versions or for former ones. Next is the trainer.
"""

from collections.abc import Mapping, Sequence

from mlma.agent.asking import BY_HAND
from mlma.agent.exclusions import NOTHING_LEFT_OUT, exclusions
from mlma.domain.requests import RetrainingRequest, digest
from mlma.service.orders.draft import Known
from mlma.service.orders.versions import Versions

RESTORED = "an engineer went back to a former version"


def retrainings(
    known: Known, names: Sequence[str], versions: Versions
) -> tuple[RetrainingRequest, ...]:
    """Return requests for new versions of some streams."""
    return _requests(known, names, versions, {}, {})


def restorations(
    known: Known, targets: Mapping[str, int], artefacts: Mapping[str, str], versions: Versions
) -> tuple[RetrainingRequest, ...]:
    """Return requests for former versions: the number of each, and what it is called, by stream."""
    return _requests(known, list(targets), versions, targets, artefacts)


def _requests(
    known: Known,
    names: Sequence[str],
    versions: Versions,
    targets: Mapping[str, int],
    artefacts: Mapping[str, str],
) -> tuple[RetrainingRequest, ...]:
    left_out = exclusions(known.standing, names, known.fleet.tags, known.periods)
    mark = [known.by, known.now.isoformat(), known.newest]
    made = []
    for name in names:
        own, target = left_out.get(name, NOTHING_LEFT_OUT), targets.get(name)
        version = versions.live(name)
        made.append(
            RetrainingRequest(
                id=digest([name, version, target, *mark]),
                unique_id=name,
                reason=BY_HAND if target is None else RESTORED,
                version=version,
                cycle=versions.cycle(name),
                asked_at=known.now,
                evidence={},
                kind="retrain" if target is None else "restore",
                exclude=own.spans,
                train_from=own.train_from,
                restores=target,
                artefact=artefacts.get(name, ""),
                by=known.by,
            )
        )
    return tuple(made)
