"""The engineer's desk: orders are rehearsed, carried out and undone here.

Takes orders from pages, requests and commands, gives dry runs; writes actions, requests for
re-training and incidents in one transaction. Next is the live agent, which is poked.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from mlma.agent.announcing import ordered_events
from mlma.agent.standing import Standing, standing_of
from mlma.agent.telling import settled_event
from mlma.domain.errors import ConflictError, DataError
from mlma.domain.ledger import Action, Event
from mlma.domain.live import LiveSettings
from mlma.domain.orders import OnIncident, Order
from mlma.ports.sources import Clock
from mlma.ports.store import Store
from mlma.service.orders import ahead, batches, models, on_incidents, undoing
from mlma.service.orders.dependence import listed, since
from mlma.service.orders.draft import (
    MOST_CHANGES,
    Change,
    Draft,
    Known,
    Rehearsal,
)
from mlma.service.orders.roster import Fleet, Roster

__all__ = ["MOST_CHANGES", "Change", "EngineersDesk", "Rehearsal"]

LONGEST_WHY = 10_000
_TRIES = 5

_LOOKS: dict[str, Callable[..., Draft]] = {
    "retrain": ahead.retrain,
    "plan": ahead.plan,
    "freeze": ahead.freeze,
    "unfreeze": ahead.unfreeze,
    "budget": ahead.budget,
    "event": batches.declare,
    "cancel_event": batches.cancel,
    "pin": ahead.pin,
    "unpin": ahead.unpin,
    "policy": ahead.policy,
    "roll_back": models.roll_back,
    "label": batches.label,
    "overrule": batches.overrule,
    "rejudge": batches.rejudge,
    "undo": undoing.undo,
    "acknowledge": on_incidents.on_incident,
    "snooze": on_incidents.on_incident,
    "resolve": on_incidents.on_incident,
    "reopen": on_incidents.on_incident,
    "confirm": on_incidents.on_incident,
    "deny": on_incidents.on_incident,
}


class HasSettings(Protocol):
    """What is asked of the live agent."""

    settings: LiveSettings


class EngineersDesk:
    """Where orders come in.

    Parameters
    ----------
    store
        where everything is kept.
    live
        the agent, of which the settings are read.
    clock
        tells the time by which orders lie ahead or behind.
    trains, reads
        whether the agent has a trainer of its own, and reads rows where they lie.
    poke
        called after an order was written: the agent looks soon.
    """

    def __init__(
        self,
        store: Store,
        live: HasSettings,
        clock: Clock,
        *,
        trains: bool = False,
        reads: bool = False,
        poke: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._live, self._clock = store, live, clock
        self._trains, self._reads, self._poke = trains, reads, poke
        self._roster = Roster(store)
        self._folded: tuple[int, Standing] = (0, Standing())

    def rehearse(self, order: Order, by: str) -> Rehearsal:
        """Return what an order would do; nothing is written.

        Raises
        ------
        DataError, SettingsError
            Nobody fits; everybody does, and that is not confirmed; the order cannot be.
        ConflictError
            Somebody was first, a batch was revised, or a later order rests on what it undoes.
        """
        known = self._known(by, dry=True)
        return self._draft(order, known).rehearsal(order, known.newest)

    def carry_out(self, order: Order, by: str, why: str = "", *, after: int | None = None) -> int:
        """Write an order down, with all that comes of it at once; return the number of its action.

        Parameters
        ----------
        by, why
            who gives it, and for what reason.
        after
            `Rehearsal.after` of the dry run that was looked at; None = there was none.

        Raises
        ------
        DataError, SettingsError, ConflictError
            As `rehearse`; or something that it touches was changed since ``after``. Nothing was
            written.
        """
        if len(why) > LONGEST_WHY:
            raise DataError(f"`why` may have {LONGEST_WHY:,} letters. Got {len(why):,}.")
        for attempt in range(_TRIES):
            known = self._known(by)
            draft = self._draft(order, known)
            if after is not None:
                _check_since(order, draft, after, known)
            try:
                number = self._write(order, draft, known, why)
            except ConflictError:
                # Another order came in between: look again, unless it goes on for ever.
                if attempt == _TRIES - 1 or self._known(by).newest == known.newest:
                    raise
                continue
            self._poke()
            return number
        raise AssertionError  # the last attempt returns or raises

    def standing(self) -> Standing:
        """Return what of all orders is in force, carried out or not."""
        _, actions = self._roster.read()
        return self._fold(actions)

    def fleet(self) -> Fleet:
        """Return the streams and their tags, as they are now."""
        return self._roster.read()[0]

    def actions(self) -> tuple[Action, ...]:
        """Return all orders by number, as they were when they were recorded."""
        return self._roster.read()[1]

    def _known(self, by: str, *, dry: bool = False) -> Known:
        fleet, actions = self._roster.read()
        return Known(
            store=self._store,
            settings=self._live.settings,
            fleet=fleet,
            actions=actions,
            standing=self._fold(actions),
            now=self._clock.now(),
            by=by,
            trains=self._trains,
            reads=self._reads,
            dry=dry,
        )

    def _fold(self, actions: Sequence[Action]) -> Standing:
        newest, folded = self._folded
        last = actions[-1].number if actions else 0
        if newest != last:
            folded = standing_of(actions)
            self._folded = last, folded
        return folded

    def _draft(self, order: Order, known: Known) -> Draft:
        return _LOOKS[order.kind](order, known)

    def _write(self, order: Order, draft: Draft, known: Known, why: str) -> int:
        payload = {
            "order": order.payload(),
            "unique_ids": list(draft.streams) if draft.named else [],
            **draft.payload,
        }
        action = Action(order.kind, payload, known.now, known.by, why, cycle=draft.cycle)
        return self._store.act(
            [action],
            requested=draft.requested,
            withdrawn=draft.withdrawn,
            incidents=draft.incidents,
            after=known.newest,
            events=list(self._told(draft, known)),
            targets=known.settings.targets,
        )

    def _told(self, draft: Draft, known: Known) -> Iterator[Event]:
        """Yield what the outside is told of an order at once."""
        periods = known.settings.periods
        newest = next(iter(self._store.cycles(newest_first=True, limit=1)), None)
        yield from ordered_events(
            draft.requested, draft.withdrawn, at=known.now, newest=newest, periods=periods
        )
        if newest is None or not draft.incidents:
            return
        ids = [one.id for one in draft.incidents]
        before = {one.id: one for one in self._store.incidents(ids=ids)}
        for one in draft.incidents:
            event = settled_event(
                before[one.id],
                one,
                at=known.now,
                newest=newest,
                names=known.fleet.names,
                periods=periods,
            )
            if event is not None:
                yield event


def _check_since(order: Order, draft: Draft, after: int, known: Known) -> None:
    """Refuse where what was looked at is not what is there now.

    Raises
    ------
    ConflictError
        It says who did what since.
    """
    if isinstance(order, OnIncident) and order.seen is not None:
        return  # it says itself what was seen
    others = since(order, draft.streams, after, known)
    if others:
        raise ConflictError(
            f"What `{order.kind}` touches was changed since it was looked at: {listed(others)}. "
            f"Nothing was written. Hint: look at the difference again."
        )
