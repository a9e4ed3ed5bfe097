"""The tables of the page about single runs: key metrics, and what happened around re-trainings.

Takes the record of a replay, gives rows of text. Next is the page.
"""

from collections.abc import Callable
from typing import Any

from mlma.domain.runs import PolicyRun, Replayed
from mlma.report import style, words
from mlma.report.figures import GAIN_WINDOW, KeyMetrics, key_metrics
from mlma.report.requests import Requests, requests_of


def metric_table(replayed: Replayed, runs: list[PolicyRun]) -> dict[str, Any]:
    """Return the key metrics as a table: labels of the runs, and rows of name, note and values."""
    found = [key_metrics(replayed, run) for run in runs]
    rows = [
        (name, note, [value(metrics) for metrics in found])
        for name, note, value in _metric_rows(replayed, watches=runs[0].evidence is not None)
    ]
    return {"labels": [metrics.label for metrics in found], "rows": rows}


MetricRow = tuple[str, str, Callable[[KeyMetrics], str]]


def _metric_rows(replayed: Replayed, *, watches: bool) -> list[MetricRow]:
    seen: list[MetricRow] = [
        (
            "Batches judged",
            "healthy, degraded or improved",
            lambda m: words.number(m.batches_judged),
        ),
        ("Verdicts", "share of the complete batches", _verdicts),
        ("Alarms", "the evidence of degraded batches added up", lambda m: words.number(m.alarms)),
        (
            "Alarms per 1,000 streams and week",
            "",
            lambda m: words.number(m.alarms_per_1000_streams_per_week),
        ),
    ]
    always: list[MetricRow] = [
        ("Re-trainings", "by reason, the first model of a stream not counted", _retrainings),
        (
            "Re-trainings per 1,000 streams and week",
            "",
            lambda m: words.number(m.retrainings_per_1000_streams_per_week),
        ),
        (
            "Re-trainings that helped",
            f"loss relative to always, {GAIN_WINDOW} batches after against {GAIN_WINDOW} before",
            lambda m: f"{words.percent(m.helped_share)} of {m.gains_measured:,} measurable",
        ),
        (
            "Change of the loss by a re-training",
            "same measure, geometric mean",
            lambda m: words.excess(1 - m.mean_gain),
        ),
        (
            "Age of the deployed model",
            "mean over streams and batches",
            lambda m: words.batches_in_words(m.mean_age_batches, replayed.grid),
        ),
    ]
    return seen + always if watches else always


def _verdicts(metrics: KeyMetrics) -> str:
    shares = sorted(metrics.verdict_shares.items(), key=lambda item: -item[1])
    told = [f"{verdict.label} {words.percent(share)}" for verdict, share in shares if share]
    return ", ".join(told) or words.NOTHING


def _retrainings(metrics: KeyMetrics) -> str:
    reasons = metrics.retrainings_by_reason.items()
    named = [f"{style.reason_style(reason)[0]} {words.number(count)}" for reason, count in reasons]
    return f"{words.number(metrics.retrainings)}{': ' if named else ''}{', '.join(named)}"


_AROUND: tuple[tuple[str, str, str], ...] = (
    ("started", "Started", "trainings that began because of a decision"),
    ("deferred", "Deferred", "waited for the budget"),
    ("tried", "Tried", "ran beside the old version before going live"),
    ("held", "Held", "not better than the old version, in the gate or a trial"),
    ("withheld", "Withheld", "left out at random, to measure what re-training gains"),
    ("rolled_back", "Rolled back", "the former version was better and came back"),
    ("switched", "Switched", "another version of the pool took over"),
    ("escalated", "Escalated", "re-training did not help: a person has to look"),
    ("failed", "Failed", "the training gave no version, the old one stayed"),
)


def request_table(replayed: Replayed, runs: list[PolicyRun]) -> dict[str, Any]:
    """Return what happened around the re-trainings of runs as a table; ``none`` names what did not.

    Empty labels where no run looks at losses.
    """
    found = [requests_of(run) for run in runs]
    rows, none = [], []
    for field, name, note in _AROUND:
        if field == "started" or any(getattr(made, field) for made in found):
            rows.append((name, note, [_request(replayed, made, field) for made in found]))
        else:
            none.append(name.lower())
    return {"labels": [run.label for run in runs], "rows": rows, "none": ", ".join(none)}


def _request(replayed: Replayed, made: Requests, field: str) -> str:
    text = words.number(getattr(made, field))
    if field != "deferred" or not made.deferred:
        return text
    return f"{text}, for {words.batches_in_words(made.mean_wait, replayed.grid)} on average"
