"""A webhook posts to a real server, tries again where it helps, and loses nothing."""

import json
import logging
import shutil
import socket
import ssl
import subprocess

import pytest

from mlma import MissingExtraError, SettingsError
from mlma.adapters.notify import endpoint
from mlma.adapters.notify.signature import verify_signature
from mlma.adapters.notify.webhook import LONGEST_PAUSE_SECONDS, Webhook
from mlma.ports import DeliveryError
from requests_for_retraining import NOON, Clock, request, serving

HIDDEN = ("word-of-user", "token-in-query", "path-secret", "sign-with-this", "bearer-of-all")


def webhook(url, clock=None, **settings):
    clock = clock or Clock()
    known = {"allow_private": True, "sleep": clock.sleep, "clock": clock, **settings}
    return Webhook(url, **known)


def refusal(hook, batch=None):
    with pytest.raises(DeliveryError) as caught:
        hook.send([request()] if batch is None else batch)
    return caught.value


def unused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_one_message_tells_of_all_streams():
    batch = [request("a", loss=2.5, verdict="degraded"), request("b", loss=None)]
    with serving() as receiver:
        webhook(receiver.url + "/train?fleet=1").send(batch)
    (body,) = receiver.bodies
    told = json.loads(body)
    assert receiver.paths == ["/train?fleet=1"]
    assert receiver.headers[0]["content-type"] == "application/json"
    assert receiver.headers[0]["idempotency-key"] == told["id"]
    assert (told["kind"], told["sent_at"]) == (
        "retraining_requested",
        "2024-01-01T12:00:00.000000Z",
    )
    assert told["requests"][0] == {
        "id": batch[0].id,
        "unique_id": "a",
        "reason": "loss above the reference",
        "version": 1,
        "cycle": 12,
        "asked_at": "2024-01-01T12:00:00.000000Z",
        "evidence": {"loss": 2.5, "verdict": "degraded"},
    }
    assert [one["unique_id"] for one in told["requests"]] == ["a", "b"]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_status_of_success_is_an_arrival(status):
    with serving(status) as receiver:
        webhook(receiver.url).send([request()])
    assert len(receiver.bodies) == 1


def test_what_is_answered_beside_the_status_is_not_read():
    with serving((200, {"content-type": "application/json"}, b"\xff<garbage>{{" * 1000)) as there:
        webhook(there.url).send([request()])
    assert len(there.bodies) == 1


@pytest.mark.parametrize("answer", [500, 503, 429, "no http"])
def test_trouble_that_may_pass_is_tried_again_with_the_same_id(answer):
    clock = Clock()
    with serving(answer, answer) as receiver:
        webhook(receiver.url, clock).send([request()])
    assert len({json.loads(body)["id"] for body in receiver.bodies}) == 1
    assert len(receiver.bodies) == 3
    first, second = clock.slept
    assert 0.25 <= first <= 0.5 <= second <= 1.0


def test_a_server_that_stays_broken_is_named_with_its_status():
    clock = Clock()
    with serving(*[500] * 9) as receiver:
        error = refusal(webhook(receiver.url, clock, retries=2), [request("a"), request("b")])
    assert str(error) == (
        f"The webhook at {receiver.url} did not take the message about a and 1 more: "
        f"it answered 500 (3 attempts)."
    )
    assert not error.refused
    assert len(receiver.bodies) == 3
    assert len(clock.slept) == 2


def test_pauses_double_up_to_a_bound_and_differ_between_messages():
    clock, other = Clock(), Clock()
    port = unused_port()
    for name, one in (("a", clock), ("b", other)):
        refusal(webhook(f"http://127.0.0.1:{port}", one, retries=12), [request(name)])
    for attempt, seconds in enumerate(clock.slept):
        longest = min(0.5 * 2**attempt, LONGEST_PAUSE_SECONDS)
        assert longest / 2 <= seconds <= longest
    assert clock.slept != other.slept


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7.0),
        ("Mon, 01 Jan 2024 12:00:09 GMT", 9.0),
        ("86400", LONGEST_PAUSE_SECONDS),
        ("Tue, 02 Jan 2024 12:00:00 GMT", LONGEST_PAUSE_SECONDS),
    ],
)
def test_a_receiver_that_asks_for_patience_gets_it_within_bounds(retry_after, seconds):
    clock = Clock()
    with serving((429, {"retry-after": retry_after}, b"")) as receiver:
        webhook(receiver.url, clock).send([request()])
    assert clock.slept == [seconds]


