"""Orders ahead: freezes, pins, plans, the budget, policies and re-trainings now."""

import pytest

from engineers import ANN, BROKEN, DAYS, GHENT, NAMES, day, judged_fleet, office
from mlma.domain.errors import ConflictError, DataError, SettingsError
from mlma.domain.orders import (
    Freeze,
    LabelBatches,
    Pin,
    Plan,
    Retrain,
    SetBudget,
    SwitchPolicy,
    Unfreeze,
    Unpin,
)
from mlma.domain.selectors import Selector

EVERYBODY = Selector()


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    path = tmp_path_factory.mktemp("judged") / "store.db"
    judged_fleet(path)
    return path


@pytest.fixture
def at(tmp_path, judged):
    with office(tmp_path, judged) as made:
        yield made


# Selectors.


def test_a_tag_that_nobody_has_is_told_with_those_that_there_are(at):
    with pytest.raises(DataError, match=r"No stream has a tag `citty`\. Known: city\. .*`city`"):
        at.look(Freeze(selector=Selector(tags=("citty=Ghent",))))


def test_a_value_that_nobody_has_is_told_with_the_nearest(at):
    with pytest.raises(DataError, match=r"city=Gent\. Known: Bruges, Ghent\..*mean `Ghent`"):
        at.look(Freeze(selector=Selector(tags=("city=Gent",))))


def test_a_search_that_fits_nobody_is_refused(at):
    with pytest.raises(DataError, match='No stream fits: name has "bakery"'):
        at.look(Freeze(selector=Selector(search="bakery")))


def test_unknown_names_are_counted_and_the_first_three_are_told(at):
    names = ("shop 1", "b", "c", "d", "shop 01")
    with pytest.raises(DataError, match=r"4 of the named .* shop 1, b, c and 1 more.*`shop 0"):
        at.look(Freeze(selector=Selector(unique_ids=names)))


@pytest.mark.parametrize("selector", [EVERYBODY, Selector(search="shop")], ids=["bare", "search"])
def test_a_selector_that_everybody_fits_asks_again(at, selector):
    with pytest.raises(DataError, match=r"all 6 streams .*Hint: everything = true"):
        at.order(Freeze(selector=selector))
    assert at.kinds() == []
    made = at.look(Freeze(selector=selector, everything=True))
    assert made.streams == tuple(NAMES)


def test_streams_that_fit_are_written_down_with_the_action(at):
    at.order(Freeze(selector=GHENT), why="fair")
    (action,) = at.desk.actions()
    assert action.payload["unique_ids"] == NAMES[::2]
    assert (action.by, action.why, action.at) == (ANN, "fair", day(DAYS))
    assert at.pokes == [1]


# Freezes and pins.


def test_a_dry_run_of_a_freeze_tells_who_is_frozen_newly_and_writes_nothing(at):
    at.order(Freeze(selector=Selector(unique_ids=("shop 02",))))
    made = at.look(Freeze(selector=GHENT, until=day(20)))
    assert made.sentence == (
        "Freezes 3 streams (city=Ghent) until 2024-01-21 00:00 UTC; 1 is frozen already."
    )
    assert made.counts == {"newly frozen": 2, "frozen already": 1, "re-trainings withdrawn": 0}
    assert [(one.unique_id, one.before, one.after) for one in made.changes] == [
        ("shop 00", "", "frozen until 2024-01-21 00:00 UTC"),
        ("shop 02", "frozen", "frozen until 2024-01-21 00:00 UTC"),
        ("shop 04", "", "frozen until 2024-01-21 00:00 UTC"),
    ]
    assert made.after == at.desk.actions()[-1].number
    assert at.kinds() == ["freeze"]


def test_a_freeze_withdraws_what_is_asked_for_and_nothing_is_asked_for_again(at):
    at.order(Retrain(selector=GHENT))
    assert set(at.open_requests()) == set(NAMES[::2])
    at.order(Freeze(selector=BROKEN))
    assert set(at.open_requests()) == {"shop 02", "shop 04"}
    at.live_on(2)
    assert "shop 00" not in at.open_requests()


