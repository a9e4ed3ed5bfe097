"""A saved agent goes on as if nothing had happened; a file that is none is refused."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from daily_losses import FAST, NAMES, bits, day_of_losses, fed
from mlma import MLMA, Agent, MlmaError, StateError
from mlma.domain.settings import policy_from

EVERY = [
    "never",
    "always",
    "periodic(every=2.5)",
    "random(rate=0.3)",
    "mlma",
    FAST,
    "mlma(level=0.01, follow_ups=(2, 3), review_age=5, review_every=2, max_age=9)",
    *[
        FAST.replace("(", f"({setting}, ", 1)
        for setting in (
            "test='batch_t', common=False, drift=False",
            "test='welch'",
            "test='mann_whitney'",
            "test='ks'",
            "test='ks', reference='anchored'",
            "reference='anchored'",
            "reference='fixed'",
            "reference_from='production'",
            "side='two-sided', accumulate='none'",
            "accumulate='e_process', multiplicity='e_bh'",
            "false_retrainings=None",
            "multiplicity='bonferroni', calendar='weekday', confirm=2, margin=0.1",
        )
    ],
]


def next_days(agent, first=10):
    """Six more days: a new stream, wider batches, a re-training with held-out losses."""
    news = []
    for day in range(first, first + 6):
        slots = 6 if day % 2 else 9
        rows = day_of_losses(day, slots=slots, level=3.0)
        news.append(agent.observe_losses(rows, benchmark=rows.with_columns(loss=pl.lit(day + 1.0))))
        if day == first + 3:
            held_out = pl.concat(day_of_losses(past, slots=7) for past in range(day - 5, day))
            agent.retrained(NAMES[1], held_out=held_out.filter(pl.col("unique_id") == NAMES[1]))
            agent.retrained()
    return news


@pytest.mark.parametrize("policy", EVERY)
def test_a_loaded_agent_continues_to_the_bit(policy, tmp_path):
    agent = Agent(policy, seed=5)
    fed(agent, range(10), names=NAMES[:4])
    agent.save(tmp_path / "agent.npz")
    twin = Agent.load(tmp_path / "agent.npz")
    assert bits(twin) == bits(agent)
    assert (twin.policy, twin.seed, repr(twin)) == (agent.policy, 5, repr(agent))
    for ours, theirs in zip(next_days(agent), next_days(twin), strict=True):
        assert_frame_equal(ours, theirs, check_exact=True)
    assert bits(twin) == bits(agent)


def test_an_agent_that_saw_nothing_is_saved_too(tmp_path):
    Agent(FAST).save(tmp_path / "agent")
    assert Agent.load(tmp_path / "agent").streams == []


def test_settings_names_and_columns_come_back(tmp_path):
    policy = replace(MLMA(pool=1), level=np.float64(0.02), follow_ups=(3,))
    agent = Agent(policy, loss="pinball(q=0.9)", batch="7d", unique_id="sensor", ds="t", y_hat="q9")
    frame = pl.DataFrame({"sensor": "Zürich \N{SNOWMAN}", "t": "2024-01-01", "y": 1.0, "q9": 3.0})
    agent.observe(frame)
    agent.save(tmp_path / "agent.npz")
    twin = Agent.load(tmp_path / "agent.npz")
    assert twin.streams == ["Zürich \N{SNOWMAN}"]
    assert twin.policy == policy_from(policy.full_label) == policy
    assert_frame_equal(twin.observe(frame), agent.observe(frame))
    np.testing.assert_allclose(twin.observe(frame)["loss"], 0.2)


def test_tags_are_saved_those_of_streams_to_come_included(tmp_path):
    names = [f"shop {row}" for row in range(9)]
    agent = Agent(tags=pl.DataFrame({"unique_id": names, "city": "Ghent"}))
    agent.observe_losses(pl.DataFrame({"unique_id": names[:1], "loss": 1.0}))
    agent.save(tmp_path / "agent.npz")
    twin = Agent.load(tmp_path / "agent.npz")
    twin.observe_losses(pl.DataFrame({"unique_id": names, "loss": 1.0}))
    assert twin.fleet.names == ("fleet", "city=Ghent")


def absolute(y, y_hat):
    """A loss of the user's with the name of one of ours."""
    return 100.0 * np.abs(y - y_hat)