@pytest.mark.parametrize("retry_after", ["-5", "soon", "", "1e9", "9" * 400, "0"])
def test_a_retry_after_that_means_nothing_changes_no_pause(retry_after):
    clock = Clock()
    with serving((503, {"retry-after": retry_after}, b"")) as receiver:
        webhook(receiver.url, clock).send([request()])
    longest = LONGEST_PAUSE_SECONDS if retry_after.startswith("9") else 0.5
    assert clock.slept[0] <= longest


@pytest.mark.parametrize("status", [400, 401, 404, 410, 413])
def test_a_refusal_is_not_tried_again(status):
    clock = Clock()
    with serving(status) as receiver:
        error = refusal(webhook(receiver.url, clock))
    assert error.refused
    assert f"it answered {status}." in str(error)
    assert (len(receiver.bodies), clock.slept) == (1, [])


def test_a_silent_server_is_given_up():
    with serving("silence", "silence") as receiver:
        error = refusal(webhook(receiver.url, timeout=0.1, retries=1))
    assert "no answer within 0.1 s (2 attempts)" in str(error)
    assert receiver.url in str(error)


def test_a_server_that_answers_byte_by_byte_is_given_up():
    with serving("drip") as receiver:
        error = refusal(webhook(receiver.url, timeout=0.1, retries=0))
    assert "no answer within 0.1 s." in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_refused(status):
    with serving((status, {"location": "http://evil.example/x?token-in-query"}, b"")) as receiver:
        error = refusal(webhook(receiver.url))
    assert f"{status}, a redirect to http://evil.example:80, which is not followed" in str(error)
    assert "token-in-query" not in str(error)
    assert len(receiver.bodies) == 1


def test_a_redirect_to_this_machine_is_not_followed_either():
    with (
        serving() as inner,
        serving((307, {"location": f"{inner.url}/admin"}, b"")) as outer,
    ):
        error = refusal(webhook(outer.url))
    assert f"a redirect to {inner.url}, which is not followed" in str(error)
    assert inner.bodies == []


@pytest.mark.parametrize("location", ["/elsewhere", "", "http://[", "http://a\x7fb/"])
def test_no_redirect_is_followed_wherever_it_leads(location):
    with serving((302, {"location": location}, b"")) as receiver:
        error = refusal(webhook(receiver.url))
    assert "which is not followed" in str(error)
    assert len(receiver.bodies) == 1


def test_a_refused_connection_is_tried_again_and_named():
    clock, port = Clock(), unused_port()
    error = refusal(webhook(f"http://127.0.0.1:{port}", clock))
    assert f"http://127.0.0.1:{port} did not take" in str(error)
    assert "no connection" in str(error)
    assert len(clock.slept) == 3


def test_a_host_without_an_address_is_tried_again_and_named():
    clock, asked = Clock(), []

    def resolve(host, port):
        asked.append((host, port))
        raise socket.gaierror(-2, "Name or service not known")

    error = refusal(webhook("https://hook.invalid/x", clock, retries=2, resolve=resolve))
    assert "https://hook.invalid:443" in str(error)
    assert "its host has no address" in str(error)
    assert asked == [("hook.invalid", 443)] * 3


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "a..example"])
def test_a_name_that_no_host_can_have_is_named(host):
    error = refusal(webhook(f"http://{host}/", allow_private=False, retries=0))
    assert "its host has no address: not a name of a host" in str(error)


@pytest.mark.parametrize(
    ("addresses", "words"), [([], "none was found"), (["x"], "is at x, which is not a public")]
)
def test_a_resolver_that_finds_no_address_is_refused(addresses, words):
    hook = webhook("http://hook.invalid", allow_private=False, resolve=lambda *_: addresses)
    assert words in str(refusal(hook))


def test_the_connection_goes_to_the_address_that_was_looked_up():
    looked_up = []

    def resolve(host, port):
        looked_up.append(host)
        return ["127.0.0.1"]

    with serving() as receiver:
        webhook(f"http://hook.invalid:{receiver.port}/x", resolve=resolve).send([request()])
    assert receiver.headers[0]["host"] == f"hook.invalid:{receiver.port}"
    assert looked_up == ["hook.invalid"]


