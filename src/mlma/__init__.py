"""Machine Learning Monitoring Agent: keeps many forecasting models accurate with little work.

>>> import mlma
>>> mlma.MLMA(level=0.01).label
'mlma(level=0.01)'
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlma.domain.errors import (
        DataError,
        MissingExtraError,
        MlmaError,
        ModelError,
        SettingsError,
        StateError,
    )
    from mlma.domain.settings import MLMA, Always, Never, Periodic, Random
    from mlma.library.agent import Agent
    from mlma.library.datasets import auckland_pedestrians
    from mlma.library.replay import replay
    from mlma.library.result import ReplayResult
    from mlma.library.simulate import simulate

__version__ = version("mlma")

# Names are imported when they are used, so that `mlma --help` answers at once.
_HOMES = {
    "mlma.domain.errors": (
        "DataError",
        "MissingExtraError",
        "MlmaError",
        "ModelError",
        "SettingsError",
        "StateError",
    ),
    "mlma.domain.settings": ("MLMA", "Always", "Never", "Periodic", "Random"),
    "mlma.library.agent": ("Agent",),
    "mlma.library.datasets": ("auckland_pedestrians",),
    "mlma.library.replay": ("replay",),
    "mlma.library.result": ("ReplayResult",),
    "mlma.library.simulate": ("simulate",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "MLMA",
    "Agent",
    "Always",
    "DataError",
    "MissingExtraError",
    "MlmaError",
    "ModelError",
    "Never",
    "Periodic",
    "Random",
    "ReplayResult",
    "SettingsError",
    "StateError",
    "auckland_pedestrians",
    "replay",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mlma' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
