"""Pool and single model, with and without looking at losses, at equal fits.

Takes a history, gives one Markdown table per loss: loss relative to `always`, and the fits.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import mlma
from mlma.adapters.models.registry import forecaster_from
from mlma.domain.policy import Pooled
from mlma.domain.runs import PolicyRun, Replayed
from mlma.domain.settings import policy_from
from quality import histories
from quality.kept import Kept

Figures = dict[str, dict[str, Any]]
"""By policy: ``relative``, losses relative to always per stream, and ``fits``, share of always."""

LOSSES = ("absolute", "squared")

FULL = "mlma()"
AGES = {"auckland": 168, "muenster": 180, "simulated": 364}
"""Maximum ages that bring the pool to about 1 % of the fits of always; the default takes 2 to 3."""

SHORT = ("mlma(long_member=False)", "mlma(long_member=False, max_age=None)")
"""The same on half a year: long-history members alone would take 2 % there."""

SINGLE = ("mlma(pool=1)", "mlma(pool=1, review_age=None, max_age=None)")
NEAR = 0.1
"""Fits of what is re-trained on dates may differ by so much; what is further away is not shown."""

POOL_SETTINGS = ("pool", "long_member", "naive_member", "combine", "learning_rate", "share")
HEAD = "| policy | loss / always | worst stream | streams over 1.02 | fits / always |"


def variants(name: str, loss: str) -> tuple[str, ...]:
    """Return the policies that look at losses, as they are played on a history."""
    pools = (FULL, f"mlma(max_age={AGES[name]})") if name in AGES else SHORT
    if loss == "squared":
        return (*pools, SINGLE[0])
    bare = tuple(text.replace("(", "(naive_member=False, ", 1) for text in pools)
    return tuple(dict.fromkeys((FULL, *pools, *bare, *SINGLE)))


def tables(name: str, seeds: int, quick: bool, keep: str | None) -> str:
    """Return the tables of one history; see `kept_figures` for ``keep``."""
    kept = Kept(forecaster_from("ridge"))
    made: dict[str, list[Figures]] = {loss: [] for loss in LOSSES}
    for seed in range(seeds):
        for loss, told in made.items():
            known = kept_figures(keep, name, loss, seed)
            if known is None:
                print(f"pool: {name}, {loss}, seed {seed}", file=sys.stderr, flush=True)
                known = _played(histories.history(name, quick=quick), kept, name, loss, seed)
                _keep(keep, name, loss, seed, known)
            told.append(known)
    return "\n\n".join(_table(name, loss, told) for loss, told in made.items())


def _played(frame: pl.DataFrame, kept: Kept, name: str, loss: str, seed: int) -> Figures:
    """Return every policy's losses relative to always, and its fits, of one replay."""
    result = mlma.replay(
        frame,
        model=kept,
        loss=loss,
        policies=variants(name, loss),
        phases=1,
        seed=seed,
        n_jobs=1,
        progress=False,
    )
    always = result.record.always.fits.sum()
    made: Figures = {}
    for label, run in rows(result.record):
        relative = result.record.relative_loss(run)
        relative = np.sqrt(relative) if loss == "squared" else relative
        told = relative[np.isfinite(relative)].tolist()
        made[label] = {"relative": told, "fits": float(run.fits.sum() / always)}
    return made


def kept_figures(keep: str | None, name: str, loss: str, seed: int) -> Figures | None:
    """Return what an earlier run left in the folder ``keep``, or None."""
    path = Path(keep or "") / f"{name}-{loss}-{seed}.json"
    return json.loads(path.read_text()) if keep and path.exists() else None


def _keep(keep: str | None, name: str, loss: str, seed: int, made: Figures) -> None:
    if keep:
        (Path(keep) / f"{name}-{loss}-{seed}.json").write_text(json.dumps(made))


def _table(name: str, loss: str, made: list[Figures]) -> str:
    unit = "root of the mean squared loss" if loss == "squared" else "mean absolute loss"
    streams = len(made[0]["never"]["relative"])
    title = f"**{name}**, {streams} streams, {unit}, {len(made)} random phases"
    labels = dict.fromkeys(label for one in made for label in one)
    body = [_line(label, [one[label] for one in made if label in one]) for label in labels]
    return "\n".join([title, "", HEAD, "|---|---|---|---|---|", *body])


def _line(label: str, seeds: list[dict[str, Any]]) -> str:
    each = [np.array(one["relative"]) for one in seeds]
    mean = np.mean([one.mean() for one in each])
    worst = max(one.max() for one in each)
    over = 100 * np.mean([(one > 1.02).mean() for one in each])
    fits = 100 * np.mean([one["fits"] for one in seeds])
    return f"| {label} | {mean:.4f} | {worst:.3f} | {over:.1f} % | {fits:.2f} % |"


def rows(record: Replayed) -> Iterator[tuple[str, PolicyRun]]:
    """Yield every policy with its label; after each MLMA run what re-trains on dates instead."""
    for run in record.runs:
        if run.role == "baseline" and run.label != "always":
            yield run.label, run
    for run in record.runs:
        if run.role != "policy":
            continue
        label = plain(run.label)
        yield label, run
        dated = [one for one in record.runs if one.label.startswith("periodic")]
        for kind, known in (("pool", same_pool(run, dated)), ("one model", alone(dated))):
            nearest = min(known, key=lambda one: distance(one, run), default=run)
            if nearest is not run and distance(nearest, run) < NEAR:
                yield f"- periodic, {kind}, for {label}", nearest


def plain(label: str) -> str:
    """Return a label without the dial, which is the default everywhere here."""
    return (
        label.replace("(level=0.001)", "").replace("level=0.001, ", "").replace(", level=0.001", "")
    )


def distance(one: PolicyRun, other: PolicyRun) -> float:
    """Return by which share of its own the fits of one differ from those of the other."""
    return float(abs(one.fits.sum() / other.fits.sum() - 1))


def same_pool(run: PolicyRun, dated: Sequence[PolicyRun]) -> list[PolicyRun]:
    """Return those with the same pool; none for a policy of one model."""
    if not _pool(run)[0] > 1:
        return []
    return [one for one in dated if _pool(one) == _pool(run)]


def alone(dated: Sequence[PolicyRun]) -> list[PolicyRun]:
    return [one for one in dated if _pool(one)[0] == 1]


def _pool(run: PolicyRun) -> tuple[int, ...]:
    policy = policy_from(run.settings)
    assert isinstance(policy, Pooled)  # MLMA and periodic are
    return tuple(getattr(policy, name) for name in POOL_SETTINGS)
