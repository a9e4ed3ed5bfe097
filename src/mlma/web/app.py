"""The HTTP interface: a service becomes an app that any ASGI server runs.

Takes a service that was built, gives the app. To start and stop the service is the matter of
whoever serves.
"""

from fastapi import FastAPI
from fastapi.routing import APIRoute

from mlma.service.bootstrap import Service
from mlma.web import docs_page
from mlma.web.access import Access
from mlma.web.buckets import Buckets
from mlma.web.descriptions import EVERY_ERROR, described, error_answers
from mlma.web.errors import add_handlers
from mlma.web.face import Desk
from mlma.web.forms import StaleFormError
from mlma.web.guard import ROW_PATHS, Guard, GuardSettings
from mlma.web.key_metrics import Meters
from mlma.web.pages import ROUTERS
from mlma.web.pages.faults import add_page_handlers
from mlma.web.people import people_of
from mlma.web.pressed import Pressed
from mlma.web.reading import ReadingRoom
from mlma.web.routes import (
    actions,
    cycles,
    decisions,
    evidence,
    exclusions,
    incidents,
    ingest,
    lab,
    login,
    metrics,
    models,
    operations,
    probes,
    streams,
)
from mlma.web.telemetry import Telemetry
from mlma.web.uploads import Documents, UploadLimits, Uploads

API = "/api/v1"
_NOUNS = (
    *(ingest, streams, evidence, decisions, incidents, models, cycles, metrics),
    *(operations, actions, exclusions, lab),
)
_TOLD = (
    "Rows of forecasts and actuals come in, verdicts and decisions are read here. "
    "MLMA is the address of the server, MLMA_KEY a key, where keys are set."
)


def create_app(service: Service, *, metrics_open: bool = False) -> FastAPI:
    """Return the app of a service.

    Parameters
    ----------
    metrics_open
        the ``/metrics`` of Prometheus needs no key.
    """
    desk = _desk(service)
    app = FastAPI(
        title="mlma",
        version=_version(),
        description=_TOLD,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.desk, app.state.people = desk, people_of(service)
    for noun in _NOUNS:
        app.include_router(noun.router, prefix=API, responses=EVERY_ERROR)
    app.include_router(probes.router, responses=error_answers(401, 403, 429))
    app.include_router(docs_page.router)
    app.openapi = lambda: described(app)  # type: ignore[method-assign]  # as FastAPI documents it
    for pages in (login.router, *ROUTERS):
        app.include_router(pages)
    add_handlers(app)
    add_page_handlers(app)
    app.add_exception_handler(StaleFormError, login.stale_form)
    _add_layers(app, desk, metrics_open)
    return app


def _add_layers(app: FastAPI, desk: Desk, metrics_open: bool) -> None:
    """Put the layers around the routes, from the innermost outwards."""
    requests = desk.service.settings.server.requests_per_minute
    limits = GuardSettings(requests_per_minute=requests, metrics_open=metrics_open)
    app.add_middleware(Pressed)
    app.add_middleware(Documents, uploads=desk.uploads, rows=ROW_PATHS)
    app.add_middleware(Guard, keys=desk.service.keys, people=app.state.people, settings=limits)
    app.add_middleware(Access, telemetry=desk.telemetry, paths=_paths())


def _paths() -> frozenset[str]:
    """Return all paths that there are."""
    told = {
        API: [noun.router for noun in _NOUNS],
        "": [probes.router, docs_page.router, login.router, *ROUTERS],
    }
    return frozenset(
        f"{prefix}{route.path}"
        for prefix, routers in told.items()
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
    )


def _desk(service: Service) -> Desk:
    settings = service.live.settings
    room = ReadingRoom(service.store, settings.periods)
    meters = Meters(service, settings, room)
    server = service.settings.server
    return Desk(
        service=service,
        settings=settings,
        room=room,
        meters=meters,
        telemetry=Telemetry(meters.standing),
        uploads=Uploads(UploadLimits(max_body=server.max_body)),
        rows=Buckets(server.rows_per_minute),
    )


def _version() -> str:
    from importlib.metadata import version

    return version("mlma")