@pytest.mark.parametrize(
    "loss", [absolute, lambda y, y_hat: np.abs(y - y_hat)], ids=["def", "lambda"]
)
def test_a_loss_of_the_users_is_handed_in_again(loss, tmp_path):
    frame = pl.DataFrame({"unique_id": "a", "ds": "2024-01-01", "y": 1.0, "y_hat": 3.0})
    agent = Agent(loss=loss)
    agent.observe(frame)
    agent.save(tmp_path / "agent.npz")
    with pytest.raises(StateError, match=r"loss=\.\.\."):
        Agent.load(tmp_path / "agent.npz")
    twin = Agent.load(tmp_path / "agent.npz", loss=loss)
    assert_frame_equal(twin.observe(frame), agent.observe(frame))


def test_saving_over_an_older_file_leaves_no_other_file_behind(tmp_path):
    agent = Agent(FAST)
    agent.save(tmp_path / "agent.npz")
    fed(agent, range(3))
    agent.save(tmp_path / "agent.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["agent.npz"]
    assert bits(Agent.load(tmp_path / "agent.npz"))[0] == bits(agent)[0]


@pytest.mark.parametrize("where", ["nowhere/agent.npz", ".", "file/agent.npz"])
def test_a_place_that_cannot_be_written_is_named(where, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StateError, match="cannot be saved to"):
        Agent().save(tmp_path / where)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StateError, match=r"no saved agent at .*agent\.npz"):
        Agent.load(tmp_path / "agent.npz")


def with_head(path, **changes):
    """Write the file again with another head."""
    with np.load(path) as file:
        columns = dict(file)
    head = json.loads(columns["head"].tobytes()) | changes
    columns["head"] = np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)
    np.savez(path, **columns)


def without_column(path, name):
    with np.load(path) as file:
        columns = dict(file)
    np.savez(path, **{key: column for key, column in columns.items() if key != name})


def as_array(path):
    with path.open("wb") as file:
        np.save(file, [1])


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("unique_id,ds,y\n"),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "an array": as_array,
    "another archive": lambda path: np.savez(path, a=[1]),
    "no dictionary": lambda path: np.savez(path, head=np.frombuffer(b"[1]", np.uint8)),
    "another format": lambda path: with_head(path, format=99),
    "no settings": lambda path: with_head(path, settings={}),
    "an unknown policy": lambda path: with_head(path, settings={"policy": "mlma2"}),
    "more streams": lambda path: with_head(path, ids=["a", "b"]),
    "a column less": lambda path: without_column(path, "stream.reference.moments.mean"),
    "a group's column less": lambda path: without_column(path, "group.cusum"),
    "a count less": lambda path: without_column(path, "audit.alarms"),
    "no fleet": lambda path: with_head(path, fleet={}),
    "no number of cycles": lambda path: with_head(path, fleet={"names": [], "cycle": "many"}),
    "another group": lambda path: with_head(path, fleet={"names": ["fleet", "x"], "cycle": 1}),
    "tags that are none": lambda path: with_head(path, tags={"city": 3}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_is_no_saved_agent_is_refused(damage, tmp_path):
    path = tmp_path / "agent.npz"
    agent = Agent(FAST)
    fed(agent, range(2))
    agent.save(path)
    DAMAGE[damage](path)
    with pytest.raises(StateError, match=r"agent\.npz"):
        Agent.load(path)


def test_a_file_with_a_changed_byte_is_refused_or_still_the_same(tmp_path):
    path = tmp_path / "agent.npz"
    agent = Agent(FAST)
    fed(agent, range(2))
    agent.save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    refused = 0
    for place in rng.integers(0, len(whole), 150):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            assert bits(Agent.load(path))[:2] == bits(agent)[:2]
        except MlmaError:
            refused += 1
    assert refused > 50
