"""Hand-written replays for the tests of the report: small enough to compute on paper, or lifelike.

The lifelike one has a weekly rhythm, a break per stream that re-training heals after a while, and
evidence in the columns that the agent writes.
"""

from dataclasses import replace

import numpy as np

from mlma.domain.leftovers import LeftOut
from mlma.domain.runs import PolicyRun, Replayed
from mlma.domain.streams import Grid
from mlma.domain.verdicts import Decision, Evidence, Reason, Verdict
from mlma.report.figures import ALARMS

MLMA_LABEL = "mlma(follow_ups=(7, 14))"
WARM_UP = 28


def day_grid(n_batches):
    start = np.datetime64("2021-01-04", "us")
    return Grid(start, np.timedelta64(3_600_000_000, "us"), slots=24, n_batches=n_batches)


def make_run(label, loss, *, role="policy", retrained=None, fits=None, evidence=None, seconds=1.0):
    loss = np.asarray(loss, dtype=np.float64)
    if retrained is None:
        retrained = np.zeros(loss.shape, dtype=np.bool_)
    if fits is None:
        fits = 1.0 + retrained.sum(axis=1)
    fits = np.asarray(fits, dtype=np.float64)
    return PolicyRun(label, role, f"{label} in full", loss, retrained, fits, seconds, evidence)


def make_evidence(loss, verdict, decision=None, reason=None):
    """Return evidence whose expectation is 1 everywhere."""
    loss = np.asarray(loss, dtype=np.float64)
    verdict = np.asarray(verdict, dtype=np.int8)
    zeros = np.zeros(loss.shape, dtype=np.int8)
    there = np.isfinite(loss)
    expected = np.where(there, 1.0, np.nan)
    p_value = np.where(verdict == Verdict.DEGRADED, 1e-5, 0.5)
    reason = zeros if reason is None else np.asarray(reason, dtype=np.int8)
    nothing = np.where(there, 0.0, np.nan)
    return Evidence(
        n=np.where(there, 24, 0),
        loss=loss,
        reference_loss=expected,
        effect=loss - 1.0,
        spread=np.where(there, 0.1, np.nan),
        df=np.where(there, 26.0, np.nan),
        statistic=nothing,
        score=nothing,
        common=nothing,
        p_value=p_value,
        p_adjusted=p_value,
        evidence=nothing,
        drift=nothing,
        p_evidence=p_value,
        verdict=verdict,
        decision=zeros if decision is None else np.asarray(decision, dtype=np.int8),
        alarm=np.isin(reason, ALARMS),
        reason=reason,
    )


def make_replayed(runs, *, ids=None, tags=None, **settings):
    n, n_batches = runs[0].loss.shape
    ids = tuple(f"stream {row}" for row in range(n)) if ids is None else tuple(ids)
    return Replayed(
        ids=ids,
        tags={} if tags is None else tags,
        grid=day_grid(n_batches),
        y_mean=np.full((n, n_batches), 10.0),
        runs=tuple(runs),
        left_out=settings.get("left_out", ()),
        settings=settings.get("settings", {"model": "ridge"}),
        seconds=12.3,
        failures=settings.get("failures", {}),
    )


def small():
    """Two streams, four batches: always loses 1 everywhere."""
    always_retrained = np.tile([False, True, True, True], (2, 1))
    never = make_run("never", [[1, 1, 2, 2], [1, 1, 1, 1]], role="baseline")
    always = make_run("always", np.ones((2, 4)), role="baseline", retrained=always_retrained)
    loss = np.array([[1.0, 1.0, 2.0, 1.0], [1.0, 1.0, 1.0, 0.8]])
    retrained = np.array([[False, False, False, True], [False, False, False, False]])
    healthy, degraded = Verdict.HEALTHY, Verdict.DEGRADED
    verdict = [
        [Verdict.WAITING, healthy, degraded, healthy],
        [Verdict.UNCLEAR, healthy, healthy, 4],
    ]
    decision = np.zeros((2, 4))
    decision[0, 2] = Decision.RETRAIN
    reason = np.zeros((2, 4))
    reason[0, 2] = Reason.ALARM
    evidence = make_evidence(loss, verdict, decision, reason)
    mlma = make_run("mlma", loss, retrained=retrained, evidence=evidence)
    return make_replayed([never, always, mlma], ids=("north", "south"))


