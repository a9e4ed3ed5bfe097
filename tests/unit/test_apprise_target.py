"""Alerts reach a real receiver through Apprise, and their addresses stay secret."""

import json
import logging
import socket
import subprocess
import sys
from io import StringIO

import pytest

from mlma.adapters.notify.apprise_target import AppriseTarget
from mlma.agent.telling import desk_events
from mlma.domain.errors import SettingsError
from mlma.domain.ledger import Event
from mlma.service.logs import logs
from requests_for_retraining import serving
from told_incidents import AT, PERIODS, entry, incident, registered

HIDDEN = ("word-of-user", "secret-token", "path-secret", "secret%2Dtoken")


def target(receiver, path="", **settings):
    return AppriseTarget("desk", f"json://127.0.0.1:{receiver.port}/{path}", **settings)


def event(kind="test", **document):
    return Event("e1", kind, AT, document or {"by": "user:ann"})


def opened(**changes):
    return next(iter(desk_events(entry(), [incident(**changes)], [], registered(), PERIODS)))


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_an_incident_arrives_as_title_and_plain_text():
    with serving() as receiver:
        assert target(receiver).deliver(opened(), 0) is None
    (body,) = receiver.bodies
    told = json.loads(body)
    assert told["title"] == "Incident opened: city=Ghent"
    assert told["message"].startswith("Losses of 4 streams rose together.\n4 streams, ")
    assert told["attachments"] == []


def test_names_are_escaped_where_a_receiver_shows_html():
    with serving() as receiver:
        made = target(receiver, "?format=html")
        made.deliver(opened(cause="<script>alert(1)</script> & <b>x</b>"), 0)
    message = json.loads(receiver.bodies[0])["message"]
    assert "<script" not in message
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in message


def test_names_are_escaped_where_a_receiver_shows_markdown():
    with serving() as receiver:
        target(receiver, "?format=markdown").deliver(opened(cause="[a](https://evil.example)"), 0)
    assert "[a](https" not in json.loads(receiver.bodies[0])["message"]


def test_a_receiver_that_breaks_is_tried_again_and_one_that_refuses_is_not_blamed_on_the_way():
    with serving(500, 400, 429, 401) as receiver:
        made = target(receiver)
        troubles = [made.deliver(event(), attempt) for attempt in range(5)]
    assert [(one.again, one.refused) for one in troubles[:-1]] == [
        (True, False),
        (False, True),
        (True, False),
        (False, True),
    ]
    assert troubles[-1] is None
    assert "500" in troubles[0].why


def test_a_receiver_that_is_not_there_is_tried_again():
    made = AppriseTarget("desk", f"json://127.0.0.1:{free_port()}/")
    trouble = made.deliver(event(), 0)
    assert trouble.again
    assert trouble.why.startswith("not delivered (failure): ")


def test_a_receiver_that_does_not_answer_is_given_up_in_time():
    with serving("silence") as receiver:
        trouble = target(receiver, "?rto=0.2&cto=0.2", timeout=1.0).deliver(event(), 0)
    assert trouble.again


def test_it_wants_what_it_was_made_for_and_tests():
    made = AppriseTarget("desk", "json://127.0.0.1:9/", kinds=("digest",))
    assert [made.wants(kind) for kind in ("digest", "incident", "decisions", "test")] == [
        *(True, False, False, True)
    ]


@pytest.mark.parametrize(
    "url", ["nonsense://path-secret/secret-token", "path-secret", "mailto://path-secret", "://x"]
)
def test_an_address_that_apprise_does_not_know_is_refused_without_being_told(url):
    lines = StringIO()
    with (
        logs("text", "debug", lines),
        pytest.raises(SettingsError, match="`url` of the alert `desk`") as caught,
    ):
        AppriseTarget("desk", url)
    assert "path-secret" not in str(caught.value) + lines.getvalue()


def test_no_secret_of_an_address_is_in_logs_errors_or_text_forms(capfd):
    lines = StringIO()
    with serving(500, 403) as receiver, logs("text", "debug", lines):
        url = (
            f"json://word-of-user:secret-token@127.0.0.1:{receiver.port}/path-secret"
            f"?+x-key=secret%2Dtoken"
        )
        made = AppriseTarget("desk", url)
        told = [made.deliver(event(), attempt) for attempt in range(3)]
        gone = AppriseTarget("desk", f"json://word-of-user:secret-token@127.0.0.1:{free_port()}/x")
        told.append(gone.deliver(event(), 0))
        logging.getLogger("mlma").debug("the log is on")
    assert receiver.paths == ["/path-secret"] * 3
    assert receiver.headers[0]["authorization"]
    printed = capfd.readouterr()
    assert "the log is on" in lines.getvalue()
    everything = f"{lines.getvalue()}{printed.out}{printed.err}{told!r}{made!r}"
    for secret in HIDDEN:
        assert secret not in everything


def test_nothing_of_apprise_is_imported_and_nothing_sent_before_it_is_needed():
    code = (
        "import sys, socket\n"
        "def no(*args, **kwargs): raise AssertionError('network')\n"
        "import mlma.adapters.notify.apprise_target as module\n"
        "import mlma.service.alerts, mlma.agent.telling\n"
        "assert 'apprise' not in sys.modules\n"
        "socket.socket.connect = no; socket.getaddrinfo = no\n"
        "module.AppriseTarget('desk', 'mailto://a:b@mail.example')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_apprise_the_extra_is_named():
    code = (
        "import sys\n"
        "sys.modules['apprise'] = None\n"
        "from mlma.adapters.notify.apprise_target import AppriseTarget\n"
        "from mlma.domain.errors import MissingExtraError\n"
        "try:\n"
        "    AppriseTarget('desk', 'json://127.0.0.1/')\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == (
        '`[[alerts]]` needs the extra `alerts`. Hint: pip install "mlma[alerts]".\n'
    )
