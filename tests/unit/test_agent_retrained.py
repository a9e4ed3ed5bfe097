"""Model and reference change together: `Agent.retrained` and its held-out losses."""

import numpy as np
import polars as pl
import pytest

from cycles import arrays
from daily_losses import FAST, MONDAY, NAMES, bits, day_of_losses, fed
from mlma import Agent, DataError
from mlma.stats.moments import moments_of

HELD_OUT = pl.concat(day_of_losses(day) for day in range(20, 30))


def watched(policy=FAST, days=8):
    agent = Agent(policy)
    fed(agent, range(days))
    return agent


def test_without_held_out_losses_the_reference_starts_again():
    agent = watched()
    agent.retrained([NAMES[2]])
    news = agent.observe_losses(day_of_losses(8))
    assert news["verdict"].to_list() == ["healthy"] * 2 + ["unclear"] + ["healthy"] * 2
    assert news["version"].to_list() == [1, 1, 2, 1, 1]
    assert news["age"].to_list() == [9, 9, 1, 9, 9]


@pytest.mark.parametrize(
    "names", [NAMES[2], [NAMES[2]], iter([NAMES[2], NAMES[2]])], ids=["name", "list", "iterator"]
)
def test_one_name_a_list_and_an_iterator_are_taken(names):
    agent = watched()
    agent.retrained(names)
    assert agent.state.version.tolist() == [1, 1, 2, 1, 1]


def test_held_out_losses_are_the_new_reference_batch_by_batch():
    agent = watched()
    agent.retrained(held_out=HELD_OUT)
    by_day = HELD_OUT.group_by("unique_id", pl.col("ds").dt.date(), maintain_order=True)
    means = by_day.agg(pl.col("loss").mean())["loss"].to_numpy().reshape(10, 5).T
    weekday = np.array([(MONDAY.toordinal() + day - 1) % 7 for day in range(20, 30)])
    weekend = np.tile(weekday >= 5, (5, 1)).astype(np.int8)
    expected = arrays(moments_of(means, weekend, 2))
    for name, column in arrays(agent.state.reference.moments).items():
        np.testing.assert_allclose(column, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)
    news = agent.observe_losses(day_of_losses(30))
    assert "unclear" not in set(news["verdict"])


def test_of_too_many_held_out_batches_the_newest_stay():
    longer = pl.concat(day_of_losses(day) for day in range(10, 30))
    short, long = watched(), watched()
    short.retrained(held_out=HELD_OUT)
    long.retrained(held_out=longer)
    assert bits(short) == bits(long)


@pytest.mark.parametrize("test", ["moderated_t", "batch_t", "ks"])
def test_the_order_of_the_held_out_losses_changes_not_a_bit(test):
    policy = FAST.replace("(", f"(test='{test}', ")
    straight, shuffled = watched(policy), watched(policy)
    straight.retrained(NAMES, held_out=HELD_OUT)
    shuffled.retrained(NAMES, held_out=HELD_OUT.sample(fraction=1, shuffle=True, seed=1))
    assert bits(straight) == bits(shuffled)


def test_held_out_batches_of_a_week_start_on_mondays():
    agent = Agent("mlma(min_reference_batches=3, calendar='weekday')", batch="7d")
    losses = pl.concat(day_of_losses(day, names=NAMES[:1]) for day in range(21))
    agent.observe_losses(day_of_losses(0, names=NAMES[:1]))
    agent.retrained(held_out=losses)
    means = losses["loss"].to_numpy().reshape(3, -1).mean(axis=1)
    moments = agent.state.reference.moments
    assert moments.weight.tolist() == [[3, 0, 0, 0, 0, 0, 0]]
    np.testing.assert_allclose(moments.level(), np.log(means).mean(), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, np.log(means).var(), rtol=1e-9)


def test_held_out_losses_wider_than_the_state_widen_it():
    agent = watched(FAST.replace("(", "(test='ks', "))
    wide = pl.concat(day_of_losses(day, names=NAMES[:1], slots=9) for day in range(20, 26))
    agent.retrained(held_out=wide)
    assert agent.state.reference.window.losses.shape == (5, 10, 9)
    news = fed(agent, [8])[0]
    assert news["verdict"].to_list()[1:] == ["healthy"] * 4


def test_a_stream_without_held_out_losses_starts_with_an_empty_reference():
    agent = watched()
    agent.retrained(NAMES[:2], held_out=HELD_OUT.filter(pl.col("unique_id") == NAMES[0]))
    assert agent.state.reference.moments.count().tolist() == [10, 0, 8, 8, 8]


def test_held_out_losses_that_are_no_numbers_are_counted():
    agent = watched()
    missing = HELD_OUT.with_columns(
        loss=pl.when(pl.col("unique_id") == NAMES[1]).then(None).otherwise("loss"),
    )
    agent.retrained(held_out=missing)
    assert [(out.reason, out.count) for out in agent.left_out] == [("missing loss", 60)]
    assert agent.state.version.tolist() == [2] * 5
    assert agent.state.reference.moments.count().tolist() == [10, 0, 10, 10, 10]


def test_held_out_losses_of_others_are_counted_and_not_used():
    agent = watched()
    agent.retrained(NAMES[0], held_out=HELD_OUT)
    assert agent.state.version.tolist() == [2, 1, 1, 1, 1]
    assert [str(out) for out in agent.left_out] == [
        "4 streams: held-out losses of a stream that is not re-trained "
        "(stream 1, stream 2, stream 3, ...)",
    ]


@pytest.mark.parametrize("held_out", [None, HELD_OUT.clear(), HELD_OUT])
def test_nobody_is_re_trained_by_an_empty_list(held_out):
    agent = watched()
    before = bits(agent)[0]
    agent.retrained([], held_out=held_out)
    assert bits(agent)[0] == before


def test_without_names_all_that_were_asked_for_are_meant():
    agent = watched(days=12)
    news = fed(agent, range(12, 16))
    asked = pl.concat(news).filter(pl.col("decision") == "retrain")["unique_id"].to_list()
    assert asked == [NAMES[0]]
    agent.retrained()
    assert agent.state.version.tolist() == [2, 1, 1, 1, 1]
    assert not agent.state.pending.any()


@pytest.mark.parametrize(
    ("names", "held_out", "words"),
    [
        (["stream 0", "nobody"], None, "never observed: nobody. Known: stream 0, stream 1"),
        (None, HELD_OUT.with_columns(unique_id=pl.lit("nobody")), "never observed: nobody"),
        (None, HELD_OUT.drop("ds"), "need the column `ds`"),
        (None, HELD_OUT.drop("loss"), "`loss`"),
    ],
)
def test_a_call_that_fails_changes_nothing(names, held_out, words):
    agent = watched(FAST.replace("(", "(test='ks', "))
    before = bits(agent)
    with pytest.raises(DataError, match=words):
        agent.retrained(names, held_out=held_out)
    assert bits(agent) == before
