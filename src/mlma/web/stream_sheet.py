"""Sheets: all streams as one cycle left them, in columns that a page sorts and filters.

Takes the records of a cycle, the names and the tags of the streams; made once for a revision, since
what it says never changes. No step goes stream by stream: there may be 100,000.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.domain.errors import unknown_name
from mlma.domain.selectors import Selector
from mlma.domain.verdicts import Decision, Reason, Verdict

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_KEPT = 8
NUMBERS = ("loss", "reference", "effect", "stake", "complete", "age", "version")
"""Columns of numbers: sorted from the largest down unless asked otherwise."""


class Seen(Protocol):
    """The streams of a cycle: rows of the registry and their records."""

    @property
    def rows(self) -> Ints:
        """``(n,) int64``, ascending."""
        ...

    @property
    def records(self) -> NDArray[np.void]:
        """``(n,)`` of dtype `EVIDENCE`."""
        ...


@dataclass(frozen=True)
class StreamSheet:
    """One row per stream of the registry.

    key
        what it was made of: the revision of the cycle, how many streams, and which tags.
    frame
        ``unique_id``, ``verdict``, ``decision``, ``reason`` (null = not in the cycle), ``loss``,
        ``reference``, ``effect``, ``stake`` (by how much the losses of the batch exceed the
        reference, added up; 0 where they do not), ``complete`` (share of the forecasts that have an
        actual), ``age``, ``version``.
    tags
        values by stream, a column for each name of a tag.
    """

    key: Any
    frame: pl.DataFrame
    tags: pl.DataFrame
    _lower: pl.Series
    _orders: OrderedDict[tuple[str, bool], Ints] = field(default_factory=OrderedDict)
    _values: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self.frame)

    def fitting(self, selector: Selector, verdict: str = "") -> Bools:
        """Return which streams fit, ``(n_streams,) bool``.

        Raises
        ------
        SettingsError
            No stream has a tag of this name.
        """
        fits = np.ones(len(self.frame), dtype=np.bool_)
        if selector.search:
            found = self._lower.str.contains(selector.search.lower(), literal=True)
            fits &= found.to_numpy()
        for tag in selector.tags:
            name, _, value = tag.partition("=")
            if name not in self.tags.columns:
                raise unknown_name("tag", name, self.tags.columns)
            fits &= (self.tags[name] == value).fill_null(value=False).to_numpy()
        if selector.unique_ids:
            wanted = pl.Series(selector.unique_ids, dtype=pl.String)
            fits &= self.frame["unique_id"].is_in(wanted.implode()).to_numpy()
        if verdict:
            fits &= (self.frame["verdict"] == verdict).fill_null(value=False).to_numpy()
        return fits

    def ordered(self, fits: Bools, by: str, *, descending: bool) -> Ints:
        """Return the rows that fit, sorted by a column or a tag, what is not known at the end."""
        order = self._order(by, descending)
        return order[fits[order]]

    def _order(self, by: str, descending: bool) -> Ints:
        with self._lock:
            if (by, descending) not in self._orders:
                told = (
                    self.frame[by]
                    if by in self.frame.columns
                    else self.tags[by.removeprefix("tag.")]
                )
                made = told.arg_sort(descending=descending, nulls_last=True)
                self._orders[by, descending] = made.to_numpy().astype(np.int64)
                while len(self._orders) > _KEPT:
                    self._orders.popitem(last=False)
            self._orders.move_to_end((by, descending))
            return self._orders[by, descending]

    def tag_values(self, most: int = 200) -> list[str]:
        """Return tags as ``name=value``, the most frequent first, at most ``most`` of them."""
        with self._lock:
            if not self._values:
                for name in self.tags.columns:
                    counts = self.tags[name].drop_nulls().value_counts(sort=True)
                    self._values.extend(f"{name}={value}" for value in counts[name].head(most))
            return self._values[:most]

    def columns(self) -> list[str]:
        """Return what it can be sorted by."""
        return [*self.frame.columns, *(f"tag.{name}" for name in self.tags.columns)]

    def rows(self, at: Ints) -> pl.DataFrame:
        """Return some rows with their tags."""
        if not self.tags.width:
            return self.frame[at]
        told = self.tags[at].rename({name: f"tag.{name}" for name in self.tags.columns})
        return pl.concat([self.frame[at], told], how="horizontal")


def sheet_of(
    key: Any, view: Seen | None, names: pl.Series, tags: Mapping[str, Mapping[str, str]]
) -> StreamSheet:
    """Return the sheet of a cycle; None = there was none yet."""
    n = len(names)
    frame = pl.DataFrame({"unique_id": names}).with_columns(_columns(view, n))
    ids = pl.DataFrame({"unique_id": names})
    made = [_tag(ids, of).alias(name) for name, of in sorted(tags.items())]
    return StreamSheet(key, frame, pl.DataFrame(made), names.str.to_lowercase())


def _tag(ids: pl.DataFrame, values: Mapping[str, str]) -> pl.Series:
    told = pl.DataFrame(
        {"unique_id": list(values), "value": list(values.values())},
        schema={"unique_id": pl.String, "value": pl.String},
    )
    return ids.join(told, on="unique_id", how="left", maintain_order="left")["value"]


def _columns(view: Seen | None, n: int) -> list[pl.Series]:
    if view is None:
        rows, records = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=_NOTHING)
    else:
        there = view.rows < n  # a stream may have joined after the names were read
        rows, records = view.rows[there], view.records[there]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        reference = np.exp(records["reference_log"].astype(np.float64))
        effect = np.where(reference > 0, records["loss"] / reference - 1, np.nan)
        stake = np.fmax(records["loss"] - reference, 0.0) * records["n"]
        complete = records["n"] / np.where(records["forecasts"] > 0, records["forecasts"], np.nan)
    numbers = {"loss": records["loss"], "reference": reference, "effect": effect}
    numbers |= {"stake": stake, "complete": complete}
    return [
        _spread("verdict", rows, records["verdict"], n, [one.label for one in Verdict]),
        _spread("decision", rows, records["decision"], n, [one.label for one in Decision]),
        _spread("reason", rows, records["reason"], n, [one.label for one in Reason]),
        *(_number(name, rows, values, n) for name, values in numbers.items()),
        _whole("age", rows, records["age"], n),
        _whole("version", rows, records["version"], n),
    ]


_NOTHING = np.dtype(
    [
        *((name, "<f8") for name in ("loss", "reference_log")),
        *((name, "<i4") for name in ("n", "forecasts", "age", "version")),
        *((name, "i1") for name in ("verdict", "decision", "reason")),
    ]
)


def _spread(
    name: str, rows: Ints, codes: NDArray[np.int8], n: int, words: Sequence[str]
) -> pl.Series:
    """Return codes as words, one per stream; null where a stream was not in the cycle."""
    wide = np.full(n, len(words), dtype=np.uint32)
    wide[rows] = codes
    return pl.Series(name, [*words, None], dtype=pl.String).gather(wide).cast(pl.Enum(words))


def _number(name: str, rows: Ints, values: NDArray[Any], n: int) -> pl.Series:
    wide = np.full(n, np.nan)
    wide[rows] = values
    return pl.Series(name, wide).fill_nan(None)


def _whole(name: str, rows: Ints, values: NDArray[np.int32], n: int) -> pl.Series:
    wide = np.full(n, -1, dtype=np.int64)
    wide[rows] = values
    told = pl.Series(name, wide)
    return told.set(told < 0, None)
