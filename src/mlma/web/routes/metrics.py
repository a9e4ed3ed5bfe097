"""`GET /api/v1/metrics`: the key metrics of the agent, as JSON."""

from fastapi import APIRouter

from mlma.web.face import AtDesk
from mlma.web.key_metrics import KeyMetrics

router = APIRouter(tags=["metrics"])


@router.get("/metrics")
def metrics(at: AtDesk) -> KeyMetrics:
    """Return how fleet and agent stand."""
    return at.meters.key_metrics()
