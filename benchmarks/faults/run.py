"""What a live agent keeps of its promise when it is killed, and when its store fails it.

    python benchmarks/faults/run.py [--store sqlite postgresql] [--kills 200] [--seed 1]
        [--scenario kills birth disk away pair clock] [--history SEED] [--minutes 60]
        [--start fork|command] [--json FILE]

Prints Markdown tables; the exit code is 1 where the promise was broken. `docs/faults.md` says how
to read them. ``--history`` plays one history again, whose seed stands beside a problem.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults import away, birth, disk, jumps, pair, tables
from faults.databases import KINDS, databases
from faults.kills import Totals, killed
from faults.played import Played
from faults.player import GaveUpError
from faults.processes import STARTS

SCENARIOS = {
    "birth": birth.scenario,
    "disk": disk.scenario,
    "away": away.scenario,
    "pair": pair.scenario,
}


def main() -> int:
    asked = _asked()
    folder = Path(tempfile.mkdtemp(prefix="mlma-faults-", dir=asked.folder))
    print(f"seed {asked.seed}, folder {folder}", flush=True)
    totals: dict[str, Totals] = {}
    findings: list[tables.Finding] = []
    try:
        for kind in asked.store:
            with databases(kind, folder) as lent:
                if "kills" in asked.scenario:
                    totals[kind] = _kills(asked, lent, folder)
                for name, scenario in SCENARIOS.items():
                    if name in asked.scenario:
                        findings += _told(scenario(lent, folder / f"{name}-{kind}", asked.seed))
        if "clock" in asked.scenario:
            findings += _told(jumps.scenario(folder, asked.seed))
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(tables.shown(totals, findings), flush=True)
    if asked.json:
        document = tables.document(totals, findings, asked.seed)
        Path(asked.json).write_text(json.dumps(document, indent=1))
    broken = any(one.problems for one in totals.values()) or not all(one.holds for one in findings)
    return int(broken)


def _kills(asked: argparse.Namespace, lent: Any, folder: Path) -> Totals:
    total = Totals()
    histories = killed(
        lent,
        folder,
        kills=asked.kills,
        seed=asked.seed,
        minutes=asked.minutes,
        only=asked.history,
        start=asked.start,
    )
    for made in _until_it_fails(histories, total):
        total.add(made)
        print(
            f"{lent.kind} history {made.seed}: {made.kills.total()} kills in {made.seconds:.0f} s, "
            f"{'holds' if made.verdict.holds else 'BROKEN: ' + '; '.join(made.verdict.problems)}",
            flush=True,
        )
    return total


def _until_it_fails(histories: Iterator[Played], total: Totals) -> Iterator[Played]:
    try:
        yield from histories
    except GaveUpError as error:  # a calm run failed: what was found before is told all the same
        total.problems.append(str(error))


def _told(findings: list[tables.Finding]) -> list[tables.Finding]:
    for one in findings:
        print(f"{one.name}: {'holds' if one.holds else 'BROKEN'}; {one.told}", flush=True)
    return findings


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kills live agents, and counts what is lost.")
    parser.add_argument("--store", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--kills", type=int, default=200, help="per kind of store")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--history", type=int, help="seed of the one history to play")
    parser.add_argument("--minutes", type=float, default=60.0, help="per kind of store")
    parser.add_argument(
        "--scenario",
        nargs="+",
        choices=["kills", *SCENARIOS, "clock"],
        default=["kills", *SCENARIOS, "clock"],
    )
    parser.add_argument("--start", choices=STARTS, default="fork", help="how servers are started")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--keep", action="store_true", help="keep stores and logs")
    memory = Path("/dev/shm")  # a killed process loses nothing that it wrote, on whatever disk
    there = memory.is_dir() and os.access(memory, os.W_OK)
    parser.add_argument("--folder", default=str(memory) if there else None)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
