"""What other libraries made: boosters in their own formats, the rest by skops, pickle on request.

Takes an object that is not of this house, gives bytes that its library or skops can read, and back.
Types that are neither known nor trusted are refused by name. Nothing is unpickled unless the user
allowed it.
"""

import pickle
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pickletools import genops
from typing import Any

from mlma.adapters.artefacts.payload import Parts, damaged
from mlma.domain.errors import ArtefactError, MissingExtraError

FOREIGN = ("lightgbm", "xgboost", "skops", "pickle")
FORMATS = ("arrays", *FOREIGN)  # from the safest to the least safe

_BOOSTERS = {"lightgbm.basic": "lightgbm", "xgboost.core": "xgboost"}

# What fitted estimators of scikit-learn, LightGBM and XGBoost hold beyond what skops knows.
TRUSTED = frozenset(
    {
        "collections.OrderedDict",
        "collections.defaultdict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMRegressor",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.tree._tree.Tree",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBRegressor",
    }
)

# They keep pickles inside and read them when they forecast: as good as pickled themselves.
HOLDS_PICKLES = frozenset({"mlma.adapters.models.river.LearningOnline"})


@dataclass(slots=True)
class Foreign:
    """The door for objects of other libraries; remembers which of them one model needed.

    trust
        full names of further types that skops may write and read.
    allow_pickle
        True lets pickle write and read what nothing else can.
    """

    trust: frozenset[str] = frozenset()
    allow_pickle: bool = False
    formats: set[str] = field(default_factory=lambda: {"arrays"})
    roots: set[str] = field(default_factory=set)

    @property
    def format(self) -> str:
        """The least safe format that was needed."""
        return max(self.formats, key=FORMATS.index)

    def node(self, value: Any, parts: Parts) -> dict[str, Any]:
        """Return how an object is written; its bytes go to ``parts``."""
        kind = type(value)
        booster = kind.__name__ == "Booster" and _BOOSTERS.get(kind.__module__)
        if booster:
            self.formats.add(booster)
            self.roots.add(booster)
            write = _lightgbm_node if booster == "lightgbm" else _xgboost_node
            return write(value, parts)
        try:
            return self._skops_node(value, parts)
        except (ArtefactError, MissingExtraError):
            if not self.allow_pickle:
                raise
        raw = _pickled(value)
        self.formats.add("pickle")
        self.roots |= _pickled_roots(raw)
        if _full_name(value) in HOLDS_PICKLES:
            self.roots.add(kind.__module__.rpartition(".")[2])
        return {"kind": "pickle", "part": parts.add(raw, pack=True)}

    def value(self, node: dict[str, Any], parts: Parts) -> Any:
        """Return the object that `node` was given."""
        kind = node["kind"]
        if kind == "pickle":
            return self._unpickled(node, parts)
        if kind == "skops":
            return self._skops_value(parts.get(node["part"]))
        if find_spec(kind) is None:
            raise MissingExtraError(f"A model version made with {kind}", kind)
        return (_lightgbm_value if kind == "lightgbm" else _xgboost_value)(node, parts)

    def not_trusted(self, types: Iterable[str]) -> ArtefactError:
        """Return the error that names types which are neither known nor trusted."""
        names = sorted(types)
        listed = ", ".join(f'"{name}"' for name in names)
        return ArtefactError(
            f"An artefact holds types that are not trusted: {', '.join(names)}. Expected types of "
            f"mlma, scikit-learn, LightGBM or XGBoost. Hint: if you know where they come from, "
            f"ModelStore(..., trust=[{listed}])."
        )

    def _skops_node(self, value: Any, parts: Parts) -> dict[str, Any]:
        if _full_name(value) in HOLDS_PICKLES:
            raise _only_pickle(value, "it keeps pickles inside")
        _need_skops(f"Saving a {_full_name(value)}")
        from skops import io

        try:
            raw: bytes = io.dumps(value)
            foreign = self._untrusted(raw)
        except Exception as error:  # skops raises what the types inside raise
            raise _only_pickle(value, error) from error
        if foreign:
            raise self.not_trusted(foreign)
        self.formats.add("skops")
        self.roots |= _roots(raw) | {"sklearn"}  # a wrapper of a booster stands on it as well
        return {"kind": "skops", "part": parts.add(raw, pack=True)}

    def _skops_value(self, raw: bytes) -> Any:
        _need_skops("A model version with an estimator of scikit-learn")
        from skops import io

        try:
            foreign = self._untrusted(raw)
        except Exception as error:
            raise damaged(f"its skops part cannot be read: {error}") from error
        if foreign:
            raise self.not_trusted(foreign)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # other versions are told of by the record
                return io.loads(raw, trusted=sorted(TRUSTED | self.trust))
        except Exception as error:
            raise damaged(f"its skops part cannot be read: {error}") from error

    def _untrusted(self, raw: bytes) -> set[str]:
        from skops import io

        trusted = TRUSTED | (self.trust if self.allow_pickle else self.trust - HOLDS_PICKLES)
        return set(io.get_untrusted_types(data=raw)) - trusted

    def _unpickled(self, node: dict[str, Any], parts: Parts) -> Any:
        if not self.allow_pickle:
            raise ArtefactError(
                "An artefact is pickled, and reading it could run any code. It was not read. "
                "Hint: if you trust whoever wrote the store, ModelStore(..., allow_pickle=True)."
            )
        try:
            return pickle.loads(parts.get(node["part"]))
        except Exception as error:
            raise damaged(f"its pickled part cannot be read: {error}") from error


