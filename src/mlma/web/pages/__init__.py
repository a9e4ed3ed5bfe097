"""Pages for people: the engineer's desk, a module per noun, each with a `router`."""

from fastapi import APIRouter

from mlma.web.pages import (
    alerts,
    audit,
    calendar,
    fleet,
    incident,
    incidents,
    lab,
    models,
    orders,
    static,
    stream,
    streams,
)

ROUTERS: list[APIRouter] = [
    static.router,
    fleet.router,
    streams.router,
    stream.router,
    incidents.router,
    incident.router,
    models.router,
    calendar.router,
    lab.router,
    audit.router,
    orders.router,
    alerts.router,
]
"""Routers of all pages, in the order in which addresses are looked for."""
