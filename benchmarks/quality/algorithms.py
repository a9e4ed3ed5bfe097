"""Does the procedure matter more than the algorithm? Every algorithm under every procedure.

Takes four sensors of seventeen months, gives losses relative to ridge re-trained always.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mlma
from mlma.adapters.frames.history import read_history
from mlma.adapters.models.shared_registry import shared_from
from mlma.domain.runs import PolicyRun, Replayed
from quality import histories
from quality.pool_policies import alone, plain

Floats = NDArray[np.float64]

WINDOW = 84
ALGORITHMS = {
    "ridge": ("ridge", "stream"),
    "lasso": ("lasso", "stream"),
    "random forest": ("random_forest", "stream"),
    "LightGBM": ("lightgbm", "stream"),
    "ridge, shared": ("ridge", "fleet"),
    "LightGBM, shared": ("lightgbm", "fleet"),
    "MLForecast, shared": ("mlforecast(model='lightgbm')", "fleet"),
}
POLICIES = (
    *("mlma()", "mlma(naive_member=False)", "mlma(max_age=140)", "mlma(pool=1)"),
    "always(pool=8)",
)
PROCEDURES = ("seasonal_naive", "never", "always", "periodic, one model", *POLICIES)
UNIT = ("ridge", "always")


@dataclass
class Played:
    """Losses per stream and batch, and fits relative to always, by procedure."""

    loss: dict[str, Floats]
    fits: dict[str, float]


def played(algorithm: str, quick: bool, jobs: int, keep: str | None) -> Played:
    """Return an algorithm under every procedure; what an earlier run left in ``keep`` is read."""
    path = Path(keep or "") / f"algorithm-{algorithm}.npz"
    if keep and path.exists():
        with np.load(path) as told:
            loss, fits = told["loss"], told["fits"].tolist()
        return Played(
            dict(zip(PROCEDURES, loss, strict=True)), dict(zip(PROCEDURES, fits, strict=True))
        )
    made = _play(algorithm, quick, jobs)
    if keep:
        loss = np.stack([made.loss[name] for name in PROCEDURES])
        np.savez(path, loss=loss, fits=[made.fits[name] for name in PROCEDURES])
    return made


def _play(algorithm: str, quick: bool, jobs: int) -> Played:
    print(f"algorithms: {algorithm}", file=sys.stderr, flush=True)
    model, scope = ALGORITHMS[algorithm]
    frame = histories.every(histories.sensors(quick=quick), 6, 4)
    settings = {"model": model, "scope": scope, "phases": 1, "n_jobs": jobs, "progress": False}
    record = mlma.replay(frame, policies=POLICIES, **settings).record
    runs = {run.label: run for run in record.runs if run.role in {"baseline", "policy"}}
    runs["periodic, one model"] = _periodic(record)
    labels = dict(zip(POLICIES, (run for run in record.runs if run.role == "policy"), strict=True))
    runs |= labels
    base = record.always.fits.sum()
    return Played(
        {name: runs[name].loss for name in PROCEDURES},
        {name: runs[name].fits.sum() / base for name in PROCEDURES},
    )


def _periodic(record: Replayed) -> PolicyRun:
    """Return the one model re-trained on dates whose fits are nearest to 2 % of always."""
    dated = alone([run for run in record.runs if run.label.startswith("periodic")])
    goal = 0.02 * record.always.fits.sum()
    return min(dated, key=lambda run: abs(run.fits.sum() - goal))


def table(made: dict[str, Played]) -> str:
    """Return losses relative to ridge always, with fits in per cent of the algorithm's always.

    Without ridge, losses are relative to the first algorithm's always.
    """
    unit = (made.get(UNIT[0]) or next(iter(made.values()))).loss[UNIT[1]]
    lines = [f"| | {' | '.join(made)} |", "|---|" + "---|" * len(made)]
    for name in PROCEDURES:
        cells = []
        for one in made.values():
            relative = _relative(one.loss[name], unit)
            cells.append(f"{relative:.3f} ({100 * one.fits[name]:.1f} %)")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name in ("mlma()", "mlma(max_age=140)", "always(pool=8)"):
        own = [f"{_relative(one.loss[name], one.loss['always']):.3f}" for one in made.values()]
        lines.append(f"| {name} / own always | {' | '.join(own)} |")
    return "\n".join(lines)


def _relative(loss: Floats, unit: Floats) -> float:
    both = np.isfinite(loss) & np.isfinite(unit)
    own, base = (np.where(both, each, 0.0).sum(axis=1) for each in (loss, unit))
    return float((own / base).mean())


def global_table(quick: bool, jobs: int) -> str:
    """Return one global LightGBM of all sensors, by MLForecast, beside pools of ridge."""
    print("global: all sensors", file=sys.stderr, flush=True)
    frame = histories.sensors(quick=quick)
    frame = histories.every(frame, 6, 4) if quick else frame
    record = mlma.replay(
        frame, policies=["mlma()", "always(pool=8)"], phases=1, n_jobs=jobs, progress=False
    ).record
    fits = record.always.fits.sum()
    lines = [
        "| | loss / ridge always | streams over 1.02 | fits / ridge always |",
        "|---|---|---|---|",
    ]
    lines += [
        _line(f"ridge, {run.label}", record.relative_loss(run), run.fits.sum() / fits)
        for run in record.runs
        if run.role != "matched"
    ]
    for every in (56, 28, 14):
        loss, number = shared_losses(frame, record, every)
        own = PolicyRun("global", "policy", "", loss, np.isnan(loss), record.always.fits, 0.0)
        label = f"one MLForecast with LightGBM for all, fitted every {every} batches"
        lines.append(_line(label, record.relative_loss(own), number / fits))
    title = f"**{len(record.ids)} sensors, January 2019 to May 2020**, absolute loss, one seed"
    return "\n".join([title, "", *lines])


def shared_losses(frame: object, record: Replayed, every: int) -> tuple[Floats, int]:
    """Return batch losses ``(n_streams, n_batches)`` of one shared model, and its fits."""
    panel = read_history(frame).panel
    rows = [panel.ids.index(one) for one in record.ids]
    members = [panel.series(row) for row in rows]
    recipe, (n, n_batches) = shared_from("mlforecast(model='lightgbm')"), record.y_mean.shape
    loss, number = np.full((n, n_batches), np.nan), 0
    first = int(np.isfinite(record.always.loss).any(axis=0).argmax())
    for at in range(first, n_batches, every):
        last = min(at + every, n_batches)
        model = recipe.fit_shared(members, at - WINDOW, at, seed=0)
        number += 1
        told = model.predict_many(members, at, last)
        actual = np.stack([series.y[at:last] for series in members])
        seen = np.isfinite(actual)
        away = np.where(seen, np.abs(actual - told), 0.0).sum(axis=2)
        loss[:, at:last] = away / np.where(seen.any(axis=2), seen.sum(axis=2), np.nan)
    return loss, number


def _line(label: str, relative: Floats, fits: float) -> str:
    known = relative[np.isfinite(relative)]
    over = 100 * (known > 1.02).mean()
    return f"| {plain(label)} | {known.mean():.4f} | {over:.1f} % | {100 * fits:.2f} % |"
