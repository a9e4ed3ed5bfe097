"""The policy lab: the fleet's own recorded history once more, under another policy.

Takes a store's ledger and a policy, gives both sides in plain values: loss, re-trainings, alarms,
incidents and minutes as they really were, and as they would have been.

What is recorded is recorded, the rest is a guess. Losses are those of the versions that were really
live. As long as the tried policy has the same versions, a row is real; from where they differ it is
counterfactual, is marked so, and follows `RULE`. Nothing is changed in the store.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mlma.agent.carrying import carried_out
from mlma.agent.judging import Registered
from mlma.agent.lab_desk import LabDesk
from mlma.agent.lab_gains import Hindsight, hindsight_of
from mlma.agent.lab_history import History, Runs, history_of
from mlma.agent.lab_sides import Breaks, Recent, Side
from mlma.agent.lab_tally import Seen, Tally
from mlma.agent.lab_tried import REPLACED, Tried, TriedFleet
from mlma.agent.noting import OrderBook
from mlma.agent.past import Past
from mlma.agent.recomputing import recomputed
from mlma.agent.watch import Memory, Watch, watch_for
from mlma.domain.errors import DataError, SettingsError
from mlma.domain.expressions import parse_call
from mlma.domain.labour import LabourModel
from mlma.domain.ledger import Action, CycleEntry
from mlma.domain.live import LiveSettings
from mlma.domain.orders import ORDERS
from mlma.domain.periods import moment_of
from mlma.domain.policy import Policy
from mlma.domain.retraining import Retraining
from mlma.domain.settings import MLMA, build, policy_from, same_memory
from mlma.ports.store import Store

Progress = Generator[float, None, dict[str, Any]]

_READING = 0.1
"""Share of the progress that is the reading of the history."""

RULE = (
    "A row is counterfactual where another version is live than there really was. Its log loss is "
    "the recorded one, changed for each break that either policy alarmed by the rise times what "
    "the real version healed less what the tried one heals. The rise is by how much the stream's "
    "recorded loss stood above its level before the break; what a version heals is the share of "
    "rises that versions of this fleet took off which had seen as many batches of a break, 0 for "
    "one trained before it. A version's age counts with what re-trainings by age took off. The "
    "range is that of the change taken 0, 1 and 2 times."
)
"""How losses are guessed that were not recorded."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is tried.

    policy
        as in mlma.toml; `mlma` has one model per stream.
    per_cycle
        re-trainings that a cycle may ask for at most; None = no limit.
    first, last
        cycles that are played, inclusive; None = from the first, to the newest.
    """

    policy: str
    per_cycle: int | None = None
    first: int | None = None
    last: int | None = None

    def tried(self) -> Policy:
        """Return the policy to try.

        Raises
        ------
        SettingsError
            It cannot be read, or asks what a recorded history cannot answer.
        """
        if self.per_cycle is not None and self.per_cycle < 0:
            raise SettingsError(
                f"`per_cycle` of a lab run must be 0 re-trainings or more. Got {self.per_cycle}."
            )
        name, given = parse_call(self.policy, "policy")
        if given.get("pool", 1) != 1:
            raise SettingsError(
                f"`pool` of `{name}` must be 1 in the policy lab. Got {given['pool']!r}: of a pool "
                "only the live version's losses were recorded. Hint: `mlma replay` on your rows "
                "plays pools."
            )
        if name != MLMA.name:
            return policy_from(self.policy)
        policy = build(MLMA, name, {**given, "pool": 1})
        for setting in sorted(given):
            if setting in _UNTRIED and getattr(policy, setting) != getattr(MLMA(pool=1), setting):
                raise _unanswered(name, setting, given[setting])
        return policy


_UNTRIED = frozenset(spec.name for spec in fields(Retraining)) - {"pool"}


def _unanswered(name: str, setting: str, got: Any) -> SettingsError:
    hint = "`per_cycle` limits re-trainings" if setting.startswith("budget") else ""
    return SettingsError(
        f"`{setting}` of `{name}` cannot be tried in the policy lab. Got {got!r}: whoever trains "
        f"your models decides on it, and the recorded history does not tell. "
        f"Hint: {hint or '`mlma replay` on your rows plays it'}."
    )


def played(
    store: Store,
    settings: LiveSettings,
    question: Question,
    labour: LabourModel | None = None,
) -> Progress:
    """Yield the share that is done, from 0 to 1, again and again; return the result.

    Parameters
    ----------
    settings
        of the live agent whose history it is.
    labour
        how long things take a person; None = as by default.

    Returns
    -------
    dict
        ``policy``, ``per_cycle``, ``first``, ``last``, ``cycles``, ``streams``; ``real`` and
        ``tried``, each with ``loss`` (mean per batch, in the unit of the loss), ``retrainings``,
        ``alarms``, ``incidents`` and ``minutes``, ``tried`` with ``loss_low`` and ``loss_high``
        too; ``counterfactual_share`` of the losses; ``by_cycle``; ``rows``, the streams that differ
        most; ``rule``, how losses were guessed, and ``notes``, what to keep in mind here.

    Raises
    ------
    SettingsError
        The policy asks what the history cannot answer.
    DataError
        There are no such cycles.
    """
    _, last = span(store, settings, question)
    history: History | None = None
    for made in history_of(store, settings, last):
        if isinstance(made, History):
            history = made
        else:
            yield _READING * made
    assert history is not None
    play = _Play(store, settings, question, hindsight_of(history))
    for done in play.cycles(last):
        yield _READING + (1 - _READING) * done
    return play.result(labour or LabourModel())


def _watch(settings: LiveSettings, question: Question) -> Watch:
    return watch_for(replace(settings, policy=question.tried()))


def span(store: Store, settings: LiveSettings, question: Question) -> tuple[int, int]:
    """Return the first and the last cycle that a question is about; nothing is played.

    Raises
    ------
    SettingsError, DataError
        As `played`.
    """
    watch = _watch(settings, question)
    newest = store.cycles(newest_first=True, limit=1)
    if not newest:
        raise DataError("The ledger is empty: there is no history to try a policy on.")
    end = newest[0].cycle
    first = 1 if question.first is None else question.first
    last = end if question.last is None else question.last
    for name, got in (("first", first), ("last", last)):
        if not 1 <= got <= end:
            raise DataError(
                f"`{name}` of a lab run must be a cycle of the ledger, 1 to {end}. Got {got}."
            )
    if last < first:
        raise DataError(f"`last` of a lab run must not be before `first`. Got {first} to {last}.")
    if watch.reads_single_losses and any(store.losses(at) is None for at in (first, last)):
        raise _not_recorded(watch)
    return first, last


def _not_recorded(watch: Watch) -> SettingsError:
    return SettingsError(
        f"The test `{watch.monitor.test}` reads single losses, and of these cycles only mean "
        f'losses were recorded. Hint: test="moderated_t" or "batch_t" can be tried, and '
        f"`mlma replay` on your rows plays any test."
    )


class _Play:
    """Both sides, cycle by cycle."""

    def __init__(
        self, store: Store, settings: LiveSettings, question: Question, hindsight: Hindsight
    ) -> None:
        self._store, self._settings = store, settings
        self._watch = watch = _watch(settings, question)
        self._question, self._hindsight = question, hindsight
        self._first = question.first or 1
        self._notes = _notes(hindsight)
        names = store.streams()
        self._names = names
        orders = [
            one
            for one in store.actions(kind=tuple(ORDERS))
            if one.cycle is not None and one.kind not in REPLACED
        ]
        self._registered = Registered(list(names), book=OrderBook.noting(orders))
        self._actions: dict[int, list[Action]] = {}
        for action in store.actions(cycles=(0, hindsight.history.last)):
            self._actions.setdefault(action.cycle or 0, []).append(action)
        self._tally = Tally(len(names))
        self._desk = LabDesk(self._registered, settings.periods, watch)
        self._fleet = self._started()

    def _started(self) -> TriedFleet:
        """Return the fleet as it was before the first cycle that is played."""
        n, watch, hindsight = len(self._names), self._watch, self._hindsight
        early = [one for at in range(self._first) for one in self._actions.get(at, ())]
        tags = [one for one in early if one.kind == "tags"]
        carried_out(watch.nothing(), tags, watch, self._registered)
        self._registered.book.carry_out(one for one in early if one.kind not in REPLACED)
        brings = 0 if watch.reads_single_losses else hindsight.history.brings
        fleet = TriedFleet(
            watch=watch,
            periods=self._settings.periods,
            registered=self._registered,
            past=Past(self._store, self._settings.periods),
            memory=self._memory(),
            hindsight=hindsight,
            limit=self._question.per_cycle,
            real=Side.new(n),
            tried=Side.new(n),
            recent=Recent.nothing(n, min(brings, watch.monitor.reference_batches)),
            runs=Runs(n),
            breaks=Breaks.none(n),
        )
        for cycle in range(1, self._first):
            fleet.warm(self._entry(cycle), self._actions.get(cycle, ()))
        return fleet

    def _memory(self) -> Memory:
        """Return the memory of the agent before the first cycle; what does not fit starts empty."""
        if self._first == 1:
            return self._watch.nothing()
        before = self._hindsight.history.infos[self._first - 1]
        if unlike := same_memory(self._watch.policy, policy_from(before.policy)):
            self._notes.append(
                f"`{unlike[0]}` is another one than it was, so all references start empty with "
                f"cycle {self._first}."
            )
            return self._watch.nothing()
        (made,) = recomputed(self._store, self._settings, self._first - 1, self._first - 1)
        return made.memory

    def cycles(self, last: int) -> Iterator[float]:
        """Play the cycles, one by one; yield the share that is done."""
        number = last - self._first + 1
        for cycle in range(self._first, last + 1):
            before = self._entry(cycle)
            if self._watch.reads_single_losses and before.losses is None:
                raise _not_recorded(self._watch)
            tried = self._fleet.step(before, self._actions.get(cycle, ()))
            self._tally.add(self._seen(before, tried))
            self._desk.take(before, tried.entry)
            yield (cycle - self._first + 1) / number

    def _entry(self, cycle: int) -> CycleEntry:
        """Return a cycle as it stood when the history was read, with what the test reads of it."""
        info, store = self._hindsight.history.infos[cycle], self._store
        streams, evidence = store.evidence(cycle, info.revision)
        single = self._watch.reads_single_losses
        losses = store.losses(cycle, info.revision) if single else None
        return CycleEntry(info, streams, evidence, losses=losses)

    def _seen(self, before: CycleEntry, tried: Tried) -> Seen:
        info, evidence = before.info, before.evidence
        told = ~self._fleet.broken(before)
        real_asks = np.isin(before.streams, self._hindsight.history.asked[info.cycle])
        return Seen(
            cycle=info.cycle,
            ds=moment_of(self._settings.periods.start(info.period)).isoformat(),
            rows=before.streams,
            loss=np.where(told & (evidence["n"] > 0), evidence["loss"], np.nan),
            change=tried.change,
            apart=tried.apart,
            real_asks=real_asks,
            tried_asks=tried.asks,
            real_alarms=int(evidence["alarm"].sum()),
            tried_alarms=int(tried.entry.evidence["alarm"].sum()),
        )

    def result(self, labour: LabourModel) -> dict[str, Any]:
        """Return both sides in plain values."""
        tally, cycles = self._tally, len(self._tally.by_cycle)
        weeks = cycles * float(self._settings.periods.batch / np.timedelta64(7, "D"))
        real, tried = tally.real(), tally.tried()
        last = self._first + cycles - 1
        really = policy_from(self._hindsight.history.infos[last].policy)
        real_work, tried_work = self._desk.work(
            labour,
            tally.streams,
            weeks,
            (real["retrainings"], tried["retrainings"]),
            (isinstance(really, MLMA), isinstance(self._watch.policy, MLMA)),
        )
        return {
            "policy": self._watch.policy.label,
            "per_cycle": self._question.per_cycle,
            "first": self._first,
            "last": last,
            "cycles": cycles,
            "streams": tally.streams,
            "real": {"policy": really.label, **real, **real_work},
            "tried": {**tried, **tried_work},
            "counterfactual_share": tally.counterfactual_share(),
            "by_cycle": tally.by_cycle,
            "rows": tally.rows(self._names),
            "rule": RULE,
            "notes": self._notes,
        }


def _notes(hindsight: Hindsight) -> list[str]:
    """Return what is measured, and what is not."""
    history = hindsight.history
    made = []
    if not len(hindsight.taken):
        made.append(
            "No re-training by alarm has an outcome in this history, so g is 0: losses after a "
            "break are taken as they were recorded."
        )
    else:
        made.append(
            f"{hindsight.outcomes} versions after alarms took off up to "
            f"{hindsight.taken.max():.0%} of the rise before them."
        )
    if history.delay is None:
        made.append("No re-training was answered: versions are taken to come a cycle later.")
    else:
        made.append(f"Versions come {history.delay} cycle(s) after they are asked for, the median.")
    return made
