"""Ids that come with an address or a form: what they name, where anything can be named so.

Takes a store and an id that somebody sent, gives what it names. Databases refuse texts that hold
control characters, and nothing of ours is called so.
"""

from mlma.domain.incidents import Incident
from mlma.domain.lab import LabRun
from mlma.ports import Store

LONGEST = 200


def incident_named(store: Store, id: str) -> Incident | None:
    """Return the incident of an id; None = there is none."""
    return next(iter(store.incidents(ids=[id])), None) if _can_be(id) else None


def trial_named(store: Store, id: str) -> LabRun | None:
    """Return the run of the policy lab of an id; None = there is none."""
    return next(iter(store.lab_runs(ids=[id])), None) if _can_be(id) else None


def _can_be(id: str) -> bool:
    return 0 < len(id) <= LONGEST and id.isprintable()
