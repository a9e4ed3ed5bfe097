"""Judging: what was read of one period becomes an entry of the ledger and a new memory.

New cycles, cycles that are opened again, and the proof of the ledger all go through here. The
streams of a cycle are judged in the order of their names, so that no result depends on the order in
which they were registered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.agent.cycle import Cycled
from mlma.agent.groups import policy_groups
from mlma.agent.noting import OrderBook, Streams, noted
from mlma.agent.past import Past
from mlma.agent.watch import Memory, Watch
from mlma.domain.batches import LossBatch
from mlma.domain.groups import Groups
from mlma.domain.ledger import CycleEntry, CycleInfo, Decided, packed
from mlma.domain.verdicts import Decision, Evidence, Reason, Verdict

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LARGEST_SPREAD = 1.0
"""A larger spread says that little is known, not that losses are expected to be high."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a cycle reads: one row per stream that has a forecast in the period; all ``(n,)``.

    rows
        of the registry, ascending.
    n, loss
        pairs and their mean loss; 0 and NaN where too few are there.
    benchmark
        mean loss of the benchmark; NaN = none.
    forecasts
        slots with a forecast.
    calendar
        int8, class of the batch.
    losses
        ``(n, width)`` single losses, where the test reads them.
    """

    rows: Ints
    n: Ints
    loss: Floats
    benchmark: Floats
    forecasts: Ints
    calendar: NDArray[np.int8]
    losses: Floats | None = None

    def taken(self, at: Ints) -> "Inputs":
        """Return some of the rows."""
        return Inputs(
            rows=self.rows[at],
            n=self.n[at],
            loss=self.loss[at],
            benchmark=self.benchmark[at],
            forecasts=self.forecasts[at],
            calendar=self.calendar[at],
            losses=None if self.losses is None else self.losses[at],
        )

    def batch(self) -> LossBatch:
        """Return the loss batch that the cycle reads."""
        if self.losses is not None:
            return LossBatch(self.losses, self.calendar)
        return LossBatch(self.loss[:, None], self.calendar, self.n)


@dataclass(slots=True)
class Registered:
    """Names and tags of the streams, by row of the registry, and what engineers ordered."""

    names: list[str] = field(default_factory=list)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    book: OrderBook = field(default_factory=OrderBook)
    _rank: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _groups: tuple[Any, Groups] | None = None

    def extend(self, names: Sequence[str]) -> None:
        """Take new streams."""
        self.names.extend(names)

    def tag(self, values: Mapping[str, Mapping[str, str]]) -> None:
        """Take tags; a value that a stream already has is replaced."""
        for name, by_stream in values.items():
            self.tags.setdefault(name, {}).update(by_stream)
        self._groups = None

    def in_order(self, rows: Ints) -> Ints:
        """Return the places of ``rows`` in the order of their names."""
        if len(self._rank) != len(self.names):
            order = sorted(range(len(self.names)), key=self.names.__getitem__)
            self._rank = np.empty(len(order), dtype=np.int64)
            self._rank[order] = np.arange(len(order))
        return np.argsort(self._rank[rows], kind="stable")

    def groups(self, seen: Ints, rows: Ints, watch: Watch) -> Groups:
        """Return the groups of ``rows``, made by the streams ``seen`` so far, ascending."""
        key = (len(seen), hash(seen.tobytes()), watch.policy)
        if self._groups is None or self._groups[0] != key:
            names = [self.names[row] for row in seen] if self.tags else []
            tags = {name: tuple(of.get(one) for one in names) for name, of in self.tags.items()}
            self._groups = key, policy_groups(tags, len(seen), watch.monitor)
        return self._groups[1].rows(np.searchsorted(seen, rows))


def judged(
    memory: Memory,
    inputs: Inputs,
    info: CycleInfo,
    watch: Watch,
    registered: Registered,
    *,
    past: Past,
    before: CycleEntry | None = None,
    in_words: bool = True,
) -> tuple[Memory, CycleEntry]:
    """Return the memory after a cycle and its entry; ``before`` is the revision before, if any.

    ``in_words`` False = the entry has no list of what was decided: nobody writes it.

    What engineers ordered and said is that of ``registered.book``.

    Of ``info`` is taken what is known beforehand; counts, findings and audit join its summary.
    """
    known = watch.known(memory, registered.names[len(memory.row) :])
    by_name = inputs.taken(registered.in_order(inputs.rows))
    seen = np.union1d(np.flatnonzero(known.state.cycle > 0), inputs.rows)
    streams = Streams(by_name.rows, registered.names, known.row, registered.tags)
    told = noted(registered.book, streams, info, past)
    if told.anew.any():
        known = watch.started_anew(known, by_name.rows[told.anew])
    after, cycled = watch.cycle(
        known,
        by_name.rows,
        by_name.batch(),
        registered.groups(seen, by_name.rows, watch),
        benchmark=by_name.benchmark,
        said=told.said,
    )
    back = np.argsort(by_name.rows, kind="stable")
    shown = cycled.evidence
    written = replace(
        info,
        streams=len(inputs.rows),
        policy=watch.policy.full_label,
        seed=watch.seed,
        summary={
            **info.summary,
            **_counts(shown),
            **_fleet(cycled),
            "fleet": _means(shown, by_name.benchmark, after.state.age[by_name.rows], told.broken),
        },
    )
    decided = tuple(_decided(shown, back, inputs.rows, info, before)) if in_words else ()
    evidence = _evidence(cycled, by_name)
    if told.said.excluded is not None:
        evidence["excluded"] = told.said.excluded
    evidence = evidence[back]
    return after, CycleEntry(written, inputs.rows, evidence, decided, inputs.losses)


def _evidence(cycled: Cycled, inputs: Inputs) -> NDArray[np.void]:
    """Return the records of a cycle; what was read is kept to the bit."""
    evidence = packed(
        cycled.record,
        benchmark=inputs.benchmark,
        forecasts=inputs.forecasts,
        calendar=inputs.calendar,
        age=cycled.state.age,
        version=cycled.state.version,
    )
    evidence["n"], evidence["loss"] = inputs.n, inputs.loss
    return evidence


def _counts(shown: Evidence) -> dict[str, Any]:
    verdicts = np.bincount(shown.verdict, minlength=len(Verdict))
    decisions = np.bincount(shown.decision, minlength=len(Decision))
    return {
        "verdicts": {one.label: int(verdicts[one]) for one in Verdict},
        "decisions": {one.label: int(decisions[one]) for one in Decision},
        "alarms": int(shown.alarm.sum()),
    }


def _means(
    shown: Evidence, benchmark: Floats, age: NDArray[np.int32], broken: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return figures of the fleet: means over streams that were told and are not broken.

    References are means of logs; what they expect of a mean loss is higher by half the variance.
    """
    spread = np.minimum(np.nan_to_num(shown.spread), LARGEST_SPREAD)
    expected = shown.reference_loss * np.exp(spread**2 / 2)
    told = np.isfinite(shown.loss) & np.isfinite(shown.reference_loss) & ~broken
    hard = told & np.isfinite(benchmark)
    if not told.any():
        return {"streams": 0, "age": None}
    return {
        "loss": number_or_none(shown.loss[told].mean()),
        "reference_loss": number_or_none(expected[told].mean()),
        "benchmark": number_or_none(benchmark[hard].mean()) if hard.any() else None,
        "benchmarked_loss": number_or_none(shown.loss[hard].mean()) if hard.any() else None,
        "streams": int(told.sum()),
        "age": int(np.median(age)),
    }