def test_a_freeze_must_end_ahead(at):
    with pytest.raises(DataError, match="`until` of `freeze` must lie ahead of 2024-01-13"):
        at.look(Freeze(selector=GHENT, until=day(DAYS)))
    with pytest.raises(DataError, match="must have a time zone"):
        at.look(Freeze(selector=GHENT, until=day(30).replace(tzinfo=None)))


def test_an_unfreeze_of_streams_that_are_free_is_refused(at):
    with pytest.raises(DataError, match=r"None of the 3 streams .* is frozen"):
        at.look(Unfreeze(selector=GHENT))
    at.order(Freeze(selector=BROKEN))
    made = at.look(Unfreeze(selector=GHENT))
    assert made.sentence == "Unfreezes 1 stream (city=Ghent); 2 are not frozen."
    at.order(Unfreeze(selector=GHENT))
    assert not at.desk.standing().frozen


def test_a_freeze_that_is_over_counts_no_longer(at):
    at.order(Freeze(selector=GHENT, until=day(DAYS, hours=1)))
    at.clock.day(DAYS, hours=2)
    assert at.look(Freeze(selector=GHENT)).counts["newly frozen"] == 3


def test_pins_are_told_and_unpinned(at):
    at.order(Pin(selector=BROKEN))
    made = at.look(Pin(selector=GHENT))
    assert (made.counts["newly pinned"], made.counts["pinned already"]) == (2, 1)
    at.order(Unpin(selector=BROKEN))
    with pytest.raises(DataError, match="is pinned"):
        at.order(Unpin(selector=BROKEN))


# Re-trainings.


def test_a_retraining_makes_requests_at_once_with_what_may_not_be_trained_on(at):
    broken = LabelBatches(selector=BROKEN, begins=day(3, hours=5), ends=day(4), label="broken")
    shift = LabelBatches(selector=BROKEN, begins=day(9), ends=day(10), label="real_shift")
    at.order(broken)
    at.order(shift)
    number = at.order(Retrain(selector=GHENT))
    requests = at.open_requests()
    assert set(requests) == set(NAMES[::2])
    mine = requests["shop 00"]
    assert mine.exclude == ((day(3), day(4)),)
    assert mine.train_from == day(9)
    assert (mine.kind, mine.by, mine.version, mine.cycle) == ("retrain", ANN, 1, DAYS)
    assert requests["shop 02"].exclude == ()
    action = at.store.actions(start=number, limit=1)[0]
    assert action.payload["requests"] == {name: one.id for name, one in requests.items()}


def test_a_retraining_passes_over_what_is_asked_for_pinned_or_frozen(at):
    at.order(Retrain(selector=Selector(unique_ids=("shop 00",))))
    at.order(Pin(selector=Selector(unique_ids=("shop 02",))))
    at.order(Freeze(selector=Selector(unique_ids=("shop 03",))))
    made = at.look(Retrain(selector=EVERYBODY, everything=True))
    assert made.sentence == (
        "Asks for 3 re-trainings (every stream); 1 is asked for already; 1 is pinned; 1 is frozen."
    )
    at.order(Retrain(selector=EVERYBODY, everything=True))
    assert set(at.open_requests()) == {"shop 00", "shop 01", "shop 04", "shop 05"}
    with pytest.raises(DataError, match="None of the 6 streams can be re-trained now"):
        at.order(Retrain(selector=EVERYBODY, everything=True))


def test_a_plan_must_lie_ahead_and_is_told_with_who_is_held(at):
    with pytest.raises(DataError, match="`at` of `plan` must lie ahead"):
        at.look(Plan(selector=GHENT, at=day(1)))
    at.order(Pin(selector=BROKEN))
    at.order(Plan(selector=BROKEN, at=day(20)))
    made = at.look(Plan(selector=GHENT, at=day(20)))
    assert made.counts == {"re-trainings planned": 3, "planned already": 1}
    assert "pinned or frozen now" in made.warnings[0]


