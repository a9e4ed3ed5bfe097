"""The ports: what the agent asks of the outside world, in nouns of the domain."""

from mlma.domain.requests import RetrainingRequest
from mlma.ports.models import (
    ArtefactStore,
    DeliveryError,
    Executor,
    FittedForecaster,
    Forecaster,
    RetrainingQueue,
    RetrainingRequests,
    SharedForecaster,
    SharedModel,
)
from mlma.ports.sources import Clock, Feed, Source
from mlma.ports.store import Store

__all__ = [
    "ArtefactStore",
    "Clock",
    "DeliveryError",
    "Executor",
    "Feed",
    "FittedForecaster",
    "Forecaster",
    "RetrainingQueue",
    "RetrainingRequest",
    "RetrainingRequests",
    "SharedForecaster",
    "SharedModel",
    "Source",
    "Store",
]