def _fleet(cycled: Cycled) -> dict[str, Any]:
    audit = {
        name: value.tolist() if isinstance(value, np.ndarray) else float(value)
        for name, value in asdict(cycled.fleet.audit).items()
    }
    findings = [_plain(asdict(one)) for one in cycled.findings]
    return {"findings": findings, "audit": audit}


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    return {
        name: number_or_none(value) if isinstance(value, float) else value
        for name, value in found.items()
    }


def _decided(
    shown: Evidence, back: Ints, rows: Ints, info: CycleInfo, before: CycleEntry | None
) -> list[Decided]:
    """Return the streams that somebody may want to see, ascending."""
    verdict, decision = shown.verdict[back], shown.decision[back]
    wanted = (decision != Decision.KEEP) | np.isin(verdict, (Verdict.DEGRADED, Verdict.IMPROVED))
    former = np.full(len(rows), -1, dtype=np.int64)
    if before is not None:
        was = before.evidence["verdict"].astype(np.int64) * 16 + before.evidence["decision"]
        place = np.searchsorted(before.streams, rows)
        there = np.isin(rows, before.streams)
        former[there] = was[place[there]]
        wanted |= (former >= 0) & (former != verdict.astype(np.int64) * 16 + decision)
    at = np.flatnonzero(wanted)
    return [
        Decided(
            cycle=info.cycle,
            revision=info.revision,
            stream=int(rows[one]),
            verdict=Verdict(int(verdict[one])).label,
            decision=Decision(int(decision[one])).label,
            reason=Reason(int(shown.reason[back[one]])).label,
            loss=number_or_none(shown.loss[back[one]]),
            effect=number_or_none(shown.effect[back[one]]),
            p_value=number_or_none(shown.p_value[back[one]]),
            before=_words(int(former[one])),
        )
        for one in at
    ]


def number_or_none(value: Any) -> float | None:
    """Return a number as JSON knows it; None = not finite."""
    single = float(value)
    return single if isfinite(single) else None


def _words(code: int) -> str:
    if code < 0:
        return ""
    return f"{Verdict(code // 16).label}/{Decision(code % 16).label}"


def recorded(entry: CycleEntry) -> Inputs:
    """Return what a cycle read, out of the ledger."""
    made = entry.evidence
    return Inputs(
        rows=entry.streams,
        n=made["n"].astype(np.int64),
        loss=made["loss"].copy(),
        benchmark=made["benchmark"].copy(),
        forecasts=made["forecasts"].astype(np.int64),
        calendar=made["calendar"].copy(),
        losses=entry.losses,
    )


def with_pending(memory: Memory, at: Ints, pending: bool) -> Memory:
    """Return the memory with re-trainings of some streams asked for, or not any more."""
    asked = memory.state.pending.copy()
    asked[at] = pending
    return replace(memory, state=replace(memory.state, pending=asked))