def test_no_proxy_of_the_environment_is_used(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    with serving() as receiver:
        hook = webhook(
            f"http://hook.invalid:{receiver.port}", retries=0, resolve=lambda *_: ["127.0.0.1"]
        )
        hook.send([request()])
    assert len(receiver.bodies) == 1


def test_of_several_addresses_the_next_is_tried():
    with serving() as receiver:
        hook = webhook(
            f"http://hook.invalid:{receiver.port}", resolve=lambda *_: ["127.0.0.9", "127.0.0.1"]
        )
        hook.send([request()])
    assert len(receiver.bodies) == 1


def test_a_name_that_turns_to_this_machine_between_attempts_is_refused():
    clock = Clock()
    with serving() as receiver:
        answers = iter([OSError("try again"), ["127.0.0.1"]])

        def resolve(*_):
            answer = next(answers)
            if isinstance(answer, OSError):
                raise answer
            return answer

        hook = webhook(
            f"http://hook.invalid:{receiver.port}", clock, allow_private=False, resolve=resolve
        )
        error = refusal(hook)
    assert "hook.invalid is at 127.0.0.1, which is not a public address" in str(error)
    assert (receiver.bodies, len(clock.slept)) == ([], 1)


def test_one_private_address_among_public_ones_is_refused():
    with serving() as receiver:
        hook = webhook(
            f"http://hook.invalid:{receiver.port}",
            allow_private=False,
            resolve=lambda *_: ["93.184.216.34", "::1"],
        )
        assert "is at ::1" in str(refusal(hook))
    assert receiver.bodies == []


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "0.0.0.0"),
        *("[::1]", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"),
        *("2130706433", "0x7f000001", "127.1", "100.100.100.200", "168.63.129.16", "224.0.0.1"),
    ],
)
def test_addresses_that_are_not_public_are_refused_at_once(host):
    with pytest.raises(SettingsError, match="is not a public address"):
        Webhook(f"http://{host}/latest/meta-data")
    assert host.strip("[]") in repr(Webhook(f"http://{host}/", allow_private=True))


def test_a_name_for_this_machine_is_refused_when_it_is_used():
    with serving() as receiver:
        error = refusal(webhook(f"http://localhost:{receiver.port}", allow_private=False))
    assert "localhost is at" in str(error)
    assert "allow_private=True" in str(error)
    assert receiver.bodies == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://models.example/x", "models.example"])
def test_other_schemes_are_refused(url):
    with pytest.raises(SettingsError, match="must start with http:// or https://"):
        Webhook(url)


@pytest.mark.parametrize(
    "url",
    [
        *("http://", "https:///train", "http://a b/", "http://a:99999/", "http://exa\nmple/"),
        *("http://user:word-of-user@[/", "http://0177.0.0.1/", 7, None),
    ],
)
def test_what_is_no_url_is_refused_and_not_shown(url):
    with pytest.raises(SettingsError, match="`url` of `Webhook`") as caught:
        Webhook(url)
    assert "word-of-user" not in str(caught.value)


@pytest.mark.parametrize("secret", [7, ["a"], bytearray(b"a"), "", b"", True])
def test_a_secret_of_a_wrong_kind_is_refused(secret):
    with pytest.raises(SettingsError, match="secret of a webhook"):
        Webhook("https://models.example", secret=secret)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("timeout", value) for value in (0, -1, float("nan"), float("inf"), "10", None, True)),
        *(("retries", value) for value in (-1, float("inf"), "3")),
        *(("max_requests", 0), ("max_bytes", 0)),
    ],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(SettingsError, match=f"`{name}` of `Webhook` must be"):
        Webhook("https://models.example", **{name: value})


@pytest.mark.parametrize(
    "headers",
    [{"host": "a"}, {"x": "a\r\nb: c"}, {"x": "ä"}, {"x y": "a"}, {"": "a"}, {"x": 1}, {1: "x"}],
)
def test_headers_that_could_break_a_message_are_refused(headers):
    with pytest.raises(SettingsError, match="of `Webhook` must have a plain name"):
        Webhook("https://models.example", headers=headers)


def test_further_headers_and_the_password_of_the_url_are_sent():
    with serving() as receiver:
        url = f"http://me:word%20of%20user@127.0.0.1:{receiver.port}/x"
        webhook(url, headers={"X-Fleet": "north"}).send([request()])
    assert receiver.headers[0]["authorization"] == "Basic bWU6d29yZCBvZiB1c2Vy"
    assert receiver.headers[0]["x-fleet"] == "north"


