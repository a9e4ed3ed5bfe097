"""What a model pool costs per batch: scores, weights and combination, in passes over the forecasts.

    python benchmarks/speed/pool_cost.py [--streams 100000] [--members 8] [--slots 96] [--repeats 7]

With and without numba, each in a process of its own, one thread. One pass is ``forecasts.sum()``
over the members' float32 forecasts. Every day all parts are taken in turn, so that a noisy machine
strikes all. Seconds are those of the processor, the least of the days; they are of this machine:
read the passes. Memory is the highest resident size above that with the data and the state.
"""

import argparse
import gc
import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from environments import ONE_THREAD, has_numba, interpreter_of, told_by
from one_size import forget_peak, peak_bytes, resident_bytes

PARTS = ("learnt_from, absolute", "learnt_from, squared", "learnt", "combined")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--slots", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--one", action="store_true", help="this process alone; prints JSON")
    asked = parser.parse_args()
    sizes = (asked.streams, asked.members, asked.slots, asked.repeats)
    if asked.one:
        measured(64, asked.members, asked.slots, 1)
        gc.collect()
        print(json.dumps(measured(*sizes)))
        return
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    for fast in ("1", "0") if has_numba() else ("0",):
        print(table(told(sizes, fast), f"numba {'on' if fast == '1' else 'off'}"))


def told(sizes: tuple[int, ...], fast: str) -> Any:
    names = ("--streams", "--members", "--slots", "--repeats")
    given = [word for name, size in zip(names, sizes, strict=True) for word in (name, str(size))]
    env = {**ONE_THREAD, "MLMA_FAST": fast}
    return told_by(interpreter_of("mlma"), "pool_cost.py", "--one", *given, env=env)


def measured(n: int, members: int, slots: int, repeats: int) -> dict[str, Any]:
    """Return the least seconds of each part and of one pass, and the memory of temporaries."""
    rng = np.random.default_rng(0)
    y = rng.random((n, slots), dtype=np.float32)
    forecasts = rng.random((n, members, slots), dtype=np.float32)
    parts = parts_of(y, forecasts)
    spent: dict[str, list[float]] = {name: [] for name in ("pass", *parts)}
    gc.collect()
    forget_peak()
    before = resident_bytes()
    for _ in range(repeats + 1):
        spent["pass"].append(seconds_of(forecasts.sum))
        for name, part in parts.items():
            spent[name].append(seconds_of(part))
    return {
        "seconds": {name: min(taken[1:]) for name, taken in spent.items()},
        "peak_bytes": peak_bytes() - before,
        "forecast_bytes": forecasts.nbytes,
    }


def seconds_of(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def parts_of(y: Any, forecasts: Any) -> dict[str, Callable[[], Any]]:
    """Return what is timed: pools that have learnt for a day learn another one."""
    from mlma.domain.pools import PoolState
    from mlma.stats.calendar import slot_class_count, slot_classes
    from mlma.stats.losses import absolute, squared
    from mlma.stats.pool import FixedShare
    from mlma.steps.pool import combined, learnt, learnt_from

    n, members, slots = forecasts.shape
    step = np.timedelta64(1440 // slots, "m")
    classes = slot_classes(np.datetime64("2024-03-01", "us") + step * np.arange(slots), step)
    empty = PoolState.empty(n, slot_class_count(step), members)
    pool = PoolState(empty.scores, empty.unit, np.zeros_like(empty.born))
    rule = FixedShare(1.0, 0.02)
    pool = learnt_from(pool, y, forecasts, classes, rule, loss=absolute())
    made = (
        lambda: learnt_from(pool, y, forecasts, classes, rule, loss=absolute()),
        lambda: learnt_from(pool, y, forecasts, classes, rule, loss=squared()),
        lambda: learnt(pool, forecasts, classes, rule),  # forecasts in place of ready losses
        lambda: combined(pool, forecasts, classes, rule),
    )
    return dict(zip(PARTS, made, strict=True))


def table(found: Any, title: str) -> str:
    seconds, unit = found["seconds"], found["seconds"]["pass"]
    whole = seconds[PARTS[0]] + seconds["combined"]
    rows = {**seconds, "all of a batch (absolute)": whole}
    lines = [f"| {title} | ms | passes |", "|---|---|---|"]
    lines += [f"| {name} | {1e3 * took:.0f} | {took / unit:.1f} |" for name, took in rows.items()]
    share = found["peak_bytes"] / found["forecast_bytes"]
    return "\n".join(
        [*lines, f"| highest memory above the data | {share:.2f} of the forecasts | |"]
    )


if __name__ == "__main__":
    main()
