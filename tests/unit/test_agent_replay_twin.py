"""An agent that is fed with the losses of a replay takes the same decisions, to the bit."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from daily_losses import NAMES
from histories import DAY, START, BatchMean, replayed, stream
from mlma import Agent

ALONE = (
    "pool=1, adjustment=0, review_age=None, max_age=None, reference_batches=14, "
    "min_reference_batches=7"
)
LIVE = f"mlma(level=0.02, reference_from='production', {ALONE})"
TOLD = (
    *("verdict", "decision", "reason", "p_value", "p_adjusted", "effect", "loss"),
    *("reference_loss", "statistic", "evidence", "p_evidence"),
)


def daily_history():
    """Daily streams: two that break, one born late, one that ends early, one without a break."""
    return pl.concat(
        [
            stream(NAMES[0], 115, 1, seed=1, breaks_at=60),
            stream(NAMES[1], 115, 1, seed=2),
            stream(NAMES[2], 85, 1, seed=3, first_day=30, breaks_at=85),
            stream(NAMES[3], 90, 1, seed=4),
        ],
    )


def told(result, policy):
    """The decisions of a policy and the slot losses that it saw; slots are batches here."""
    decisions = result.decisions.filter(pl.col("policy") == policy)
    return decisions.sort("ds", "unique_id"), decisions["ds"].unique().sort()


def same_answers(decisions, days, agent, new_versions):
    """Feed the agent day by day and compare; ``new_versions(day, names)`` go live the next day."""
    retrained = 0
    for day in days:
        seen = decisions.filter(pl.col("ds") == day)
        news = agent.observe_losses(seen.select("unique_id", "ds", "loss"))
        assert_frame_equal(
            news.select("unique_id", "n", *TOLD),
            seen.select("unique_id", pl.col("n").cast(news.schema["n"]), *TOLD),
            check_exact=True,
        )
        asked = news.filter(pl.col("decision") == "retrain")["unique_id"].to_list()
        retrained += len(asked)
        new_versions(day, asked)
    return retrained


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "test='mann_whitney', ",
        "test='ks', ",
        "accumulate='none', multiplicity='none', follow_ups=(), ",
        "reference='anchored', ",
        "reference='fixed', side='two-sided', ",
        "multiplicity='none', confirm=2, calendar='weekday', ",
    ],
)
def test_with_references_from_production_both_decide_alike(settings):
    policy = LIVE.replace("(", f"({settings}", 1)
    result = replayed(daily_history(), policies=[policy], model=BatchMean())
    label = result.record.runs[3].label
    decisions, days = told(result, label)
    agent = Agent(policy)
    asked = same_answers(decisions, days, agent, lambda day, names: agent.retrained(names))
    assert asked > 1
    assert set(decisions["verdict"]) >= {"unclear", "healthy", "degraded"}


def test_with_held_out_losses_both_decide_alike():
    policy = f"mlma(level=0.02, {ALONE})"
    history, model = daily_history(), BatchMean()
    result = replayed(history, policies=[policy], model=model, loss="squared")
    decisions, days = told(result, result.record.runs[3].label)
    agent = Agent(policy, loss="squared")

    def held_out(day, names):
        """The squared losses that versions of these streams bring which go live after ``day``."""
        parts = [history.filter(pl.col("unique_id") == name, pl.col("ds") <= day) for name in names]
        return pl.concat(_left_out_one_by_one(part.tail(28), model) for part in parts)

    def go_live(day, names):
        if names:
            agent.retrained(held_out=held_out(day, names))

    def born(day):
        return [
            name
            for name, first in decisions.group_by("unique_id").agg(pl.col("ds").min()).iter_rows()
            if first == day
        ]

    # A first version brings its held-out losses too: the stream is made known without a loss.
    asked = 0
    for day in days:
        new = born(day)
        if new:
            agent.observe_losses(pl.DataFrame({"unique_id": new, "ds": day, "loss": np.nan}))
            go_live(day - DAY.astype("timedelta64[ms]").item(), new)
        asked += same_answers(decisions, [day], agent, go_live)
    assert asked > 3


def _left_out_one_by_one(window, model):
    """Losses of the newest 14 batches of a window, each forecast by the others."""
    y = window["y"].to_numpy()[:, None]
    rows = []
    for place in range(14, 28):
        forecast = np.nanmean(np.delete(y, place, axis=0))
        rows.append((y[place, 0] - forecast) ** 2)
    newest = window.tail(14).select("unique_id", "ds")
    return newest.with_columns(loss=pl.Series(rows))


def test_schedules_re_train_live_on_the_days_on_which_a_replay_does():
    policy = "periodic(every=9.5)"
    result = replayed(daily_history(), policies=[policy], seed=3)
    agent = Agent(policy, seed=3)
    expected = result.decisions.filter(pl.col("policy") == policy).sort("ds", "unique_id")
    seen = result.losses.filter(pl.col("policy") == policy).sort("ds", "unique_id")
    asked = []
    for (day,), rows in seen.group_by("ds", maintain_order=True):
        news = agent.observe_losses(rows.drop("policy"))
        wanted = news.filter(pl.col("decision") == "retrain")["unique_id"].to_list()
        agent.retrained(wanted)
        asked += [(name, day) for name in wanted]
    last = dict(seen.group_by("unique_id").agg(pl.col("ds").max()).iter_rows())
    live = [(name, day) for name, day in asked if day != last[name]]
    assert live == list(expected.select("unique_id", "ds").iter_rows())
    assert len(live) > 20


def test_the_history_has_what_the_comparison_is_about():
    first = daily_history().group_by("unique_id").agg(pl.col("ds").min())
    assert first["ds"].n_unique() == 2
    assert first["ds"].min() == START.item()
