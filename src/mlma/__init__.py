"""Machine Learning Monitoring Agent: keeps many forecasting models accurate with little work.

>>> import mlma
>>> mlma.MLMA(level=0.01).label
'mlma(level=0.01)'
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlma.adapters.models.callables import CallableForecaster, callables
    from mlma.adapters.models.contract import check_forecaster
    from mlma.adapters.models.frame_callables import FrameForecaster
    from mlma.adapters.models.shared_contract import check_shared_forecaster
    from mlma.domain.errors import (
        ArtefactError,
        ArtefactWarning,
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
    from mlma.library.external import (
        ExternalModels,
        FileQueue,
        SQLQueue,
        Webhook,
        verify_signature,
    )
    from mlma.library.pool import ForecastPool
    from mlma.library.recorded import RecordedReplay, replay_recorded
    from mlma.library.replay import replay
    from mlma.library.result import ReplayResult
    from mlma.library.simulate import simulate
    from mlma.library.versions import MLflowLog, ModelStore, NewVersion, fingerprint

__version__ = version("mlma")

# Names are imported when they are used, so that `mlma --help` answers at once.
_HOMES = {
    "mlma.adapters.models.callables": ("CallableForecaster", "callables"),
    "mlma.adapters.models.contract": ("check_forecaster",),
    "mlma.adapters.models.frame_callables": ("FrameForecaster",),
    "mlma.adapters.models.shared_contract": ("check_shared_forecaster",),
    "mlma.domain.errors": (
        "ArtefactError",
        "ArtefactWarning",
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
    "mlma.library.external": (
        "ExternalModels",
        "FileQueue",
        "SQLQueue",
        "Webhook",
        "verify_signature",
    ),
    "mlma.library.pool": ("ForecastPool",),
    "mlma.library.recorded": ("RecordedReplay", "replay_recorded"),
    "mlma.library.replay": ("replay",),
    "mlma.library.result": ("ReplayResult",),
    "mlma.library.simulate": ("simulate",),
    "mlma.library.versions": ("MLflowLog", "ModelStore", "NewVersion", "fingerprint"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "MLMA",
    "Agent",
    "Always",
    "ArtefactError",
    "ArtefactWarning",
    "CallableForecaster",
    "DataError",
    "ExternalModels",
    "FileQueue",
    "ForecastPool",
    "FrameForecaster",
    "MLflowLog",
    "MissingExtraError",
    "MlmaError",
    "ModelError",
    "ModelStore",
    "Never",
    "NewVersion",
    "Periodic",
    "Random",
    "RecordedReplay",
    "ReplayResult",
    "SQLQueue",
    "SettingsError",
    "StateError",
    "Webhook",
    "auckland_pedestrians",
    "callables",
    "check_forecaster",
    "check_shared_forecaster",
    "fingerprint",
    "replay",
    "replay_recorded",
    "simulate",
    "verify_signature",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mlma' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
