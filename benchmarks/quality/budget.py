"""Few streams break and few re-trainings are allowed: are they spent where they save most?

    python benchmarks/quality/budget.py [--streams 1000] [--days 212] [--seeds 5] [--quick]

Simulated hourly demand, day-ahead ridge on 84 days. One stream in twenty breaks for good (level or
daily profile) somewhere in the monitored days. Prints a Markdown table per policy: loss of the
broken streams relative to always, the 99th percentile over all streams, and the fits.
"""

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

# This folder itself leaves the path, so that its modules hide no others of the same names.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl

import mlma
from mlma.domain.runs import PolicyRun, Replayed
from quality.pool_policies import NEAR, alone, distance, plain

WINDOW, QUIET, BREAKING, BUDGET = 84, 91, 0.05, 0.0025
CALM = dict.fromkeys(("births", "deaths", "dead", "group_breaks", "shocks_per_year"), 0.0)
BUDGETED = (
    f"mlma(budget={BUDGET})",
    f"mlma(budget={BUDGET}, rank='evidence_and_age')",
    f"mlma(budget={BUDGET}, max_age=None)",
    f"mlma(budget={BUDGET}, long_member=False)",
    f"mlma(budget={BUDGET}, pool=1)",
    f"mlma(budget={BUDGET}, pool=1, max_age=None, review_age=None)",
)
DATED = (
    *("periodic(every=400)", "periodic(every=400, pool=8)"),
    "periodic(every=400, pool=8, long_member=False)",
)
HEAD = (
    "| policy | broken / always | after the break | 99th percentile | all / always "
    "| re-trainings / always | fits / always | seeds better than on dates |\n"
    "|---|---|---|---|---|---|---|---|"
)


@dataclass
class Line:
    """Figures of one policy, one row a seed: those of the table from its second column on."""

    label: str
    rows: list[tuple[float, ...]] = field(default_factory=list)

    def markdown(self, wins: str) -> str:
        figures = np.array(self.rows)
        broken, after, tail, every = (
            f"{mean:.4f} ({most:.3f})"
            for mean, most in zip(figures.mean(axis=0)[:4], figures.max(axis=0)[:4], strict=True)
        )
        again, fits = 100 * figures.mean(axis=0)[4:]
        return (
            f"| {self.label} | {broken} | {after} | {tail} | {every} "
            f"| {again:.2f} % | {fits:.2f} % | {wins} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--days", type=int, default=212)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="120 streams, 150 days, one seed")
    asked = parser.parse_args()
    if asked.quick:
        asked.streams, asked.days, asked.seeds = 120, 150, 1
    begun = time.perf_counter()
    lines: dict[str, Line] = {}
    rivals: dict[str, str] = {}
    broke = []
    for seed in range(asked.seeds):
        broke.append(_play(asked, seed, lines, rivals))
        print(f"seed {seed}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    print(f"{asked.streams} streams, {asked.days} days, {asked.seeds} seeds; {broke} broke")
    print("mean over seeds (worst seed)\n")
    print(HEAD)
    for label, line in lines.items():
        print(line.markdown(_wins(line, lines.get(rivals.get(label, "")))))


def _play(
    asked: argparse.Namespace, seed: int, lines: dict[str, Line], rivals: dict[str, str]
) -> int:
    """Play one fleet, write down the figures of every policy, return how many streams broke."""
    settings = {"breaks": BREAKING, "break_every": asked.days - QUIET, "quiet_days": QUIET}
    fleet = mlma.simulate(
        asked.streams, asked.days, seed=seed, kinds=("level", "shape"), **settings, **CALM
    )
    record = mlma.replay(
        fleet.to_df(),
        policies=[*BUDGETED, *DATED],
        window=WINDOW,
        phases=1,
        seed=seed,
        n_jobs=asked.jobs,
        progress=False,
    ).record
    begins = _begins(record, fleet.truth)
    for label, run in _labelled(record, rivals):
        lines.setdefault(label, Line(label)).rows.append(_figures(record, run, begins))
    return int((begins >= 0).sum())


def _begins(record: Replayed, truth: pl.DataFrame) -> np.ndarray:
    """Return the batch in which each stream breaks, ``(n_streams,)``; -1 = it does not."""
    starts = record.grid.batch_starts()
    begins = np.full(len(record.ids), -1)
    for name, start in truth.select("unique_id", "start").iter_rows():
        if name in record.ids:
            at = int(np.searchsorted(starts, np.datetime64(start), side="right")) - 1
            begins[record.ids.index(name)] = at
    return begins


def _labelled(record: Replayed, rivals: dict[str, str]) -> list[tuple[str, PolicyRun]]:
    """Return policies, each followed by what re-trains on dates at its fits, a pool for a pool."""
    out = [(run.label, run) for run in record.runs if run.label in {"seasonal_naive", "never"}]
    dated = [run for run in record.runs if run.label.startswith("periodic")]
    single = alone(dated)
    pooled = [run for run in dated if run not in single]
    for run in record.runs:
        if run.role != "policy":
            continue
        label = plain(run.label)
        out.append((label, run))
        if not label.startswith("mlma"):
            continue
        nearest = min(single if alone([run]) else pooled, key=lambda one: distance(one, run))
        if distance(nearest, run) < NEAR:
            rivals[label] = f"- periodic, for {label}"
            out.append((rivals[label], nearest))
    return out


def _figures(record: Replayed, run: PolicyRun, begins: np.ndarray) -> tuple[float, ...]:
    relative, broken = record.relative_loss(run), begins >= 0
    number = np.arange(run.loss.shape[1])
    after = broken[:, None] & (number >= begins[:, None])
    after &= np.isfinite(run.loss) & np.isfinite(record.always.loss)
    own, base = (np.where(after, one.loss, 0.0).sum(axis=1) for one in (run, record.always))
    told = base > 0
    fits = record.always.fits.sum()
    return (
        _mean(relative[broken]),
        _mean(own[told] / base[told]),
        float(np.nanquantile(relative, 0.99)),
        float(np.nanmean(relative)),
        float(run.retrained.sum() / fits),
        float(run.fits.sum() / fits),
    )


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if len(values) else float("nan")


def _wins(line: Line, rival: Line | None) -> str:
    """Return in how many seeds broken streams, and the 99th percentile, are better."""
    if rival is None:
        return "-"
    pairs = list(zip(line.rows, rival.rows, strict=True))
    broken, tail = (sum(own[at] < other[at] for own, other in pairs) for at in (0, 2))
    return f"{broken} and {tail} of {len(pairs)}"


if __name__ == "__main__":
    main()
