"""The reading room: what the store holds, ready to be listed.

Takes the store and the live agent, gives streams, cycles and their evidence as columns. What a
revision of a cycle says never changes, so the last ones that were read are kept.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.agent.cycle import monitor_of
from mlma.domain.ledger import ABSENT, CycleInfo, OpenRequest, unpacked
from mlma.domain.periods import Periods
from mlma.domain.settings import MLMA, policy_from
from mlma.domain.verdicts import Evidence
from mlma.library.result import evidence_frame
from mlma.ports.store import Store
from mlma.steps.show import shown
from mlma.web.stream_sheet import StreamSheet, sheet_of

Ints = NDArray[np.int64]

_KEPT = 2
_HEADS_KEPT = 6
_MOST_CHUNKS = 64
_AT_ONCE = 1000
_FIGURES = ("forecasts", "benchmark", "version", "age")


@dataclass(frozen=True)
class CycleView:
    """One revision of a cycle.

    rows
        ``(n,) int64``, rows of the registry, ascending; only of streams that were in the cycle.
    records
        ``(n,)`` of dtype `EVIDENCE`.
    """

    info: CycleInfo
    rows: Ints
    records: NDArray[np.void]

    @property
    def key(self) -> tuple[int, int]:
        """Number of the cycle, and its revision."""
        return self.info.cycle, self.info.revision

    @cached_property
    def evidence(self) -> Evidence:
        """What was seen and decided."""
        return shown(unpacked(self.records), monitor_of(policy_from(self.info.policy)))

    def frame(self, at: Ints) -> pl.DataFrame:
        """Return some of its entries in the columns of the library's frames."""
        level = monitor_of(policy_from(self.info.policy)).level
        return evidence_frame(self.evidence, at, level).with_columns(
            pl.Series(name, self.records[name][at]) for name in _FIGURES
        )

    def at(self, rows: Ints) -> Ints:
        """Return the entry of each stream, ``(n,) int64``; -1 = it was not in the cycle."""
        if not len(self.rows):
            return np.full(len(rows), -1)
        found = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.where(self.rows[found] == rows, found, -1)


