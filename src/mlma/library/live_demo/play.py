"""The play: day by day the platform forecasts, learns what came, and hears what the agent thinks.

Takes a plan, a folder and a running server; yields a `Day` after each day. Next is the outcome.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mlma.library.live_demo.history import History
from mlma.library.live_demo.plan import DAY, HISTORY_DAYS, Plan
from mlma.library.live_demo.platform import DeliveryPlatform, Letters
from mlma.library.live_demo.remote import Remote
from mlma.library.live_demo.training import first_fits, model_store, put_live
from mlma.ports import FittedForecaster

Floats = NDArray[np.float64]

_TAGS = ("city", "vehicle")
_FIRST = "first version"


@dataclass(frozen=True, slots=True)
class Day:
    """What a day brought.

    day
        from 1, of ``days``; ``date`` is the one of the simulation.
    verdicts
        streams per verdict.
    trained, failed
        re-trainings that the agent asked for, by what became of them.
    decided
        decisions of the day, as the interface lists them; the largest effect first.
    findings
        what groups of streams have in common, as the cycle tells it.
    rows, seconds
        rows that were pushed, and how long the day took.
    against_reference, against_never
        loss of the fleet relative to its references, and to the first models; 0.1 = 10 % above.
        NaN = not known yet.
    """

    day: int
    days: int
    date: str
    verdicts: dict[str, int]
    trained: int
    failed: int
    decided: tuple[dict[str, Any], ...]
    findings: tuple[dict[str, Any], ...]
    rows: int
    seconds: float
    against_reference: float
    against_never: float


@dataclass(slots=True)
class Diary:
    """What was played, kept for the outcome.

    live, never
        ``(n_streams, days, slots) float64``, forecasts of the versions that were live, and of the
        first ones.
    decided, findings
        decisions and findings of all days, with the number of their day from 0.
    done, failed
        requests for re-training that were answered, and those whose fit failed, likewise.
    pushed, stored
        rows that were sent, and that the server stored.
    """

    live: Floats
    never: Floats
    decided: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    findings: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    done: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    failed: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    pushed: int = 0
    stored: int = 0
    cycles: int = 0
    seconds: float = 0.0


class Play:
    """A platform and an agent, day by day; `diary` is what is known afterwards.

    ``running`` is told how many re-trainings are open or running, while the platform waits.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        remote: Remote,
        running: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._running = running
        self.plan, self.platform = plan, DeliveryPlatform(plan)
        self._folder, self._remote = folder, remote
        self._history = History(folder)
        shape = (plan.streams, plan.days, self.platform.y.shape[-1])
        self.diary = Diary(np.full(shape, np.nan), np.full(shape, np.nan))

    def days(self) -> Iterator[Day]:
        """Play all days.

        Raises
        ------
        ServerError
            The server refuses something, or ended.
        """
        began = monotonic()
        self._history.append(HISTORY_DAYS - 1, self.platform.history_frame())
        self._begin()
        for day in range(self.plan.days):
            yield self._day(day)
            self.diary.seconds = monotonic() - began
        self._late(self.platform.letters.after(self.plan.all_days - 1))
        self.diary.seconds = monotonic() - began

    def _begin(self) -> None:
        """Train the first models of all streams, and tell the agent what streams there are."""
        fits = first_fits(self.platform.history())
        store = model_store(self._folder)
        names = put_live(store, fits, _FIRST)
        self._first: list[FittedForecaster] = store.load_many(names)
        self._live, self._versions = list(self._first), list(names)
        frame = self.platform.frame
        tags = {tag: dict(frame.select("unique_id", tag).iter_rows()) for tag in _TAGS}
        self._remote.tag(tags)
        daily = [fit.frame().group_by("unique_id", pl.col("ds").dt.truncate("1d")) for fit in fits]
        self._losses = pl.concat([one.agg(pl.col("loss").mean()).sort("ds") for one in daily])

    def _day(self, number: int) -> Day:
        began, day = monotonic(), HISTORY_DAYS + number
        rows = self._push("forecasts", self._forecasts(number))
        if number == 0:  # the streams are known now, and so are their first models
            self._remote.deployed(self._losses, _FIRST)
        rows += self._arrive(day, self.platform.letters.on(day))
        self._remote.set_clock(self.plan.judged_at(day))
        head = self._remote.cycle_of(self.plan.start(day))
        self._remote.fitted(self._running)
        decided = self._remote.decisions(head["cycle"])
        trained, failed = self._take_versions(number)
        self._note(number, head, decided)
        facts = {"decided": decided, "trained": trained, "failed": failed, "rows": rows}
        return self._told(number, head, {**facts, "seconds": monotonic() - began})

    def _forecasts(self, number: int) -> pl.DataFrame:
        """Return the forecasts of a day by the versions that are live."""
        day, diary, everyone = HISTORY_DAYS + number, self.diary, range(self.plan.streams)
        diary.live[:, number] = diary.never[:, number] = self.platform.forecast(
            day, self._live, everyone
        )
        new = [row for row in everyone if self._live[row] is not self._first[row]]
        first = [self._first[row] for row in new]
        diary.never[new, number] = self.platform.forecast(day, first, new)
        return self.platform.forecast_frame(day, diary.live[:, number])

    def _arrive(self, day: int, letters: Letters) -> int:
        """Take actuals, keep them for those who train, and push them."""
        frame = self.platform.arrived(letters)
        self._history.append(day, frame)
        return self._push("actuals", frame)

    def _push(self, kind: str, frame: pl.DataFrame) -> int:
        if not frame.is_empty():
            self.diary.pushed += len(frame)
            self.diary.stored += self._remote.push(kind, frame)
        return len(frame)

    def _take_versions(self, number: int) -> tuple[int, int]:
        """Take what went into production since yesterday; return how many did, and how many not."""
        new = []
        for status, known in (("done", self.diary.done), ("failed", self.diary.failed)):
            rows = [(number, one) for one in self._remote.requests(status)]
            seen = {one["id"] for _, one in known}
            known += [row for row in rows if row[1]["id"] not in seen]
            new.append(len(known) - len(seen))
        names = sorted({one["unique_id"] for at, one in self.diary.done if at == number})
        if names:
            store, tomorrow = model_store(self._folder), HISTORY_DAYS + number + 1
            now = store.production(self.plan.start(tomorrow).replace(tzinfo=None), names)
            versions = [str(now[name].version) for name in names]
            for name, model in zip(names, store.load_many(versions), strict=True):
                self._live[self.platform.rows[name]] = model
        return new[0], new[1]

    def _note(self, number: int, head: dict[str, Any], decided: list[dict[str, Any]]) -> None:
        diary = self.diary
        diary.decided += [(number, one) for one in decided]
        diary.findings += [(number, one) for one in head["summary"].get("findings", ())]
        diary.cycles = head["cycle"]

    def _told(self, number: int, head: dict[str, Any], facts: dict[str, Any]) -> Day:
        summary, decided = head["summary"], facts.pop("decided")
        return Day(
            day=number + 1,
            days=self.plan.days,
            date=f"{self.plan.start(HISTORY_DAYS + number):%Y-%m-%d}",
            verdicts={name: count for name, count in summary["verdicts"].items() if count},
            decided=tuple(sorted(decided, key=lambda one: -(one["effect"] or 0.0))),
            findings=tuple(summary.get("findings", ())),
            against_reference=_against(self._remote.evidence(head["cycle"])),
            against_never=self._against_never(number),
            **facts,
        )

    def _against_never(self, number: int) -> float:
        """Return the loss of the fleet so far, relative to that of the first models."""
        seen = slice(HISTORY_DAYS, HISTORY_DAYS + number + 1)
        y, until = self.platform.known[:, seen], slice(0, number + 1)
        live = np.nansum(np.abs(self.diary.live[:, until] - y))
        never = np.nansum(np.abs(self.diary.never[:, until] - y))
        return float(live / never - 1.0) if never else float("nan")

    def _late(self, letters: Letters) -> None:
        """Push what comes after the last day, and have its days judged anew."""
        self._arrive(self.plan.all_days, letters)
        self._remote.set_clock(self.plan.judged_at(self.plan.all_days - 1) + DAY)
        while self._remote.look():
            pass
        self._remote.fitted(self._running)


def _against(evidence: pl.DataFrame) -> float:
    """Return the loss of all streams relative to the sum of their references."""
    known = evidence.select("loss", "reference_loss").cast(pl.Float64).drop_nulls()
    loss, reference = known.to_numpy().sum(axis=0)
    return float(loss / reference - 1.0) if reference else float("nan")
