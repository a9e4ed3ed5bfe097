"""Plays detectors on worlds and writes down figures, ``{"detector/figure/where": number}``.

Takes detectors and worlds, gives one flat record. Next are the tables.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from quality import scores
from quality.detectors import Detection, Detector
from quality.truth import KINDS
from quality.worlds import World, side_by_side, subsample

COMMON = ("fleet shock", "city shock", "group break")


@dataclass
class Figures:
    """All that was measured; infinite and unknown numbers are kept as they are.

    values
        by ``detector/figure/where``.
    seconds
        that each detector took in all.
    detectors
        names in the order in which they were first met.
    """

    values: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, detector: str, figure: str, where: str, value: float) -> None:
        """Write down a figure."""
        self.values[f"{detector}/{figure}/{where}"] = float(value)

    def get(self, detector: str, figure: str, where: str) -> float | None:
        """Return a figure; None = it was not measured."""
        return self.values.get(f"{detector}/{figure}/{where}")

    @property
    def detectors(self) -> list[str]:
        """Names of the detectors, in the order of their first figure."""
        names = dict.fromkeys(key.split("/")[0] for key in self.values)
        return [name for name in names if name != "truth"]


Seen = tuple[Detection, World]


def played(
    detectors: Iterable[Detector], worlds: Sequence[World], figures: Figures, share: float = 1.0
) -> Iterator[tuple[str, list[Seen]]]:
    """Yield each detector's name, with what it said of each world and the world that it saw.

    A slow detector sees fewer streams: ``share`` of its most streams, in all worlds together.
    """
    for detector in detectors:
        start = time.perf_counter()
        pairs = []
        for world in worlds:
            seen = _shown(detector, world, share / len(worlds))
            pairs.append((detector.detect(seen), seen))
        took = time.perf_counter() - start
        figures.seconds[detector.name] = figures.seconds.get(detector.name, 0.0) + took
        print(f"{worlds[0].name}: {detector.name}, {took:.1f} s", file=sys.stderr)
        yield detector.name, pairs


def _shown(detector: Detector, world: World, share: float) -> World:
    most = getattr(detector, "most_streams", world.shape[1] / share)
    few = max(3, int(share * most))
    return subsample(world, few) if few < world.shape[1] else world


def pooled(pairs: Sequence[Seen]) -> Seen:
    """Return all fleets side by side, as one; what they have in common is left out."""
    alarms = np.concatenate([seen.alarms for seen, _ in pairs], axis=1)
    told = [seen.p_values for seen, _ in pairs if seen.p_values is not None]
    p_values = np.concatenate(told, axis=1) if told else None
    return Detection(alarms, p_values), side_by_side([world for _, world in pairs])


def measure_calm(detectors: Sequence[Detector], worlds: Sequence[World], into: Figures) -> None:
    """Write down false re-trainings and realised levels on break-free fleets of one kind."""
    for name, pairs in played(detectors, worlds, into, 0.25):
        made, seen = pooled(pairs)
        again = scores.false_retrainings(made.alarms, seen)
        into.add(name, "false re-trainings", seen.name, again)
        if made.p_values is not None:
            for level, rate in scores.realised_levels(made.p_values, seen).items():
                into.add(name, f"level {level:g}", seen.name, rate)


def measure_breaks(detectors: Sequence[Detector], worlds: Sequence[World], into: Figures) -> None:
    """Write down how planted breaks are found, and what is planted."""
    fleet = side_by_side(worlds)
    for name, pairs in played(detectors, worlds, into):
        made, seen = pooled(pairs)
        where = seen.name
        again = scores.false_retrainings(made.alarms, seen)
        into.add(name, "false re-trainings", where, again)
        into.add(name, "streams", where, seen.shape[1])
        into.add(name, "events", where, scores.counted(seen).sum())
        all_of = scores.event_scores(made.alarms, seen, fleet)
        for figure in ("precision", "recall", "f1"):
            into.add(name, figure, where, getattr(all_of, figure))
        for kind, one in scores.kind_scores(made.alarms, seen).items():
            into.add(name, "median delay", f"{where}, {kind}", one.median_delay)
            into.add(name, "found", f"{where}, {kind}", one.found)
    describe(fleet, into)


def describe(world: World, into: Figures) -> None:
    """Write down what is planted: streams, those that count as events, median rise of the loss."""
    counted, truth = scores.counted(world), world.truth
    for kind in KINDS:
        mine, where = truth.kind == kind, f"{world.name}, {kind}"
        if mine.any():
            into.add("truth", "planted", where, mine.sum())
            into.add("truth", "events", where, (mine & counted).sum())
            into.add("truth", "loss rise of all", where, np.nanmedian(truth.effect[mine]))
        if (mine & counted).any():
            into.add("truth", "loss rise", where, np.median(truth.effect[mine & counted]))


def measure_common(detectors: Sequence[Detector], worlds: Sequence[World], into: Figures) -> None:
    """Write down what becomes of shocks and of breaks that half of a city has."""
    for name, pairs in played(detectors, worlds, into, 0.25):
        for kind in COMMON:
            one, where = scores.common_scores(pairs, kind), f"{worlds[0].name}, {kind}"
            if one is None:
                continue
            for figure in ("as_one", "reported", "alone", "alarmed"):
                into.add(name, figure.replace("_", " "), where, getattr(one, figure))
            if name == detectors[0].name:
                into.add("truth", "events", where, one.events)
                into.add("truth", "loss rise", where, one.effect)
