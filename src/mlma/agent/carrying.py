"""Carrying out: actions of people and trainers change the memory before the next cycle.

Takes recorded actions, gives the memory after them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mlma.agent.held_out import held_out_batches, times_of
from mlma.agent.judging import Registered, with_pending
from mlma.agent.noting import OrderBook
from mlma.agent.watch import Memory, Watch
from mlma.domain.batches import mean_losses
from mlma.domain.errors import DataError, first_three
from mlma.domain.ledger import Action
from mlma.domain.orders import ORDERS, Freeze, Pin, Undo
from mlma.domain.periods import MONDAY
from mlma.domain.rows import LossRows
from mlma.ports.store import Registry
from mlma.steps.lay import block


def carried_out(
    memory: Memory, actions: Iterable[Action], watch: Watch, registered: Registered
) -> Memory:
    """Return the memory after actions, in their order.

    Tags go into ``registered``, which is changed; its book knows the orders among them already.
    """
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
        elif asked := [name for name in asked_of(action) if name in memory.row]:
            memory = with_pending(memory, memory.at(asked), True)
        elif action.kind in (Freeze.kind, Pin.kind) and names:
            memory = with_pending(memory, memory.at(names), False)
        elif action.kind == Undo.kind:
            memory = _no_longer_asked(memory, action, registered.book)
    return memory


def asked_of(action: Action) -> tuple[str, ...]:
    """Return the streams of which an order asks a re-training, or a former version."""
    return tuple(action.payload.get("requests", ())) if action.kind in ORDERS else ()


def _no_longer_asked(memory: Memory, undo: Action, book: OrderBook) -> Memory:
    """Return the memory after a re-training that was asked for by hand is not wanted any more."""
    was = book.action(int(undo.payload["order"]["action"]))
    gone = () if was is None else asked_of(was)
    names = [name for name in gone if name in memory.row]
    return with_pending(memory, memory.at(names), False) if names else memory


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
    at, brought = memory.at(new), None
    if held_out := payload.get("held_out"):
        level = memory.state.benchmark_level[at]
        brought = held_out_batches(
            _rows(held_out), new, level, watch.batch, watch.monitor, slot=watch.slot
        )
    return watch.deployed(memory, at, brought)


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
