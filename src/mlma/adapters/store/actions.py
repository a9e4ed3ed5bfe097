"""Actions: what people and trainers did to the agent, by number."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, Row, select, update

from mlma.adapters.store.bulk import insert_all
from mlma.adapters.store.codec import micros, moment, plain, read, written
from mlma.adapters.store.incidents import write_changed
from mlma.adapters.store.numbers import last, locked, taken
from mlma.adapters.store.outbox import post_events
from mlma.adapters.store.part import Part
from mlma.adapters.store.requests import ask, finish, withdraw
from mlma.adapters.store.schema import ACTIONS
from mlma.domain.errors import ConflictError, StoreError
from mlma.domain.incidents import Incident
from mlma.domain.ledger import Action, Event
from mlma.domain.orders import AFTERWARDS, AHEAD
from mlma.domain.requests import RetrainingRequest

_CHANGING = tuple(one.kind for one in (*AHEAD, *AFTERWARDS))
"""Orders that change what others see in a dry run; those about an incident change nobody else."""


class ActionsPart(Part):
    """Actions, recorded before they act."""

    def act(
        self,
        actions: Sequence[Action],
        *,
        finished: Mapping[str, str] | None = None,
        requested: Sequence[RetrainingRequest] = (),
        withdrawn: Sequence[str] = (),
        incidents: Sequence[Incident] = (),
        after: int | None = None,
        events: Sequence[Event] = (),
        targets: Sequence[str] = (),
    ) -> int:
        """Record actions and all that comes of them; return the number of the last action."""
        if incidents and not actions:
            raise StoreError("Incidents are changed by an action. Got incidents without one.")
        with self._database.write() as connection:
            locked(connection)
            if after is not None:
                _check_last(connection, after)
            before = taken(connection, "actions", len(actions))
            number = before + len(actions)
            insert_all(connection, ACTIONS, _columns(actions, before))
            write_changed(connection, incidents, number)
            if finished:
                finish(connection, finished, _error(actions))
            withdraw(connection, withdrawn)
            ask(connection, requested)
            post_events(connection, events, targets)
            return number

    def actions(
        self,
        *,
        pending: bool = False,
        kind: str | Collection[str] | None = None,
        cycles: tuple[int, int] | None = None,
        start: int = 1,
        limit: int | None = None,
    ) -> list[Action]:
        """Return actions from number ``start`` on, by number."""
        asked = select(ACTIONS).where(ACTIONS.c.number >= start).order_by(ACTIONS.c.number)
        if pending:
            asked = asked.where(ACTIONS.c.cycle.is_(None))
        if kind is not None:
            kinds = [kind] if isinstance(kind, str) else list(kind)
            asked = asked.where(ACTIONS.c.kind.in_(kinds))
        if cycles is not None:
            asked = asked.where(ACTIONS.c.cycle.between(*cycles))
        with self._database.read() as connection:
            return [_action(row) for row in connection.execute(asked.limit(limit))]


def apply(connection: Connection, applied: Mapping[int, int]) -> None:
    """Write before which cycle actions were carried out.

    Raises
    ------
    ConflictError
        One of them was carried out already, or is not there.
    """
    for number, cycle in sorted(applied.items()):
        change = (
            update(ACTIONS)
            .where(ACTIONS.c.number == number, ACTIONS.c.cycle.is_(None))
            .values(cycle=cycle)
        )
        if not connection.execute(change).rowcount:
            raise ConflictError(
                f"Action {number} cannot be carried out before cycle {cycle}: it was already, or "
                f"is unknown; the last action is {last(connection, 'actions')}."
            )


def _check_last(connection: Connection, after: int) -> None:
    """Refuse to act where an engineer did since the action of a number.

    Raises
    ------
    ConflictError
        It names the first action since, and who acted.
    """
    since = (ACTIONS.c.number > after) & ACTIONS.c.kind.in_(_CHANGING)
    row = connection.execute(select(ACTIONS).where(since).order_by(ACTIONS.c.number)).first()
    if row is not None:
        raise ConflictError(
            f"Somebody was first: action {row.number}, `{row.kind}` by {row.by or 'nobody named'} "
            f"at {moment(row.at).isoformat()}. Expected no order after action {after}. Nothing "
            f"was written. Hint: look at the difference again."
        )


def _columns(actions: Sequence[Action], before: int) -> dict[str, list[object]]:
    return {
        "number": list(range(before + 1, before + 1 + len(actions))),
        "kind": [plain(action.kind) for action in actions],
        "payload": [written(action.payload) for action in actions],
        "at": [micros(action.at) for action in actions],
        "by": [plain(action.by) for action in actions],
        "why": [plain(action.why) for action in actions],
        "cycle": [action.cycle for action in actions],
    }


def _error(actions: Sequence[Action]) -> str:
    """Return what a failed fit told; empty = nothing did."""
    told = (str(action.payload.get("error") or "") for action in actions)
    return next((text for text in told if text), "")


def _action(row: Row[tuple[object, ...]]) -> Action:
    return Action(
        kind=row.kind,
        payload=read(row.payload),
        at=moment(row.at),
        by=row.by,
        why=row.why,
        number=row.number,
        cycle=row.cycle,
    )
