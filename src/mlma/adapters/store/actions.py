"""Actions: what people and trainers did to the agent, by number."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Row, select, update

from mlma.adapters.store.bulk import insert_all
from mlma.adapters.store.codec import micros, moment, plain, read, written
from mlma.adapters.store.numbers import last, locked, taken
from mlma.adapters.store.part import Part
from mlma.adapters.store.requests import finish
from mlma.adapters.store.schema import ACTIONS
from mlma.domain.errors import ConflictError
from mlma.domain.ledger import Action


class ActionsPart(Part):
    """Actions, recorded before they act."""

    def act(self, actions: Sequence[Action], *, finished: Mapping[str, str] | None = None) -> int:
        """Record actions and finish requests; return the number of the last action."""
        with self._database.write() as connection:
            locked(connection)
            before = taken(connection, "actions", len(actions))
            insert_all(connection, ACTIONS, _columns(actions, before))
            if finished:
                finish(connection, finished, _error(actions))
            return before + len(actions)

    def actions(
        self,
        *,
        pending: bool = False,
        kind: str | None = None,
        cycles: tuple[int, int] | None = None,
        start: int = 1,
        limit: int | None = None,
    ) -> list[Action]:
        """Return actions from number ``start`` on, by number."""
        asked = select(ACTIONS).where(ACTIONS.c.number >= start).order_by(ACTIONS.c.number)
        if pending:
            asked = asked.where(ACTIONS.c.cycle.is_(None))
        if kind is not None:
            asked = asked.where(ACTIONS.c.kind == kind)
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
