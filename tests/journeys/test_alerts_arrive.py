"""A fleet breaks at once: whoever is on call gets one message, and a digest a cycle."""

import json

from http_client import lived, names, serving
from http_client import settings as service_settings
from mlma.service.entries import AlertTable
from requests_for_retraining import serving as receiving
from threads import until

STREAMS = names(12)
QUIET_DAYS, BROKEN_DAYS = 35, 3


def alert(name, port, **keys):
    return AlertTable(name=name, url=f"json://user:secret-token@127.0.0.1:{port}/", **keys)


def test_a_shock_of_the_fleet_is_one_message_and_one_digest_per_cycle_that_tells():
    with receiving() as pager, receiving() as chat:
        told = service_settings(server={"public_url": "https://mlma.example/"})
        told = told.model_copy(
            update={
                "alerts": (
                    alert("on-call", pager.port, when="incident"),
                    alert("chat", chat.port, when="digest", quiet="00:00-00:01"),
                )
            }
        )
        with serving(told) as (client, service):
            days = QUIET_DAYS + BROKEN_DAYS
            lived(client, days, STREAMS, broken=STREAMS, since=QUIET_DAYS)
            found = service.store.incidents()
            service.start()
            until(lambda: not service.store.deliveries(status=("waiting",)), 30.0)
            kinds = [one.kind for one in found]
            assert "fleet" in kinds
            errors = [one.error for one in service.store.deliveries() if one.error]
            assert all(error.startswith("left out: ") for error in errors)
            log = client.get("/api/v1/deliveries").text
            assert "secret-token" not in log
    messages = [json.loads(body) for body in pager.bodies]
    opened = [one for one in messages if one["title"].startswith("Incident opened: fleet")]
    assert len(opened) == 1
    assert "https://mlma.example/incidents/" in opened[0]["message"]
    assert len(messages) == sum(1 + (one.state == "resolved") for one in found)
    digests = [json.loads(body)["title"] for body in chat.bodies]
    assert digests
    assert all(title.startswith("Cycle ") for title in digests)
    assert len(digests) < days / 2  # a quiet cycle sends none