def test_nothing_secret_is_shown_in_messages_or_logs(caplog):
    caplog.set_level(logging.DEBUG)
    with serving(500, 302) as receiver:
        hook = webhook(
            f"http://me:{HIDDEN[0]}@127.0.0.1:{receiver.port}/{HIDDEN[2]}?key={HIDDEN[1]}",
            secret=HIDDEN[3],
            headers={"x-token": HIDDEN[4]},
            retries=1,
        )
        error = refusal(hook)
    shown = " ".join([repr(hook), str(error), repr(error), caplog.text])
    assert [word for word in HIDDEN if word in shown] == []
    assert HIDDEN[2] in receiver.paths[0]


def test_a_signed_message_is_verified_by_its_receiver():
    clock = Clock()
    with serving(500) as receiver:
        webhook(receiver.url, clock, secret="sign-with-this").send([request()])
    stamps = set()
    for body, headers in zip(receiver.bodies, receiver.headers, strict=True):
        header, now = headers["mlma-signature"], clock.now.timestamp()
        assert verify_signature(body, header, "sign-with-this", now=now)
        assert not verify_signature(body, header, "another", now=now)
        assert not verify_signature(body + b" ", header, "sign-with-this", now=now)
        stamps.add(header.partition(",")[0])
    assert stamps == {f"t={int(NOON.timestamp())}"}


def test_an_unsigned_message_has_no_signature():
    with serving() as receiver:
        webhook(receiver.url).send([request()])
    assert receiver.headers[0]["mlma-signature"] is None


def test_a_message_that_is_too_long_is_not_sent():
    long = request("a" * 100_000)
    with serving() as receiver:
        error = refusal(webhook(receiver.url, max_bytes=50_000), [long])
    assert error.refused
    assert "Expected at most 50000 (`max_bytes`)" in str(error)
    assert len(str(error)) < 400
    assert receiver.bodies == []


@pytest.mark.parametrize(("max_requests", "max_bytes"), [(7, 10**9), (1000, 2000), (1, 1)])
def test_portions_keep_their_bounds_and_their_order(max_requests, max_bytes):
    asked = [request(f"stream \N{SNOWMAN} {row}", loss=row / 3) for row in range(40)]
    hook = webhook("https://models.example", max_requests=max_requests, max_bytes=max_bytes)
    portions = hook.batches(asked)
    assert [one for portion in portions for one in portion] == asked
    assert max(map(len, portions)) <= max_requests
    with serving() as receiver:
        for portion in portions:
            webhook(receiver.url).send(portion)
    lengths = [len(body) for body in receiver.bodies]
    assert all(
        size <= max_bytes or len(portion) == 1
        for size, portion in zip(lengths, portions, strict=True)
    )
    assert hook.batches([]) == []


def test_a_name_that_would_break_a_log_is_quoted():
    with serving(400) as receiver:
        error = refusal(webhook(receiver.url), [request("a\nERROR all is lost")])
    assert "\n" not in str(error)


def test_a_message_about_nothing_may_be_sent():
    with serving(200, 400) as receiver:
        webhook(receiver.url).send([])
        assert "about no stream" in str(refusal(webhook(receiver.url), []))
    assert json.loads(receiver.bodies[0])["requests"] == []


def test_without_httpx_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(endpoint, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"needs the extra `webhook`"):
        Webhook("https://models.example")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    names = ["-subj", "/CN=hook.example", "-addext", "subjectAltName=DNS:hook.example"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([openssl, "req", "-x509", *kind, *names, *files], check=True, capture_output=1)
    return folder / "certificate.pem", folder / "key.pem"


@pytest.mark.parametrize("host", ["hook.example", "other.example"])
def test_the_certificate_must_be_of_the_host_and_not_of_its_address(host, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with serving(context=context) as receiver:
        hook = webhook(
            f"https://{host}:{receiver.port}", resolve=lambda *_: ["127.0.0.1"], retries=0
        )
        if host == "hook.example":
            hook.send([request()])
        else:
            assert "certificate verify failed" in str(refusal(hook))
    assert len(receiver.bodies) == (host == "hook.example")


@pytest.mark.parametrize("answer", ["silence", "drip"])
def test_an_encrypted_connection_that_takes_too_long_is_given_up(answer, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with serving(answer, context=context) as receiver:
        hook = webhook(
            f"https://hook.example:{receiver.port}",
            resolve=lambda *_: ["127.0.0.1"],
            retries=0,
            timeout=0.3,
        )
        assert "no answer within 0.3 s." in str(refusal(hook))