def lifelike(n_streams=21, n_batches=400, seed=7, id_of="sensor {:02d}".format):
    """Return a replay with breaks, alarms, follow-ups and maximum ages."""
    rng = np.random.default_rng(seed)
    day = np.arange(n_batches)
    level = rng.lognormal(3, 0.8, (n_streams, 1))
    rhythm = 1 + 0.25 * np.isin(day % 7, (5, 6))
    noise = np.exp(0.12 * rng.standard_normal((n_streams, n_batches)))
    noise *= np.exp(0.06 * rng.standard_normal(n_batches))
    base = level * rhythm * noise
    broken_at = rng.integers(WARM_UP + 40, n_batches, n_streams)
    depth = rng.lognormal(-0.6, 0.6, (n_streams, 1)) * (rng.random((n_streams, 1)) < 0.7)
    since = day - broken_at[:, None]
    broken = depth * (since >= 0)
    drift = 0.25 * rng.random((n_streams, 1)) * np.maximum(day - WARM_UP, 0) / n_batches
    parts = _mlma_parts(rng, since, depth, n_batches)
    losses = {
        "seasonal_naive": 1.32 + 0.15 * np.sin(day / 50),
        "never": 1 + broken + drift,
        "always": 1 + broken * np.exp(-np.maximum(since, 0) / 25),
        "mlma": 1 + broken * np.exp(-np.maximum(since - 4, 0) / 25) + 0.12 * drift,
        "matched": 1 + broken * np.exp(-np.maximum(since - 30, 0) / 30) + 0.12 * drift,
        "monthly": 1 + broken * np.exp(-np.maximum(since - 15, 0) / 28) + 0.08 * drift,
    }
    loss = {name: base * factor for name, factor in losses.items()}
    for values in loss.values():
        values[:, :WARM_UP] = np.nan
    return _lifelike_record(loss, base, parts, id_of)


def _mlma_parts(rng, since, depth, n_batches):
    """Return who is alarmed and who re-trains, by reason, each ``(n_streams, n_batches)``."""
    visible = depth > 0.15
    early = (since >= 0) & (since < 20) & visible
    chance = rng.random(since.shape)
    alarmed = (early & (chance < 0.75)) | (chance < 0.0015)
    alarmed[:, : WARM_UP + 14] = False
    first = alarmed & (np.cumsum(alarmed, axis=1) == 1)
    follow_up = np.zeros_like(first)
    for later in (7, 14):
        follow_up[:, later:] |= first[:, :-later]
    phase = rng.integers(0, 112, (len(since), 1))
    aged = ((np.arange(n_batches) + phase) % 112 == 0) & (np.arange(n_batches) > WARM_UP + 20)
    return alarmed, first, follow_up & ~first, aged & ~first & ~follow_up


def _lifelike_record(loss, base, parts, id_of):
    n, n_batches = base.shape
    alarmed, first, follow_up, aged = parts
    asked = first | follow_up | aged
    retrained = np.zeros_like(asked)
    retrained[:, 1:] = asked[:, :-1]
    verdict = np.where(alarmed, Verdict.DEGRADED, Verdict.HEALTHY)
    verdict[:, WARM_UP : WARM_UP + 10] = Verdict.UNCLEAR
    verdict[:, :WARM_UP] = Verdict.WAITING
    reason = np.select([first, follow_up, aged], [Reason.ALARM, Reason.FOLLOW_UP, Reason.MAX_AGE])
    evidence = make_evidence(loss["mlma"], verdict, asked * int(Decision.RETRAIN), reason)
    expected = np.where(np.isfinite(loss["mlma"]), np.median(base, axis=1, keepdims=True), np.nan)
    evidence = replace(evidence, reference_loss=expected, effect=loss["mlma"] / expected - 1)
    daily = np.tile(np.arange(n_batches) > WARM_UP, (n, 1))
    monthly = (np.arange(n_batches) + np.arange(n)[:, None]) % 28 == 0
    mean_fits = 1.0 + retrained.sum(axis=1)
    runs = [
        make_run("seasonal_naive", loss["seasonal_naive"], role="baseline", fits=np.zeros(n)),
        make_run("never", loss["never"], role="baseline"),
        make_run("always", loss["always"], role="baseline", retrained=daily, seconds=74.1),
        make_run(MLMA_LABEL, loss["mlma"], retrained=retrained, evidence=evidence, seconds=2.41),
        make_run("periodic(every=28)", loss["monthly"], retrained=monthly, seconds=3.0),
        make_run("periodic(every=83.2)", loss["matched"], role="matched", fits=mean_fits),
    ]
    record = make_replayed(
        runs,
        ids=[id_of(row) for row in range(n)],
        tags={"area": tuple("centre" if row % 3 else "harbour" for row in range(n))},
        left_out=(
            LeftOut("fewer batches than the first training window", "streams", 2, ("x", "y")),
        ),
        settings={"model": "ridge", "season": "1d", "train_batches": "84", "seed": "0"},
    )
    return replace(record, y_mean=np.repeat(np.nanmean(base, axis=1)[:, None] * 5, n_batches, 1))
