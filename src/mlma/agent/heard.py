"""Heard: the orders that are recorded by now, carried out or not.

Takes the store, gives them in their order; new ones are read as they come.
"""

from collections.abc import Iterable
from threading import Lock

from mlma.agent.formers import FORMER
from mlma.agent.standing import Standing, standing_of
from mlma.domain.ledger import Action
from mlma.domain.orders import ORDERS
from mlma.ports.store import Registry

KINDS = tuple(ORDERS)


class Heard:
    """Orders of a store; any thread may ask. ``cycle`` of an action is as it was when it came."""

    def __init__(self, store: Registry) -> None:
        self._store = store
        self._actions: list[Action] = []
        self._standing = Standing()
        self._told = 0
        self._lock = Lock()

    def actions(self) -> list[Action]:
        """Return all orders, by number."""
        known = self._actions
        new = self._store.actions(start=known[-1].number + 1 if known else 1, kind=KINDS)
        with self._lock:  # another thread may have read some of them meanwhile
            last = self._actions[-1].number if self._actions else 0
            self._actions = [*self._actions, *(one for one in new if one.number > last)]
            return self._actions

    def standing(self) -> Standing:
        """Return what is in force of all of them."""
        actions = self.actions()
        with self._lock:
            if len(actions) != self._told:
                self._standing, self._told = standing_of(actions), len(actions)
            return self._standing

    def restored(self, requests: Iterable[str]) -> dict[str, str]:
        """Return those of some requests that bring a former version back, and their streams."""
        wanted = set(requests)
        return {
            request: name
            for action in self.actions()
            if FORMER in action.payload
            for name, request in action.payload.get("requests", {}).items()
            if request in wanted
        }
