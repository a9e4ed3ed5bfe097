"""Checks: what a store holds after a history, beside what was promised and what a calm run left.

Takes a store that nobody writes any more, what was acknowledged and what was received, gives what
is wrong.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from faults.histories import Body
from faults.receiver import Receiver
from live_agents import asked, ledger
from mlma.adapters.store import open_store
from mlma.agent.recomputing import read_entry
from mlma.agent.verification import verified
from mlma.domain.inbox import KINDS, NO_CUTOFF
from mlma.domain.live import LiveSettings
from mlma.ports import Store
from mlma.service.settings import Settings

Row = tuple[str, str, int, int, float, int]
"""Kind, stream, period, place, value, cutoff."""


@dataclass(frozen=True)
class Account:
    """What a store holds in the end.

    ledger
        newest evidence by period and stream, as bytes.
    counts
        forecasts and pairs by period and stream.
    cycles
        cycle, revision and period of every entry that is kept.
    """

    ledger: dict[tuple[int, str], bytes]
    counts: dict[tuple[int, str], tuple[int, int]]
    cycles: list[tuple[int, int, int]]
    asked: list[tuple[str, int, int, str]]
    actions: list[tuple[str, tuple[str, ...], int | None]]
    decided: list[tuple[Any, ...]]
    events: dict[str, str]
    versions: dict[str, int]
    inbox: frozenset[Row]
    unverified: list[str]


@dataclass
class Verdict:
    """What is wrong after a history; all zero and true where the promise was kept."""

    acknowledged: int = 0
    lost: int = 0
    twice: int = 0
    missing: int = 0
    equal: bool = True
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the promise was kept."""
        return not self.problems and self.equal and not (self.lost or self.twice or self.missing)


def account(settings: Settings) -> Account:
    """Return what the store of a server holds."""
    live = settings.live()
    store = open_store(settings.store.url.get_secret_value())
    try:
        return _account(store, live)
    finally:
        store.close()


def _account(store: Store, live: LiveSettings) -> Account:
    names = store.streams()
    counts = {}
    for info in store.cycles():
        entry = read_entry(store, info.cycle)
        for row, record in zip(entry.streams.tolist(), entry.evidence, strict=True):
            counts[info.period, names[row]] = int(record["forecasts"]), int(record["n"])
    snapshot = store.snapshot()
    version = [] if snapshot is None else snapshot.columns["stream.version"].tolist()
    return Account(
        ledger=ledger(store),
        counts=counts,
        cycles=[(one.cycle, one.revision, one.period) for one in store.cycles(revisions=True)],
        asked=asked(store),
        actions=[
            (one.kind, tuple(one.payload.get("unique_ids", ())), one.cycle)
            for one in store.actions()
        ],
        decided=sorted(
            (one.cycle, one.revision, names[one.stream], one.verdict, one.decision, one.reason)
            for _, one in store.decided()
        ),
        events={
            one.event.id: one.status
            for one in store.deliveries()
            if not one.error.startswith("left out")  # a kind that the receiver did not ask for
        },
        versions=dict(zip(names, version, strict=False)),
        inbox=_inbox(store, names),
        unverified=_unverified(store, live),
    )


def _inbox(store: Store, names: list[str]) -> frozenset[Row]:
    found: set[Row] = set()
    for period in store.periods():
        for kind in KINDS:
            for parcel in store.parcels(kind, period):
                rows = parcel.rows
                cutoff = rows.cutoff if rows.cutoff is not None else np.full(len(rows), NO_CUTOFF)
                found.update(
                    (kind, names[stream], period, place, value, made)
                    for stream, place, value, made in zip(
                        rows.stream.tolist(),
                        rows.place.tolist(),
                        rows.value.tolist(),
                        cutoff.tolist(),
                        strict=True,
                    )
                )
    return frozenset(found)


def _unverified(store: Store, live: LiveSettings) -> list[str]:
    return [
        f"cycle {one.cycle}.{one.revision} comes out differently: {one.columns}"
        for one in verified(store, live)
        if not one.holds
    ]


def verdict(
    made: Account, calm: Account, bodies: list[Body], received: Receiver | None, live: LiveSettings
) -> Verdict:
    """Return what is wrong with a store after a history that was disturbed."""
    found = Verdict()
    _check_rows(found, made, bodies, live)
    _check_cycles(found, made, calm)
    _check_versions(found, made, calm)
    if received is not None:
        _check_events(found, made, calm, received)
    found.problems += made.unverified
    found.equal = made.ledger == calm.ledger
    if not found.equal:
        apart = [key for key in calm.ledger if made.ledger.get(key) != calm.ledger[key]]
        found.problems.append(
            f"the ledger differs in {len(apart)} records, first {sorted(apart)[:3]}"
        )
    if made.decided != calm.decided:
        apart_ones = sorted(set(made.decided) ^ set(calm.decided))
        found.problems.append(f"decisions differ: {apart_ones[:4]}")
    return found


