"""One size of fleet in one configuration, in a process of its own: prints one line of JSON.

Every day is drawn anew and read by all passes and by our cycle in turn, so that a noisy machine
strikes both. Memory is the highest resident size while cycles run, above that before the data.
"""

import argparse
import ctypes
import gc
import json
import os
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ours
from loss_days import HELD_OUT, fill, levels
from passes import passes

SETTLING = 3
"""Days before the timing starts: the break is on the third."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--slots", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    fast = os.environ.get("MLMA_FAST") == "1"
    start = time.perf_counter()
    measured(512, asked.slots, 1, asked.seed, fast=fast)
    warm_up = time.perf_counter() - start
    gc.collect()
    found = measured(asked.streams, asked.slots, asked.repeats, asked.seed, fast=fast)
    print(json.dumps({"numba": fast, "warm_up_seconds": warm_up, **found}))


def measured(n: int, slots: int, repeats: int, seed: int, *, fast: bool) -> dict[str, Any]:
    """Return times, memory and size of the state."""
    candidates: dict[str, Callable[[Any], Any]] = dict(passes(with_numba=fast))
    spent: dict[str, list[float]] = {name: [] for name in candidates}
    cycles: list[float] = []
    before = resident_bytes()
    losses, level = np.empty((n, slots), dtype=np.float32), levels(n, seed)
    state = ours.make_state(n, slots, seed)
    forget_peak()
    for day in range(HELD_OUT, HELD_OUT + SETTLING + repeats):
        fill(losses, day, level, seed)
        for name, read in candidates.items():
            spent[name].append(seconds_of(lambda read=read: read(losses)))
        start = time.perf_counter()
        state = ours.cycle(state, losses, day)
        cycles.append(time.perf_counter() - start)
    peak = peak_bytes() - before
    steps = ours.steps(state, losses, day + 1) if hasattr(ours, "steps") else {}
    return {
        "streams": n,
        "slots": slots,
        "passes": {name: summary(taken[SETTLING:]) for name, taken in spent.items()},
        "cycle": summary(cycles[SETTLING:]),
        "steps": steps,
        "peak_bytes": peak,
        "batch_bytes": losses.nbytes,
        "state_bytes": array_bytes(state),
    }


def seconds_of(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def summary(seconds: list[float]) -> dict[str, float]:
    return {"best": min(seconds), "median": float(np.median(seconds))}


def array_bytes(thing: Any, seen: set[int] | None = None) -> int:
    """Return the bytes of all arrays inside a record; one that stands there twice counts once."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return 0
    if isinstance(thing, np.ndarray):
        seen.add(id(thing))
        return thing.nbytes
    if is_dataclass(thing):
        inside = [getattr(thing, spec.name) for spec in fields(thing)]
    elif isinstance(thing, dict):
        inside = list(thing.values())
    else:
        inside = list(thing) if isinstance(thing, tuple | list) else []
    return sum(array_bytes(one, seen) for one in inside)


def forget_peak() -> None:
    """Give back what was freed, and let the highest resident size start anew (Linux only)."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def resident_bytes() -> int:
    return _status_bytes("VmRSS")


def peak_bytes() -> int:
    """Return the highest resident size; that since the start where it cannot be forgotten."""
    return _status_bytes("VmHWM")


def _status_bytes(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
