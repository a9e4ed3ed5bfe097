"""Loss relative to always, and fits as a share of always, per policy on real streams.

    python benchmarks/quality/real_streams.py [auckland muenster departures] [--model ridge]

Prints one Markdown table per data set, and the figures that the project promises beside it.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from real_data import real_files

import mlma

VARIANTS = (
    "mlma",
    "mlma(adjustment=0.0)",
    "mlma(reference='anchored')",
    "mlma(reference='fixed')",
    "mlma(reference_from='production')",
    "mlma(gate=True)",
    "mlma(follow_ups=())",
    "mlma(review_age=None, max_age=None)",
    "mlma(accumulate='none')",
    "mlma(accumulate='none', level=0.05, multiplicity='none')",
    "periodic(every=28)",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="data sets; default all that are found")
    parser.add_argument("--model", default="ridge")
    parser.add_argument("--loss", default="absolute")
    parser.add_argument("--only-default", action="store_true")
    asked = parser.parse_args()
    files = real_files()
    if not files:
        print("No real streams found. Set MLMA_DATA to their folder.")
    for name in asked.names or files:
        policies = VARIANTS[:1] if asked.only_default else VARIANTS
        result = mlma.replay(
            files[name], model=asked.model, loss=asked.loss, policies=policies, progress=False
        )
        show(name, result)


def show(name: str, result: mlma.ReplayResult) -> None:
    print(f"\n### {name}: {len(result.record.ids)} streams, {result.record.seconds:.0f} s\n")
    print("| policy | loss / always | worst stream | fits / always | re-trainings per 100 batches |")
    print("|---|---|---|---|---|")
    batches = float(result.record.always.fits.mean())
    for row in result.to_dict()["policies"]:
        often = 100 * row["retrainings"] / batches
        print(
            f"| {row['policy']} | {row['loss']:.4f} | {row['worst']:.3f} "
            f"| {100 * row['fits_share']:.2f} % | {often:.2f} |"
        )
    for out in result.left_out:
        print(f"\nLeft out: {out}")


if __name__ == "__main__":
    main()
