"""`mlma.replay` on any frame, with any model and loss, always the same to the bit."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.tree import DecisionTreeRegressor

import mlma
from histories import BatchMean, as_kind, as_polars, fleet, replayed, stream

SMALL = fleet(3, 60, breaks_at=40)
RELAXED = "mlma(level=0.05, min_reference_batches=5, follow_ups=(3,))"


def same(got, expected):
    """All frames are equal to the bit; only the clock may differ."""
    for name in ("losses", "decisions", "to_df", "summary"):
        ours, theirs = (getattr(result, name) for result in (got, expected))
        ours, theirs = (as_polars(one() if callable(one) else one) for one in (ours, theirs))
        for one in (ours, theirs):
            if name == "summary":
                one.drop_in_place("seconds")
        assert_frame_equal(ours, theirs, check_exact=True, check_dtypes=False)
    assert got.left_out == expected.left_out


def loss_of(result, policy="always", **where):
    rows = result.to_df().filter(pl.col("policy") == policy, **where)
    return rows["loss"].mean()


@pytest.fixture(scope="module")
def small():
    return replayed(SMALL, policies=[RELAXED])


@pytest.mark.parametrize("kind", ["pandas", "arrow", "parquet", "csv", "reversed", "lazy"])
def test_every_kind_of_history_gives_the_same_result_in_its_kind(kind, small, tmp_path):
    history = as_kind(SMALL, kind) if kind in ("pandas", "arrow") else SMALL
    if kind == "parquet":
        history = tmp_path / "history.parquet"
        SMALL.write_parquet(history)
    if kind == "csv":
        history = str(tmp_path / "history.csv")
        SMALL.write_csv(history)
    if kind == "reversed":
        history = SMALL.reverse()
    if kind == "lazy":
        history = SMALL.lazy()
    result = replayed(history, policies=[RELAXED])
    same(result, small)
    kinds = {"pandas": "pandas", "arrow": "pyarrow"}
    for frame in (result.to_df(), result.summary(), result.losses, result.decisions):
        assert type(frame).__module__.startswith(kinds.get(kind, "polars"))


def test_the_history_is_not_changed():
    pd = pytest.importorskip("pandas")
    history = as_kind(SMALL, "pandas")
    before = history.copy(deep=True)
    replayed(history, policies=["never"])
    pd.testing.assert_frame_equal(history, before)


def test_columns_may_have_other_names_and_keep_them():
    history = SMALL.rename({"unique_id": "sensor", "ds": "time", "y": "count"})
    result = replayed(history, unique_id="sensor", ds="time", y="count", policies=["never"])
    assert result.to_df().columns[0] == "sensor"
    assert result.losses.columns[1:3] == ["sensor", "time"]
    assert result.decisions.columns[1:3] == ["sensor", "time"]


def test_constant_text_is_a_tag_and_numbers_are_features():
    history = SMALL.with_columns(
        area=pl.col("unique_id").replace_strict({"s0": "north", "s1": "south", "s2": "north"}),
        temperature=pl.lit(20.0),
    )
    result = replayed(history, policies=["never"])
    assert result.record.tags == {"area": ("north", "south", "north")}


def test_a_feature_that_carries_the_signal_lowers_the_loss():
    signal = np.random.default_rng(3).gamma(4.0, 5.0, len(SMALL))
    history = SMALL.with_columns(y=pl.col("y") + signal)
    without = replayed(history, policies=["never"])
    known = replayed(history.with_columns(signal=signal), policies=["never"])
    asked = replayed(history.with_columns(signal=signal), policies=["never"], exogenous=["signal"])
    assert loss_of(known) < 0.7 * loss_of(without)
    same(asked, known)


def test_one_step_ahead_is_better_than_a_day_ahead_where_neighbours_are_alike():
    noise = np.random.default_rng(2).normal(0, 1, 70 * 12)
    wandering = 200 + np.cumsum(noise)
    history = stream("walk", 70, 12).with_columns(y=wandering)
    day, step = (
        replayed(history, policies=["never"], mode=mode) for mode in ("day_ahead", "one_step")
    )
    assert loss_of(step) < 0.7 * loss_of(day)
    assert step.record.settings["mode"] == "one_step"


def test_batches_of_six_hours_are_four_a_day():
    history = stream("a", 40, 24)
    result = replayed(history, policies=[RELAXED], batch="6h", window="10d")
    assert result.record.grid.slots == 6
    assert result.record.grid.n_batches == 160
    assert result.record.settings["window"] == "40 batches"
    losses = result.losses.filter(pl.col("policy") == "always")
    assert len(losses) == 120
    assert losses["ds"][1] - losses["ds"][0] == timedelta(hours=6)


def test_weekly_batches_of_daily_slots_have_seven_of_them():
    history = pl.concat(stream(f"s{row}", 420, 1, seed=row) for row in range(2))
    result = replayed(history, policies=["mlma(min_reference_batches=5)"], batch="7d", window=12)
    grid = result.record.grid
    assert (grid.slots, grid.n_batches) == (7, 60)
    assert set(result.losses["ds"].dt.weekday()) == {1}
    assert len(result.losses.filter(pl.col("policy") == "never")) == 2 * (60 - 12)
    told = result.decisions.filter(pl.col("verdict") != "unclear")
    assert len(told) > 0


def test_a_weekly_rhythm_is_learnt():
    with_week = stream("a", 120, 1, seed=1)
    without = with_week.with_columns(
        y=pl.col("y") / pl.when(pl.col("ds").dt.weekday() >= 6).then(0.6).otherwise(1.0)
    )
    ratio = loss_of(replayed(with_week, policies=["never"], window=42))
    flat = loss_of(replayed(without, policies=["never"], window=42))
    assert ratio < 1.5 * flat  # the difference of weekend and week is four times the noise


def test_the_default_window_is_twelve_weeks():
    result = mlma.replay(stream("a", 100, 1), policies=["never"], n_jobs=1)
    assert result.record.settings["window"] == "84 batches"
    assert result.losses["ds"].min().timetuple().tm_yday == 85


@pytest.mark.parametrize(
    "loss",
    ["squared", "pinball(q=0.9)", "mase", "rmsse", "poisson", "tweedie(power=1.5)"],
)
def test_every_named_loss_is_played_and_named(loss):
    result = replayed(SMALL.filter(pl.col("unique_id") == "s1"), policies=["never"], loss=loss)
    assert result.record.settings["loss"] == loss
    relative = result.summary()["loss"].to_list()
    assert relative[2] == 1.0
    assert np.isfinite(relative).all()


def test_a_function_is_a_loss_as_good_as_a_name():
    named = replayed(SMALL, policies=[RELAXED], loss="squared")
    own = replayed(SMALL, policies=[RELAXED], loss=lambda y, y_hat: (y - y_hat) ** 2)
    same(own, named)


def test_two_processes_and_a_lambda_give_the_same_bits():
    settings = {"policies": [RELAXED], "loss": lambda y, y_hat: np.abs(y - y_hat) ** 1.5}
    model = DecisionTreeRegressor(max_depth=3, max_features=0.5)
    one = replayed(SMALL, model=model, phases=2, seed=4, **settings)
    two = replayed(SMALL, model=model, phases=2, seed=4, n_jobs=2, **settings)
    same(two, one)


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not():
    first, again, other = (
        replayed(SMALL, policies=["random(rate=0.2)"], seed=seed) for seed in (1, 1, 2)
    )
    same(again, first)
    assert not first.losses.equals(other.losses)


def test_streams_do_not_know_of_each_other_without_multiplicity():
    policy = "mlma(multiplicity='none', min_reference_batches=5)"
    all_three = replayed(SMALL, policies=[policy])
    alone = replayed(SMALL.filter(pl.col("unique_id") == "s1"), policies=[policy])
    for name in ("losses", "decisions"):
        ours = getattr(all_three, name).filter(
            pl.col("unique_id") == "s1", pl.col("policy").is_in(["never", "always", policy])
        )
        expected = getattr(alone, name).filter(pl.col("policy").is_in(["never", "always", policy]))
        if name == "decisions":
            ours, expected = ours.drop("p_adjusted"), expected.drop("p_adjusted")
        label = alone.record.runs[3].label
        assert label in set(getattr(alone, name)["policy"])
        assert_frame_equal(ours, expected, check_exact=True)


def test_a_regressor_of_scikit_learn_is_a_model():
    one = RELAXED.replace("(", "(pool=1, ", 1)
    result = replayed(SMALL, model=DecisionTreeRegressor(max_depth=4), policies=[RELAXED, one])
    assert result.record.settings["model"] == "DecisionTreeRegressor"
    fits, retrainings = (
        {
            policy: np.array(rows[name].to_list())
            for (policy,), rows in result.to_df().group_by("policy")
        }
        for name in ("fits", "retrainings")
    )
    pool, single = (run.label for run in result.record.runs[3:5])
    assert min(retrainings[pool].sum(), retrainings[single].sum()) > 0
    # Its held-out losses take a second fit, and it is counted; a version that joins a pool needs
    # none, and the long-history member was trained once more, after a window.
    assert (fits[single] == 2 * (1 + retrainings[single])).all()
    assert (fits[pool] == 2 + retrainings[pool] + 1).all()


def test_lightgbm_is_a_model():
    pytest.importorskip("lightgbm")
    history = SMALL.filter(pl.col("unique_id") == "s1")
    result = replayed(history, model="lightgbm(n_estimators=5)", policies=["never"], window=50)
    assert result.record.settings["model"] == "lightgbm"
    assert np.isfinite(loss_of(result))


def test_a_model_of_the_port_is_played_as_it_is():
    result = replayed(SMALL, model=BatchMean(), policies=["never"])
    y = SMALL.filter(pl.col("unique_id") == "s1")["y"].to_numpy().reshape(60, 4)
    expected = np.abs(y[28:] - y[:28].mean()).mean()
    np.testing.assert_allclose(
        result.to_df().filter(pl.col("policy") == "never", pl.col("unique_id") == "s1")["loss"],
        expected,
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    ("policies", "labels"),
    [
        (None, ["mlma(level=0.001)"]),
        ([], ["mlma(level=0.001)"]),
        ("periodic(every=9)", ["periodic(every=9)"]),
        (mlma.Periodic(every=9), ["periodic(every=9)"]),
        (("never", mlma.Random(rate=0.5), "never"), ["random(rate=0.5)"]),
    ],
    ids=str,
)
def test_policies_are_one_or_several_texts_or_objects(policies, labels):
    summary = replayed(stream("a", 40, 1), policies=policies, model=BatchMean()).summary()
    assert summary.filter(pl.col("role") == "policy")["policy"].to_list() == labels


def test_a_broken_stream_is_re_trained_and_does_better_than_never():
    history = fleet(3, 120)
    result = replayed(history, policies=["mlma(level=0.01)"], model=BatchMean())
    by_policy = dict(
        result.to_df()
        .filter(pl.col("unique_id") == "s0")
        .select("policy", "relative_loss")
        .iter_rows()
    )
    assert by_policy["mlma(level=0.01)"] < 0.9 * by_policy["never"]


def test_progress_is_told_to_whoever_asks(capsys):
    told = []
    replayed(SMALL, policies=[RELAXED], progress=lambda *news: told.append(news))
    assert {label for label, _, _ in told} == {"monitor", "pool", "play"}
    for label in ("monitor", "pool", "play"):
        steps = [(done, total) for name, done, total in told if name == label]
        assert steps == [(step + 1, len(steps)) for step in range(len(steps))]
    replayed(SMALL, policies=["never"], progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Playing the baselines" in shown.err
    replayed(SMALL, policies=["never"])
    assert capsys.readouterr() == ("", "")
