from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import click
import numpy as np
import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as some

from desk_pages import DAYS, NAMES, settings_at
from http_client import lived, serving
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.orders import ORDERS, order_from
from mlma.domain.selectors import Selector
from mlma.web.pages.backwards import last_number, newest_first
from mlma.web.pages.gains import recent_gains
from mlma.web.pages.lab_asking import policy_asked
from mlma.web.pages.lab_reading import compared, cycles_frame, in_a_sentence
from mlma.web.pages.links import local
from mlma.web.pages.loss_shelf import shelf_of
from mlma.web.pages.months import Happening, month_grid, start_of
from mlma.web.pages.order_elsewhere import command_of, request_of
from mlma.web.pages.order_filling import mornings
from mlma.web.pages.order_reading import FieldError

WHOM = Selector(tags=("city=New York",), search="it's", unique_ids=("-shop 1", "a b"))
AT = datetime(2025, 3, 1, 12, tzinfo=UTC)
EVENT = CalendarEvent("e", "Fair & more", "other", AT, AT + timedelta(days=1), WHOM, mute=False)
FIELDS = {
    "plan": {"at": AT},
    "freeze": {"until": AT},
    "budget": {"per_cycle": None},
    "event": {"event": EVENT},
    "cancel_event": {"event": "e"},
    "policy": {"policy": "mlma(level=0.01)"},
    "roll_back": {"version": 3},
    "label": {"begins": AT, "ends": AT + timedelta(days=1), "label": "broken"},
    "overrule": {"cycle": 7, "verdict": "healthy"},
    "rejudge": {"cycle": 7},
    "undo": {"action": 7},
    "snooze": {"incident": "i", "until": AT},
}


def sample(kind):
    made = ORDERS[kind]
    fields = dict(FIELDS.get(kind, {}))
    if "selector" in made.__dataclass_fields__:
        fields["selector"] = WHOM
    if "incident" in made.__dataclass_fields__:
        fields["incident"] = "i"
    return made(**fields)


@pytest.mark.parametrize("kind", ORDERS)
def test_the_command_that_a_page_tells_is_one_that_the_command_line_takes(kind):
    import shlex

    from mlma.cli.act import acts

    group = typer.main.get_command(acts)
    name, *told = shlex.split(command_of(sample(kind)))[2:]
    command = group.get_command(click.Context(group), name)
    assert command is not None
    context = command.make_context(name, list(told))
    if "selector" in ORDERS[kind].__dataclass_fields__:
        assert context.params["tag"] == ["city=New York"]
        assert context.params["stream"] == ["-shop 1", "a b"]


@pytest.mark.parametrize("kind", ORDERS)
def test_the_request_that_a_page_tells_is_one_that_the_server_takes(kind):
    import json

    from pydantic import TypeAdapter

    from mlma.web.order_bodies import AnyOrder

    head, body = request_of(sample(kind)).split("\n")
    assert head == "POST /api/v1/actions"
    read = TypeAdapter(AnyOrder).validate_python(json.loads(body))
    assert read.order() == sample(kind)
    assert read.dry_run is True


@given(some.integers(0, 500), some.one_of(some.none(), some.integers(1, 600)), some.integers(1, 9))
def test_a_numbered_list_is_read_backwards_as_it_is(n, before, window):
    numbers = [(number, number) for number in range(1, n + 1)]

    def upwards(start, limit):
        return [pair for pair in numbers if pair[0] >= start][:limit]

    found = [number for number, _ in newest_first(upwards, before, window)]
    wanted = [number for number, _ in reversed(numbers) if before is None or number < before]
    assert found == wanted
    assert last_number(upwards) == n


def test_an_event_in_a_zone_is_on_the_days_of_its_clock():
    zone = ZoneInfo("Europe/Brussels")
    begins = datetime(2024, 3, 30, 23, tzinfo=UTC)  # midnight there, and the clock is put on
    one = Happening("event", "x", begins, begins + timedelta(hours=23))
    grid = month_grid(date(2024, 3, 1), [one], date(2024, 3, 5), zone)
    days = [day for week in grid.weeks for day in week]
    assert [day.date for day in days if day.happenings] == [date(2024, 3, 31)]
    assert len(days) % 7 == 0
    assert [day.date for day in days if day.today] == [date(2024, 3, 5)]
    assert (grid.before, grid.after) == ("2024-02", "2024-04")
    assert start_of(date(2024, 3, 31), zone).astimezone(UTC) == begins


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "fleet",
        "//x",
        "/\\x",
        "\\/x",
        "http://x",
        "javascript:alert(1)",
        "/a\r\nb",
        "/\t/x",
        "/é",
    ],
)
def test_only_addresses_of_this_server_are_followed(sent):
    assert local(sent, "/there") == "/there"


def test_monday_is_the_next_one_also_on_a_monday():
    monday = datetime(2024, 1, 1, 9, tzinfo=UTC)
    assert mornings(monday, UTC)["until Monday"] == datetime(2024, 1, 8, 6, tzinfo=UTC)
    assert mornings(monday, UTC)["for a day"] == datetime(2024, 1, 2, 9, tzinfo=UTC)


# The lab.