def _need_skops(what: str) -> None:
    if find_spec("skops") is None:
        raise MissingExtraError(what, "artefacts")


def _full_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _only_pickle(value: Any, why: object) -> ArtefactError:
    return ArtefactError(
        f"A {_full_name(value)} cannot be saved without pickle: {why}. Hint: ModelStore(..., "
        f"allow_pickle=True), which then reads and writes pickles."
    )


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value)
    except Exception as error:
        raise ArtefactError(f"A {_full_name(value)} cannot even be pickled: {error}.") from error


def _pickled_roots(raw: bytes) -> set[str]:
    """Return the libraries whose modules a pickle names."""
    texts = {text for _, text, _ in genops(raw) if isinstance(text, str)}
    return {text.partition(".")[0] for text in texts if text.partition(" ")[0] in sys.modules}


def _roots(raw: bytes) -> set[str]:
    """Return the libraries whose types a skops artefact names."""
    import io
    import json
    import zipfile

    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        schema = json.loads(archive.read("schema.json"))
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            found.add(str(here.get("__module__", "")).partition(".")[0])
            waiting += here.values()
        elif isinstance(here, list):
            waiting += here
    return found


def _lightgbm_node(booster: Any, parts: Parts) -> dict[str, Any]:
    text = booster.model_to_string(num_iteration=-1)
    part = parts.add(text.encode(), pack=True)
    return {"kind": "lightgbm", "part": part, "best_iteration": int(booster.best_iteration)}


def _lightgbm_value(node: dict[str, Any], parts: Parts) -> Any:
    from lightgbm import Booster
    from lightgbm.basic import LightGBMError

    try:
        booster = Booster(model_str=parts.get(node["part"]).decode())
    except LightGBMError as error:
        raise damaged(f"LightGBM cannot read its trees: {error}") from error
    booster.best_iteration = int(node["best_iteration"])
    return booster


def _xgboost_node(booster: Any, parts: Parts) -> dict[str, Any]:
    return {"kind": "xgboost", "part": parts.add(bytes(booster.save_raw("ubj")), pack=True)}


def _xgboost_value(node: dict[str, Any], parts: Parts) -> Any:
    from xgboost import Booster
    from xgboost.core import XGBoostError

    try:
        return Booster({"nthread": 1}, model_file=bytearray(parts.get(node["part"])))
    except XGBoostError as error:
        raise damaged(f"XGBoost cannot read its trees: {error}") from error
