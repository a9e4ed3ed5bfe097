"""What a monitoring cycle costs, beside one pass over the same losses and beside other tools.

    python benchmarks/speed/cycle_cost.py [--streams 10000 100000 1000000] [--repeats 7]
        [--without-peers] [--peer-seconds 2] [--json FILE] [--picture docs/images/cycle_cost.svg]

Prints Markdown tables. Every size and configuration runs in a process of its own, in which passes
and cycles take turns. Our cycle uses all cores of the machine (say OPENBLAS_NUM_THREADS=1 and
NUMBA_NUM_THREADS=1 under `taskset -c 0` for one); other tools use one thread. They are installed
into `.venv-peers-*` at the first run; where that is not possible their rows are left out, with the
reason. Seconds are of this machine: read the ratios.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cycle_tables as tables
from curve import Curve, picture
from environments import ONE_THREAD, UnavailableError, has_numba, interpreter_of, told_by

SLOTS = 96
TOOLS = ("mlma", "scipy", "river", "frouros", "evidently")

PICTURED = (
    ("scipy", "Welch, axis=1"),
    ("river", "ADWIN"),
    ("mlma", "KS, single losses"),
    ("mlma", "Mann-Whitney, single losses"),
    ("frouros", "KS"),
    ("evidently", "ValueDrift"),
)


def main() -> None:
    asked = _asked()
    report: dict[str, Any] = {"machine": machine(), "runs": [], "peers": [], "missing": []}
    _run_ours(report, asked.streams, asked.repeats)
    if not asked.without_peers:
        _run_peers(report, asked.peer_seconds)
    print(markdown(report))
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")
    if asked.picture:
        title = f"One monitoring cycle of {SLOTS} losses per stream, seconds"
        asked.picture.write_text(picture(curves(report, asked.streams), title))


def _asked() -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--streams", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=7, help="cycles that are timed")
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--peer-seconds", type=float, default=2.0, help="budget per row")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    asked.streams = sorted(asked.streams)
    return asked


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "scipy": version("scipy"),
        "load_before": round(os.getloadavg()[0], 1),
    }


def _run_ours(report: dict[str, Any], sizes: Sequence[int], repeats: int) -> None:
    fast = has_numba()
    if not fast:
        report["missing"].append("our cycle with numba: numba is not installed")
    for n in sizes:
        for chosen in ("0", "1") if fast else ("0",):
            given = ("--streams", str(n), "--slots", str(SLOTS), "--repeats", str(repeats))
            try:
                run = told_by(sys.executable, "one_size.py", *given, env={"MLMA_FAST": chosen})
            except UnavailableError as reason:
                name = tables.CONFIGURATIONS[chosen == "1"]
                report["missing"].append(f"our cycle, {n:,} streams, {name}: {reason}")
            else:
                report["runs"].append(run)


def _run_peers(report: dict[str, Any], seconds: float) -> None:
    for tool in TOOLS:
        try:
            python = interpreter_of(tool)
            rows = told_by(python, "peers.py", tool, "--seconds", str(seconds), env=ONE_THREAD)
        except UnavailableError as reason:
            report["missing"].append(f"{tool}: {reason}")
        else:
            report["peers"] += rows


def markdown(report: dict[str, Any]) -> str:
    """Return everything that was measured, as Markdown."""
    at = report["machine"]
    where = f"{at['cores']} cores, Python {at['python']}, numpy {at['numpy']}, "
    where += f"load before the run {at['load_before']}"
    runs, parts = report["runs"], []
    if runs:
        parts += [f"One cycle, {SLOTS} float32 losses per stream ({where}):"]
        parts += [tables.cycle_table(runs), "One pass, best / median:", tables.pass_table(runs)]
        parts += ["Where a cycle spends its time:", tables.step_table(runs)]
    if report["peers"]:
        parts += [
            f"Other tools, one thread, {SLOTS} new losses beside a reference of 5 x {SLOTS} "
            f"(our cycle: {at['cores']} cores, 28 batches as running sums; rows `mlma` are our own "
            "tests on single losses):",
            tables.peer_table(report["peers"], runs),
        ]
    if report["missing"]:
        parts += ["Left out:", "\n".join(f"- {one}" for one in report["missing"])]
    return "\n\n".join(part for part in parts if part)


def curves(report: dict[str, Any], sizes: Sequence[int]) -> list[Curve]:
    """Return the curves of the picture: ours, then other tools."""
    return [*_measured(report["runs"]), *_extrapolated(report["peers"], sizes)]


def _measured(runs: Sequence[tables.Run]) -> Iterator[Curve]:
    by_name: dict[str, list[tables.Run]] = {}
    for run in runs:
        by_name.setdefault(tables.configuration(run), []).append(run)
    if not by_name:
        return
    fastest = list(by_name.values())[-1]
    yield _curve("one pass", fastest, [tables.unit(run)[1]["median"] for run in fastest])
    for name, some in by_name.items():
        yield _curve(f"mlma, {name}", some, [run["cycle"]["median"] for run in some])


def _curve(name: str, runs: Sequence[tables.Run], seconds: Sequence[float]) -> Curve:
    streams = tuple(float(run["streams"]) for run in runs)
    return Curve(name, streams, tuple(seconds), (True,) * len(runs))


def _extrapolated(peers: Sequence[tables.Peer], sizes: Sequence[int]) -> Iterator[Curve]:
    found = {(peer["tool"], peer["what"]): peer for peer in peers}
    for key in PICTURED:
        if key in found:
            peer = found[key]
            seconds = tuple(peer["microseconds"] * n / 1e6 for n in sizes)
            measured = tuple(n == peer["at_once"] for n in sizes)
            yield Curve(" ".join(key), tuple(map(float, sizes)), seconds, measured)


if __name__ == "__main__":
    main()
