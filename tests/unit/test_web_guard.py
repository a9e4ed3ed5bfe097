import pytest

from http_client import JSON, SECRETS, key, serving, settings

READS = ("streams", "evidence", "decisions", "incidents", "models", "requests", "deliveries")
INGESTS = ("forecasts", "actuals", "benchmarks", "models")
ENGINEERS = ("tags", "cycle")
ADMINS = ("clock", "webhooks/test")


@pytest.fixture(scope="module")
def locked():
    with serving(settings(keys=True), base="http://mlma.example") as (client, _):
        yield client


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/docs.css", "/openapi.json"])
def test_probes_and_descriptions_need_no_key(locked, path):
    assert locked.get(path).status_code in {200, 503}


@pytest.mark.parametrize("path", [*(f"/api/v1/{noun}" for noun in READS), "/metrics"])
def test_who_may_read_is_read_engineer_and_admin(locked, path):
    told = {role: locked.get(path, headers=key(role)).status_code for role in SECRETS}
    assert told == {"read": 200, "ingest": 403, "engineer": 200, "admin": 200}
    assert locked.get(path).status_code == 401


@pytest.mark.parametrize("noun", INGESTS)
def test_who_may_push_is_ingest_engineer_and_admin(locked, noun):
    told = {
        role: locked.post(f"/api/v1/{noun}", content="{", headers=key(role) | JSON).status_code
        for role in SECRETS
    }
    assert told == {"read": 403, "ingest": 400, "engineer": 400, "admin": 400}


@pytest.mark.parametrize("noun", ENGINEERS)
def test_only_engineers_and_admins_operate(locked, noun):
    for role in ("read", "ingest"):
        assert locked.post(f"/api/v1/{noun}", headers=key(role)).status_code == 403
    for role in ("engineer", "admin"):
        made = locked.post(f"/api/v1/{noun}", headers=key(role))
        assert made.status_code not in {401, 403}


@pytest.mark.parametrize("noun", ADMINS)
def test_what_concerns_everybody_takes_an_admin(locked, noun):
    for role in ("read", "ingest", "engineer"):
        refused = locked.post(f"/api/v1/{noun}", headers=key(role))
        assert refused.status_code == 403
        assert f"the role of the key is `{role}`" in refused.json()["error"]["message"]
    made = locked.post(f"/api/v1/{noun}", headers=key("admin"))
    assert made.status_code not in {401, 403}


def test_a_key_may_also_stand_in_a_header_of_its_own(locked):
    assert locked.get("/api/v1/streams", headers={"X-API-Key": SECRETS["read"]}).status_code == 200


def test_an_unknown_path_does_not_tell_whether_it_is_there_without_a_key(locked):
    assert locked.get("/api/v1/nothing").status_code == 401
    assert locked.get("/api/v1/nothing", headers=key("read")).status_code == 404


def test_a_missing_key_is_told_how_to_be_sent(locked):
    answer = locked.get("/api/v1/streams")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Bearer" in answer.json()["error"]["hint"]


def test_guessing_keys_is_slowed_down_and_good_keys_are_not():
    with serving(settings(keys=True), address="198.51.100.7") as (client, _):
        bad = {"Authorization": "Bearer mlma_guess"}
        seen = [client.get("/api/v1/streams", headers=bad).status_code for _ in range(12)]
        assert seen == [401] * 10 + [429] * 2
        slowed = client.get("/api/v1/streams", headers=bad)
        assert int(slowed.headers["retry-after"]) >= 1
        assert client.get("/api/v1/streams", headers=key("read")).status_code == 200
        assert client.get("/api/v1/streams").status_code == 401
        other = type(client)(client.app, client._portal, address="198.51.100.8")
        assert other.get("/api/v1/streams", headers=bad).status_code == 401


def test_no_answer_and_no_log_line_holds_a_key(caplog):
    caplog.set_level("DEBUG")
    with serving(settings(keys=True)) as (client, _):
        for secret in ("mlma_guess_of_a_key", SECRETS["read"]):
            answer = client.post("/api/v1/tags", headers={"Authorization": f"Bearer {secret}"})
            assert secret not in answer.text + str(answer.headers)
    assert "mlma_guess_of_a_key" not in caplog.text
    assert SECRETS["read"] not in caplog.text


@pytest.fixture(scope="module")
def opened():
    with serving() as (client, _):
        yield client


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8321", "192.0.2.1", "", "[::", "localhost.evil.example"]
)
def test_without_keys_a_host_of_another_name_is_refused(opened, host):
    for path in ("/api/v1/streams", "/health"):
        assert opened.get(path, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8321", "127.0.0.1:1", "[::1]:8321"])
def test_without_keys_this_machine_is_served(opened, host):
    assert opened.get("/api/v1/streams", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8321"},
    ],
)
def test_pages_of_other_sites_cannot_make_a_browser_send_anything(opened, headers):
    assert opened.post("/api/v1/cycle", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:8321"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8321"},
        {"Sec-Fetch-Site": "none"},
        {},
    ],
)
def test_own_pages_and_programs_may_send(opened, headers):
    assert opened.post("/api/v1/cycle", headers=headers).status_code == 200


def test_too_many_requests_are_told_when_to_come_again():
    with serving(settings(server={"requests_per_minute": 3})) as (client, _):
        seen = [client.get("/api/v1/streams").status_code for _ in range(4)]
        assert seen == [200, 200, 200, 429]
        assert int(client.get("/api/v1/streams").headers["retry-after"]) in range(1, 21)
        assert client.get("/health").status_code == 200


def test_metrics_may_be_open_although_keys_are_set():
    from mlma.service.bootstrap import build
    from mlma.web.app import create_app

    with serving(settings(keys=True)) as (client, _):
        service = build(settings(keys=True))
        shown = type(client)(create_app(service, metrics_open=True), client._portal)
        assert shown.get("/metrics").status_code == 200
        assert shown.get("/api/v1/metrics").status_code == 401
        service.stop(5.0)


def test_a_fault_of_the_server_tells_nothing_but_the_id_under_which_the_log_has_it(caplog):
    with serving() as (client, _):

        @client.app.get("/broken")
        def broken():
            raise RuntimeError("what nobody outside may read")

        answer = client.get("/broken")
    assert answer.status_code == 500
    assert set(answer.json()["error"]) == {"message", "row", "column", "hint"}
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]
    assert "nobody outside" not in answer.text
    assert "nobody outside" in caplog.text
    assert answer.headers["x-request-id"] in caplog.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_answer_has_headers_for_browsers_and_an_id(opened):
    for path in ("/health", "/docs", "/api/v1/streams", "/nothing"):
        headers = opened.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert len(headers["x-request-id"]) == 16


def test_an_id_that_the_sender_gives_is_kept_unless_it_could_break_a_log(opened):
    told = opened.get("/health", headers={"X-Request-ID": "trace-1"}).headers["x-request-id"]
    assert told == "trace-1"
    for bad in ("a b", "x" * 65, "a\tb"):
        told = opened.get("/health", headers={"X-Request-ID": bad}).headers["x-request-id"]
        assert told != bad
