"""The policy lab: the same history under the same policy, and guesses under another one."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from lab_worlds import START, LabWorld, finished, recorded_history
from live_agents import fleet, live_agent, on_day, push
from mlma.adapters.store import open_store
from mlma.agent import lab
from mlma.agent.lab import Question, played
from mlma.agent.lab_gains import hindsight_of
from mlma.agent.lab_history import History, history_of
from mlma.agent.recomputing import read_entry
from mlma.domain.errors import DataError, SettingsError
from mlma.domain.ledger import Action
from mlma.domain.orders import Freeze, LabelBatches
from mlma.domain.rows import LossRows
from mlma.domain.selectors import Selector

REAL = "mlma(pool=1, max_age=None, review_age=None)"
SMALL = LabWorld(streams=40, cycles=70, brings=28, seed=5)


@cache
def small():
    """A recorded history that is only read."""
    return recorded_history(SMALL, REAL)


def result_of(text, **asked):
    store, settings, _, _ = small()
    return finished(played(store, settings, Question(text, **asked)))[0]


def in_both(result):
    """What both sides tell."""
    return [
        (name, result["real"][name], result["tried"][name])
        for name in ("loss", "retrainings", "alarms", "incidents", "minutes")
    ]


def assert_same(result):
    assert result["counterfactual_share"] == 0.0
    for name, real, tried in in_both(result):
        assert real == tried, name
    assert all(
        row["real_loss"] == row["tried_loss"]
        and row["real_retrainings"] == row["tried_retrainings"]
        and row["counterfactual"] == 0.0
        for row in result["by_cycle"]
    )
    assert result["rows"] == []
    assert result["tried"]["loss_low"] == result["tried"]["loss_high"] == result["real"]["loss"]


def test_the_same_policy_gives_the_same_history():
    result = result_of("mlma(max_age=None, review_age=None)")
    assert_same(result)
    assert result["real"]["retrainings"] == small()[3] > 10
    assert (result["cycles"], result["streams"], result["first"]) == (70, 40, 1)


def test_the_same_policy_gives_every_record_to_the_bit():
    store, settings, _, _ = small()
    made = hindsight(store, settings, 70)
    play = lab._Play(store, settings, Question(REAL), made)
    for cycle in range(1, 71):
        before = read_entry(store, cycle)
        tried = play._fleet.step(before, play._actions.get(cycle, ()))
        assert tried.entry.evidence.tobytes() == before.evidence.tobytes()


def test_from_a_later_cycle_on_the_same_policy_gives_the_same_too():
    result = result_of("mlma(max_age=None, review_age=None)", first=40, last=65)
    assert_same(result)
    assert (result["cycles"], result["first"], result["last"]) == (26, 40, 65)


def a_live_history():
    """A live agent with a trainer that brings losses, fails, and trains what nobody asked for."""
    agent, store, clock = live_agent()
    frame = fleet(45, breaks_at=22)
    rng = np.random.default_rng(3)
    for day in range(45):
        push(store, on_day(frame, day))
        if day > 23:  # late rows open a batch again
            push(store, on_day(frame, day - 1).head(30), ("actuals",))
        clock.day(day + 1)
        agent.tick()
        names = [one.request.unique_id for _, one in store.requests(status=("open",))]
        if day % 3 == 0:
            for number, name in enumerate(names):
                if number == 1:
                    agent.failed([name], "no data")
                else:
                    agent.deployed([name], losses_of(name, day, rng))
        if day == 30:
            agent.deployed(["shop 09"], None)
            agent.tag({"city": {"shop 01": "Ghent"}})
    return store, agent.settings


def losses_of(name, day, rng):
    ds = np.datetime64("2024-01-01") + np.arange(day, dtype="timedelta64[D]")
    loss = rng.gamma(40, 1 / 40, day)
    return LossRows((name,), np.zeros(day, dtype=np.int64), ds.astype("M8[us]"), loss, ())


def test_what_a_live_agent_wrote_comes_out_the_same():
    store, settings = a_live_history()
    assert len(store.actions(kind="deployed")) >= 3
    assert len(store.actions(kind="failed")) >= 1
    policy = settings.policy.label
    result, _ = finished(played(store, settings, Question(policy)))
    assert_same(result)
    assert result["real"]["retrainings"] >= 3


def test_a_stricter_dial_re_trains_less():
    result = result_of("mlma(max_age=None, review_age=None, false_retrainings=1e-12)")
    assert result["tried"]["alarms"] < result["real"]["alarms"]
    assert result["tried"]["retrainings"] < result["real"]["retrainings"]
    assert 0 < result["counterfactual_share"] < 1


def test_without_any_re_training_rows_are_real_until_the_first_one_that_there_really_was():
    result = result_of("never")
    real, tried = result["real"], result["tried"]
    assert (tried["retrainings"], tried["alarms"]) == (0, 0)
    assert tried["loss_low"] == real["loss"] < tried["loss"] < tried["loss_high"]
    first = next(row["cycle"] for row in result["by_cycle"] if row["real_retrainings"])
    apart = [row["cycle"] for row in result["by_cycle"] if row["counterfactual"]]
    assert apart[0] == first + 1
    before = [row for row in result["by_cycle"] if row["cycle"] <= first]
    assert all(row["real_loss"] == row["tried_loss"] for row in before)
    assert {row["mark"] for row in result["rows"]} <= {"worse", "same"}
    assert result["rows"][0]["mark"] == "worse"
    assert all(row["tried_retrainings"] == 0 for row in result["rows"])


def test_schedules_can_be_tried():
    always, often = result_of("always"), result_of("periodic(every=14)")
    assert always["tried"]["retrainings"] == 40 * 70
    assert 40 * 4 <= often["tried"]["retrainings"] <= 40 * 5
    assert always["tried"]["loss"] < always["real"]["loss"]
    assert result_of("random(rate=0.0)")["tried"]["retrainings"] == 0


def test_guesses_come_near_to_the_truth():
    _, _, real, _ = small()
    for text, near in (
        ("mlma(pool=1, max_age=None, review_age=None, false_retrainings=0.05)", 0.01),
        ("periodic(every=14)", 0.02),
        ("never", 0.12),
    ):
        _, _, true, fits = recorded_history(SMALL, text)
        tried = result_of(text.replace("pool=1, ", ""))["tried"]
        assert abs(tried["loss"] / true.mean() - 1) < near, text
        assert abs(tried["retrainings"] - fits) <= 0.1 * fits, text
        nearer = abs(tried["loss"] - true.mean()) <= abs(real.mean() - true.mean())
        assert nearer or near < 0.1, text


@pytest.mark.parametrize("limit", [0, 1])
def test_a_limit_holds_in_every_cycle(limit):
    result = result_of("mlma(max_age=None, review_age=None)", per_cycle=limit)
    asked = [row["tried_retrainings"] for row in result["by_cycle"]]
    assert max(asked) == limit
    assert max(row["real_retrainings"] for row in result["by_cycle"]) > 1
    assert result["per_cycle"] == limit


def test_progress_rises_from_nothing_to_all():
    store, settings, _, _ = small()
    _, told = finished(played(store, settings, Question("never")))
    assert told == sorted(told)
    assert told[0] < 0.01
    assert told[-1] == 1.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mlma(pool=8)", "mlma replay"),
        ("periodic(every=7, pool=2)", "mlma replay"),
        ("mlma(gate=True)", "`gate` of `mlma` cannot be tried"),
        ("mlma(budget=0.1)", "`per_cycle` limits re-trainings"),
        ('mlma(test="welch")', "only mean losses were recorded"),
        ('mlma(test="profile")', "only mean losses were recorded"),
        ("mlma(levl=0.1)", "did you mean `level`"),
        ("sometimes", "Unknown policy"),
    ],
)
def test_what_the_history_cannot_answer_is_refused(text, says):
    with pytest.raises(SettingsError, match=says):
        result_of(text)


def test_settings_that_are_given_as_they_are_by_default_are_taken():
    assert Question("mlma(gate=False, pool=1)").tried() == Question("mlma").tried()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"per_cycle": -1}, "`per_cycle` of a lab run must be 0"),
        ({"first": 71}, "`first` of a lab run must be a cycle of the ledger, 1 to 70. Got 71"),
        ({"first": 0}, "1 to 70. Got 0"),
        ({"last": 200}, "`last` of a lab run"),
        ({"first": 9, "last": 8}, "must not be before `first`. Got 9 to 8"),
    ],
)
def test_cycles_that_there_are_not_are_refused(asked, says):
    with pytest.raises((DataError, SettingsError), match=says):
        result_of("never", **asked)


def test_an_empty_ledger_has_no_history():
    _, settings, _, _ = small()
    with pytest.raises(DataError, match="The ledger is empty"):
        next(played(open_store("memory://"), settings, Question("never")))


def test_another_calendar_starts_all_references_empty_and_says_so():
    result = result_of('mlma(calendar="weekday")', first=40)
    assert any("`calendar`" in note and "cycle 40" in note for note in result["notes"])
    assert result["tried"]["alarms"] < result["real"]["alarms"]


def ordered(store, order, cycle, **payload):
    """Record an order as if it had been carried out before a cycle."""
    told = {"order": order.payload(), "unique_ids": payload.pop("unique_ids", []), **payload}
    return store.act([Action(order.kind, told, START, "user:ann", cycle=cycle)])


def test_a_stream_that_is_frozen_is_frozen_on_both_sides():
    store, settings, _, _ = recorded_history(replace(SMALL, cycles=40), REAL)
    names = SMALL.names[:10]
    ordered(store, Freeze(selector=Selector(unique_ids=tuple(names))), 35, unique_ids=names)
    result, _ = finished(played(store, settings, Question("always")))
    asked = [row["tried_retrainings"] for row in result["by_cycle"]]
    assert asked == [40] * 34 + [30] * 6


def test_broken_batches_count_on_neither_side():
    store, settings, truth, _ = recorded_history(replace(SMALL, cycles=20), REAL)
    label = LabelBatches(
        selector=Selector(unique_ids=(SMALL.names[0],)),
        begins=START,
        ends=START.replace(day=6),
        label="broken",
    )
    ordered(store, label, 20, unique_ids=[SMALL.names[0]])
    result, _ = finished(played(store, settings, Question("never")))
    left = np.ones_like(truth, dtype=bool)
    left[:5, 0] = False
    assert result["real"]["loss"] == pytest.approx(truth[left].mean(), rel=1e-12)


def hindsight(store, settings, last):
    (history,) = [one for one in history_of(store, settings, last) if isinstance(one, History)]
    return hindsight_of(history)


def test_hindsight_finds_how_much_a_version_heals_and_how_far_losses_rose():
    world = LabWorld(streams=150, cycles=120, brings=28, breaks=0.7)
    store, settings, _, _ = recorded_history(world, REAL)
    made = hindsight(store, settings, 120)
    true = world.heals * np.clip(made.since / world.window, 0, 1)
    assert len(made.since) >= 4
    assert np.abs(made.taken - true).max() < 0.15
    sizes, guesses, chance = [], [], []
    for alarms in made.history.alarms.values():
        for row, risen in zip(alarms.rows, made.risen(alarms), strict=True):
            size = [
                size
                for of, at, size, _ in world.at
                if of == row and alarms.cycle - 7 <= at <= alarms.cycle
            ]
            (guesses if size else chance).append(risen)
            sizes += size[:1]
    assert abs(np.mean(guesses) - np.mean(sizes)) < 0.05
    assert np.std(np.array(guesses) - sizes) < 0.2
    assert not chance or np.mean(chance) < np.mean(guesses)


def test_age_costs_what_re_trainings_by_age_took_off():
    world = LabWorld(streams=150, cycles=120, brings=28, breaks=0.0, stale=0.003)
    store, settings, _, _ = recorded_history(world, "periodic(every=28)")
    made = hindsight(store, settings, 120)
    assert made.per_batch == pytest.approx(0.003, rel=0.25)
    fresh = hindsight(*recorded_history(replace(world, stale=0.0), "periodic(every=28)")[:2], 120)
    assert fresh.per_batch < 0.0005


def test_single_losses_that_were_recorded_can_be_tested():
    policy = 'mlma(pool=1, test="profile", max_age=None, review_age=None)'
    agent, store, clock = live_agent(policy=policy)
    frame = fleet(34, breaks_at=20)
    for day in range(34):
        push(store, on_day(frame, day))
        clock.day(day + 1)
        agent.tick()
        names = [one.request.unique_id for _, one in store.requests(status=("open",))]
        if names:
            agent.deployed(names)
    result, _ = finished(played(store, agent.settings, Question(policy)))
    assert_same(result)
    other, _ = finished(played(store, agent.settings, Question('mlma(test="welch")')))
    assert other["cycles"] == 34
    assert finished(played(store, agent.settings, Question("mlma")))[0]["cycles"] == 34
