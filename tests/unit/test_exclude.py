"""What is labelled as broken takes no part in training, references and judgement."""

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

import mlma
from histories import BatchMean, fleet
from mlma.adapters.frames.exclusions import read_exclusions
from mlma.adapters.frames.history import read_history
from mlma.domain.errors import DataError
from mlma.domain.verdicts import Verdict
from mlma.library.exclusions import LABELLED, OUTSIDE, UNKNOWN, without_excluded

DAY0 = date(2024, 1, 1)
HISTORY = fleet(n=3, days=60, slots=4, breaks_at=200)  # no break
PANEL = read_history(HISTORY).panel
MISSING = np.isnan(PANEL.y)


def day(number):
    return DAY0 + timedelta(days=number)


def spans(**columns):
    return pl.DataFrame(columns, strict=False)


def excluded(**columns):
    panel, left_out = without_excluded(PANEL, spans(**columns))
    return np.isnan(panel.y) & ~MISSING, {one.reason: one for one in left_out}


def quick(history=HISTORY, **settings):
    chosen = {"policies": ["never"], "window": 28, "n_jobs": 1, "model": BatchMean()}
    return mlma.replay(history, **{**chosen, **settings})


def test_the_end_is_exclusive_and_other_streams_stay_whole():
    gone, told = excluded(unique_id=["s1"], start=[day(30)], end=[day(32)])
    assert np.argwhere(gone.all(axis=2)).tolist() == [[1, 30], [1, 31]]
    assert gone.sum() == told[LABELLED].count == 8
    assert told[LABELLED].examples[0] == "s1 2024-01-31 00:00:00"


def test_a_day_alone_is_that_day_for_all_streams_where_no_stream_is_named():
    gone, _ = excluded(unique_id=[None, "s2"], start=[day(10), day(20)], end=[None, None])
    assert np.argwhere(gone.all(axis=2)).tolist() == [[0, 10], [1, 10], [2, 10], [2, 20]]
    without_ids, _ = excluded(start=["2024-01-11"], end=[None])
    assert np.argwhere(without_ids.all(axis=2)).tolist() == [[0, 10], [1, 10], [2, 10]]


def test_a_slot_is_excluded_if_any_part_of_it_lies_in_the_span():
    start, end = datetime(2024, 1, 5, 7), datetime(2024, 1, 5, 12, 30)  # slots of six hours
    gone, _ = excluded(unique_id=["s0"], start=[start], end=[end])
    assert np.argwhere(gone).tolist() == [[0, 4, 1], [0, 4, 2]]


def test_the_id_column_of_the_history_and_numbers_as_names_are_understood():
    frame = HISTORY.with_columns(sensor=pl.col("unique_id").str.slice(1).cast(pl.Int64))
    frame = frame.drop("unique_id")
    labels = spans(sensor=[2], start=[day(35)], end=[day(36)])
    result = quick(frame, unique_id="sensor", exclude=labels)
    assert {one.reason: one.count for one in result.left_out} == {LABELLED: 4}


def test_a_csv_file_says_the_same_as_a_frame(tmp_path):
    path = tmp_path / "broken.csv"
    path.write_text("unique_id,start,end\ns1,2024-01-31,2024-02-02\n,2024-02-10,\n")
    frame = spans(unique_id=["s1", None], start=[day(30), day(40)], end=[day(32), None])
    one, other = (without_excluded(PANEL, source) for source in (path, frame))
    np.testing.assert_array_equal(one[0].y, other[0].y)
    assert one[1] == other[1]
    assert quick(exclude=path).record.settings["exclude"] == "broken.csv"


def test_a_replay_with_exclusions_is_that_of_a_history_with_gaps():
    labels = spans(unique_id=["s1"], start=[day(34)], end=[day(38)])
    at = (pl.col("unique_id") == "s1") & pl.col("ds").is_between(day(34), day(38), closed="left")
    gaps = HISTORY.with_columns(y=pl.when(at).then(None).otherwise("y"))
    settings = {"model": "ridge", "policies": ["mlma(min_reference_batches=5, pool=1)"]}
    one, other = quick(exclude=labels, **settings), quick(gaps, **settings)
    assert one.losses.equals(other.losses)
    assert one.decisions.equals(other.decisions)


def test_wild_values_that_are_excluded_change_neither_training_nor_judgement():
    at = (pl.col("unique_id") == "s1") & pl.col("ds").is_between(day(34), day(38), closed="left")
    wild = HISTORY.with_columns(y=pl.when(at).then(1e6).otherwise("y"))
    labels = spans(unique_id=["s1"], start=[day(34)], end=[day(38)])
    policies = ["mlma(min_reference_batches=5, pool=1)"]
    clean, made = (quick(frame, policies=policies, exclude=labels) for frame in (HISTORY, wild))
    assert made.losses.equals(clean.losses)
    run = next(run for run in made.record.runs if run.evidence is not None)
    assert (run.evidence.verdict[1, 34:38] == Verdict.WAITING).all()
    assert not np.isfinite(run.loss[1, 34:38]).any()
    spoilt = quick(wild, policies=policies)
    assert not spoilt.losses.equals(clean.losses)


def test_unknown_streams_and_times_outside_are_counted():
    names, when = ["s0", "s9", "s1", "nobody"], [day(20), day(20), day(900), day(1)]
    gone, told = excluded(unique_id=names, start=when, end=[None] * 4)
    assert gone.sum() == 4
    assert (told[UNKNOWN].count, told[OUTSIDE].count) == (2, 1)
    assert told[UNKNOWN].examples == ("s9 2024-01-21 00:00:00", "nobody 2024-01-02 00:00:00")


def test_exclusions_that_overlap_or_reach_beyond_the_history_count_every_value_once():
    start, end = [day(-5), day(1)], [day(3), day(3)]
    gone, told = excluded(unique_id=["s0", "s0"], start=start, end=end)
    assert gone.sum() == told[LABELLED].count == 3 * 4


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"start": [day(3)], "end": [day(2)]}, "`end`.*after the start.*exclusive"),
        ({"start": [day(3)], "end": [day(3)]}, "`end`.*after the start.*empty for a single day"),
        ({"start": [day(3)]}, "Column `end`.*is missing"),
        ({"end": [day(3)]}, "Column `start`.*is missing"),
        ({"start": [None], "end": [day(3)]}, "`start`.*in every row"),
        ({"start": ["2024-01-03 06:00"], "end": [None]}, "`end`.*time of day"),
        ({"start": ["soon"], "end": [day(3).isoformat()]}, "ISO dates"),
        ({"unique_id": ["s9"], "start": [day(3)], "end": [None]}, "nothing out.*1 of them"),
        ({"start": [day(400)], "end": [None]}, "nothing out.*first: all 2025-02-04"),
    ],
)
def test_what_makes_no_sense_is_a_clear_error(columns, words):
    with pytest.raises(DataError, match=words):
        quick(exclude=spans(**columns))


def test_an_empty_frame_of_exclusions_is_an_error():
    with pytest.raises(DataError, match="at least one row"):
        read_exclusions(spans(start=[day(1)], end=[day(2)]).clear())


def test_values_that_were_missing_already_are_not_counted():
    at = (pl.col("unique_id") == "s1") & (pl.col("ds").dt.date() == day(30))
    gaps = HISTORY.with_columns(y=pl.when(at).then(None).otherwise("y"))
    labels = spans(unique_id=["s1"], start=[day(30)], end=[None])
    panel, left_out = without_excluded(read_history(gaps).panel, labels)
    assert left_out == ()
    assert np.isnan(panel.y[1, 30]).all()
