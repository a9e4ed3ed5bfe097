"""What came of a trial: both sides beside each other, as figures, rows and charts.

Takes the plain values of a trial, gives what its page shows. A row is counterfactual where the
tried policy would have had another version than there really was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup
from numpy.typing import NDArray

from mlma.domain.lab import LabRun
from mlma.web.charts import Bars, Line, Scale, bins_of, plot
from mlma.web.pages.words import number, percent

Floats = NDArray[np.float64]

MEASURES = (
    ("loss", "Mean loss"),
    ("retrainings", "Re-trainings"),
    ("alarms", "Alarms"),
    ("incidents", "Incidents"),
    ("minutes", "Minutes of a person"),
)
UNFINISHED = ("waiting", "running")


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure on both sides; ``mark``: ``better``, ``worse`` or ``same``."""

    name: str
    real: float | None
    tried: float | None
    change: float | None
    mark: str


def compared(result: Mapping[str, Any]) -> list[Compared]:
    """Return the measures of both sides; less is better in each."""
    real, tried = result.get("real", {}), result.get("tried", {})
    return [
        _measure(words, real.get(name), tried.get(name))
        for name, words in MEASURES
        if name in real or name in tried
    ]


def _measure(words: str, real: float | None, tried: float | None) -> Compared:
    if real is None or tried is None:
        return Compared(words, real, tried, None, "same")
    change = tried / real - 1 if real and tried != real else None
    mark = "same" if tried == real else "better" if tried < real else "worse"
    return Compared(words, real, tried, change, mark)


def in_a_sentence(result: Mapping[str, Any]) -> str:
    """Return what a trial says, in a sentence."""
    told = {one.name: one for one in compared(result)}
    loss, fits = told.get("Mean loss"), told.get("Re-trainings")
    if loss is None or fits is None or loss.real is None:
        return "The recorded history tells nothing about this policy."
    words = "The same mean loss"
    if loss.change is not None:
        lower = "lower" if loss.change < 0 else "higher"
        words = f"The mean loss would have been {percent(abs(loss.change))} {lower}"
    return f"{words}, with {number(fits.tried)} re-trainings instead of {number(fits.real)}."


def times_of(result: Mapping[str, Any]) -> NDArray[np.datetime64]:
    """Return the starts of the batches that were played, ``(n,) datetime64[us]``, without zone."""
    told = [str(row["ds"])[:19] for row in result.get("by_cycle", ())]
    return np.array(told, dtype="datetime64[us]")


def charts(result: Mapping[str, Any]) -> dict[str, Markup]:
    """Return the charts of a trial; none where fewer than two cycles were played."""
    times = times_of(result)
    if len(times) < 2:
        return {}
    bins = bins_of(len(times))
    at = times[bins.starts]
    column = {name: _column(result, name) for name in _COLUMNS}
    mean = {name: bins.mean(values) for name, values in column.items()}
    asked = {name: bins.sum(column[name]) for name in ("real_retrainings", "tried_retrainings")}
    share = float(result.get("counterfactual_share") or 0.0)
    return {
        "loss": plot(
            "Mean loss of both sides",
            f"Mean loss per cycle, as it was and as it would have been; {percent(share)} of the "
            f"losses are estimates.",
            at,
            [Line(mean["real_loss"], "second"), Line(mean["tried_loss"])],
        ),
        "retrainings": plot(
            "Re-trainings of both sides",
            "Re-trainings asked for, as they were and as they would have been.",
            at,
            [Bars(asked["tried_retrainings"]), Line(asked["real_retrainings"], "second")],
            scale=Scale(zero=True),
            bars=True,
        ),
        "counterfactual": plot(
            "Share of counterfactual rows",
            "Share of the streams of each cycle whose loss is an estimate.",
            at,
            [Bars(mean["counterfactual"], "third")],
            scale=Scale(zero=True, percent=True, highest=1.0),
            bars=True,
        ),
    }


_COLUMNS = (
    *("real_loss", "tried_loss", "real_retrainings", "tried_retrainings", "counterfactual"),
)


def _column(result: Mapping[str, Any], name: str) -> Floats:
    told = [row.get(name) for row in result.get("by_cycle", ())]
    return np.array([np.nan if value is None else value for value in told], dtype=np.float64)


def cycles_frame(result: Mapping[str, Any]) -> pl.DataFrame:
    """Return both sides by cycle, as a table."""
    schema: dict[str, Any] = {
        "cycle": pl.Int64,
        "ds": pl.String,
        **dict.fromkeys(_COLUMNS[:2], pl.Float64),
        **dict.fromkeys(_COLUMNS[2:4], pl.Int64),
        "counterfactual": pl.Float64,
    }
    rows = [[row.get(name) for name in schema] for row in result.get("by_cycle", ())]
    return pl.DataFrame(rows, schema=schema, orient="row")


def runs_frame(runs: list[LabRun]) -> pl.DataFrame:
    """Return trials as a table."""
    sides = {f"{side}_{name}": (side, name) for name, _ in MEASURES for side in ("real", "tried")}
    schema: dict[str, Any] = {
        "id": pl.String,
        "at": pl.Datetime("us", "UTC"),
        "by": pl.String,
        "policy": pl.String,
        "per_cycle": pl.Int64,
        "status": pl.String,
        "progress": pl.Float64,
        **dict.fromkeys(sides, pl.Float64),
        "counterfactual_share": pl.Float64,
        "error": pl.String,
    }
    rows = [
        [
            *(one.id, one.at, one.by, one.policy, one.per_cycle, one.status, one.progress),
            *(one.result.get(side, {}).get(name) for side, name in sides.values()),
            *(one.result.get("counterfactual_share"), one.error),
        ]
        for one in runs
    ]
    return pl.DataFrame(rows, schema=schema, orient="row", strict=False)
