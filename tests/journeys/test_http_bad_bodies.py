"""The corpus of bad bodies through the whole interface: refused by name, and nothing stored."""

from dataclasses import fields

import pytest

from bad_bodies import BAD_BODIES, NOW
from http_client import Client, serving, settings
from mlma.adapters.frames.rows import Door
from mlma.domain.periods import moment_of
from mlma.service.bootstrap import Service
from mlma.web.app import create_app


class AtThatTime(Service):
    """A service whose door takes the time of the corpus for now."""

    def door(self):
        return Door(self.periods, NOW)


@pytest.fixture(scope="module")
def door():
    with serving(settings(slot="15m", server={"requests_per_minute": 0})) as (client, service):
        service.clock.advance(moment_of(NOW))
        parts = {one.name: getattr(service, one.name) for one in fields(service) if one.init}
        yield Client(create_app(AtThatTime(**parts)), client._portal), service


def test_the_corpus_is_large():
    assert len(BAD_BODIES) >= 60


@pytest.mark.parametrize("bad", BAD_BODIES, ids=lambda bad: bad.name)
def test_a_bad_body_is_refused_by_row_and_column_and_nothing_is_stored(door, bad):
    client, service = door
    headers = {"Content-Type": bad.media_type} if bad.media_type else {}
    answer = client.post(f"/api/v1/{bad.kind}", content=bad.body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    error = answer.json()["error"]
    assert (error["row"], error["column"]) == (bad.row, bad.column)
    assert bad.word.lower() in f"{error['message']} {error['hint']}".lower()
    assert service.store.periods() == {}
    assert service.store.streams() == []