def test_fields_change_the_policy_that_was_typed_and_empty_ones_do_not():
    typed = {"policy": ["mlma(level=0.01, pool=1)"], "level": ["0.001"], "reference": [""]}
    assert policy_asked(typed) == "mlma(level=0.001, pool=1)"
    typed |= {"false_retrainings": ["none"], "follow_ups": ["none"], "level": [""]}
    assert policy_asked(typed) == "mlma(level=0.01, pool=1, false_retrainings=None, follow_ups=())"


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"policy": [""]}, "policy"),
        ({"policy": ["mlma(levle=1)"]}, "policy"),
        ({"policy": ["mlma"], "level": ["2"]}, "level"),
        ({"policy": ["mlma"], "level": ["x"]}, "level"),
        ({"policy": ["mlma"], "follow_ups": ["7, x"]}, "follow_ups"),
        ({"policy": ["mlma"], "follow_ups": ["14, 7"]}, "follow_ups"),
    ],
)
def test_a_policy_that_cannot_be_is_told_at_its_field(typed, field):
    with pytest.raises(FieldError) as caught:
        policy_asked(typed)
    assert caught.value.field == field


def test_both_sides_are_compared_and_less_is_better():
    result = {
        "real": {"loss": 2.0, "retrainings": 10, "minutes": 0.0},
        "tried": {"loss": 1.5, "retrainings": 12, "minutes": 0.0},
    }
    told = {one.name: (one.mark, one.change) for one in compared(result)}
    assert told["Mean loss"] == ("better", -0.25)
    assert told["Re-trainings"][0] == "worse"
    assert told["Minutes of a person"] == ("same", None)
    assert in_a_sentence(result) == (
        "The mean loss would have been 25\u00a0% lower, with 12 re-trainings instead of 10."
    )
    assert compared({}) == []
    assert cycles_frame({}).is_empty()


# Losses and gains, against a slow reading of the ledger.


@pytest.fixture(scope="module")
def lived_desk(tmp_path_factory):
    path = tmp_path_factory.mktemp("gains") / "store.db"
    with serving(settings_at(path)) as (client, service):
        lived(client, DAYS, NAMES)
        service.live.deployed([NAMES[0], NAMES[3]], by="trainer")
        lived(client, 5, NAMES, first=DAYS, broken=NAMES[3:4], since=0, seed=8)
        yield client.app.state.desk, service


def test_losses_of_members_are_those_of_the_ledger(lived_desk):
    at, service = lived_desk
    rows = np.array([0, 2, 5])
    heads = service.store.cycles()
    shelf = shelf_of(at.room)
    told = shelf.members(rows, heads)
    for place, info in enumerate(heads):
        _, records = service.store.evidence(info.cycle)
        own = records[rows]
        both = np.isfinite(own["loss"]) & np.isfinite(own["reference_log"])
        if not both.any():
            assert np.isnan(told.loss[place])
            continue
        assert told.loss[place] == pytest.approx(own["loss"][both].mean(), rel=1e-6)
        reference = np.exp(own["reference_log"][both])
        assert told.reference[place] == pytest.approx(reference.mean(), rel=1e-6)
        rise = np.median(own["loss"][both] / reference - 1)
        assert told.rise[place] == pytest.approx(rise, abs=1e-5)
    assert shelf.members(np.array([99]), heads).loss.tolist() == pytest.approx(
        [np.nan] * len(heads), nan_ok=True
    )


def test_gains_are_the_fall_of_the_loss_beside_that_of_the_fleet(lived_desk):
    at, service = lived_desk
    gains = recent_gains(at)
    loss = np.array(
        [service.store.evidence(info.cycle)[1]["loss"] for info in service.store.cycles()]
    )
    scaled = loss / np.median(loss, axis=1, keepdims=True)
    wanted = {
        (NAMES[row], DAYS + 1): 1
        - scaled[DAYS : DAYS + 7, row].mean() / scaled[DAYS - 7 : DAYS, row].mean()
        for row in (0, 3)
    }
    assert gains.by_stream == pytest.approx(wanted, rel=1e-5)
    assert wanted[NAMES[3], DAYS + 1] < -0.5  # it broke when its new version came
    assert (gains.live, gains.told) == (2, 2)
    assert gains.of(NAMES[0], DAYS) == (
        DAYS + 1,
        pytest.approx(wanted[NAMES[0], DAYS + 1], rel=1e-5),
    )
    assert gains.of(NAMES[0], DAYS + 1) is None


def test_a_shelf_forgets_what_was_not_asked_for_lately(lived_desk, monkeypatch):
    from mlma.web.pages import loss_shelf

    at, service = lived_desk
    monkeypatch.setattr(loss_shelf, "_KEPT_BYTES", 100)
    shelf = loss_shelf.LossShelf(at.room)
    for info in service.store.cycles():
        shelf.cycle(info)
    assert len(shelf._kept) == 2  # two of 48 bytes
    assert shelf._bytes == sum(one.bytes for one in shelf._kept.values())


def test_a_plain_order_survives_the_way_through_plain_values():
    for kind in ORDERS:
        assert order_from(kind, sample(kind).payload()) == sample(kind)
