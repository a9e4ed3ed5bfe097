"""How soon are planted breaks found, at how many false alarms, and how does that compare?

    python benchmarks/quality/detection.py [--streams N] [--days D] [--without-peers] [--json FILE]

Prints Markdown tables; `compare.py` compares two JSON files. See `worlds`, `detectors`, `peers`,
`ours` and `scores` beside this file for what is measured and how.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isinf, isnan
from pathlib import Path

# This folder itself leaves the path, so that its modules hide no others of the same names.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quality import ours, peers, tables
from quality.detectors import SIMPLE, TUNABLE, Detector, tuned
from quality.measure import COMMON, Figures, measure_breaks, measure_calm, measure_common
from quality.worlds import Size, World, demand_world, healthy_streams, loss_world, shock_world

MIXED = ("level", "level", "level", "shape", "variance", "drift", "stuck", "zero")
BREAKING = 0.4
TUNING_SEED = 1_000

LOSS_WORLDS: dict[str, dict[str, object]] = {
    "phi 0": {"phi": 0.0, "season": 0.0, "weekend": 0.0},
    "phi .3": {"phi": 0.3, "season": 0.0, "weekend": 0.0},
    "phi .6": {"phi": 0.6, "season": 0.0, "weekend": 0.0},
    "phi .3, season, weekend": {"phi": 0.3, "season": 0.6, "weekend": 0.4},
    "phi .3, heavy tails": {"phi": 0.3, "tail": 2.5},
    "together .3": {"phi": 0.3, "together": 0.3},
    "together .77": {"phi": 0.3, "together": 0.77},
}


def calm_worlds(sizes: Sequence[Size], demand: float) -> Iterator[list[World]]:
    """Yield break-free fleets, one of each size; also with half of the reference."""
    for name, settings in LOSS_WORLDS.items():
        yield [loss_world(name, size, **settings) for size in sizes]
    short = [replace(size, reference=14) for size in sizes]
    yield [loss_world("phi .3, 14 days", size, phi=0.3) for size in short]
    yield [demand_world("demand", size, demand=demand) for size in sizes]
    together = {"demand": demand, "together": 0.77}
    yield [demand_world("demand, together .77", size, **together) for size in sizes]


def common_worlds(sizes: Sequence[Size], demand: float) -> Iterator[list[World]]:
    """Yield fleets with shocks, and fleets with half of some cities breaking for good."""
    for together in (0.3, 0.77):
        name, settings = f"together {together:g}", {"demand": demand, "together": together}
        yield [shock_world(name, size, **settings) for size in sizes]
        yield [demand_world(name, size, group_breaks=0.5, **settings) for size in sizes]


def break_worlds(name: str, sizes: Sequence[Size], demand: float) -> list[World]:
    """Return fleets in which some streams break, all kinds equally often."""
    settings = {"breaks": BREAKING, "kinds": MIXED, "demand": demand}
    return [demand_world(name, size, **settings) for size in sizes]


def tuned_detectors(
    sizes: Sequence[Size], demand: float, play: peers.Player | None
) -> list[Detector]:
    """Return detectors whose dials are turned on fleets of other seeds, in which some break too.

    Only alarms in healthy batches count; those of river see streams that never break.
    """
    others = [replace(size, seed=size.seed + TUNING_SEED) for size in sizes]
    worlds = break_worlds("tuning", others, demand)
    families = {name: (ours.maker(name), ours.DIALS) for name in ours.VARIANTS} | TUNABLE
    made = [tuned(maker, dials, worlds) for maker, dials in families.values()]
    for name in peers.DIALS if play else ():
        streams = max(4, peers.STREAMS[name] // (2 * len(worlds)))
        few = [healthy_streams(world, streams) for world in worlds]
        made.append(tuned(peers.maker(play, name), peers.DIALS[name], few))
    return made


def measured(asked: argparse.Namespace, play: peers.Player | None) -> Figures:
    """Return all figures."""
    size, demand = Size(asked.streams, asked.days, asked.slot), asked.demand
    sizes = [replace(size, seed=asked.seed + one) for one in range(asked.fleets)]
    dials = tuned_detectors(sizes, demand, play)
    river = peers.default_detectors(play) if play else []
    everyone = [*ours.variants(), *SIMPLE, *river, *dials]
    figures = Figures()
    measure_breaks(everyone, break_worlds("breaks", sizes, demand), figures)
    quick = [one for one in everyone if not isinstance(one, peers.RiverDetector)]
    short = [replace(one, reference=14) for one in sizes]
    measure_breaks(quick, break_worlds("14 days", short, demand), figures)
    for worlds in calm_worlds(sizes, demand):
        measure_calm(everyone, worlds, figures)
    for worlds in common_worlds(sizes, demand):
        measure_common(everyone, worlds, figures)
    return figures


def report(figures: Figures) -> Iterator[tuple[str, str]]:
    """Yield title and text of each table."""
    worlds = [*LOSS_WORLDS, "phi .3, 14 days", "demand", "demand, together .77"]
    plain = [one for one in figures.detectors if not one.endswith(", tuned")]
    dials = [one for one in figures.detectors if one.endswith(", tuned")]
    dials = [*dials, "every 100 batches"]
    yield "Realised level of one batch, mlma", tables.levels_table(figures, worlds, "mlma")
    yield (
        "False re-trainings per 1,000 streams and week",
        tables.retrainings_table(figures, worlds),
    )
    yield "What is planted", tables.truth_table(figures, "breaks")
    for where in ("breaks", "14 days"):
        note = "" if where == "breaks" else ", 14 reference days"
        yield f"Breaks, defaults{note}", _both(figures, where, plain)
        yield f"Breaks, at most 1 false alarm per 100 batches{note}", _both(figures, where, dials)
    for together in ("0.3", "0.77"):
        for kind in COMMON:
            at = f"together {together}, {kind}"
            events, rise = (figures.get("truth", one, at) for one in ("events", "loss rise"))
            told = f"{tables.cell(events, '.0f')} times, losses {tables.cell(rise, '+.0%')}"
            yield f"{kind}, together {together}: {told}", tables.common_table(figures, at)
    yield "Time", tables.seconds_table(figures)


def _both(figures: Figures, where: str, detectors: Sequence[str]) -> str:
    known = [one for one in detectors if figures.get(one, "recall", where) is not None]
    head = "Median delay in batches, and share found within 28:"
    events = tables.events_table(figures, where, known)
    return f"{events}\n\n{head}\n\n{tables.delays_table(figures, where, known)}"


def written(figures: Figures, asked: argparse.Namespace) -> str:
    """Return the figures as JSON; null = infinite, and what is not known is left out."""
    known = {name: value for name, value in figures.values.items() if not isnan(value)}
    plain = {name: None if isinf(value) else round(value, 6) for name, value in known.items()}
    settings = {
        name: getattr(asked, name) for name in ("streams", "days", "slot", "seed", "demand")
    }
    return json.dumps({"settings": settings, "figures": plain}, indent=1) + "\n"


def arguments() -> argparse.Namespace:
    """Return what was asked for at the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000, help="of each fleet")
    parser.add_argument("--fleets", type=int, default=4, help="of each kind; seeds that follow")
    parser.add_argument("--days", type=int, default=84, help="monitored days, after the reference")
    parser.add_argument("--slot", default="1h", help='length of a slot, "1h" or "15m"')
    parser.add_argument("--demand", type=float, default=20.0, help="median demand per hour")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, print the tables, write the file."""
    asked, start = arguments(), time.perf_counter()
    play = None if asked.without_peers else peers.player()
    try:
        figures = measured(asked, play)
    finally:
        if play:
            play.close()
    for title, text in report(figures):
        print(f"\n### {title}\n\n{text}")
    if play is None:
        print("\nRows of river are left out: not asked for, or its environment cannot be made.")
    print(f"\n{time.perf_counter() - start:.0f} seconds in all.")
    if asked.json:
        asked.json.write_text(written(figures, asked))


if __name__ == "__main__":
    main()
