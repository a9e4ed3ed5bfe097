"""What the report says in numbers: summary of every policy, key metrics of one, telling streams.

Takes the record of a replay, gives frozen figures. Next are the charts, the page and the tables.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlma.domain.labour import rates_of
from mlma.domain.runs import PolicyRun, Replayed
from mlma.domain.streams import Grid
from mlma.domain.verdicts import Evidence, Reason, Verdict
from mlma.report.requests import Requests, requests_of, retraining_reasons, unfulfilled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GAIN_WINDOW = 14
ALARMS = (Reason.ALARM, Reason.DRIFT, Reason.COMMON, Reason.AWAKENED)
WEEK = np.timedelta64(7, "D")


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One policy in the table. Losses are relative to always, 1.014 = 1.4 % more; NaN = none.

    ``loss``, ``median`` and ``p95`` are taken over the streams whose ratio is defined; ``worst``
    is the largest, of ``worst_stream``. ``fits`` and ``retrainings`` are per stream,
    ``fits_share`` is a share of the fits of always. ``alarms`` per stream is NaN where the policy
    does not look at losses; so are ``deferred``, ``held`` and ``escalated``, see `unfulfilled`.
    ``incidents`` and ``minutes`` of a person are per 1,000 streams and week, see `rates_of`.
    ``pooled``: several versions forecast together.
    """

    label: str
    role: str
    settings: str
    loss: float
    median: float
    p95: float
    worst: float
    worst_stream: str
    fits: float
    fits_share: float
    retrainings: float
    alarms: float
    seconds: float
    phases: int
    deferred: float = np.nan
    held: float = np.nan
    escalated: float = np.nan
    incidents: float = np.nan
    minutes: float = np.nan
    pooled: bool = False

    @property
    def watches(self) -> bool:
        """Whether the policy looks at losses."""
        return bool(np.isfinite(self.alarms))