class ReadingRoom:
    """Reads the store for those who list it; any thread may ask."""

    def __init__(self, store: Store, periods: Periods) -> None:
        self.store, self.periods = store, periods
        self._names = pl.Series("unique_id", [], dtype=pl.String)
        self._tags: dict[str, dict[str, str]] = {}
        self._actions = 0
        self._sheet: StreamSheet | None = None
        self._heads: OrderedDict[tuple[int, int, int], list[CycleInfo]] = OrderedDict()
        self._views: OrderedDict[tuple[int, int], CycleView] = OrderedDict()
        self._lock = Lock()

    def names(self) -> pl.Series:
        """Return the names of all streams, in the order of their rows."""
        with self._lock:
            new = self.store.streams(len(self._names))
            if new:
                more = pl.Series("unique_id", new, dtype=pl.String)
                rechunk = self._names.n_chunks() > _MOST_CHUNKS
                self._names = pl.concat([self._names, more], rechunk=rechunk)
            return self._names

    def tags(self) -> dict[str, dict[str, str]]:
        """Return the values of each tag by stream, as they were last told."""
        with self._lock:
            start = self._actions + 1
            while new := self.store.actions(kind="tags", start=start, limit=_AT_ONCE):
                start = new[-1].number + 1
                for action in new:
                    self._tags = _laid_over(self._tags, action.payload["tags"])
            self._actions = start - 1
            return self._tags

    def row(self, unique_id: str) -> int | None:
        """Return the row of a stream; None = there is none of this name."""
        names = self.names()
        return None if (found := names.index_of(unique_id)) is None else int(found)

    def newest_heads(self, limit: int) -> list[CycleInfo]:
        """Return the newest heads, oldest first.

        A batch that is judged anew takes all later ones with it, so that nothing has changed while
        the newest head is the same.
        """
        newest = self.newest()
        if newest is None:
            return []
        key = (newest.cycle, newest.revision, limit)
        with self._lock:
            if key not in self._heads:
                self._heads[key] = self.store.cycles(newest_first=True, limit=limit)[::-1]
                while len(self._heads) > _HEADS_KEPT:
                    self._heads.popitem(last=False)
            return self._heads[key]

    def newest(self) -> CycleInfo | None:
        """Return the head of the newest cycle; None = there was none yet."""
        return next(iter(self.store.cycles(newest_first=True, limit=1)), None)

    def info(self, cycle: int, revision: int | None = None) -> CycleInfo | None:
        """Return the head of a cycle; None = there is none."""
        heads = self.store.cycles(first=cycle, last=cycle, revisions=revision is not None)
        wanted = [head for head in heads if revision in {None, head.revision}]
        return wanted[-1] if wanted else None

    def heads(self, cycles: Ints) -> list[CycleInfo]:
        """Return the newest heads of some cycles, ascending."""
        if not len(cycles):
            return []
        wanted = set(cycles.tolist())
        heads = self.store.cycles(first=min(wanted), last=max(wanted))
        return [head for head in heads if head.cycle in wanted]

    def open_requests(self) -> dict[str, OpenRequest]:
        """Return the requests that are not answered yet, by stream."""
        outstanding = self.store.requests(status=("open", "claimed"))
        return {one.request.unique_id: one for _, one in outstanding}

    def view(self, info: CycleInfo) -> CycleView:
        """Return a revision of a cycle."""
        key = (info.cycle, info.revision)
        with self._lock:
            if key not in self._views:
                rows, records = self.store.evidence(*key)
                there = records["n"] != ABSENT
                self._views[key] = CycleView(info, rows[there], records[there])
                while len(self._views) > _KEPT:
                    self._views.popitem(last=False)
            self._views.move_to_end(key)
            return self._views[key]

    def newest_view(self) -> CycleView | None:
        """Return the newest cycle; None = there was none yet."""
        info = self.newest()
        return None if info is None else self.view(info)

    def sheet(self) -> "StreamSheet":
        """Return all streams as the newest cycle left them, ready to be filtered and sorted."""
        view, names, tags = self.newest_view(), self.names(), self.tags()
        key = (None if view is None else view.key, len(names), self._actions)
        sheet = self._sheet
        if sheet is None or sheet.key != key:
            sheet = self._sheet = sheet_of(key, view, names, tags)
        return sheet

    def starts(self, cycles: list[CycleInfo]) -> pl.Series:
        """Return the starts of the batches of some cycles: in UTC where the grid has a zone."""
        made = [self.periods.start(info.period) for info in cycles]
        told = pl.Series("ds", np.array(made, dtype="datetime64[us]"), dtype=pl.Datetime("us"))
        return told if self.periods.zone is None else told.dt.replace_time_zone("UTC")


def _laid_over(
    old: dict[str, dict[str, str]], new: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Return tags with new values; who reads the old ones keeps them."""
    return {**old, **{name: {**old.get(name, {}), **values} for name, values in new.items()}}


def history_frame(
    records: NDArray[np.void], policies: list[str], fallback: str = "mlma"
) -> pl.DataFrame:
    """Return the records of one stream, one per cycle, in the columns of `CycleView.frame`.

    ``policies`` are those of the cycles. What is adjusted across the streams of a cycle cannot be
    told from one stream: ``p_adjusted`` is null, and ``p_evidence`` where it is adjusted.
    """
    frames, kept = [], []
    texts = np.array([policy or fallback for policy in policies], dtype=object)
    for text in dict.fromkeys(texts.tolist()):
        at = np.flatnonzero(texts == text)
        monitor = monitor_of(policy_from(text))
        frames.append(_alone(records[at], monitor))
        kept.append(at)
    if not frames:
        return _alone(records, MLMA())
    order = np.argsort(np.concatenate(kept), kind="stable")
    return pl.concat(frames)[order]


def _alone(records: NDArray[np.void], monitor: MLMA) -> pl.DataFrame:
    whole = np.arange(len(records), dtype=np.int64)
    frame = evidence_frame(shown(unpacked(records), monitor), whole, monitor.level)
    unknown = ["p_adjusted"]
    if monitor.accumulate == "none" or monitor.false_retrainings is None:
        unknown.append("p_evidence")
    return frame.with_columns(
        *(pl.lit(None, dtype=pl.Float64).alias(name) for name in unknown),
        *(pl.Series(name, records[name]) for name in _FIGURES),
    )
