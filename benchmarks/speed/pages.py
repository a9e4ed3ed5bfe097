"""How soon the pages of the desk are there, with very many streams.

    python benchmarks/speed/pages.py [--streams 100000] [--cycles 35] [--looks 40] [--json FILE]
        [--store FOLDER]

Judges a history into an SQLite file: streams with tags, some of which break and are re-trained.
Starts `mlma serve` on it, and asks for pages as people do: other ranges, filters, orders
and numbers. Tells seconds of the server (p50, p95, and the first look after a start), seconds until
headless Chromium has drawn the page, and its weight. `--store` keeps the history for another run.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np

START = datetime(2025, 1, 1, tzinfo=UTC)
SLOTS = 4
POLICY = "mlma()"
CITIES = ("Antwerp", "Bruges", "Ghent", "Hasselt", "Leuven", "Li\u00e8ge", "Mons", "Namur")
VIEWS = {
    "Fleet": ("/fleet", "/fleet?weeks=13", "/fleet?weeks=all"),
    "Streams": (
        "/streams",
        "/streams?sort=loss&order=desc",
        "/streams?sort=effect&order=desc&verdict=degraded",
        "/streams?tag=city%3DGhent&sort=age&order=desc",
        "/streams?search=0042&sort=unique_id",
        "/streams?sort=stake&order=desc&page=900",
        "/streams?sort=tag.city&page=20",
    ),
    "Stream": ("/stream?unique_id=shop-000042", "/stream?unique_id=shop-000407"),
}
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


class Clock:
    """The time of the history."""

    time = START

    def now(self) -> datetime:
        return self.time


def main() -> None:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--cycles", type=int, default=35)
    parser.add_argument("--looks", type=int, default=40)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--store", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pages-") as made:
        folder = asked.store or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "mlma.db").exists():
            history(folder, asked.streams, asked.cycles)
        found = measured(folder, asked.looks)
    found |= {"load": os.getloadavg()[0], "cores": os.cpu_count()}
    print(table(found, asked))
    if asked.json:
        asked.json.write_text(json.dumps(found) + "\n")


# The history.


def history(folder: Path, streams: int, cycles: int) -> None:
    """Judge a history into a store: the same cycle as a server runs."""
    from mlma.adapters.store import open_store
    from mlma.agent.live import LiveAgent
    from mlma.domain.inbox import Parcel, Rows
    from mlma.domain.live import LiveSettings
    from mlma.domain.periods import Periods, instant_of
    from mlma.domain.settings import policy_from

    day = np.timedelta64(24 * 3600 * 10**6, "us")
    settings = LiveSettings(
        policy_from(POLICY), Periods(day, day // SLOTS), benchmark="seasonal_naive"
    )
    store, clock = open_store(f"sqlite:///{folder}/mlma.db"), Clock()
    names = [f"shop-{at:06d}" for at in range(streams)]
    store.register(names)
    agent = LiveAgent(settings, store, clock)
    tags = {
        "city": {one: CITIES[at % len(CITIES)] for at, one in enumerate(names)},
        "kind": {one: ("food", "clothes", "books")[at % 3] for at, one in enumerate(names)},
    }
    agent.tag(tags, by="cli:ann")
    first = settings.periods.at(instant_of(START))
    stream = np.repeat(np.arange(streams, dtype=np.int32), SLOTS)
    place = np.tile(np.arange(SLOTS, dtype=np.int32), streams)
    world = World(streams, cycles)
    for number in range(cycles):
        y_hat, y = world.day(number)
        for kind, values in (("forecasts", y_hat), ("actuals", y)):
            told = np.isfinite(values)
            rows = Rows(stream[told], place[told], values[told])
            store.accept([Parcel(kind, first + number, rows)])
        clock.time = START + timedelta(days=number + 1, hours=7)
        for info in agent.tick():
            print(f"cycle {info.cycle}: {info.summary['verdicts']}", file=sys.stderr)
        world.repaired(agent, store, names)
        store.forget(first + number - 14)
    agent.surrender()
    store.remember("clock", clock.time.isoformat())
    store.close()


class World:
    """Streams with a level and a rhythm; some break for good, some are struck for a day."""

    def __init__(self, streams: int, cycles: int) -> None:
        self._rng = np.random.default_rng(7)
        self._streams = streams
        self._level = self._rng.lognormal(3.0, 0.6, streams)
        self._shift = np.ones(streams)
        self._known = np.ones(streams)
        self._breaks = self._rng.integers(14, max(cycles, 15), streams)
        self._breaks[self._rng.random(streams) > 0.02] = -1
        self._rhythm = np.array([0.5, 1.1, 1.5, 0.9])

    def day(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return forecasts and actuals of a day, slot by slot."""
        self._shift[self._breaks == number] *= 1.6
        usual = self._level[:, None] * self._rhythm * (0.85 if number % 7 > 4 else 1.05)
        noise = self._rng.normal(1.0, 0.12, (self._streams, SLOTS))
        y_hat, y = usual * self._known[:, None], usual * self._shift[:, None] * noise
        if number == 24:  # a shock that strikes one city
            y[:: len(CITIES)] *= 1.35
        y[self._rng.random(self._streams) < 0.002] = np.nan
        return y_hat.ravel(), y.ravel()

    def repaired(self, agent: object, store: object, names: list[str]) -> None:
        """Answer most requests for re-training."""
        asked = [one.request for one in store.claim(10_000)]
        done = [one for one in asked if self._rng.random() < 0.9]
        rows = {name: at for at, name in enumerate(names)} if done else {}
        for one in done:
            self._known[rows[one.unique_id]] = self._shift[rows[one.unique_id]]
        if done:
            ids = [one.id for one in done]
            agent.deployed([one.unique_id for one in done], requests=ids, by="key:trainer")
        store.release()


