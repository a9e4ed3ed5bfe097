"""Fitted models as plain values and back, by a closed list of classes.

Takes a fitted forecaster, gives a tree of plain values and the byte strings it points at. Classes
of this house are written field by field, arrays as their bits, boosters in their libraries' own
formats; everything else goes to skops. What comes back forecasts the same to the bit.
"""

from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from math import isfinite
from typing import Any, Literal

import numpy as np

from mlma.adapters.artefacts.foreign import FOREIGN, Foreign
from mlma.adapters.artefacts.payload import Parts, damaged, packed, unpacked
from mlma.domain.errors import SettingsError

Node = dict[str, Any]

_MODELS = "mlma.adapters.models"

OWN = frozenset(
    {
        "callables.FittedCallable",
        "features.Features",
        "frame_callables.FittedFrames",
        "frame_callables._Frames",
        "guard.GuardedModel",
        "lightgbm.Trees",
        "mlforecast.FittedMLForecast",
        "ridge.FittedRidge",
        "seasonal_naive.SeasonalNaive",
        "shared.FittedSharedSklearn",
        "shared.Scale",
        "shared_features.Statics",
        "shared_features.Units",
        "shared_guard.GuardedSharedModel",
        "sklearn.FittedSklearn",
        "statsforecast.FittedStats",
        "statsforecast._Past",
        "xgboost.BoostedTrees",
    }
)
"""The classes of ``mlma.adapters.models`` that may stand in an artefact, field by field."""

_PLAIN = (str, int, bool, type(None))
_NONSENSE = (KeyError, TypeError, ValueError, AttributeError, RecursionError)
_KINDS = "biufcmMSU"  # of arrays: numbers, times and text; no objects


def encoded(fitted: Any, foreign: Foreign) -> bytes:
    """Return a fitted model as bytes; ``foreign`` learns what was needed.

    Raises
    ------
    ArtefactError
        Something in it can only be pickled, or has a type that is not trusted.
    """
    parts = Parts()
    return packed(_node(fitted, parts, foreign), parts)


def decoded(raw: bytes, foreign: Foreign) -> Any:
    """Return the fitted model that `encoded` was given.

    Raises
    ------
    ArtefactError
        The bytes are damaged, a type in them is not trusted, or they are pickled.
    """
    tree, parts = unpacked(raw)
    try:
        return _value(tree, parts, foreign)
    except (*_NONSENSE, SettingsError) as error:
        raise damaged(f"{type(error).__name__}: {error}") from error


def _node(value: Any, parts: Parts, foreign: Foreign) -> Any:
    """Return plain JSON values; every JSON object names its kind."""
    if type(value) in _PLAIN or (type(value) is float and isfinite(value)):
        return value
    return (
        _container_node(value, parts, foreign)
        or _array_node(value, parts)
        or _own_node(value, parts, foreign)
        or foreign.node(value, parts)
    )


def _container_node(value: Any, parts: Parts, foreign: Foreign) -> dict[str, Any] | None:
    kind = type(value)
    if kind is float:
        return {"kind": "float", "text": str(value)}
    if kind in (list, tuple):
        return {"kind": kind.__name__, "items": [_node(item, parts, foreign) for item in value]}
    if kind is dict and all(type(key) is str for key in value):
        items = {key: _node(item, parts, foreign) for key, item in value.items()}
        return {"kind": "dict", "items": items}
    return None


def _array_node(value: Any, parts: Parts) -> dict[str, Any] | None:
    if not (isinstance(value, np.generic) or type(value) is np.ndarray):
        return None
    array = np.asarray(value)
    if array.dtype.kind not in _KINDS:
        return None
    # A product of matrices may round differently in the other order of memory.
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    return {
        "kind": "array" if type(value) is np.ndarray else "scalar",
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "order": order,
        "part": parts.add(array.tobytes(order)),
    }


def _own_node(value: Any, parts: Parts, foreign: Foreign) -> dict[str, Any] | None:
    home, _, module = type(value).__module__.rpartition(".")
    name = f"{module}.{type(value).__name__}"
    if home != _MODELS or name not in OWN:
        return None
    read = {spec.name: getattr(value, spec.name) for spec in fields(value)}
    items = {field: _node(item, parts, foreign) for field, item in read.items()}
    return {"kind": "own", "class": name, "fields": items}


def _value(node: Any, parts: Parts, foreign: Foreign) -> Any:
    if not isinstance(node, dict):
        return node
    kind = node["kind"]
    if kind in FOREIGN:
        return foreign.value(node, parts)
    if kind not in _READERS:
        raise damaged(f"it holds a `{kind}`, which this version of mlma does not know")
    return _READERS[kind](node, parts, foreign)


def _list_of(node: Node, parts: Parts, foreign: Foreign) -> list[Any]:
    return [_value(item, parts, foreign) for item in node["items"]]


def _dict_of(node: Node, parts: Parts, foreign: Foreign) -> dict[str, Any]:
    return {key: _value(item, parts, foreign) for key, item in node["items"].items()}


def _array_of(node: Node, parts: Parts, _: Foreign) -> Any:
    dtype = np.dtype(str(node["dtype"]))
    if dtype.kind not in _KINDS:
        raise damaged(f"it holds an array of {dtype}")
    flat = np.frombuffer(parts.get(node["part"]), dtype=dtype)
    made = flat.reshape(tuple(node["shape"]), order=node["order"]).copy(order=node["order"])
    return made[()] if node["kind"] == "scalar" else made


def _own_of(node: Node, parts: Parts, foreign: Foreign) -> Any:
    name = node["class"]
    if name not in OWN:
        raise foreign.not_trusted([f"{_MODELS}.{name}"])
    module, _, kind_name = name.partition(".")
    kind = getattr(import_module(f"{_MODELS}.{module}"), kind_name)
    return kind(**{field: _value(item, parts, foreign) for field, item in node["fields"].items()})


_READERS: dict[str, Callable[[Node, Parts, Foreign], Any]] = {
    "float": lambda node, *_: float(node["text"]),
    "list": _list_of,
    "tuple": lambda *asked: tuple(_list_of(*asked)),
    "dict": _dict_of,
    "array": _array_of,
    "scalar": _array_of,
    "own": _own_of,
}
