"""`/lab`: the fleet's own history under another policy, beside what really happened."""

import shlex
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from mlma.domain.errors import ConflictError, MlmaError, StoreError
from mlma.domain.lab import LabRun
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk, Desk
from mlma.web.forms import CheckedForm
from mlma.web.ids import trial_named
from mlma.web.pages.environment import page
from mlma.web.pages.lab_asking import FIELDS, number_asked, policy_asked
from mlma.web.pages.lab_reading import (
    UNFINISHED,
    charts,
    compared,
    cycles_frame,
    in_a_sentence,
    runs_frame,
)
from mlma.web.pages.links import order_link
from mlma.web.pages.order_reading import FieldError, Typed, fields_of, first
from mlma.web.pages.order_words import who
from mlma.web.pages.sheets import csv_of
from mlma.web.people import AtPerson, check_may
from mlma.web.routes.lab import check_room

router = APIRouter(include_in_schema=False)

MOST_RUNS = 100
REFRESH_SECONDS = 3
Format = Literal["html", "csv"]


@router.get("/lab")
def lab(request: Request, at: AtDesk, format: Format = "html", auto: str = "") -> Response:
    """Show the form of a trial and the trials that there were."""
    if format == "csv":
        return csv_of(runs_frame(at.service.lab.runs(MOST_RUNS)), "trials")
    typed = fields_of(request.query_params.multi_items())
    return _page(request, at, typed, auto=auto)


@router.post("/lab")
def start(request: Request, at: AtDesk, person: AtPerson, sent: CheckedForm) -> Response:
    """Start a trial; a form that cannot be comes back as it was typed."""
    check_may(person, "engineer")
    typed = fields_of(sent.multi_items())
    try:
        check_room(at)
        run = at.service.lab.start(
            policy_asked(typed),
            number_asked(typed, "per_cycle"),
            person.who,
            number_asked(typed, "first"),
            number_asked(typed, "last"),
        )
    except FieldError as error:
        return _page(request, at, typed, {error.field: error.message}, status=422)
    except ConflictError as error:
        return _page(request, at, typed, {"": str(error)}, status=409)
    except StoreError:
        raise
    except MlmaError as error:
        return _page(request, at, typed, {_field(str(error)): str(error)}, status=422)
    return RedirectResponse(f"/lab/{run.id}", status_code=303)


@router.get("/lab/{id}")
def trial(
    request: Request, id: str, at: AtDesk, format: Format = "html", auto: str = ""
) -> Response:
    """Show a trial: how far it is, or both sides beside each other."""
    run = _run(at, id)
    if format == "csv":
        return csv_of(cycles_frame(run.result), "trial")
    answer = page(
        request,
        "lab_run.html",
        run=run,
        who=who,
        running=run.status in UNFINISHED,
        auto=auto != "off",
        compared=compared(run.result),
        sentence=in_a_sentence(run.result) if run.result else "",
        charts=charts(run.result),
        rows=list(run.result.get("rows", ())),
        by_cycle=list(run.result.get("by_cycle", ())),
        command=_command(run),
        policy_link=order_link("policy", policy=run.policy, everything=1, next=f"/lab/{run.id}"),
        budget_link=order_link(
            "budget",
            per_cycle=run.per_cycle,
            unlimited="" if run.per_cycle is not None else 1,
            next=f"/lab/{run.id}",
        ),
    )
    return _refreshed(answer, run.status in UNFINISHED and auto != "off")


@router.post("/lab/{id}/cancel")
def cancel(id: str, at: AtDesk, person: AtPerson, sent: CheckedForm) -> Response:
    """Stop a trial."""
    del sent  # its token was checked
    check_may(person, "engineer")
    run = _run(at, id)
    at.service.lab.cancel(run.id)
    return RedirectResponse(f"/lab/{run.id}", status_code=303)


def _run(at: Desk, id: str) -> LabRun:
    found = trial_named(at.room.store, id)
    if found is None:
        raise RefusedError(404, "There is no such trial.", hint="/lab lists them")
    return found


def _command(run: LabRun) -> str:
    """Return the command that makes the same trial."""
    told = ["mlma", "lab", run.policy]
    for name, value in (("per-cycle", run.per_cycle), ("first", run.first), ("last", run.last)):
        told += [] if value is None else [f"--{name}", str(value)]
    return shlex.join(told)


def _field(message: str) -> str:
    """Return the field that a message of the lab speaks of."""
    named = {"`per_cycle`": "per_cycle", "`first`": "first", "`last`": "last"}
    return next((field for text, field in named.items() if text in message), "policy")


def _page(
    request: Request,
    at: Desk,
    typed: Typed,
    errors: dict[str, str] | None = None,
    *,
    status: int = 200,
    auto: str = "",
) -> Response:
    runs = at.service.lab.runs(MOST_RUNS)
    running = any(one.status in UNFINISHED for one in runs)
    policy = at.service.engineering.standing().fleet_policy or at.settings.policy.label
    told = errors or {}
    answer = page(
        request,
        "lab.html",
        status=status,
        fields={one.name: one for one in FIELDS},
        value=lambda name: first(typed, name) or (policy if name == "policy" else ""),
        error=lambda name: told.get(name, ""),
        problem=next(iter(told.values()), ""),
        policy=policy,
        runs=runs,
        compared={one.id: compared(one.result) for one in runs if one.result},
        running=running,
        auto=auto == "on",
        newest=at.room.newest(),
        who=who,
    )
    return _refreshed(answer, running and not told and auto == "on")  # else it would undo typing


def _refreshed(answer: Response, wanted: bool) -> Response:
    """Have a browser look again soon; the page has a link that stops it."""
    if wanted:
        answer.headers["Refresh"] = str(REFRESH_SECONDS)
    return answer
