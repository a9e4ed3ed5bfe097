"""The HTTP interface under random requests, good ones and bad ones, made from its own description.

A real agent with a memory store stands behind it. Whatever comes: no answer tells of a fault of the
server, and each answer is as the description says.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from http_client import lived, names, serving, settings
from mlma.service.entries import AlertTable

HERE = {"Host": "127.0.0.1"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def _as_bytes(context, value):
    """Media types whose bodies are bytes or text: as they were drawn."""
    del context
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


for media_type in (
    "application/x-ndjson",
    "text/csv",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.arrow.file",
    "application/vnd.apache.parquet",
):
    schemathesis.serializer(media_type)(_as_bytes)


def from_here(app):
    """Return the app as it is reached from this machine; the fuzzer has no address."""

    async def reached(scope, receive, send):
        if scope["type"] == "http":
            scope = {**scope, "client": ("127.0.0.1", 50_000)}
        await app(scope, receive, send)

    return reached


@pytest.fixture(scope="module")
def api():
    told = settings(
        server={"max_body": "1MiB", "requests_per_minute": 0},
        webhooks=[{"name": "desk", "url": "http://127.0.0.1:9/hook", "allow_private": True}],
    )
    alert = AlertTable(name="on-call", url="json://127.0.0.1:9/hook")
    with serving(told.model_copy(update={"alerts": (alert,)})) as (client, service):
        lived(client, 12, names(9), broken=names(2), since=9)
        service.live.tag({"city": {"stream 0": "Ghent"}})
        service.start()
        yield schemathesis.openapi.from_asgi("/openapi.json", from_here(client.app), headers=HERE)


GETS = (
    *("streams", "evidence", "decisions", "incidents", "models", "requests", "deliveries"),
    *("cycles", "metrics", "actions", "actions/{number}", "incidents/{id}", "exclusions"),
    *("lab", "lab/{id}"),
)
POSTS = (
    *("forecasts", "actuals", "benchmarks", "models", "tags", "clock", "cycle", "webhooks/test"),
    *("actions", "actions/{number}/undo", "alerts/test", "lab", "lab/{id}/cancel"),
)
OPERATIONS = [
    *(("GET", f"/api/v1/{noun}") for noun in GETS),
    *(("POST", f"/api/v1/{noun}") for noun in POSTS),
    *(("GET", path) for path in ("/health", "/ready", "/metrics")),
]


def test_all_operations_are_tried(api):
    described = {
        (method.upper(), path)
        for path, methods in api.raw_schema["paths"].items()
        for method in methods
    }
    assert described == set(OPERATIONS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_as_described_and_none_is_a_fault_of_the_server(api, method, path, mode):
    operation = api[path][method]
    bare = not (operation.query or operation.headers or operation.body)
    if mode is GenerationMode.NEGATIVE and bare:
        mode = GenerationMode.POSITIVE  # there is nothing to get wrong

    @hypothesis_settings(
        max_examples=20,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def tried(case):
        answer = case.call(headers=HERE)
        case.validate_response(answer, checks=CHECKS)

    tried()