def _check_rows(found: Verdict, made: Account, bodies: list[Body], live: LiveSettings) -> None:
    """Every acknowledged row is in the inbox, or its batch was judged with it."""
    sent: set[Row] = set()
    for body in bodies:
        sent |= _rows_of(body, live)
    found.acknowledged = len(sent)
    slots: dict[tuple[int, str], tuple[set[int], set[int]]] = {}
    for kind, name, period, place, _, _ in sent:
        pair = slots.setdefault((period, name), (set(), set()))
        pair[kind == "actuals"].add(place)
    judged_rightly = {
        key
        for key, (forecasts, actuals) in slots.items()
        if made.counts.get(key) == (len(forecasts), len(forecasts & actuals))
    }
    wrong = sorted(slots.keys() - judged_rightly)
    if wrong:
        found.missing += len(wrong)
        told = [(key, made.counts.get(key)) for key in wrong[:3]]
        found.problems.append(f"{len(wrong)} batches were not judged with all rows: {told}")
    kept = {period for _, _, period, _, _, _ in made.inbox}
    lost = [
        row for row in sent - made.inbox if row[2] in kept or (row[2], row[1]) not in judged_rightly
    ]
    if lost:
        found.lost = len(lost)
        found.problems.append(f"{len(lost)} acknowledged rows are lost: {sorted(lost)[:3]}")
    invented = made.inbox - sent
    if invented:
        found.problems.append(f"{len(invented)} rows were never sent: {sorted(invented)[:3]}")


def _rows_of(body: Body, live: LiveSettings) -> set[Row]:
    rows = body.rows
    period, place = live.periods.locate(rows["ds"].to_numpy().astype("datetime64[us]"))
    cutoff = [NO_CUTOFF] * len(rows)
    if "cutoff" in rows.columns:
        cutoff = rows["cutoff"].cast(pl.Int64).to_list()
    value = rows["y_hat" if body.kind == "forecasts" else "y"].to_list()
    ids = rows["unique_id"].to_list()
    return set(
        zip(
            [body.kind] * len(rows),
            ids,
            period.tolist(),
            place.tolist(),
            value,
            cutoff,
            strict=True,
        )
    )


def _check_cycles(found: Verdict, made: Account, calm: Account) -> None:
    twice = len(made.cycles) - len({(cycle, revision) for cycle, revision, _ in made.cycles})
    periods = Counter(period for period in {(c, p) for c, _, p in made.cycles})
    of_period = Counter(period for _, period in periods)
    twice += sum(count - 1 for count in of_period.values())
    if twice:
        found.twice += twice
        found.problems.append(f"{twice} cycles were written twice")
    numbers = sorted({cycle for cycle, _, _ in made.cycles})
    if numbers != list(range(1, len(numbers) + 1)):
        found.problems.append(f"the numbers of the cycles have holes: {numbers}")
    absent = calm.ledger.keys() - made.ledger.keys()
    if absent:
        found.missing += len(absent)
        found.problems.append(f"{len(absent)} records are missing: {sorted(absent)[:3]}")
    if made.ledger.keys() - calm.ledger.keys():
        found.problems.append("there are records that a calm run has not")


def _check_versions(found: Verdict, made: Account, calm: Account) -> None:
    """A request is made once and closed once; its version goes live once."""
    done = Counter((name, version) for name, version, _, status in made.asked if status == "done")
    again = [key for key, count in done.items() if count > 1]
    for kind, status in (("deployed", "done"), ("failed", "failed")):
        acted = Counter(name for what, names, _ in made.actions if what == kind for name in names)
        closed = Counter(name for name, _, _, what in made.asked if what == status)
        again += [(kind, name) for name in acted if acted[name] > closed[name]]
        short = [name for name in closed if acted[name] < closed[name]]
        if short:
            found.missing += len(short)
            found.problems.append(f"requests are {status} without an action: {short}")
    if again:
        found.twice += len(again)
        found.problems.append(f"requested or deployed twice: {again[:4]}")
    still = [one for one in made.asked if one[3] in ("open", "claimed")]
    if still:
        found.problems.append(f"requests are open in the end: {still}")
    if made.asked != calm.asked:
        apart = sorted(set(made.asked) ^ set(calm.asked))
        found.problems.append(f"requests differ: {apart[:4]}")
    if made.versions != calm.versions:
        found.problems.append("versions differ")


def _check_events(found: Verdict, made: Account, calm: Account, received: Receiver) -> None:
    """Every event arrives at least once, always with the same words under the same id."""
    lost = [key for key in made.events if key not in received.bodies]
    undelivered = [key for key, status in made.events.items() if status != "delivered"]
    if lost or undelivered:
        found.missing += len(lost)
        found.problems.append(f"{len(lost)} events are lost, {len(undelivered)} not delivered")
    changed = [key for key, bodies in received.bodies.items() if len(bodies) > 1]
    if changed:
        found.problems.append(f"{len(changed)} ids came with different words")
    strange = received.bodies.keys() - made.events.keys()
    if strange:
        found.problems.append(f"{len(strange)} messages are of no event of the store")
    if made.events.keys() != calm.events.keys():
        apart = len(made.events.keys() ^ calm.events.keys())
        found.problems.append(f"{apart} events differ from those of a calm run")
