"""The charts of a stream: loss against its references, evidence, forecasts and actuals."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlma.web.charts import (
    Band,
    Layer,
    Limit,
    Line,
    Mark,
    Marks,
    Scale,
    Span,
    Spans,
    bins_of,
    plot,
)
from mlma.web.pages.fleet_charts import Chart, numbers_of
from mlma.web.pages.kept_rows import KeptRows
from mlma.web.pages.story import Story
from mlma.web.pages.words import day, words

Floats = NDArray[np.float64]

_MOST_MARKS, _MOST_POINTS = 60, 220
_HEADS = {"retrain": "retrain", "escalate": "alarm", "hold": "held", "defer": "held"}


def loss_chart(story: Story, risen: float | None, spans: Sequence[Span]) -> Chart:
    """Return loss per batch, and the bands of the adaptive and the anchored reference.

    ``risen`` is the log by which the adaptive reference stands above the anchored one; None = not
    known.
    """
    bins = bins_of(len(story), _MOST_POINTS)
    loss, reference = (bins.mean(story.numbers(name)) for name in ("loss", "reference_loss"))
    lower, upper = (bins.mean(one) for one in story.band)
    layers: list[Layer] = [Spans(spans)]
    legend = [("line", "loss"), ("line expected", "adaptive reference"), ("band", "90 % of it")]
    if risen is not None:
        live = bins.highest(np.arange(len(story))) >= _since_training(story)
        share = np.where(live, np.exp(-risen), np.nan)
        layers.append(Band(lower * share, upper * share, "second"))
        layers.append(Line(reference * share, "second"))
        legend += [("line second", "anchored reference"), ("band second", "90 % of it")]
    layers.insert(2 if risen is not None else 1, Band(lower, upper))
    layers += [Line(reference, "expected"), Line(loss), Marks(marks_of(story))]
    days = [day(one.item()) for one in bins.first(story.times)]
    verdicts = [words(one) for one in bins.first(np.array(story.texts("verdict"), dtype=object))]
    rows = list(zip(days, numbers_of(loss), numbers_of(reference), verdicts, strict=True))
    tips = [f"{a}: loss {b}, expected {c}, {d}" for a, b, c, d in rows]
    told = "Loss of each batch against what the reference expects, and what was decided."
    scale = Scale(
        lowest=0.0 if _starts_at_zero(loss) else None, highest=_top(loss, reference, upper)
    )
    svg = plot(
        "Loss per batch", told, bins.first(story.times), layers, scale=scale, tips=tips, css="high"
    )
    note = (
        "The adaptive reference follows healthy batches. The anchored one is that less what it has "
        "risen by now above its best level since the last re-training. Marks: what was decided."
    )
    return Chart("Loss", note, svg, legend, ["Batch", "Loss", "Expected", "Verdict"], rows)


def evidence_chart(story: Story, spans: Sequence[Span]) -> Chart:
    """Return the evidence as it added up, and the limits at which it is an alarm."""
    bins = bins_of(len(story), _MOST_POINTS)
    evidence, drift = (bins.highest(story.numbers(name)) for name in ("evidence", "drift"))
    layers: list[Layer] = [Spans(spans), Line(evidence)]
    legend = [("line", "against the adaptive reference")]
    limits = story.limits
    if np.isfinite(drift).any():
        layers.append(Line(drift, "second"))
        legend.append(("line second", "against the anchored one"))
    if np.isfinite(limits.up):
        layers.append(Limit(limits.up, f"alarm at {limits.up:.1f}"))
    apart = abs(limits.drift - limits.up) > 0.15 * limits.up
    if np.isfinite(limits.drift) and np.isfinite(drift).any() and apart:
        layers.append(Limit(limits.drift, f"of a drift at {limits.drift:.1f}"))
    days = [day(one.item()) for one in bins.first(story.times)]
    rows = list(zip(days, numbers_of(evidence), numbers_of(drift), strict=True))
    told = "Evidence for a risen loss, added up over batches, and the limit of an alarm."
    tips = [f"{a}: evidence {b}, drift {c}" for a, b, c in rows]
    times = bins.first(story.times)
    svg = plot("Evidence", told, times, layers, scale=Scale(zero=True), tips=tips)
    note = (
        "Scores added up over batches: healthy ones pull it to zero, at the limit it is an alarm."
    )
    return Chart("Evidence", note, svg, legend, ["Batch", "Evidence", "Drift"], rows)


def rows_chart(rows: KeptRows) -> Chart:
    """Return forecasts and actuals slot by slot."""
    bins = bins_of(len(rows), 340)
    y, y_hat = bins.mean(rows.y), bins.mean(rows.y_hat)
    times = [f"{one.item():%d %b %H:%M}" for one in bins.first(rows.times)]
    told = list(zip(times, numbers_of(y_hat), numbers_of(y), strict=True))
    svg = plot(
        "Forecasts and actuals",
        "What was forecast and what came, slot by slot.",
        bins.first(rows.times),
        [Line(y), Line(y_hat, "second")],
        tips=[f"{a}: forecast {b}, actual {c}" for a, b, c in told],
    )
    each = "" if bins.size == 1 else f" Means of {bins.size} slots."
    note = f"As far as pushed rows are kept.{each}"
    legend = [("line", "actual"), ("line second", "forecast")]
    return Chart(
        "Forecasts and actuals", note, svg, legend, ["Slot", "Forecast", "Actual"], told[-400:]
    )


def marks_of(story: Story) -> list[Mark]:
    """Return what was decided, the newest as far as there is room."""
    decision, reason = story.texts("decision"), story.texts("reason")
    alarm = story.records["alarm"] != 0
    made = []
    for at in range(len(story) - 1, -1, -1):
        css = _HEADS.get(decision[at], "alarm" if alarm[at] else "")
        if css:
            text = f"{day(story.times[at].item())}: {words(decision[at])}, {reason[at]}"
            made.append(Mark(story.times[at], text, css))
    return made[:_MOST_MARKS]


def _since_training(story: Story) -> int:
    """Return the entry in which the live version was there first."""
    number = story.records["version"]
    changed = np.flatnonzero(number[1:] != number[:-1])
    return int(changed[-1]) + 1 if len(changed) else 0


def _top(loss: Floats, reference: Floats, upper: Floats) -> float | None:
    """Return how high the chart reaches: a band that is not known well yet is cut off."""
    told = np.concatenate([loss, reference])
    told = told[np.isfinite(told)]
    if not len(told):
        return None
    usual = float(np.quantile(upper[np.isfinite(upper)], 0.75)) if np.isfinite(upper).any() else 0.0
    return 1.05 * max(float(told.max()), min(usual, 3.0 * float(told.max())))


def _starts_at_zero(values: Floats) -> bool:
    told = values[np.isfinite(values)]
    return bool(len(told)) and float(told.min()) < 0.6 * float(told.max())