@dataclass(frozen=True, slots=True)
class KeyMetrics:
    """What an engineer watches, of one run.

    ``verdict_shares`` are shares of the complete batches (all but ``waiting``).
    ``batches_judged`` are healthy, degraded or improved; ``alarms`` as in `Evidence`.
    ``helped_share`` and ``mean_gain`` are over the ``gains_measured`` re-trainings that have a
    full window on both sides, see `retraining_gains`. ``mean_age_batches`` is the mean age of the
    deployed version. NaN = nothing to measure.
    """

    label: str
    batches_judged: int
    alarms: int
    retrainings: int
    requests: Requests
    alarms_per_1000_streams_per_week: float
    retrainings_per_1000_streams_per_week: float
    gains_measured: int
    helped_share: float
    mean_gain: float
    mean_age_batches: float
    verdict_shares: dict[Verdict, float] = field(default_factory=dict)
    retrainings_by_reason: dict[Reason, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TellingStream:
    """A stream worth looking at: its row, and why."""

    row: int
    why: str


@dataclass(frozen=True, slots=True)
class WorstStream:
    """A stream with a large loss under a run; ``alarms`` is NaN where the run does not look."""

    row: int
    name: str
    tags: tuple[str, ...]
    loss: float
    never: float
    alarms: float
    retrainings: int


def mean_of_finite(values: Floats) -> float:
    """Return the mean of the finite values; NaN without any.

    >>> mean_of_finite(np.array([1.0, np.nan, 2.0]))
    1.5
    """
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else np.nan


def headline(replayed: Replayed) -> PolicyRun | None:
    """Return the run that the report is about: the first that looks at losses, as asked for.

    Not the best one: choosing it after the fact would flatter it. Without any, the first policy
    that was asked for; None where only baselines were played.
    """
    watching = (run for run in replayed.runs if run.evidence is not None)
    asked = (run for run in replayed.runs if run.role == "policy")
    return next(watching, None) or next(asked, None)


def summary_rows(replayed: Replayed) -> list[SummaryRow]:
    """Return one row per policy: the baselines as they stand, then the others by loss."""
    rows = [summary_row(replayed, run) for run in replayed.runs]
    baselines = [row for row in rows if row.role == "baseline"]
    others = [row for row in rows if row.role != "baseline"]
    by_loss = sorted(others, key=lambda row: (np.isnan(row.loss), row.loss))
    return baselines + by_loss


def summary_row(replayed: Replayed, run: PolicyRun) -> SummaryRow:
    """Return the row of one policy."""
    relative = replayed.relative_loss(run)
    finite = relative[np.isfinite(relative)]
    has = finite.size > 0
    evidence = run.evidence
    deferred, held, escalated = map(mean_of_finite, unfulfilled(run).T)
    incidents, minutes = rates_of(run)
    return SummaryRow(
        label=run.label,
        role=run.role,
        settings=run.settings,
        loss=mean_of_finite(relative),
        median=float(np.median(finite)) if has else np.nan,
        p95=float(np.percentile(finite, 95)) if has else np.nan,
        worst=float(finite.max()) if has else np.nan,
        worst_stream=replayed.ids[int(np.nanargmax(relative))] if has else "",
        fits=mean_of_finite(run.fits),
        fits_share=fits_share(replayed, run),
        retrainings=mean_of_finite(run.retrained.sum(axis=1).astype(np.float64)),
        alarms=np.nan if evidence is None else mean_of_finite(alarm_counts(evidence)),
        seconds=run.seconds,
        phases=run.phases,
        deferred=deferred,
        held=held,
        escalated=escalated,
        incidents=incidents,
        minutes=minutes,
        pooled=run.shares is not None,
    )


def fits_share(replayed: Replayed, run: PolicyRun) -> float:
    """Return the fits of a run as a share of the fits of always; NaN where always had none."""
    yardstick = float(replayed.always.fits.sum())
    return float(run.fits.sum()) / yardstick if yardstick > 0 else np.nan


def alarm_counts(evidence: Evidence) -> Floats:
    """Return the number of alarms per stream, ``(n_streams,) float64``."""
    return np.asarray(evidence.alarm.sum(axis=1), dtype=np.float64)


def key_metrics(replayed: Replayed, run: PolicyRun) -> KeyMetrics:
    """Return the key metrics of one run; without evidence only what its re-trainings tell."""
    played = np.isfinite(run.loss)
    stream_weeks = played.sum() / batches_per_week(replayed.grid)
    per_1000 = 1000 / stream_weeks if stream_weeks else np.nan
    alarms, judged, shares = _verdict_counts(run.evidence)
    gains = retraining_gains(replayed, run)
    retrainings = int(run.retrained.sum())
    return KeyMetrics(
        label=run.label,
        batches_judged=judged,
        alarms=alarms,
        retrainings=retrainings,
        requests=requests_of(run),
        alarms_per_1000_streams_per_week=alarms * per_1000,
        retrainings_per_1000_streams_per_week=retrainings * per_1000,
        gains_measured=gains.size,
        helped_share=float((gains > 0).mean()) if gains.size else np.nan,
        mean_gain=float(-np.expm1(np.log1p(-gains).mean())) if gains.size else np.nan,
        mean_age_batches=mean_of_finite(model_age(run)),
        verdict_shares=shares,
        retrainings_by_reason=_by_reason(run),
    )


def _verdict_counts(evidence: Evidence | None) -> tuple[int, int, dict[Verdict, float]]:
    if evidence is None:
        return 0, 0, {}
    counts = {verdict: int((evidence.verdict == verdict).sum()) for verdict in Verdict}
    complete = sum(counts.values()) - counts[Verdict.WAITING]
    judged = complete - counts[Verdict.UNCLEAR]
    alarms = int(evidence.alarm.sum())
    del counts[Verdict.WAITING]
    shares = {verdict: count / complete for verdict, count in counts.items() if complete}
    return alarms, judged, shares


def _by_reason(run: PolicyRun) -> dict[Reason, int]:
    reasons = retraining_reasons(run)[run.retrained]
    counts = {reason: int((reasons == reason).sum()) for reason in Reason}
    return {reason: count for reason, count in counts.items() if count}


def retraining_gains(replayed: Replayed, run: PolicyRun, window: int = GAIN_WINDOW) -> Floats:
    """Return what each re-training gained, ``(n_measured,) float64``, 0.1 = 10 % less loss.

    One minus the loss relative to always in the ``window`` batches after the re-training, divided
    by the same in the ``window`` batches before. Dividing by always takes out what strikes every
    model (a holiday, a stormy week), which would otherwise pass as a gain when it is over; what is
    left of the regression to the mean still flatters somewhat. Re-trainings without a full window
    on both sides, or with fewer than half of the batches there, are not measured.
    """
    row, batch = np.nonzero(run.retrained)
    inside = (batch >= window) & (batch + window <= run.loss.shape[1])
    row, batch = row[inside], batch[inside]
    shared = np.isfinite(run.loss) & np.isfinite(replayed.always.loss)
    own = _window_sums(np.where(shared, run.loss, 0.0), row, batch, window)
    yardstick = _window_sums(np.where(shared, replayed.always.loss, 0.0), row, batch, window)
    pairs = _window_sums(shared.astype(np.float64), row, batch, window)
    told = np.isfinite(replayed.relative_loss(run))[row]
    told &= ((pairs >= window / 2) & (own > 0) & (yardstick > 0)).all(axis=0)
    before, after = own[:, told] / yardstick[:, told]
    return np.asarray(1 - after / before)


def _window_sums(values: Floats, row: Ints, batch: Ints, window: int) -> Floats:
    """Return sums over the windows before and from each batch, ``(2, n)``."""
    offsets = np.arange(window)
    before = values[row[:, None], batch[:, None] - window + offsets].sum(axis=1)
    after = values[row[:, None], batch[:, None] + offsets].sum(axis=1)
    return np.stack([before, after])


def model_age(run: PolicyRun) -> Floats:
    """Return the age of the deployed version, ``(n_streams, n_batches)`` batches; NaN = no loss.

    >>> retrained = np.array([[False, False, True, False]])
    >>> run = PolicyRun("p", "policy", "", np.ones((1, 4)), retrained, np.ones(1), 0.0)
    >>> model_age(run)
    array([[0., 1., 0., 1.]])
    """
    played = np.isfinite(run.loss)
    index = np.arange(played.shape[1])
    first = played & (np.cumsum(played, axis=1) == 1)
    born = np.maximum.accumulate(np.where(first | run.retrained, index, -1), axis=1)
    return np.where(played, index - born, np.nan)


def batches_per_week(grid: Grid) -> float:
    """Return the number of batches in seven days."""
    return float(WEEK / grid.batch)


def worst_streams(replayed: Replayed, run: PolicyRun, k: int = 10) -> list[WorstStream]:
    """Return the ``k`` streams with the largest loss relative to always, worst first."""
    relative = replayed.relative_loss(run)
    never = relative_loss_of(replayed, "never")
    alarms = np.full(len(relative), np.nan) if run.evidence is None else alarm_counts(run.evidence)
    retrainings = run.retrained.sum(axis=1)
    return [
        WorstStream(
            row=row,
            name=replayed.ids[row],
            tags=tuple(labels[row] for labels in replayed.tags.values()),
            loss=float(relative[row]),
            never=float(never[row]),
            alarms=float(alarms[row]),
            retrainings=int(retrainings[row]),
        )
        for row in _ranked(-relative)[:k]
    ]


def relative_loss_of(replayed: Replayed, label: str) -> Floats:
    """Return the loss of a run relative to always, by label; all NaN where it was not played."""
    run = next((run for run in replayed.runs if run.label == label), None)
    return np.full(len(replayed.ids), np.nan) if run is None else replayed.relative_loss(run)


def matched_loss(replayed: Replayed, run: PolicyRun) -> float:
    """Return the mean loss relative to always of the best run that matches this one.

    Of each kind of policy the matched run whose fits are nearest: every run that looks at losses
    has its own. One model is not matched by a pool. NaN without any.
    """
    fits, pooled = float(run.fits.mean()), run.shares is not None
    nearest: dict[tuple[str, bool], PolicyRun] = {}
    for other in sorted(
        (o for o in replayed.runs if o.role == "matched" and (pooled or o.shares is None)),
        key=lambda other: abs(float(other.fits.mean()) - fits),
    ):
        nearest.setdefault((other.label.partition("(")[0], other.shares is not None), other)
    losses = [mean_of_finite(replayed.relative_loss(other)) for other in nearest.values()]
    return min((loss for loss in losses if np.isfinite(loss)), default=np.nan)


def telling_streams(replayed: Replayed, k: int = 12) -> list[TellingStream]:
    """Return up to ``k`` streams that are worth looking at, grouped by why.

    A quarter each: largest loss relative to always, most alarms (or re-trainings), largest saving
    against never, and typical ones. Streams whose ratio is undefined come last.
    """
    run = headline(replayed) or replayed.always
    rankings = _rankings(replayed, run)
    chosen: dict[int, str] = {}
    for why, row in _round_robin(rankings):
        if len(chosen) == k:
            break
        chosen.setdefault(row, why)
    order = list(rankings)
    found = [TellingStream(row, why) for row, why in chosen.items()]
    return sorted(found, key=lambda stream: order.index(stream.why))


def _rankings(replayed: Replayed, run: PolicyRun) -> dict[str, list[int]]:
    relative = replayed.relative_loss(run)
    saving = relative_loss_of(replayed, "never") - relative
    rankings = {"Largest loss relative to always": _ranked(-relative)}
    if run.evidence is not None:
        alarms = alarm_counts(run.evidence)
        rankings["Most alarms"] = _ranked(np.where(alarms > 0, -alarms, np.nan))
    rankings["Largest saving against never"] = _ranked(np.where(saving > 0, -saving, np.nan))
    finite = relative[np.isfinite(relative)]
    middle = np.median(finite) if finite.size else np.nan
    rankings["Typical"] = _ranked(np.abs(relative - middle))
    undefined = np.flatnonzero(np.isnan(relative))
    rankings["Without a ratio: always lost nothing to speak of"] = undefined.tolist()
    return rankings


def _ranked(values: Floats) -> list[int]:
    """Return the rows with a finite value, smallest first."""
    order = np.argsort(values, kind="stable")
    return [int(row) for row in order[: np.isfinite(values).sum()]]


def _round_robin(rankings: dict[str, list[int]]) -> Iterator[tuple[str, int]]:
    """Yield the first of every ranking, then the second: no group crowds out another."""
    depth = max(map(len, rankings.values()))
    *groups, last = rankings.items()
    for place in range(depth):
        yield from ((why, rows[place]) for why, rows in groups if place < len(rows))
    yield from ((last[0], row) for row in last[1])
