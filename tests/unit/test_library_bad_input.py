"""What people really hand in: every fault is refused by name, or left out, counted and shown."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from histories import DAY, BatchMean, fleet, replayed, stream
from mlma import MLMA, DataError, SettingsError

SMALL = fleet(3, 50, breaks_at=None)
ALL = {"s0", "s1", "s2"}


def quick(history, **settings):
    """A replay of a model that trains at once, under the three baselines."""
    return replayed(history, **{"model": BatchMean(), "policies": ["never"], **settings})


def played(result):
    return set(result.losses["unique_id"])


def counted(result):
    return {out.reason: out.count for out in result.left_out}


def with_value(value, rows=(5, 300, 301, 550)):
    """The small fleet with a value in four places, two of them in the second stream."""
    number = pl.int_range(pl.len())
    return SMALL.with_columns(y=pl.when(number.is_in(rows)).then(value).otherwise("y"))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (SMALL.rename({"y": "Y"}), "`y`.*Found: unique_id, ds, Y.*did you mean `Y`"),
        (SMALL.drop("unique_id"), "`unique_id`.*missing"),
        (SMALL.rename({"ds": "timestamp"}), "did you mean `timestamp`"),
        (SMALL.with_columns(y=pl.col("ds")), "`y` of the frame must be numbers"),
        (SMALL.with_columns(y=pl.lit("many")), "`y`.*row 1: 'many'"),
        (SMALL.with_columns(ds=1.5), "`ds` of the frame must be dates or times"),
        (SMALL.with_columns(unique_id=pl.lit([1])), "`unique_id` of the frame must be text"),
        (SMALL.with_columns(ds=pl.lit("soon")), "`ds`.*ISO dates or times.*row 1: 'soon'"),
        (SMALL.clear(), "at least one row"),
        (SMALL.head(1), "slot length cannot be told"),
        (SMALL.group_by("unique_id").first(), "no stream has two different times"),
        ({"unique_id": ["a"]}, "cannot be read as a frame"),
        (None, "cannot be read as a frame"),
        ("nowhere.csv", "does not exist"),
    ],
)
def test_a_history_that_cannot_be_read_says_what_is_wrong(bad, words):
    with pytest.raises(DataError, match=f"(?s){words}"):
        quick(bad)


def test_mixed_offsets_are_refused():
    text = SMALL.with_columns(ds=pl.col("ds").dt.to_string("iso"))
    plus = pl.when(pl.int_range(pl.len()) < 300).then(pl.lit("+01:00")).otherwise(pl.lit("+02:00"))
    with pytest.raises(DataError, match="one offset from UTC"):
        quick(text.with_columns(ds=pl.col("ds") + plus))


@pytest.mark.parametrize("content", ["", "unique_id,ds,y\n"], ids=["nothing", "a header"])
def test_an_empty_file_is_refused(content, tmp_path):
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(DataError, match=r"history\.csv|at least one row"):
        quick(tmp_path / "history.csv")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "rigde"}, "Unknown model `rigde`. Known: lasso, .*did you mean `ridge`"),
        ({"model": "ridge(alfa=1)"}, "did you mean `alpha`"),
        ({"model": 7}, "A model must be one of lasso, .*Got `7`"),
        ({"loss": "absolut"}, "Known: absolute, mase, pinball.*did you mean `absolute`"),
        ({"loss": 7}, "The loss `7` cannot be read"),
        ({"policies": ["periodical"]}, "Known: always, mlma, never, periodic, random"),
        ({"policies": ["mlma(level=2)"]}, "`level` of `MLMA` must be between 0 and 1"),
        ({"policies": 7}, "`policies` must hold policies"),
        ({"policies": [7]}, "`policies` must hold policies"),
        ({"policies": MLMA}, "`policies` must hold policies"),
        ({"window": 3}, "`window` of `replay` must be at least 4 batches"),
        ({"window": "1mo"}, "months, quarters and years"),
        ({"window": 14.5}, "length of time"),
        ({"batch": "5h"}, "whole multiple of the slot length"),
        ({"step": "often"}, "units s, m, h, d and w"),
        ({"mode": "two_step"}, "`day_ahead` or `one_step`"),
        ({"phases": 0}, "`phases` of `replay` must be at least 1"),
        ({"complete_share": 0.0}, "above 0, at most 1"),
        ({"n_jobs": 0}, "at least 1"),
        ({"tags": ["y"]}, "one role"),
        ({"unique_id": "ds"}, "three different columns"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_used_say_what_is_known(settings, words):
    with pytest.raises(SettingsError, match=f"(?s){words}"):
        quick(SMALL, **settings)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "missing y"), (float("nan"), "missing y"), (float("inf"), "infinite y")],
)
def test_values_that_are_no_numbers_are_counted_and_nobody_is_lost(value, reason):
    result = quick(with_value(value))
    assert [str(out) for out in result.left_out] == [
        f"4 rows: {reason} (s0 2024-01-02 06:00:00, s1 2024-01-26 00:00:00, "
        f"s1 2024-01-26 06:00:00, ...)",
    ]
    assert played(result) == ALL
    assert result.losses["loss"].is_finite().all()


def test_negative_counts_have_no_poisson_loss_and_are_counted():
    assert counted(quick(with_value(-1.0), loss="poisson")) == {"negative y": 4}
    assert counted(quick(with_value(-1.0))) == {}


def test_of_duplicates_the_last_counts():
    twice = pl.concat([SMALL.with_columns(y=pl.lit(1e6)), SMALL])
    result = quick(twice)
    assert counted(result) == {"duplicate (stream, slot)": len(SMALL)}
    assert_frame_equal(result.losses, quick(SMALL).losses)


def test_the_order_of_the_rows_changes_nothing():
    mixed = SMALL.sample(fraction=1, shuffle=True, seed=3)
    assert_frame_equal(quick(mixed).losses, quick(SMALL).losses, check_exact=True)


def test_a_stream_with_one_row_is_left_out_and_named():
    lone = SMALL.head(1).with_columns(unique_id=pl.lit("lone"))
    result = quick(pl.concat([SMALL, lone]))
    assert [str(out) for out in result.left_out] == [
        "1 streams: history shorter than the training window of 28 batches plus one (lone)",
    ]
    assert played(result) == ALL


def test_streams_that_are_too_short_are_counted_and_the_first_three_named():
    short = [stream(f"t{row}", 28, seed=row) for row in range(5)]
    result = quick(pl.concat([SMALL, *short]))
    (left,) = result.left_out
    assert (left.count, left.examples) == (5, ("t0", "t1", "t2"))
    assert "5 streams: history shorter" in repr(result)
    assert "(t0, t1, t2, ...)" in " ".join(repr(result).split())


@pytest.mark.parametrize("days", [1, 27, 28])
def test_a_history_that_is_too_short_as_a_whole_is_refused(days):
    with pytest.raises(DataError, match="at least 28 batches to train on and one batch more"):
        quick(stream("a", days))


def test_one_batch_more_than_the_window_is_enough():
    result = quick(stream("a", 29))
    assert result.losses["policy"].to_list() == ["seasonal_naive", "never", "always"]


def test_a_hole_of_a_month_is_not_judged_and_does_not_end_the_stream():
    day = pl.col("ds").dt.ordinal_day()
    whole = stream("a", 150)
    result = replayed(whole.filter(~day.is_between(70, 100)), policies=["mlma(level=0.01)"])
    judged = result.losses.filter(pl.col("policy") == "mlma(level=0.01)")["ds"].dt.ordinal_day()
    assert judged.to_list() == [*range(29, 70), *range(101, 151)]
    assert result.failures == {}


def test_a_stream_that_is_dead_for_a_year_is_played_and_has_no_alarm():
    history = stream("a", 450, 1)
    year = pl.col("ds").dt.year() == 2024
    dead = history.with_columns(
        y=pl.when(year & (pl.col("ds").dt.ordinal_day() > 60)).then(0.0).otherwise("y")
    )
    policy = "mlma(pool=1, level=0.01)"
    result = replayed(pl.concat([dead, stream("b", 450, 1, seed=2)]), policies=[policy])
    told = result.decisions.filter(pl.col("unique_id") == "a", pl.col("policy") == policy)
    asleep = told.filter(pl.col("ds").dt.year() == 2024, pl.col("ds").dt.ordinal_day() > 110)
    assert "degraded" not in set(asleep["verdict"])
    awake = told.filter(pl.col("ds").dt.year() == 2025)
    assert "retrain" in set(awake["decision"].head(7))
    assert result.to_df()["loss"].is_finite().all()


def test_streams_are_born_late_and_end_early():
    history = pl.concat(
        [stream("a", 80), stream("late", 40, first_day=40), stream("early", 50)],
    )
    losses = quick(history).losses.filter(pl.col("policy") == "always")
    days = losses.group_by("unique_id").agg(
        first=pl.col("ds").min().dt.ordinal_day(), last=pl.col("ds").max().dt.ordinal_day()
    )
    assert sorted(days.iter_rows()) == [("a", 29, 80), ("early", 29, 50), ("late", 69, 80)]


def test_days_of_23_and_25_hours_are_judged_like_any_other():
    whole = pl.datetime_range(
        pl.datetime(2024, 3, 1, time_zone="Europe/Berlin"),
        pl.datetime(2024, 11, 10, time_zone="Europe/Berlin"),
        "1h",
        closed="left",
        eager=True,
    )
    level = 10.0 + whole.dt.hour().cast(pl.Float64)
    history = pl.DataFrame({"unique_id": "a", "ds": whole, "y": level})
    result = replayed(history, policies=["never"])
    losses = result.losses.filter(pl.col("policy") == "always")
    days = losses["ds"].to_list()
    assert days == [days[0] + timedelta(days=day) for day in range(len(days))]
    assert len(days) == 254 - 28
    assert counted(result) == {"repeated wall-clock slot (daylight saving)": 1}
    # The rhythm follows the clock on the wall: nothing is late by an hour after a change.
    assert losses["loss"].max() < 1.0


def test_rows_off_the_grid_are_counted():
    late = SMALL.with_columns(
        ds=pl.when(pl.int_range(pl.len()) == 77).then(pl.col("ds") + DAY // 24).otherwise("ds")
    )
    assert counted(quick(late)) == {"off the slot grid": 1}


@pytest.mark.parametrize("fails", ["fit", "predict", "nan", "length"])
def test_a_model_that_fails_on_a_stream_leaves_it_out_and_plays_the_rest(fails):
    model = BatchMean(fails=fails, on=("s1",))
    result = quick(SMALL, model=model, policies=["mlma(min_reference_batches=5)"])
    assert played(result) == {"s0", "s2"}
    assert [str(out) for out in result.left_out] == ["1 streams: model failed (s1)"]
    assert list(result.failures) == ["s1"]
    assert "model `batch_mean` for stream `s1`" in result.failures["s1"]
    assert "s1" in repr(result)
    kept = quick(SMALL.filter(pl.col("unique_id") != "s1"))
    for name in ("never", "always"):
        assert_frame_equal(
            result.losses.filter(pl.col("policy") == name),
            kept.losses.filter(pl.col("policy") == name),
        )


@pytest.mark.parametrize("fails", ["fit", "predict", "nan", "length"])
@pytest.mark.parametrize("policies", [["never"], ["mlma(min_reference_batches=5)"]])
def test_a_model_that_fails_everywhere_is_a_data_error_with_its_message(fails, policies):
    model = BatchMean(fails=fails, on=tuple(ALL))
    words = "The model failed on all 3 streams. First message: .*batch_mean.*`s0`"
    with pytest.raises(DataError, match=words):
        quick(SMALL, model=model, policies=policies)


def test_a_model_that_fails_later_keeps_its_old_version_and_is_counted():
    model = BatchMean(fails="fit", on=("s1",), from_batch=40)
    result = quick(SMALL, model=model, policies=["mlma(max_age=3, min_reference_batches=5)"])
    assert played(result) == ALL
    assert counted(result) == {"played, but a training failed and the old version stayed": 1}
    held = result.decisions.filter(pl.col("decision") == "hold")
    assert set(held["unique_id"]) == {"s1"}
    assert set(held["reason"]) == {"training failed; the old version stays"}
    always = result.to_df().filter(pl.col("policy") == "always")
    fits = dict(always.select("unique_id", "fits").iter_rows())
    assert fits["s1"] == 12 < fits["s0"] == 22


def test_a_loss_that_raises_is_the_users_own_error():
    def broken(y, y_hat):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        quick(SMALL, loss=broken)
    with pytest.raises(DataError, match="one loss for each pair"):
        quick(SMALL, loss=lambda y, y_hat: np.abs(y - y_hat).mean())
