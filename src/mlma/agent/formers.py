"""Formers: versions that were live before, with their references, out of a payload of plain values.

Takes what a roll-back recorded, gives it back. `mlma.agent.versions` finds it in the ledger.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlma.domain.moments import Moments
from mlma.domain.profiles import ProfileMoments
from mlma.domain.state import LossWindow, ReferenceState, Waiting
from mlma.steps.rollback import Former

FORMER = "former"
"""Where a payload has it."""

_PARTS: dict[str, Any] = {
    "reference": ReferenceState,
    "moments": Moments,
    "waiting": Waiting,
    "window": LossWindow,
    "slot_profile": ProfileMoments,
}


def former_payload(names: Sequence[str], former: Former) -> dict[str, Any]:
    """Return what is kept of former versions in plain values; one row per stream."""
    columns = {name: _packed(column) for name, column in former.flat().items()}
    return {"names": list(names), "columns": columns}


def former_from(payload: Mapping[str, Any], names: Sequence[str]) -> Former:
    """Return what is kept of the former versions of some streams, in their order."""
    columns = {name: _unpacked(column) for name, column in payload["columns"].items()}
    row = {name: at for at, name in enumerate(payload["names"])}
    made: Former = _record(Former, columns, "")
    return made.rows(np.array([row[name] for name in names], dtype=np.int64))


def _packed(column: NDArray[Any]) -> dict[str, Any]:
    told = column.astype(column.dtype.newbyteorder("<"))
    data = base64.b64encode(told.tobytes()).decode()
    return {"dtype": told.dtype.str, "shape": list(told.shape), "data": data}


def _unpacked(column: Mapping[str, Any]) -> NDArray[Any]:
    data = base64.b64decode(column["data"])
    made = np.frombuffer(data, dtype=np.dtype(column["dtype"])).reshape(column["shape"])
    return made.astype(made.dtype.newbyteorder("="))


def _record(kind: Any, columns: Mapping[str, NDArray[Any]], path: str) -> Any:
    """Return the record whose columns start with ``path``; None where there is none of them."""
    made: dict[str, Any] = {}
    for spec in fields(kind):
        name = path + spec.name
        if spec.name not in _PARTS:
            made[spec.name] = columns[name]
        elif any(one.startswith(f"{name}.") for one in columns):
            made[spec.name] = _record(_PARTS[spec.name], columns, f"{name}.")
        else:
            made[spec.name] = None
    return kind(**made)
