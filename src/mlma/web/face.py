"""What the HTTP interface needs of the service, and the limits that it keeps.

Takes the service as it was built, gives typed access to it in routes.
"""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from mlma.domain.live import LiveSettings
from mlma.service.bootstrap import Service
from mlma.web.buckets import Buckets
from mlma.web.key_metrics import Meters
from mlma.web.reading import ReadingRoom
from mlma.web.telemetry import Telemetry
from mlma.web.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Desk:
    """What every route works with: the service, and what this app keeps beside it."""

    service: Service
    settings: LiveSettings
    room: ReadingRoom
    meters: Meters
    telemetry: Telemetry
    uploads: Uploads
    rows: Buckets


def desk(request: Request) -> Desk:
    """Return the desk of the app that a request came to."""
    return cast("Desk", request.app.state.desk)


AtDesk = Annotated[Desk, Depends(desk)]


def sender(request: Request) -> str:
    """Return who sent a request: the name of the key, or the address."""
    return str(request.state.key)
