"""Loss relative to always, and fits as a share of always, of one model on real streams.

    python benchmarks/quality/real_streams.py [auckland muenster departures] [--model ridge]

Prints one Markdown table per data set, and the figures that the project promises beside it.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import mlma
from real_data import real_files

VARIANTS = (
    "mlma(pool=1)",
    "mlma(pool=1, false_retrainings=0.1)",
    "mlma(pool=1, false_retrainings=10.0)",
    "mlma(pool=1, false_retrainings=None)",
    "mlma(pool=1, common=False)",
    "mlma(pool=1, drift=False)",
    "mlma(pool=1, test='batch_t')",
    "mlma(pool=1, adjustment=0.0)",
    "mlma(pool=1, reference='anchored')",
    "mlma(pool=1, reference='fixed')",
    "mlma(pool=1, reference_from='production')",
    "mlma(pool=1, gate=True)",
    "mlma(pool=1, follow_ups=())",
    "mlma(pool=1, review_age=None, max_age=None)",
    "mlma(pool=1, accumulate='e_process')",
    "mlma(pool=1, accumulate='none')",
    "mlma(pool=1, test='batch_t', accumulate='none', level=0.05, multiplicity='none',"
    " common=False)",
    "periodic(every=28)",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="data sets; default all that are found")
    parser.add_argument("--model", default="ridge")
    parser.add_argument("--loss", default="absolute")
    parser.add_argument("--seeds", type=int, default=1, help="means over so many random phases")
    parser.add_argument("--only-default", action="store_true")
    asked = parser.parse_args()
    files = real_files()
    if not files:
        print("No real streams found. Set MLMA_DATA to their folder.")
    policies = VARIANTS[:1] if asked.only_default else VARIANTS
    for name in asked.names or files:
        results = [
            mlma.replay(
                files[name],
                model=asked.model,
                loss=asked.loss,
                policies=policies,
                seed=seed,
                progress=False,
            )
            for seed in range(asked.seeds)
        ]
        show(name, results)


def show(name: str, results: list[mlma.ReplayResult]) -> None:
    seconds = sum(result.record.seconds for result in results)
    streams = len(results[0].record.ids)
    print(f"\n### {name}: {streams} streams, {len(results)} seeds, {seconds:.0f} s\n")
    print(
        "| policy | loss / always | worst stream | fits / always | re-trainings per 100 batches |"
    )
    print("|---|---|---|---|---|")
    batches = float(results[0].record.always.fits.mean())
    tables = [result.to_dict()["policies"] for result in results]
    for rows in zip(*tables, strict=True):
        loss, fits, again = (
            float(np.mean([row[column] for row in rows]))
            for column in ("loss", "fits_share", "retrainings")
        )
        worst = max(row["worst"] for row in rows)
        often = 100 * again / batches
        label = rows[0]["policy"] if len({row["policy"] for row in rows}) == 1 else _matched(rows)
        print(f"| {label} | {loss:.4f} | {worst:.3f} | {100 * fits:.2f} % | {often:.2f} |")
    for out in results[0].left_out:
        print(f"\nLeft out: {out}")


def _matched(rows: tuple[dict[str, str], ...]) -> str:
    """Return the name of a policy whose rate differs from seed to seed."""
    return f"{rows[0]['policy'].split('(')[0]}, as many fits"


if __name__ == "__main__":
    main()
