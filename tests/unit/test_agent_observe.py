"""What `Agent` answers, batch by batch, to whatever frame it is given."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from daily_losses import FAST, NAMES, bits, day_of_losses, fed
from histories import as_kind, as_polars
from mlma import Agent, DataError, SettingsError

PROMISED = (
    "unique_id",
    "verdict",
    "decision",
    "reason",
    "p_value",
    "p_adjusted",
    "effect",
    "loss",
    "reference_loss",
    "n",
)


@pytest.mark.parametrize("kind", ["polars", "pandas", "arrow"])
def test_the_answer_has_one_row_per_stream_and_the_kind_of_the_frame(kind):
    losses = as_kind(day_of_losses(0), kind)
    news = Agent().observe_losses(losses)
    assert type(news) is type(losses)
    columns = news.column_names if kind == "arrow" else list(news.columns)
    assert columns[: len(PROMISED)] == list(PROMISED)
    assert [str(name) for name in news["unique_id"]] == list(NAMES)


def test_pandas_strings_give_the_same_answers_as_polars():
    pd = pytest.importorskip("pandas")
    ours, theirs = Agent(FAST), Agent(FAST)
    for day in range(16):
        losses = day_of_losses(day, level=3.0 if day > 12 else 1.0)
        frame = as_kind(losses, "pandas").astype({"unique_id": pd.StringDtype()})
        expected, got = ours.observe_losses(losses), theirs.observe_losses(frame)
        assert_frame_equal(as_polars(got), as_polars(expected))
    assert bits(ours) == bits(theirs)


def test_losses_and_forecasts_with_actuals_are_one_and_the_same():
    by_pairs, by_losses, by_one_frame = Agent(FAST), Agent(FAST), Agent(FAST)
    for day in range(15):
        losses = day_of_losses(day, level=3.0 if day > 12 else 1.0)
        y = pl.Series("y", np.arange(len(losses)) % 7.0)
        actuals = losses.select("unique_id", "ds", y)
        forecasts = losses.select("unique_id", "ds", y_hat=y + losses["loss"])
        exact = (forecasts["y_hat"] - y).abs()
        together = forecasts.with_columns(y)
        news = by_pairs.observe(forecasts, actuals.reverse())
        assert_frame_equal(news, by_losses.observe_losses(losses.with_columns(loss=exact)))
        assert_frame_equal(news, by_one_frame.observe(together))


def test_other_column_names_and_paths_are_read(tmp_path):
    names = {"unique_id": "sensor", "ds": "time", "y": "seen", "y_hat": "made"}
    agent = Agent(unique_id="sensor", ds="time", y="seen", y_hat="made")
    frame = day_of_losses(0).select("unique_id", "ds", y=1.0, y_hat="loss").rename(names)
    frame.write_parquet(tmp_path / "pairs.parquet")
    news = agent.observe(tmp_path / "pairs.parquet")
    assert news.columns[0] == "sensor"
    expected = frame.group_by("sensor", maintain_order=True).agg((pl.col("made") - 1).abs().mean())
    np.testing.assert_allclose(news["loss"], expected["made"])


def test_a_break_is_degraded_and_re_trained_and_nothing_else_is():
    news = fed(Agent(FAST), range(20))
    for day, frame in enumerate(news):
        if day < 5:
            assert set(frame["verdict"]) == {"unclear"}
        wanted = frame.filter(pl.col("decision") == "retrain")["unique_id"].to_list()
        assert wanted in ([], [NAMES[0]])
        assert not wanted or day >= 12
    told = pl.concat(news).filter(pl.col("decision") == "retrain")
    assert told["reason"][0] == "loss above the reference"
    assert told["verdict"][0] == "degraded"
    assert told["p_value"][0] < 0.01 < told["effect"][0]


def test_the_adjusted_p_values_are_those_of_benjamini_and_hochberg():
    for frame in fed(Agent(FAST), range(14))[5:]:
        p = frame["p_value"].to_numpy()
        ranks = [(len(p) / (p <= own).sum()) * own for own in p]
        expected = [
            min([1.0, *[r for r, q in zip(ranks, p, strict=True) if q >= own]]) for own in p
        ]
        np.testing.assert_allclose(frame["p_adjusted"], expected, rtol=1e-12)


def test_loss_effect_and_number_are_those_of_the_rows():
    agent = Agent(FAST)
    for day in range(12):
        rows = day_of_losses(day)
        news = agent.observe_losses(rows)
    mean = rows.group_by("unique_id", maintain_order=True).agg(pl.col("loss").mean())["loss"]
    np.testing.assert_allclose(news["loss"], mean, rtol=1e-12)
    assert news["n"].to_list() == [6] * 5
    np.testing.assert_allclose(news["effect"], news["loss"] / news["reference_loss"] - 1, rtol=1e-9)


@pytest.mark.parametrize("test", ["moderated_t", "batch_t", "welch", "mann_whitney", "ks"])
def test_the_order_of_the_rows_changes_not_a_bit(test):
    policy = FAST.replace("(", f"(test='{test}', ")
    straight, shuffled = Agent(policy), Agent(policy)
    for day in range(16):
        rows = day_of_losses(day, level=3.0 if day > 12 else 1.0)
        news = straight.observe_losses(rows)
        mixed = rows.sample(fraction=1, shuffle=True, seed=day)
        again = shuffled.observe_losses(mixed)
        assert_frame_equal(again.sort("unique_id"), news, check_exact=True)


def test_without_times_the_order_of_the_rows_changes_not_a_bit():
    straight, shuffled = Agent(FAST), Agent(FAST)
    for day in range(12):
        rows = day_of_losses(day, slots=24).drop("ds")
        news = straight.observe_losses(rows)
        again = shuffled.observe_losses(rows.sample(fraction=1, shuffle=True, seed=day))
        assert_frame_equal(again.sort("unique_id"), news, check_exact=True)


def test_streams_join_later_and_are_judged_by_their_own_reference():
    agent = Agent(FAST)
    fed(agent, range(8), names=NAMES[:2])
    news = fed(agent, range(8, 12))
    assert agent.streams == list(NAMES)
    assert news[-1]["verdict"].to_list() == ["healthy"] * 2 + ["unclear"] * 3
    assert news[-1]["age"].to_list() == [12, 12, 4, 4, 4]


def test_a_stream_that_is_absent_from_a_call_keeps_its_state():
    policy = FAST.replace("(", "(test='batch_t', common=False, multiplicity='none', ")
    alone, among = Agent(policy), Agent(policy)
    for day in range(15):
        others = [name for row, name in enumerate(NAMES[1:]) if (day + row) % 3]
        news = among.observe_losses(day_of_losses(day, names=(NAMES[0], *others)))
        mine = alone.observe_losses(day_of_losses(day, names=NAMES[:1]))
        assert_frame_equal(news.filter(pl.col("unique_id") == NAMES[0]), mine, check_exact=True)
    assert among.state.cycle.tolist()[0] == 15
    assert max(among.state.cycle[1:]) < 15


def test_losses_that_are_no_numbers_are_counted_with_their_streams():
    agent = Agent()
    rows = day_of_losses(0).with_columns(
        loss=pl.when(pl.col("unique_id") == NAMES[1])
        .then(float("nan"))
        .when(pl.col("unique_id") == NAMES[2])
        .then(float("inf"))
        .otherwise("loss"),
    )
    news = agent.observe_losses(rows)
    counted = {out.reason: (out.count, out.examples[0]) for out in agent.left_out}
    assert counted == {
        "missing loss": (6, f"{NAMES[1]} 2024-01-01 00:00:00"),
        "infinite loss": (6, f"{NAMES[2]} 2024-01-01 00:00:00"),
    }
    assert news["verdict"].to_list() == ["unclear", "waiting", "waiting", "unclear", "unclear"]
    assert news["n"].to_list() == [6, 0, 0, 6, 6]
    agent.observe_losses(day_of_losses(1))
    assert agent.left_out == ()


def test_counts_below_zero_have_no_poisson_loss_and_are_counted():
    agent = Agent(loss="poisson")
    frame = day_of_losses(0).select("unique_id", "ds", y=pl.lit(-1.0), y_hat="loss")
    news = agent.observe(frame)
    assert [str(out) for out in agent.left_out] == [
        "30 rows: no poisson loss for this pair (stream 0, stream 1, stream 2, ...)",
    ]
    assert set(news["verdict"]) == {"waiting"}


def test_what_is_left_out_of_the_benchmark_is_counted_apart():
    agent, rows = Agent(), day_of_losses(0)
    holes = rows.with_columns(loss=pl.when(pl.col("loss") > 1.2).then(None).otherwise("loss"))
    agent.observe_losses(rows, benchmark=holes)
    expected = int((rows["loss"] > 1.2).sum())
    assert [(out.reason, out.count) for out in agent.left_out] == [
        ("benchmark: missing loss", expected),
    ]


def test_a_day_that_is_hard_for_the_benchmark_too_is_no_alarm():
    names = {"plain": Agent(FAST), "eased": Agent(FAST)}
    for day in range(16):
        hard = 4.0 if day == 15 else 1.0
        rows = day_of_losses(day).with_columns(pl.col("loss") * hard)
        benchmark = rows.with_columns(loss=pl.lit(2.0 * hard))
        plain = names["plain"].observe_losses(rows)
        eased = names["eased"].observe_losses(rows, benchmark=benchmark)
    assert set(plain["verdict"]) == {"degraded"}
    assert "degraded" not in set(eased["verdict"])


@pytest.mark.parametrize("kind", ["polars", "pandas", "arrow"])
def test_an_empty_frame_is_a_cycle_without_streams(kind):
    agent = Agent(FAST)
    fed(agent, range(6))
    before = bits(agent)
    news = agent.observe_losses(as_kind(day_of_losses(0), kind)[:0])
    assert len(news) == 0
    assert set(PROMISED) <= set(news.column_names if kind == "arrow" else news.columns)
    kept, streams, groups, cycles, left_out = before
    assert bits(agent) == (kept, streams, groups, cycles + 1, left_out)


def test_an_empty_frame_keeps_the_type_of_its_names():
    news = Agent().observe_losses(pl.DataFrame({"unique_id": [], "loss": []}))
    assert news.schema["unique_id"] == pl.String


@pytest.mark.parametrize(
    "bad",
    [
        day_of_losses(9).drop("loss"),
        day_of_losses(9).with_columns(loss=pl.lit("much")),
        day_of_losses(9).with_columns(ds=pl.lit("yesterday")),
        day_of_losses(9).with_columns(unique_id=pl.lit(True)),
        "nowhere.parquet",
        None,
    ],
    ids=["no loss", "words", "no time", "no name", "no file", "nothing"],
)
def test_a_call_that_fails_changes_nothing(bad):
    agent = Agent(FAST)
    fed(agent, range(9))
    before = bits(agent)
    with pytest.raises(DataError):
        agent.observe_losses(bad)
    with pytest.raises(DataError):
        agent.observe_losses(day_of_losses(9), benchmark=42 if bad is None else bad)
    assert bits(agent) == before


def test_a_loss_that_raises_or_averages_changes_nothing():
    def raising(y, y_hat):
        raise ZeroDivisionError("the user's own")

    for loss, error in ((raising, ZeroDivisionError), (lambda y, y_hat: 1.0, DataError)):
        agent = Agent(loss=loss)
        frame = day_of_losses(0).select("unique_id", "ds", y=pl.lit(1.0), y_hat="loss")
        with pytest.raises(error):
            agent.observe(frame)
        assert agent.streams == []
        assert len(agent.state) == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"policy": "mlmaa"}, "Known: always, mlma, never, periodic, random.*`mlma`"),
        ({"policy": "mlma(levle=0.1)"}, "did you mean `level`"),
        ({"policy": 3}, "cannot be read"),
        ({"loss": "absolut"}, "did you mean `absolute`"),
        ({"loss": 3}, "cannot be read"),
        ({"loss": "mase"}, "needs the scale of a history"),
        ({"batch": "1mo"}, "fixed length"),
    ],
    ids=str,
)
def test_settings_that_are_unknown_are_refused_with_the_known_ones(settings, words):
    with pytest.raises(SettingsError, match=words):
        Agent(**settings)


def test_schedules_count_the_batches_that_a_stream_was_seen():
    agent = Agent("periodic(every=3, phase=0)")
    asked = []
    for day in range(9):
        news = agent.observe_losses(day_of_losses(day))
        asked.append(news["decision"][0] == "retrain")
        agent.retrained()
    assert asked == [False, False, True] * 3
    assert news["version"].to_list() == [3] * 5


def test_what_is_asked_for_twice_is_pending_until_it_is_reported():
    agent = Agent("always")
    reasons = [agent.observe_losses(day_of_losses(day))["reason"][0] for day in range(3)]
    assert reasons[1:] == ["re-training asked for earlier and not reported yet"] * 2
    agent.retrained()
    assert agent.observe_losses(day_of_losses(3))["reason"][0] == "schedule of the policy"
