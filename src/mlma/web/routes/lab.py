"""`/api/v1/lab`: another policy is tried on the fleet's own recorded history."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from mlma.domain.errors import ConflictError
from mlma.domain.lab import LabRun, LabStatus
from mlma.web.descriptions import error_answers
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk, Desk, sender
from mlma.web.ids import trial_named

router = APIRouter(tags=["lab"])

_HIGHEST = 2**31 - 1
_MOST = 500
MOST_WAITING = 20
"""Runs that wait; one is played at a time."""
Count = Annotated[int | None, Field(ge=0, le=_HIGHEST, strict=True)]
CycleNumber = Annotated[int | None, Field(ge=1, le=_HIGHEST, strict=True)]
RunId = Annotated[str, Path(min_length=1, max_length=80, description="Id of the run.")]


class Trial(BaseModel):
    """What is to be tried."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"policy": "mlma(false_retrainings=0.5)"}}
    )

    policy: str = Field(min_length=1, max_length=2_000, description="As in mlma.toml.")
    per_cycle: Count = Field(None, description="Re-trainings of a cycle at most; null = no limit.")
    first: CycleNumber = Field(None, description="First cycle; null = the first there is.")
    last: CycleNumber = Field(None, description="Last cycle; null = the newest.")


class TrialRow(BaseModel):
    """A run of the policy lab."""

    model_config = ConfigDict(extra="forbid")

    id: str
    at: datetime
    by: str
    policy: str
    per_cycle: int | None
    first: int | None
    last: int | None
    status: LabStatus
    progress: float = Field(description="Share that is played, from 0 to 1.")
    error: str = Field(description="Why it failed.")


class TrialDetail(TrialRow):
    """A run of the policy lab, and what came of it."""

    result: dict[str, Any] = Field(
        description="Both sides, empty until it is done; docs/lab.md tells the names."
    )


class Trials(BaseModel):
    """Runs of the policy lab, newest first."""

    model_config = ConfigDict(extra="forbid")

    rows: list[TrialRow]


@router.post("/lab", status_code=202, responses=error_answers(400, 408, 409, 413))
def start(request: Request, at: AtDesk, trial: Trial) -> TrialDetail:
    """Try a policy on the recorded history; the run waits for those before it."""
    check_room(at)
    made = at.service.lab.start(
        trial.policy, trial.per_cycle, sender(request), trial.first, trial.last
    )
    return _detail(made)


@router.get("/lab")
def runs(
    at: AtDesk, limit: Annotated[int, Query(ge=1, le=_MOST, description="How many.")] = 50
) -> Trials:
    """List runs of the policy lab, newest first, without their results."""
    return Trials(rows=[TrialRow(**_told(run)) for run in at.service.lab.runs(limit)])


@router.get("/lab/{id}", responses=error_answers(404))
def run(at: AtDesk, id: RunId) -> TrialDetail:
    """Return a run: how far it is, and both sides once it is done."""
    return _detail(_found(at, id))


@router.post("/lab/{id}/cancel", responses=error_answers(404))
def cancel(at: AtDesk, id: RunId) -> TrialDetail:
    """Stop a run; one that has ended stays as it is."""
    _found(at, id)
    return _detail(at.service.lab.cancel(id))


def check_room(at: Desk) -> None:
    """Check that not too many runs wait already.

    Raises
    ------
    ConflictError
        They do.
    """
    waiting = sum(run.status == "waiting" for run in at.service.lab.runs(_MOST))
    if waiting >= MOST_WAITING:
        raise ConflictError(
            f"{waiting} trials wait to be played, one at a time. Hint: cancel some of them, or "
            f"come again later."
        )


def _found(at: Desk, id: str) -> LabRun:
    found = trial_named(at.service.store, id)
    if found is None:
        raise RefusedError(404, "There is no such run of the policy lab.", hint="GET /api/v1/lab")
    return found


def _told(run: LabRun) -> dict[str, Any]:
    return {name: getattr(run, name) for name in TrialRow.model_fields}


def _detail(run: LabRun) -> TrialDetail:
    return TrialDetail(**_told(run), result=dict(run.result))
