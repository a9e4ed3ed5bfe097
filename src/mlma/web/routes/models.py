"""`POST /api/v1/models`: whoever trains tells that a new version is live, or why there is none."""

from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from mlma.adapters.frames.losses import read_losses
from mlma.domain.errors import DataError
from mlma.domain.rows import LossRows
from mlma.web.descriptions import error_answers
from mlma.web.errors import RefusedError
from mlma.web.face import AtDesk, sender

router = APIRouter(tags=["models"])

PLAIN = r"^[^\x00-\x1f\x7f]+$"
StreamName = Annotated[str, Field(min_length=1, max_length=500, pattern=PLAIN)]
RequestName = Annotated[str, Field(min_length=1, max_length=200, pattern=PLAIN)]


class HeldOutLosses(BaseModel):
    """Losses of the new versions on slots that they were not trained on; columns of one length."""

    model_config = ConfigDict(extra="forbid")

    unique_id: list[StreamName]
    ds: list[str] = Field(description="Starts of the slots.")
    loss: list[float | None]


class Outcome(BaseModel):
    """What became of the re-training of some streams."""

    model_config = ConfigDict(extra="forbid")

    unique_ids: list[StreamName] = Field(min_length=1, max_length=1_000_000)
    status: Literal["live", "failed"]
    request: RequestName | list[RequestName] | None = Field(
        None, description="Ids of the requests that this answers."
    )
    error: str = Field("", max_length=10_000, description="Why it failed.")
    why: str = Field("", max_length=10_000, description="Why it was trained, for the record.")
    held_out: HeldOutLosses | None = None
    artefacts: dict[StreamName, Annotated[str, Field(max_length=2_000)]] | None = Field(
        None,
        description="What the new models are called, by stream: a roll-back asks for them again.",
    )


class Recorded(BaseModel):
    """What was recorded; it is carried out before the next cycle."""

    action: int = Field(description="Number of the action.")


@router.post(
    "/models",
    status_code=202,
    responses=error_answers(400, 408, 409, 413),
    response_description="Recorded.",
)
def deployed(request: Request, at: AtDesk, outcome: Outcome) -> Recorded:
    """Record that new versions of streams are live, or that their re-training failed."""
    asked = outcome.request or []
    requests = tuple(dict.fromkeys([asked] if isinstance(asked, str) else asked))
    names, by = list(dict.fromkeys(outcome.unique_ids)), sender(request)
    live = at.service.live
    if outcome.status == "failed":
        if outcome.held_out is not None:
            raise RefusedError(
                422, "`held_out` goes with the status `live` only.", column="held_out"
            )
        return Recorded(action=live.failed(names, outcome.error, requests=requests, by=by))
    held_out = None if outcome.held_out is None else _losses(outcome.held_out, names)
    called = outcome.artefacts or {}
    if others := set(called) - set(names):
        raise RefusedError(
            422,
            f"`artefacts` tells of streams that are not in `unique_ids`: {min(others)[:200]}.",
            column="artefacts",
        )
    action = live.deployed(
        names, held_out, requests=requests, artefacts=called, by=by, why=outcome.why
    )
    at.service.poke()
    return Recorded(action=action)


def _losses(held_out: HeldOutLosses, names: list[str]) -> LossRows:
    """Return held-out losses; a loss that is no finite number is left out.

    Raises
    ------
    RefusedError
        Columns differ in length, or tell of other streams.
    """
    columns: dict[str, Any] = held_out.model_dump()
    if len({len(column) for column in columns.values()}) > 1:
        told = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise RefusedError(
            422, f"The columns of `held_out` must be of one length. Got {told}.", column="held_out"
        )
    others = set(held_out.unique_id) - set(names)
    if others:
        raise RefusedError(
            422,
            f"`held_out` tells of streams that are not in `unique_ids`: {min(others)[:200]}.",
            column="held_out.unique_id",
        )
    schema = {"unique_id": pl.String, "ds": pl.String, "loss": pl.Float64}
    try:
        return read_losses(pl.DataFrame(columns, schema=schema))
    except DataError as error:
        message, _, hint = str(error).partition(" Hint: ")
        raise RefusedError(422, message, column="held_out", hint=hint or None) from error
