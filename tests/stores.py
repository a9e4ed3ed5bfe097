"""Places where a store can be, things to put into it, and calls at the same moment."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

import postgres
from mlma.adapters.store import open_store
from mlma.adapters.store.sql_store import SQLStore
from mlma.domain.errors import StoreError
from mlma.domain.inbox import Kind, Parcel, Rows
from mlma.domain.ledger import EVIDENCE, Commit, CycleEntry, CycleInfo, Decided, Snapshot
from mlma.domain.requests import RetrainingRequest

SHARED = ("sqlite", "postgresql")
KINDS = ("memory", *SHARED)
NOW = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass
class Place:
    """A database that several stores may open."""

    kind: str
    url: str
    stack: ExitStack = field(default_factory=ExitStack)

    def open(self, **settings: Any) -> SQLStore:
        """Open a store; it is closed at the end of the test."""
        store = open_store(self.url, **settings)
        self.stack.callback(store.close)
        return store


@contextmanager
def place_of(kind: str, folder: Path) -> Iterator[Place]:
    """Lend a place with nothing in it."""
    with ExitStack() as stack:
        if kind == "postgresql":
            url = stack.enter_context(postgres.database())
        else:
            url = "memory://" if kind == "memory" else f"sqlite:///{folder / 'store.db'}"
        yield Place(kind, url, stack.enter_context(ExitStack()))


def rows(*values: float, stream: int = 0, cutoff: int | None = None) -> Rows:
    """Return rows of one stream, at the places 0, 1, ..."""
    n = len(values)
    made = np.full(n, cutoff, dtype=np.int64) if cutoff is not None else None
    return Rows(
        np.full(n, stream, dtype=np.int32),
        np.arange(n, dtype=np.int32),
        np.array(values, dtype=np.float64),
        made,
    )


def parcel(*values: float, period: int = 10, kind: Kind = "actuals", **settings: Any) -> Parcel:
    """Return a parcel of one stream."""
    return Parcel(kind, period, rows(*values, **settings))


def evidence(n: int, seed: int = 0) -> np.ndarray:
    """Return records whose every field holds something, NaN and infinities among it."""
    draw = np.random.default_rng(seed)
    made = np.zeros(n, dtype=EVIDENCE)
    for name in EVIDENCE.names or ():
        kind = EVIDENCE[name]
        if kind.kind == "f":
            made[name] = draw.choice([np.nan, np.inf, -np.inf, -0.0, 0.1, 1e-30], n)
        else:
            made[name] = draw.integers(0, 100, n)
    return made


def entry(
    cycle: int, revision: int = 0, *, streams: Any = (0, 1, 2), period: int = 0, **settings: Any
) -> CycleEntry:
    """Return a cycle of period ``cycle + 100``; ``settings`` go to its head or beside it."""
    rows_of = np.asarray(streams, dtype=np.int64)
    beside = {key: settings.pop(key) for key in ("decided", "losses") if key in settings}
    records = settings.pop("evidence", evidence(len(rows_of), seed=cycle * 10 + revision))
    head = {
        "judged_at": NOW + cycle * timedelta(days=1),
        "through": cycle,
        "closed": "complete" if not revision else "revised",
        "policy": "mlma",
        "seed": 7,
        "summary": {"healthy": 2, "share": 0.5, "words": "ü"},
    }
    info = CycleInfo(
        cycle=cycle,
        revision=revision,
        period=period or cycle + 100,
        streams=len(rows_of),
        **{**head, **settings},
    )
    return CycleEntry(info, rows_of, records, **beside)


def commit(*entries: CycleEntry, **settings: Any) -> Commit:
    """Return a commit whose snapshot is of its last cycle."""
    cycle = entries[-1].info.cycle if entries else 0
    columns = {"stream.level": np.array([cycle / 3, np.nan]), "stream.age": np.array([1, 2])}
    snapshot = settings.pop("snapshot", Snapshot(cycle, {"cycle": cycle}, columns))
    return Commit(entries, snapshot, **settings)


def decided(stream: int, cycle: int = 1, revision: int = 0, **settings: Any) -> Decided:
    """Return a decision to re-train."""
    values = {"loss": 1.5, "effect": 0.25, "p_value": 1e-300, **settings}
    words = {"verdict": "degraded", "decision": "retrain", "reason": "loss above the reference"}
    return Decided(cycle=cycle, revision=revision, stream=stream, **{**words, **values})


def asked(name: str, cycle: int = 1) -> RetrainingRequest:
    """Return a request for a stream; its id is its name."""
    return RetrainingRequest(
        id=name,
        unique_id=f"stream {name}",
        reason="loss above the reference",
        version=3,
        cycle=cycle,
        asked_at=NOW,
        evidence={"effect": 0.2, "n": 96, "verdict": "degraded", "none": None, "alarm": True},
    )


def same(first: np.ndarray, second: np.ndarray) -> bool:
    """Tell whether arrays are the same to the bit, in dtype and shape."""
    alike = first.dtype == second.dtype and first.shape == second.shape
    return alike and first.tobytes() == second.tobytes()


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Run calls at the same moment; return what they returned or raised."""
    barrier = threading.Barrier(len(calls))

    def ran(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        except StoreError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(ran, calls))