def test_without_a_trainer_a_retraining_says_who_has_to_do_it(tmp_path, judged):
    from mlma.service.engineering import EngineersDesk

    with office(tmp_path, judged) as at:
        desk = EngineersDesk(at.store, at.agent, at.clock, trains=False)
        made = desk.rehearse(Retrain(selector=GHENT), ANN)
        assert made.warnings == (
            "The agent has no trainer of its own: whoever trains has to read the requests.",
        )


# The budget and policies.


def test_a_budget_tells_what_it_is_and_what_it_will_be(at):
    made = at.look(SetBudget(per_cycle=0))
    assert made.sentence == "Sets the budget to 0 re-trainings per cycle; before: no limit."
    assert made.warnings
    at.order(SetBudget(per_cycle=3))
    assert at.desk.standing().budget == 3
    (change,) = at.look(SetBudget(per_cycle=None)).changes
    assert (change.before, change.after) == ("3 re-trainings per cycle", "no limit")


def test_a_policy_tells_each_stream_that_changes(at):
    made = at.look(SwitchPolicy(selector=GHENT, policy="never"))
    assert [one.unique_id for one in made.changes] == NAMES[::2]
    assert {one.after for one in made.changes} == {"never"}
    at.order(SwitchPolicy(selector=GHENT, policy="never"))
    assert at.look(SwitchPolicy(selector=GHENT, policy="never")).total == 0
    at.order(SwitchPolicy(selector=GHENT, policy=""))
    assert not at.desk.standing().policies


def test_a_policy_of_the_fleet_takes_away_those_of_some_streams(at):
    at.order(SwitchPolicy(selector=GHENT, policy="never"))
    everybody = SwitchPolicy(selector=EVERYBODY, everything=True, policy="mlma(level=0.02)")
    made = at.look(everybody)
    assert made.warnings == ("3 streams with a policy of their own lose it.",)
    at.order(everybody)
    standing = at.desk.standing()
    assert (standing.fleet_policy, dict(standing.policies)) == ("mlma(level=0.02)", {})


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("neverr", "Unknown policy `neverr`.*did you mean `never`"),
        ("mlma(levle=1)", "Unknown setting of `mlma` `levle`"),
        ("mlma(level=7)", "level"),
        ("(" * 900, "policy"),
        ("mlma(reference_batches=14)", "must read evidence as that of the fleet"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(at, policy, why):
    with pytest.raises(SettingsError, match=why):
        at.look(SwitchPolicy(selector=GHENT, policy=policy))


def test_a_fleet_policy_whose_memory_is_another_is_refused(at):
    with pytest.raises(SettingsError, match="takes a new store"):
        at.look(SwitchPolicy(selector=EVERYBODY, everything=True, policy='mlma(test="welch")'))


# What others did in the meantime.


def test_an_order_goes_through_where_others_touched_something_else(at):
    seen = at.look(Freeze(selector=GHENT)).after
    at.order(Freeze(selector=Selector(tags=("city=Bruges",))), by="user:bob")
    at.order(Freeze(selector=GHENT), after=seen)
    assert len(at.desk.standing().frozen) == 6


def test_an_order_is_refused_where_the_same_streams_were_changed_since_they_were_looked_at(at):
    seen = at.look(Freeze(selector=GHENT)).after
    at.order(Freeze(selector=BROKEN), by="user:bob")
    with pytest.raises(ConflictError, match=r"freeze by user:bob, 2024-01-13 00:00 UTC"):
        at.order(Freeze(selector=GHENT), after=seen)
    assert at.kinds() == ["freeze"]


def test_a_reason_has_an_end(at):
    with pytest.raises(DataError, match="`why` may have 10,000 letters"):
        at.order(Freeze(selector=GHENT), why="x" * 10_001)


def test_html_in_names_and_tags_stays_what_it_is(at):
    name = "<script>alert(1)</script>"
    at.store.register([name])
    at.agent.tag({"city": {name: "<b>x</b>"}})
    made = at.look(Freeze(selector=Selector(tags=("city=<b>x</b>",))))
    assert made.streams == (name,)
    at.order(Freeze(selector=Selector(unique_ids=(name,))))
    assert name in at.desk.standing().frozen
