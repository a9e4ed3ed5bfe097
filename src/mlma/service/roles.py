"""Roles: what whoever comes may do, by key or by password.

Takes a role, gives its rights; and which orders concern the whole fleet, so that they take an
admin. The door of the server, pages and requests all ask here.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from mlma.domain.orders import Order, SetBudget, SwitchPolicy

Role = Literal["read", "ingest", "engineer", "admin"]
UserRole = Literal["read", "engineer", "admin"]
Right = Literal["read", "ingest", "engineer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
USER_ROLES: tuple[UserRole, ...] = get_args(UserRole)

PERMITTED: Mapping[Role, frozenset[Right]] = {
    "read": frozenset({"read"}),
    "ingest": frozenset({"ingest"}),
    "engineer": frozenset({"read", "ingest", "engineer"}),
    "admin": frozenset({"read", "ingest", "engineer", "admin"}),
}


def permits(role: Role, right: Right) -> bool:
    """Return whether a role has a right.

    >>> [permits("engineer", right) for right in ("read", "engineer", "admin")]
    [True, True, False]
    """
    return right in PERMITTED[role]


def needs_admin(order: Order, undone: Order | None = None) -> bool:
    """Return whether an order takes an admin; of the others an engineer is enough.

    It does where it changes how the agent decides for the whole fleet: the budget, and a policy
    that is meant for every stream. ``undone`` is the order that an `Undo` takes back: to undo takes
    what to order it took.

    >>> from mlma.domain.orders import Freeze
    >>> from mlma.domain.selectors import Selector
    >>> fleet, one = Selector(), Selector(unique_ids=("a",))
    >>> needs_admin(SwitchPolicy(selector=fleet, everything=True, policy="never"))
    True
    >>> needs_admin(SwitchPolicy(selector=one, policy="never"))
    False
    >>> needs_admin(Freeze(selector=fleet, everything=True))
    False
    """
    if undone is not None and needs_admin(undone):
        return True
    if isinstance(order, SwitchPolicy):
        return order.everything or order.selector.everything
    return isinstance(order, SetBudget)
