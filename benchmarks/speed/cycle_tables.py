"""Markdown tables of the cost of a cycle. Takes what was measured, gives text.

A run is one size in one configuration, as `one_size.py` prints it; a peer is a figure as
`peers.py` prints it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Run = Mapping[str, Any]
Peer = Mapping[str, Any]

MIB = 2**20
CONFIGURATIONS = {False: "required dependencies", True: "with numba"}


def configuration(run: Run) -> str:
    return CONFIGURATIONS[bool(run["numba"])]


def unit(run: Run) -> tuple[str, Mapping[str, float]]:
    """Return name and seconds of the fastest pass over the same bytes."""
    name = min(run["passes"], key=lambda one: run["passes"][one]["best"])
    return name, run["passes"][name]


def microseconds(run: Run) -> float:
    """Return the median time of a cycle per stream."""
    return 1e6 * run["cycle"]["median"] / run["streams"]


def largest(runs: Iterable[Run]) -> dict[str, Run]:
    """Return the largest fleet of each configuration."""
    found: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: run["streams"]):
        found[configuration(run)] = run
    return found


def cycle_table(runs: Sequence[Run]) -> str:
    head = (
        "streams",
        "configuration",
        "fastest pass",
        "pass, ms best / median",
        "cycle, ms best / median",
        "cycle in passes, best / median",
        "us per stream",
        "peak MiB (batch in it)",
        "state, bytes per stream",
    )
    return table(head, [_cycle_row(run) for run in runs])


def _cycle_row(run: Run) -> list[str]:
    name, read = unit(run)
    cycle = run["cycle"]
    ratios = [cycle[kind] / read[kind] for kind in ("best", "median")]
    return [
        f"{run['streams']:,}",
        configuration(run),
        f"`{name}`",
        _two(read, 1e3),
        _two(cycle, 1e3),
        " / ".join(f"{ratio:.1f}" for ratio in ratios),
        f"{microseconds(run):.3f}",
        f"{run['peak_bytes'] / MIB:,.0f} ({run['batch_bytes'] / MIB:,.0f})",
        f"{run['state_bytes'] / run['streams']:.0f}",
    ]


def pass_table(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(name for run in runs for name in run["passes"]))
    lines = []
    for run in runs:
        cells = [_two(run["passes"][name], 1e3) if name in run["passes"] else "" for name in names]
        lines.append([f"{run['streams']:,}", configuration(run), *cells])
    return table(("streams", "configuration", *(f"`{name}`, ms" for name in names)), lines)


def step_table(runs: Sequence[Run]) -> str:
    """Return core milliseconds by step of the largest fleet; empty where no step is told."""
    chosen = {name: run for name, run in largest(runs).items() if run.get("steps")}
    names = list(dict.fromkeys(name for run in chosen.values() for name in run["steps"]))
    if not names:
        return ""
    lines = [
        [f"`{name}`", *(f"{1e3 * run['steps'].get(name, 0):.1f}" for run in chosen.values())]
        for name in names
    ]
    heads = (f"{run['streams']:,} streams, {name}" for name, run in chosen.items())
    return table(("step, core ms", *heads), lines)


def peer_table(peers: Sequence[Peer], runs: Sequence[Run]) -> str:
    """Return the peers, each also as a multiple of our cycle at its largest size."""
    ours = largest(runs)
    head = ("tool", "what", "us per stream-batch", "stream-batches timed")
    times = tuple(f"times ours, {name}" for name in ours)
    lines = [_peer_row(peer, list(ours.values())) for peer in peers]
    return table((*head, *times, "a million streams take"), lines)


def _peer_row(peer: Peer, ours: Sequence[Run]) -> list[str]:
    spent = peer["microseconds"]
    return [
        f"{peer['tool']} {peer['version']}",
        peer["what"],
        plain(spent),
        f"{peer['stream_batches']:,}",
        *(plain(spent / microseconds(run)) for run in ours),
        duration(spent),
    ]


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def plain(value: float) -> str:
    """Return a number with three digits that count.

    >>> plain(24747.9), plain(5.557), plain(0.0912)
    ('24,700', '5.56', '0.0912')
    """
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Return a time in the unit that reads best.

    >>> duration(0.05), duration(59), duration(25000)
    ('50 ms', '59 s', '6.94 h')
    """
    for size, name in ((86_400 * 2, "d"), (3_600, "h"), (120, "min"), (1, "s")):
        if seconds >= size:
            return f"{plain(seconds / {'d': 86_400, 'h': 3_600, 'min': 60, 's': 1}[name])} {name}"
    return f"{plain(seconds * 1e3)} ms"


def _two(seconds: Mapping[str, float], factor: float) -> str:
    return " / ".join(plain(seconds[kind] * factor) for kind in ("best", "median"))
