import csv
import io
from dataclasses import replace

import pytest

from desk_pages import EVIL, NAMES, desk, judged_store, typed, words
from mlma.domain.lab import LabRun

DONE = "0123456789ab"


@pytest.fixture(scope="session")
def judged(tmp_path_factory):
    return judged_store(tmp_path_factory)


@pytest.fixture
def at(tmp_path, judged):
    with desk(tmp_path, judged) as lent:
        yield lent


def result():
    cycles = [
        {
            "cycle": cycle,
            "ds": f"2024-01-0{cycle}T00:00:00",
            "real_loss": 2.0,
            "tried_loss": 2.0 - 0.1 * (cycle > 5),
            "real_retrainings": 1,
            "tried_retrainings": 2,
            "counterfactual": 0.5 * (cycle > 5),
        }
        for cycle in range(1, 10)
    ]
    rows = [
        {
            "unique_id": name,
            "real_loss": 2.0,
            "tried_loss": 1.5 if share else 2.0,
            "real_retrainings": 1,
            "tried_retrainings": 2,
            "counterfactual": share,
            "mark": "better" if share else "same",
        }
        for name, share in ((NAMES[4], 0.25), (NAMES[0], 0.0))
    ]
    sides = {"retrainings": 9, "alarms": 3, "incidents": 2, "minutes": 7.0}
    return {
        "real": {"loss": 2.0, **sides},
        "tried": {"loss": 1.9, "loss_low": 1.8, "loss_high": 2.0, **sides, "retrainings": 18},
        "counterfactual_share": 0.2,
        "streams": 6,
        "by_cycle": cycles,
        "rows": rows,
        "rule": "As it is written.",
        "notes": [f"A note {EVIL}"],
    }


def run(service, **changes):
    told = LabRun(DONE, service.clock.now(), "user:ann", "mlma(level=0.01, pool=1)", 5)
    made = replace(told, **changes)
    service.store.put_lab_run(made)
    return made


def start(browser, **fields):
    return browser.post("/lab", {"csrf": browser.token(), **fields})


def test_a_trial_is_started_from_a_policy_and_the_fields_that_change_it(at):
    browser, service = at
    assert typed_policy(browser) == service.live.settings.policy.label
    answer = start(browser, policy="mlma(level=0.01, pool=1)", level="0.001", per_cycle="7")
    (made,) = service.lab.runs()
    assert answer.headers["location"] == f"/lab/{made.id}"
    assert (made.policy, made.per_cycle) == ("mlma(level=0.001, pool=1)", 7)
    assert (made.by, made.status) == ("address:127.0.0.1", "waiting")


def typed_policy(browser):
    from html import unescape

    page = browser.text("/lab")
    return unescape(page.partition('name="policy"')[2].partition(">")[2].partition("<")[0])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"policy": f"mlma({EVIL})"}, "policy"),
        ({"policy": "mlma(pool=8)"}, "policy"),
        ({"policy": "mlma(pool=1)", "level": "7"}, "level"),
        ({"policy": "mlma(pool=1)", "first": "9", "last": "2"}, "first"),
        ({"policy": "mlma(pool=1)", "first": "700"}, "first"),
        ({"policy": "mlma(pool=1)", "per_cycle": "-3"}, "per_cycle"),
    ],
)
def test_a_trial_that_cannot_be_is_told_at_its_field_and_all_that_was_typed_stays(
    at, fields, field
):
    browser, service = at
    told = {"follow_ups": "7, 14", **fields}
    answer = start(browser, **told)
    assert answer.status_code == 422
    assert f'id="e-{field}"' in answer.text
    assert EVIL not in answer.text
    page = answer.text.replace('action="/lab"', 'action="/orders/lab"')
    assert {name: typed(page)[name] for name in told} == told
    assert service.lab.runs() == []


def test_a_trial_that_runs_shows_how_far_it_is_and_looks_again_unless_told_not_to(at):
    browser, service = at
    run(service, status="running", progress=0.42)
    for path in ("/lab", f"/lab/{DONE}"):
        answer = browser.get(path)
        assert '<progress value="0.42" max="1"' in answer.text
        assert "42\u00a0%" in answer.text
    assert browser.get(f"/lab/{DONE}").headers["refresh"] == "3"
    assert "refresh" not in browser.get(f"/lab/{DONE}?auto=off").headers
    assert "refresh" not in browser.get("/lab").headers  # it would undo what is being typed
    assert browser.get("/lab?auto=on").headers["refresh"] == "3"
    browser.post(f"/lab/{DONE}/cancel", {"csrf": browser.token()})
    assert service.lab.run(DONE).status == "cancelled"
    assert "refresh" not in browser.get(f"/lab/{DONE}").headers


def test_what_really_happened_stands_beside_what_would_have_and_estimates_are_marked(at):
    browser, service = at
    run(service, status="done", progress=1.0, result=result())
    page = browser.text(f"/lab/{DONE}")
    told = words(page)
    assert "The mean loss would have been 5.0 % lower, with 18 re-trainings instead of 9" in told
    assert "20 % of the losses are counterfactual" in told
    assert f"A note {EVIL}" in told
    marked = [row for row in page.split("<tr") if 'class="counterfactual"' in row.partition(">")[0]]
    assert sum("&lt;b&gt;car&lt;/b&gt;" in row for row in marked) == 1
    assert not any("bike 1" in row for row in marked)
    assert page.count('<svg class="plot') == 3
    found = list(csv.DictReader(io.StringIO(browser.csv(f"/lab/{DONE}?format=csv"))))
    assert [row["counterfactual"] for row in found] == ["0.0"] * 5 + ["0.5"] * 4
    (row,) = csv.DictReader(io.StringIO(browser.csv("/lab?format=csv")))
    assert (row["real_loss"], row["tried_loss"]) == ("2.0", "1.9")


def test_one_button_leads_to_the_policy_filled_in_for_the_whole_fleet(at):
    browser, service = at
    run(service, status="done", progress=1.0, result=result())
    page = browser.text(f"/lab/{DONE}")
    from html import unescape

    link = unescape(
        page[: page.index(">Use this policy<")].rpartition('href="')[2].partition('"')[0]
    )
    form = browser.text(link)
    assert typed(form)["policy"] == "mlma(level=0.01, pool=1)"
    sent = typed(form) | {"step": "apply", "everything": "1"}
    answer = browser.post("/orders/policy", sent)
    assert answer.headers["location"].startswith(f"/lab/{DONE}?done=")
    assert service.engineering.standing().fleet_policy == "mlma(level=0.01, pool=1)"
    budget = unescape(
        page[: page.index(">Use this budget<")].rpartition('href="')[2].partition('"')[0]
    )
    assert typed(browser.text(budget))["per_cycle"] == "5"


def test_a_trial_that_failed_tells_why(at):
    browser, service = at
    run(service, status="failed", error=f"Traceback\n  x\nDataError: {EVIL}")
    page = browser.text(f"/lab/{DONE}")
    assert f"DataError: {EVIL}" in words(page)
    assert EVIL not in page
    assert browser.get("/lab/none").status_code == 404
