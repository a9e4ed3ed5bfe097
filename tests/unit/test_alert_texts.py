"""What people read: the facts of an incident, and nothing that a name could do to the reader."""

import pytest

from mlma.adapters.notify.alert_texts import message_of, plain
from mlma.agent.telling import desk_events
from mlma.domain.incidents import MOST_MEMBERS
from told_incidents import PERIODS, entry, incident, registered, resolved


def events(changed, known=(), of=None):
    return list(desk_events(of or entry(), changed, known, registered(), PERIODS))


def test_a_message_about_an_incident_tells_what_is_seen_done_and_suggested():
    message = message_of(events([incident()])[0], public_url="https://mlma.example", zone="UTC")
    assert message.title == "Incident opened: city=Ghent"
    assert message.body.splitlines() == [
        "Losses of 4 streams rose together.",
        "4 streams, loss at stake 12.5, +34 % in the middle.",
        "Streams: shop 0, shop 1, shop 2, shop 3.",
        "The agent: Asked for 4 re-trainings.",
        "Advice: Look at the weather.",
        "Cycle 1, judged on 2024-01-02 00:05 UTC.",
        "https://mlma.example/incidents/i1",
    ]


def test_times_are_told_in_the_zone_of_the_alert_and_links_only_where_there_is_an_address():
    message = message_of(events([incident()])[0], zone="Asia/Tokyo")
    assert "judged on 2024-01-02 09:05 JST." in message.body
    assert "/incidents/" not in message.body


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("agent", "It closed itself."),
        ("user:ann", "Resolved by user:ann."),
        ("withdrawn", "A batch that was judged anew no longer shows it."),
    ],
)
def test_the_end_of_an_incident_tells_who_ended_it(by, told):
    message = message_of(events([resolved(incident(), by)], [incident()], entry(2))[0])
    assert message.body.splitlines()[0] == told


def test_a_digest_tells_counts_what_the_agent_did_and_the_incidents():
    known = [incident("old", stake=1.0, scope="shop 7", streams=1, members=(7,), effect=None)]
    of = entry(2, decisions={"retrain": 1, "defer": 3, "hold": 0, "escalate": 2})
    digest = events([incident("new", state="open")], known, of)[-1]
    message = message_of(digest, public_url="https://mlma.example")
    assert message.title == "Cycle 2: 1 opened, 2 open"
    assert message.body.splitlines() == [
        "40 streams judged on 2024-01-03 00:05 UTC.",
        "Verdicts: 36 healthy, 4 degraded.",
        "The agent asked for 1 re-training, deferred 3 re-trainings for the budget, "
        "gave up on 2 re-trainings.",
        "Incidents, the largest stake first:",
        "- [opened] city=Ghent: Losses of 4 streams rose together. "
        "(4 streams, loss at stake 12.5, +34 % in the middle)",
        "  The agent: Asked for 4 re-trainings.".strip(),
        "  https://mlma.example/incidents/new",
        "- [open] shop 7: Losses of 4 streams rose together. (1 stream, loss at stake 1)",
        "  The agent: Asked for 4 re-trainings.".strip(),
        "  https://mlma.example/incidents/old",
        "https://mlma.example/fleet",
    ]


def test_a_digest_of_a_quiet_cycle_says_so():
    (digest,) = events([], of=entry(decisions={"keep": 40}))
    message = message_of(digest)
    assert message.title == "Cycle 1: nothing new, 0 open"
    assert "The agent asked for no re-training." in message.body
    assert "No incident is open." in message.body


def test_a_digest_of_many_incidents_lists_twenty_and_counts_the_others():
    many = [incident(f"i{at}", stake=float(at)) for at in range(130)]
    body = message_of(events(many)[-1]).body
    assert body.count("- [opened]") == 20
    assert "... and 110 more." in body


def test_an_incident_of_very_many_streams_names_a_few():
    large = incident(streams=5_000, members=tuple(at % 40 for at in range(MOST_MEMBERS)))
    body = message_of(events([large])[0]).body
    assert "shop 19 and 4980 more." in body


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ("a\r\nBcc: someone\x00", "a Bcc: someone"),
        ("\u202eevil", "evil"),
        ("@everyone look", "@\u2060everyone look"),
        ("<b>bold</b>", "<b>bold</b>"),  # escaped by the form that shows it
    ],
)
def test_a_text_is_one_line_that_breaks_nothing_and_calls_nobody(told, read):
    assert plain(told) == read


def test_a_name_cannot_break_the_lines_of_a_message():
    odd = incident(scope="shop\nhttps://evil.example", cause="x" * 2_000)
    message = message_of(events([odd])[0])
    assert message.title == "Incident opened: shop https://evil.example"
    assert len(message.body.splitlines()[0]) == 500
