"""Labour: the human work that a fleet causes, counted and put into minutes by a stated model.

Takes nothing, gives the nouns. `mlma.steps.labour` counts; the Fleet page, the policy lab and the
report of a replay show it, so that policies can be compared by the work that they cause.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from types import MappingProxyType

from mlma.domain.errors import SettingsError, unknown_name
from mlma.domain.orders import ORDERS
from mlma.domain.runs import PolicyRun

_READ_AND_CLICK = 15.0  # one click on a page that is open already, its sentence just read
_FORM = 45.0  # a selector or a date is typed, and the dry run is read
_LOOK_INTO = 120.0  # a chart is read before, streams are compared, what it changes is checked

ORDER_SECONDS: Mapping[str, float] = MappingProxyType(
    {
        "retrain": 30.0,  # the dry run is one line: who is trained
        "plan": _FORM,  # a time is chosen too
        "freeze": _FORM,  # a selector, and until when
        "unfreeze": 30.0,  # those that are frozen are listed
        "budget": 60.0,  # the load of the trainer is looked up first
        "event": 90.0,  # a name, a beginning, an end, whom it concerns, what becomes of its batches
        "cancel_event": 30.0,  # a click in the calendar, and the dry run
        "pin": 60.0,  # the versions of a stream are compared first
        "unpin": 30.0,  # those that are pinned are listed
        "policy": 300.0,  # a run of the policy lab is read first
        "roll_back": _LOOK_INTO,  # the version to go back to has to be found
        "label": _LOOK_INTO,  # what a batch was is asked of the chart, or of a colleague
        "overrule": 60.0,  # one batch is looked at
        "rejudge": 30.0,  # one number; what it changes is read
        "undo": 30.0,  # what it changes back is read
        "acknowledge": _READ_AND_CLICK,
        "snooze": 20.0,  # and until when
        "resolve": _READ_AND_CLICK,
        "reopen": _READ_AND_CLICK,
        "confirm": _READ_AND_CLICK,
        "deny": _READ_AND_CLICK,
    }
)
"""Seconds that an order takes, from the page it is given on to its being applied. One order for a
thousand streams takes as long as one for a single stream. Of a kind that is not here: as long as a
form, 45 s. They are estimates, not measurements: set your own in ``[labour]``."""

PARTS = ("looks", "incidents", "orders", "retrainings", "watching")
"""What the minutes are made of."""


@dataclass(frozen=True, slots=True)
class LabourModel:
    """How long things take a person, in seconds; estimates that can be set in ``[labour]``.

    look
        one look at the Fleet page on a working day: a minute for one page of figures on which
        nothing is red.
    working_days
        per week on which somebody looks: five.
    incident
        triage of an incident: two minutes for its sentence, its picture, what the agent did, and
        the choice of what to do.
    answer
        what it takes to act on an incident that does not close itself: 90 seconds, between a click
        and a label. Only where no orders are recorded: in a replay and in the policy lab.
    retraining
        of each re-training: nothing, since a trainer fetches its requests by itself. Where a person
        carries them out, say how long one takes.
    watching
        per stream and week, under a policy that looks at no losses and so opens no incidents:
        nothing, although somebody has to look at charts there. State it to compare fairly.
    orders
        by kind of order; those that are not given are as in `ORDER_SECONDS`.

    Raises
    ------
    SettingsError
        A length is negative or not finite, or a kind of order is unknown.
    """

    look: float = 60.0
    working_days: float = 5.0
    incident: float = 120.0
    answer: float = 90.0
    retraining: float = 0.0
    watching: float = 0.0
    orders: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in self.orders:
            if kind not in ORDERS:
                raise unknown_name("order in `orders` of [labour]", kind, ORDERS)
        numbers = {one.name: getattr(self, one.name) for one in fields(self)[:-1]}
        for name, seconds in (numbers | dict(self.orders)).items():
            if not (isfinite(seconds) and seconds >= 0):
                raise SettingsError(f"`{name}` of [labour] must be 0 or more. Got {seconds!r}.")

    def order(self, kind: str) -> float:
        """Return the seconds that an order of a kind takes.

        >>> LabourModel(orders={"label": 10.0}).order("label"), LabourModel().order("retrain")
        (10.0, 30.0)
        """
        return self.orders.get(kind, ORDER_SECONDS.get(kind, _FORM))


@dataclass(frozen=True, slots=True)
class Settling:
    """How long incidents were on the desk, from open to resolved.

    median_seconds, p90_seconds
        None where there are none.
    """

    count: int = 0
    median_seconds: float | None = None
    p90_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Labour:
    """The human work of some weeks.

    incidents
        opened in these weeks; those that a revised batch withdrew too: somebody saw them.
    incidents_by_kind, actions_by_kind
        counts; actions are orders of engineers.
    by_people, by_itself
        incidents resolved in these weeks, and how long that took.
    seconds_by_part
        seconds of work, by `PARTS`.
    streams, weeks
        size and length of what was counted.
    retrainings
        how many there were; 0 where nobody counted them.

    >>> week = Labour(incidents=5, seconds_by_part={"incidents": 600.0}, streams=10_000, weeks=1.0)
    >>> week.incidents_per_1000_week, week.minutes, week.minutes_per_1000_week
    (0.5, 10.0, 1.0)
    """

    incidents: int = 0
    incidents_by_kind: Mapping[str, int] = field(default_factory=dict)
    actions_by_kind: Mapping[str, int] = field(default_factory=dict)
    by_people: Settling = Settling()
    by_itself: Settling = Settling()
    seconds_by_part: Mapping[str, float] = field(default_factory=dict)
    streams: int = 0
    weeks: float = 0.0
    retrainings: int = 0

    @property
    def actions(self) -> int:
        """Orders that were given."""
        return sum(self.actions_by_kind.values())

    @property
    def minutes(self) -> float:
        """Minutes of work."""
        return sum(self.seconds_by_part.values()) / 60.0

    @property
    def incidents_per_1000_week(self) -> float:
        """Incidents per 1,000 streams and week; NaN without a stream or a week."""
        return self._rate(self.incidents)

    @property
    def minutes_per_1000_week(self) -> float:
        """Minutes per 1,000 streams and week; NaN without a stream or a week."""
        return self._rate(self.minutes)

    def _rate(self, amount: float) -> float:
        size = self.streams * self.weeks
        return 1_000.0 * amount / size if size > 0 else float("nan")


@dataclass(frozen=True, slots=True)
class WorkedRun(PolicyRun):
    """A policy of a replay, and the human work that it would have caused.

    labour
        None = it was not counted.
    """

    labour: Labour | None = None

    @classmethod
    def of(cls, run: PolicyRun, labour: Labour) -> "WorkedRun":
        """Return a run with its labour."""
        told = {spec.name: getattr(run, spec.name) for spec in fields(PolicyRun)}
        return cls(**told, labour=labour)


def rates_of(run: PolicyRun) -> tuple[float, float]:
    """Return incidents and minutes of a run, per 1,000 streams and week; NaN = nobody knows.

    Under a policy that looks at no losses there are no incidents, and the minutes are those that
    the model states for watching charts; where it states none, they are not known.
    """
    labour = run.labour if isinstance(run, WorkedRun) else None
    if labour is None or (run.evidence is None and not labour.seconds_by_part.get("watching")):
        return float("nan"), float("nan")
    incidents = float("nan") if run.evidence is None else labour.incidents_per_1000_week
    return incidents, labour.minutes_per_1000_week
