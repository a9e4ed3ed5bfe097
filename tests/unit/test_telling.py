"""What the outside is told of the desk: each change of an incident once, and a digest per cycle."""

import json
from dataclasses import replace

import pytest

from mlma.agent.telling import MOST_IN_DIGEST, desk_events, settled_event, told_of
from told_incidents import AT, NAMES, PERIODS, entry, incident, info, registered, resolved


def told(changed, known=(), of=None):
    return list(desk_events(of or entry(), changed, known, registered(), PERIODS))


def changes(changed, known=()):
    return {one.incident.id: one.change for one in told_of(changed, known)}


def test_a_new_incident_is_told_with_cause_scope_stake_and_streams():
    one, digest = told([incident()])
    assert (one.kind, one.at, digest.kind) == ("incident", AT, "digest")
    document = one.document
    assert document["change"] == "opened"
    assert document["cause"] == "Losses of 4 streams rose together."
    assert (document["scope"], document["stake"], document["streams"]) == ("city=Ghent", 12.5, 4)
    assert document["unique_ids"] == ["shop 0", "shop 1", "shop 2", "shop 3"]
    assert document["path"] == "/incidents/i1"
    assert document["begins"] == "2024-01-01T00:00:00+00:00"


def test_ids_are_the_same_whoever_computes_them_and_differ_between_changes():
    first, again = told([incident()]), told([incident()])
    assert first == again
    other = told([resolved(incident())], [incident()], entry(2))
    reopened = told([incident()], [resolved(incident())], entry(1, revision=1))
    ids = [one.id for one in (*first, *other, *reopened)]
    assert len(set(ids)) == len(ids) == 6


def test_every_document_is_json():
    for event in told([incident(effect=None, stake=0.0)]):
        json.dumps(event.document, allow_nan=False)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (None, incident(), "opened"),
        (None, resolved(incident()), None),
        (incident(), incident(updated_cycle=2), None),
        (resolved(incident()), incident(updated_cycle=3), "opened"),
        (incident(), resolved(incident()), "resolved"),
        (incident(), resolved(incident(), by="withdrawn"), "withdrawn"),
        (incident(), incident(kind="fleet"), "escalated"),
        (incident(state="snoozed"), incident(), "escalated"),
        (incident(state="acknowledged"), incident(state="acknowledged", stake=99.0), None),
        (incident(streams=8), incident(streams=16), "escalated"),
        (incident(streams=12), incident(streams=16), None),
        (incident(streams=2), incident(streams=6), None),
    ],
)
def test_what_becomes_of_an_incident_is_told_by_what_it_was(before, after, change):
    known = [] if before is None else [before]
    assert changes([after], known).get("i1") == change


def test_a_digest_counts_the_cycle_and_lists_the_largest_stake_first():
    known = [incident("small", stake=1.0), incident("ends", stake=50.0)]
    changed = [incident("new", stake=9.0), resolved(known[1])]
    *_, digest = told(changed, known, entry(2))
    document = digest.document
    assert [one["incident"] for one in document["incidents"]] == ["ends", "new", "small"]
    assert [one["change"] for one in document["incidents"]] == ["resolved", "opened", None]
    counts = ("opened", "escalated", "resolved", "withdrawn", "open", "unfinished")
    assert [document[name] for name in counts] == [1, 0, 1, 0, 2, 2]
    assert document["decisions"] == {"keep": 36, "retrain": 4}
    assert document["incidents"][0]["stake_before"] == 50.0


def test_a_digest_of_many_incidents_lists_so_many_and_counts_the_others():
    many = [incident(f"i{at:03}", stake=float(at)) for at in range(MOST_IN_DIGEST + 7)]
    *_, digest = told(many)
    assert len(digest.document["incidents"]) == MOST_IN_DIGEST
    assert digest.document["more"] == 7
    assert digest.document["opened"] == MOST_IN_DIGEST + 7


def test_a_batch_that_is_judged_anew_has_a_digest_only_where_an_incident_changes():
    anew = entry(1, revision=1)
    assert told([], [incident()], anew) == []
    assert told([replace(incident(), stake=13.0)], [incident()], anew) == []
    kinds = [one.kind for one in told([resolved(incident())], [incident()], anew)]
    assert kinds == ["incident", "digest"]


def test_a_quiet_cycle_has_a_digest_that_tells_so():
    (digest,) = told([])
    assert digest.kind == "digest"
    assert digest.document["incidents"] == []


def settled(before, after):
    return settled_event(before, after, at=AT, newest=info(3), names=NAMES, periods=PERIODS)


def test_what_a_person_resolved_or_opened_again_is_told_with_who_it_was():
    ended = settled(incident(), resolved(incident(), by="user:ann"))
    assert (ended.kind, ended.at, ended.document["change"]) == ("incident", AT, "resolved")
    assert ended.document["closed_by"] == "user:ann"
    assert (ended.document["cycle"], ended.document["stake_before"]) == (3, 12.5)
    again = settled(resolved(incident()), incident())
    assert again.document["change"] == "opened"
    assert again.id != ended.id


@pytest.mark.parametrize("state", ["acknowledged", "snoozed", "open"])
def test_what_a_person_does_besides_is_no_news(state):
    assert settled(incident(state="snoozed"), incident(state=state)) is None
