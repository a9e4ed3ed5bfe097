"""Labour: incidents and orders become counts and minutes.

Takes what a span of time holds, gives `mlma.domain.labour.Labour`. Pure: who reads a store stands
in `mlma.service.labour`, who plays a history in `mlma.library.result`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from mlma.domain.incidents import BY_ITSELF, WITHDRAWN, Incident
from mlma.domain.labour import Labour, LabourModel, Settling
from mlma.domain.ledger import Action
from mlma.domain.orders import ORDERS


def labour_of(
    incidents: Sequence[Incident],
    actions: Iterable[Action],
    streams: int,
    weeks: float,
    model: LabourModel | None = None,
    *,
    resolved: Sequence[Incident] | None = None,
    retrainings: int = 0,
) -> Labour:
    """Return the work of some weeks at a desk.

    Parameters
    ----------
    incidents
        opened in these weeks.
    actions
        recorded in these weeks; those that are no orders of engineers do not count.
    resolved
        incidents resolved in these weeks, whenever they were opened; None = those of ``incidents``.
    retrainings
        carried out in these weeks; they cost what the model says, by default nothing.
    """
    model = model or LabourModel()
    kinds = Counter(one.kind for one in actions if one.kind in ORDERS)
    closed = incidents if resolved is None else resolved
    return Labour(
        incidents=len(incidents),
        incidents_by_kind=_kinds(incidents),
        actions_by_kind=dict(sorted(kinds.items())),
        by_people=_settling([one for one in closed if one.closed_by not in _NOBODY]),
        by_itself=_settling([one for one in closed if one.closed_by == BY_ITSELF]),
        seconds_by_part={
            "looks": weeks * model.working_days * model.look,
            "incidents": len(incidents) * model.incident,
            "orders": sum(model.order(kind) * count for kind, count in kinds.items()),
            "retrainings": retrainings * model.retraining,
            "watching": 0.0,
        },
        streams=streams,
        weeks=weeks,
        retrainings=retrainings,
    )


def played_labour(
    incidents: Sequence[Incident],
    streams: int,
    weeks: float,
    model: LabourModel | None = None,
    *,
    retrainings: int = 0,
    monitored: bool = True,
) -> Labour:
    """Return the work that a policy would have caused, where nobody was there to act.

    Each incident costs its triage, and one that did not close itself an answer. The daily look at
    the desk is left out: it is the same for every policy, and does not grow with the streams.

    Parameters
    ----------
    monitored
        whether the policy looks at losses; one that does not opens no incidents, and costs what
        the model says of watching charts.
    """
    model = model or LabourModel()
    left = sum(one.closed_by not in (BY_ITSELF, WITHDRAWN) for one in incidents)
    watching = 0.0 if monitored else streams * weeks * model.watching
    return Labour(
        incidents=len(incidents),
        incidents_by_kind=_kinds(incidents),
        by_itself=_settling([one for one in incidents if one.closed_by == BY_ITSELF]),
        seconds_by_part={
            "looks": 0.0,
            "incidents": len(incidents) * model.incident,
            "orders": left * model.answer,
            "retrainings": retrainings * model.retraining,
            "watching": watching,
        },
        streams=streams,
        weeks=weeks,
        retrainings=retrainings,
    )


_NOBODY = ("", BY_ITSELF, WITHDRAWN)


def _kinds(incidents: Sequence[Incident]) -> dict[str, int]:
    return dict(sorted(Counter(one.kind for one in incidents).items()))


def _settling(closed: Sequence[Incident]) -> Settling:
    seconds = sorted(
        max((one.closed_at - one.opened_at).total_seconds(), 0.0)
        for one in closed
        if one.closed_at is not None
    )
    if not seconds:
        return Settling()
    p90 = seconds[-(-9 * len(seconds) // 10) - 1]  # the smallest that 90 % do not exceed
    return Settling(len(seconds), float(median(seconds)), p90)
