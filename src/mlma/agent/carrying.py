"""Carrying out: actions of people and trainers change the memory before the next cycle.

Takes recorded actions, gives the memory after them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlma.agent.held_out import held_out_batches, times_of
from mlma.agent.judging import Registered, with_pending
from mlma.agent.noting import OrderBook
from mlma.agent.standing import Standing, undone_of
from mlma.agent.watch import Memory, Watch
from mlma.domain.batches import mean_losses
from mlma.domain.errors import DataError, first_three
from mlma.domain.ledger import Action
from mlma.domain.orders import ORDERS, Freeze, Pin, Undo
from mlma.domain.periods import MONDAY
from mlma.domain.policy import Policy
from mlma.domain.rows import LossRows
from mlma.domain.settings import one_model
from mlma.ports.store import Registry
from mlma.steps.lay import block


def carried_out(
    memory: Memory, actions: Iterable[Action], watch: Watch, registered: Registered
) -> Memory:
    """Return the memory after actions, in their order.

    Tags go into ``registered``, which is changed; its book knows the orders among them already.
    An order that one of the others undoes has never been: nothing was judged under it.
    """
    together = Together.of(actions := list(actions))
    for action in actions:
        if action.kind == "tags":
            registered.tag(action.payload["tags"])
            continue
        memory = watch.known(memory, registered.names[len(memory.row) :])
        names = [name for name in action.payload.get("unique_ids", ()) if name in memory.row]
        if action.kind == "deployed" and names:
            memory = _deployed(memory, action.payload, names, watch, registered.book)
        elif action.kind == "failed" and names:
            memory = with_pending(memory, memory.at(names), False)
        elif action.kind in (Freeze.kind, Pin.kind) and action.number not in together.undone:
            memory = _pending(memory, names, False)
        elif action.kind in ORDERS:
            memory = _pending(memory, together.gone(action, registered.book), False)
            memory = _pending(memory, together.asked(action), True)
    return memory


def _pending(memory: Memory, names: Iterable[str], pending: bool) -> Memory:
    known = [name for name in names if name in memory.row]
    return with_pending(memory, memory.at(known), pending) if known else memory


@dataclass(frozen=True, slots=True)
class Together:
    """Orders that are carried out before one and the same cycle.

    undone
        numbers of those that another one of them takes back.
    requests, withdrawn
        ids of requests that they made, and of those that undos among them withdrew.
    """

    undone: frozenset[int]
    requests: frozenset[str]
    withdrawn: frozenset[str]

    @classmethod
    def of(cls, actions: Sequence[Action]) -> "Together":
        """Return what some actions come to together."""
        orders = [one for one in actions if one.kind in ORDERS]
        return cls(
            undone_of(orders),
            frozenset(id for one in orders for id in one.payload.get("requests", {}).values()),
            frozenset(
                id
                for one in orders
                if one.kind == Undo.kind
                for id in one.payload.get("withdrawn", ())
            ),
        )

    def asked(self, action: Action) -> list[str]:
        """Return the streams of which an order asks a re-training that is wanted still."""
        asked: Mapping[str, str] = action.payload.get("requests", {})
        return [name for name, id in asked.items() if id not in self.withdrawn]

    def gone(self, undo: Action, book: OrderBook) -> list[str]:
        """Return the streams of which an undo has withdrawn what was asked for before."""
        if undo.kind != Undo.kind:
            return []
        was = book.action(int(undo.payload["order"]["action"]))
        asked: Mapping[str, str] = {} if was is None else was.payload.get("requests", {})
        withdrawn = set(undo.payload.get("withdrawn", ())) - self.requests
        return [name for name, id in asked.items() if id in withdrawn]


def asked_of(action: Action) -> tuple[str, ...]:
    """Return the streams of which an order asks a re-training, or a former version."""
    return tuple(action.payload.get("requests", ())) if action.kind in ORDERS else ()


def _deployed(
    memory: Memory, payload: Mapping[str, Any], names: Sequence[str], watch: Watch, book: OrderBook
) -> Memory:
    """Return the memory after new versions went live, and former ones came back."""
    back = {request: name for request, name in payload.get("restored", {}).items() if name in names}
    returned: set[str] = set()
    for came, former in book.former_of(back):
        at = memory.at(came)
        memory = with_pending(watch.restored(memory, at, former), at, False)
        returned.update(came)
    new = [name for name in names if name not in returned]
    if not new:
        return memory
    for policy, some in _by_policy(new, book.standing):
        own = watch if policy is None else replace(watch, policy=policy)
        memory = _renewed(memory, some, payload.get("held_out"), own)
    return memory


def _renewed(
    memory: Memory, names: Sequence[str], held_out: dict[str, Any] | None, watch: Watch
) -> Memory:
    """Return the memory after new versions of some streams went live."""
    at, brought = memory.at(names), None
    if held_out:
        level = memory.state.benchmark_level[at]
        brought = held_out_batches(
            _rows(held_out), names, level, watch.batch, watch.monitor, slot=watch.slot
        )
    return watch.deployed(memory, at, brought)


def _by_policy(
    names: Sequence[str], standing: Standing
) -> Iterator[tuple[Policy | None, list[str]]]:
    """Yield streams by the policy of their own: ages of a new version are drawn by it."""
    texts: dict[str, list[str]] = {}
    for name in names:
        _, text = standing.policies.get(name, (0, ""))
        texts.setdefault(text, []).append(name)
    for text, some in texts.items():
        yield one_model(text) if text else None, some


def held_out_payload(rows: LossRows, watch: Watch) -> dict[str, Any]:
    """Return held-out losses in plain values: one mean per batch, unless the test reads them all.

    Raises
    ------
    DataError
        The losses have no times.
    """
    ds = times_of(rows)
    if not watch.reads_single_losses:
        rows = _means(rows, ds, watch.batch)
    return {
        "ids": list(rows.ids),
        "code": rows.code.tolist(),
        "ds": times_of(rows).astype("datetime64[us]").astype(np.int64).tolist(),
        "loss": rows.loss.tolist(),
    }


def _means(rows: LossRows, ds: Any, batch: np.timedelta64) -> LossRows:
    """Return the mean loss of each batch, at its start."""
    period = np.asarray((ds - MONDAY) // batch, dtype=np.int64)
    keys, cell = np.unique(np.stack([rows.code, period]), axis=1, return_inverse=True)
    losses = block(rows, cell.reshape(-1), keys.shape[1])
    starts = MONDAY + keys[1] * batch
    return LossRows(rows.ids, keys[0], starts, mean_losses(losses), rows.left_out)


def _rows(payload: dict[str, Any]) -> LossRows:
    return LossRows(
        ids=tuple(payload["ids"]),
        code=np.array(payload["code"], dtype=np.int64),
        ds=np.array(payload["ds"], dtype=np.int64).astype("datetime64[us]"),
        loss=np.array(payload["loss"], dtype=np.float64),
        left_out=(),
    )


def check_known(names: Sequence[str], seen: Mapping[str, int], registry: Registry) -> None:
    """Raise where a stream is not registered; ``seen`` are the first ones of the registry.

    Raises
    ------
    DataError
        It names the first three of them.
    """
    unknown = [name for name in names if name not in seen]
    if unknown:
        later = set(registry.streams(len(seen)))
        unknown = [name for name in unknown if name not in later]
    if unknown:
        raise DataError(
            f"{len(unknown)} streams are not known: {first_three(unknown)}. Expected names of "
            f"streams that were pushed or pulled before.",
        )
