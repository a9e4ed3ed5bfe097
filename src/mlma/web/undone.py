"""Undone orders: what an undo is about in the end, so that it takes what to order it took.

Takes an undo and the desk, gives the order at its root. Next is who may give it.
"""

from mlma.agent.standing import order_of
from mlma.domain.errors import ConflictError
from mlma.domain.orders import Order, Undo
from mlma.service.engineering import EngineersDesk


def undone_by(desk: EngineersDesk, order: Order, by: str) -> Order | None:
    """Return the order that an undo takes back or puts in force again; None = it is no undo.

    Raises
    ------
    DataError
        There is no order of that number.
    ConflictError
        There is one since just now: who may take it back was not looked at.
    """
    if not isinstance(order, Undo):
        return None
    by_number = {one.number: one for one in desk.actions()}
    root: Order = order
    while isinstance(root, Undo):
        action = by_number.get(root.action)
        if action is None:
            desk.rehearse(order, by)  # which says why there is none
            raise ConflictError(
                f"Action {root.action} was recorded just now. Hint: look at it, then undo it."
            )
        root = order_of(action)
    return root