# The measurement.


def measured(folder: Path, looks: int) -> dict[str, object]:
    with serving(folder) as (address, process):
        rows = {name: looked_at(address, views, looks) for name, views in VIEWS.items()}
        drawn = drawn_in_chromium(address)
        size = (folder / "mlma.db").stat().st_size / 2**20
        return {"pages": rows, "drawn": drawn, "rss_mb": memory_mb(process.pid), "store_mb": size}


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve a store; yields the address and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "mlma.toml"
    config.write_text(
        f'[agent]\nslot = "6h"\npolicy = "{POLICY}"\nbenchmark = "seasonal_naive"\n'
        f'[store]\nurl = "sqlite:///{folder}/mlma.db"\n'
        f'[clock]\nkind = "simulated"\n[server]\nport = {port}\n'
    )
    command = [sys.executable, "-m", "mlma", "serve", "--config", str(config)]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    while True:
        assert process.poll() is None, "the server ended"
        try:
            if httpx.get(f"{address}/ready", timeout=60).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)


def looked_at(address: str, views: tuple[str, ...], looks: int) -> dict[str, float]:
    """Return seconds of the server and the weight of a page, compressed as browsers ask for it."""
    seconds, weights = [], []
    headers = {"Accept": "text/html", "Accept-Encoding": "gzip"}
    with httpx.Client(base_url=address, timeout=120, headers=headers) as client:
        for number in range(looks):
            began = time.perf_counter()
            with client.stream("GET", views[number % len(views)]) as answer:
                answer.raise_for_status()
                weights.append(sum(len(part) for part in answer.iter_raw()))
            seconds.append(time.perf_counter() - began)
    # The first looks read the store; what a server shows at its start is told apart.
    p50, p95 = np.quantile(seconds[1:], (0.5, 0.95))
    return {"first": seconds[0], "p50": p50, "p95": p95, "kb": max(weights) / 1024}


def drawn_in_chromium(address: str) -> dict[str, float]:
    """Return seconds until a page is drawn, style and all, in a new window."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    made = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(FLAGS))
        for name, views in VIEWS.items():
            times = []
            for _ in range(3):
                page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
                page.goto(f"{address}{views[0]}", wait_until="load")
                times.append(page.evaluate(_PAINTED) / 1000)
                page.context.close()
            made[name] = max(times)
        browser.close()
    return made


_PAINTED = """() => new Promise(done => requestAnimationFrame(() => setTimeout(() => {
    const paints = performance.getEntriesByType("paint").map(one => one.startTime);
    done(Math.max(performance.now(), ...paints));
})))"""


def memory_mb(pid: int) -> float:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def table(found: dict, asked: argparse.Namespace) -> str:
    lines = [
        f"{asked.streams:,} streams, {asked.cycles} cycles, store {found['store_mb']:.0f} MB; "
        f"{found['cores']} cores, load {found['load']:.1f}; {found['rss_mb']:.0f} MB of memory.",
        "",
        "| page | server p50 | p95 | first look | drawn | weight, compressed |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in found["pages"].items():
        lines.append(
            f"| {name} | {one['p50'] * 1000:.0f} ms | {one['p95'] * 1000:.0f} ms | "
            f"{one['first'] * 1000:.0f} ms | {found['drawn'][name]:.2f} s | {one['kb']:.0f} kB |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
