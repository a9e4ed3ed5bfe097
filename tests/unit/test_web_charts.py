import re
from datetime import datetime, timedelta
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlma.web.charts import (
    Band,
    Bars,
    Dots,
    Limit,
    Line,
    Mark,
    Marks,
    Scale,
    Span,
    Spans,
    bins_of,
    plot,
    sparkline,
    stacked,
)
from mlma.web.charts.layers import runs
from mlma.web.charts.ticks import number_ticks, time_ticks

NASTY = '<script>alert("x")</script> & "quotes"'
NAN = float("nan")


def days(n):
    return np.datetime64("2025-01-01", "us") + np.arange(n) * np.timedelta64(86_400_000_000, "us")


def drawn(layers, n=5, **told):
    return ET.fromstring(str(plot("Loss", "The loss of each batch.", days(n), layers, **told)))


def texts(svg, css):
    return [one.text for one in svg.iter("text") if css in one.get("class", "").split()]


def paths(svg, css):
    return [one for one in svg.iter("path") if one.get("class", "").split()[:1] == [css]]


def numbers(path):
    return [float(one) for one in re.findall(r"-?\d*\.?\d+", path.get("d"))]


def test_a_chart_has_a_name_and_a_description_for_who_does_not_see_it():
    svg = drawn([Line(np.arange(5.0))])
    assert svg.get("role") == "img"
    assert [one.text for one in svg[:2]] == ["Loss", "The loss of each batch."]


def test_a_line_runs_from_the_lower_left_to_the_upper_right():
    (line,) = paths(drawn([Line(np.arange(5.0))]), "line")
    assert numbers(line) == [0, 300, 250, 225, 500, 150, 750, 75, 1000, 0]


def test_what_is_not_known_is_a_gap_and_a_number_between_gaps_a_dot():
    svg = drawn([Line(np.array([1.0, 2.0, NAN, 3.0, NAN]))])
    (line,) = paths(svg, "line")
    assert line.get("d").count("M") == 1
    assert [one.get("cx") for one in svg.iter("circle")] == ["75%"]


def test_bars_start_at_zero_and_those_of_a_stack_on_one_another():
    layers = stacked({"healthy": np.array([0.75]), "degraded": np.array([0.25])})
    svg = drawn(layers, 1, scale=Scale(percent=True, highest=1.0))
    below, above = paths(svg, "bar")
    assert "fill-healthy" in below.get("class")
    assert numbers(below)[1:3] == [300, 75]
    assert numbers(above)[1:3] == [75, 0]


def test_a_band_of_one_batch_can_be_seen():
    svg = drawn([Band(np.array([NAN, 1.0, NAN]), np.array([NAN, 2.0, NAN]))], 3)
    xs = numbers(paths(svg, "band")[0])[::2]
    assert max(xs) - min(xs) == pytest.approx(8)


def test_a_limit_beyond_the_frame_is_not_drawn():
    svg = drawn([Line(np.array([1.0, 2.0])), Limit(50.0, "alarm", fits=False)], 2)
    assert texts(svg, "told") == []


def test_a_level_line_tells_its_name():
    assert texts(drawn([Limit(7.0, "alarm at 7")], 2), "told") == ["alarm at 7"]


@pytest.mark.parametrize("values", [[], [NAN] * 5, [3.0] * 5, [0.0] * 5, [-2.0, 0, 1, 2, 3]])
def test_any_numbers_can_be_drawn(values):
    n = len(values)
    layers = [Line(np.array(values)), Bars(np.array(values)), Dots(np.array(values))]
    svg = drawn(layers, n, tips=["tip"] * n, scale=Scale(zero=True))
    assert "nan" not in ET.tostring(svg, encoding="unicode").lower()


def test_every_text_is_escaped_and_no_style_or_script_is_needed():
    when = days(5)[2]
    layers = [
        Line(np.arange(5.0), NASTY),
        Limit(1.0, NASTY, NASTY),
        Marks([Mark(when, NASTY, NASTY), Mark(when, NASTY, "alarm")]),
        Spans([Span(when, when, NASTY)]),
    ]
    svg = str(plot(NASTY, NASTY, days(5), layers, tips=[NASTY] * 5, css=NASTY))
    svg += str(sparkline(np.arange(5.0), NASTY))
    assert "<script" not in svg
    assert not re.search(r"<[^>]* (style|on\w+)=", svg)
    ET.fromstring(f"<p>{svg}</p>")


def test_marks_and_spans_outside_the_plot_are_left_out():
    before, after = days(1)[0] - np.timedelta64(9, "D"), days(5)[-1] + np.timedelta64(9, "D")
    layers = [Marks([Mark(before, "a"), Mark(after, "b")]), Spans([Span(before, before, "c")])]
    svg = ET.tostring(drawn([Line(np.arange(5.0)), *layers]), encoding="unicode")
    assert "mark" not in svg
    assert "span" not in svg


def test_a_long_span_is_cut_at_the_edges():
    before, after = days(1)[0] - np.timedelta64(9, "D"), days(5)[-1] + np.timedelta64(9, "D")
    svg = drawn([Line(np.arange(5.0)), Spans([Span(before, after, "holiday")])])
    (span,) = [one for one in svg.iter("rect") if one.get("class") == "span"]
    assert (span.get("x"), span.get("width")) == ("0%", "100%")


def test_tips_cover_the_whole_width_once():
    svg = drawn([Line(np.arange(5.0))], tips=list("abcde"))
    columns = [one for one in svg.iter("rect") if one.get("class") == "tip"]
    widths = [float(one.get("width").rstrip("%")) for one in columns]
    assert sum(widths) == pytest.approx(100)
    assert [one[0].text for one in columns] == list("abcde")


def test_percent_and_signs_stand_on_the_axis():
    scale = Scale(zero=True, percent=True, signed=True)
    ticks = texts(drawn([Line(np.array([-0.1, 0.2]))], 2, scale=scale), "tick")
    assert {"\u221210 %", "0 %", "+20 %"} <= set(ticks)


def test_a_chart_of_a_long_history_stays_small():
    bins = bins_of(10_000)
    values = np.random.default_rng(1).gamma(5, 1, 10_000)
    svg = plot("Loss", "told", bins.first(days(10_000)), [Line(bins.mean(values))])
    assert len(svg) < 6_000


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9))
def test_ticks_are_few_and_span_what_is_drawn(low, width):
    high = low + width
    ticks = number_ticks(low, high)
    room = 1e-6 * max(abs(low), abs(high), width)
    assert ticks[0] <= low + room
    assert ticks[-1] >= high - room
    assert 2 <= len(ticks) <= 12
    assert ticks == sorted(ticks)


@given(st.integers(1, 60_000), st.integers(0, 40_000))
def test_times_on_the_axis_are_few_lie_within_and_are_told_apart(hours, since):
    first = datetime(2020, 1, 1) + timedelta(hours=since)
    ticks = time_ticks(first, first + timedelta(hours=hours))
    assert len(ticks) <= 8
    assert all(first <= at <= first + timedelta(hours=hours) for at, _ in ticks)
    assert all(text for _, text in ticks)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(NAN), max_size=80), st.integers(1, 20))
def test_bins_lose_no_sum_and_no_peak(values, most):
    bins, given_values = bins_of(len(values), most), np.array(values)
    told = given_values[np.isfinite(given_values)]
    assert len(bins.starts) <= most
    assert bins.sum(given_values).sum() == pytest.approx(told.sum(), abs=1e-3)
    if len(told):
        assert np.nanmax(bins.highest(given_values)) == told.max()
    else:
        assert not np.isfinite(bins.mean(given_values)).any()


@given(st.lists(st.booleans(), max_size=30))
def test_runs_hold_all_that_is_told_and_nothing_else(told):
    mask = np.array(told, dtype=bool)
    made = np.zeros(len(told), dtype=bool)
    for run in runs(mask):
        assert run.stop > run.start
        made[run] = True
    assert made.tolist() == told


def test_a_trend_of_one_number_is_nothing():
    assert sparkline(np.array([1.0, NAN])) == ""
    assert "aria-hidden" in sparkline(np.array([1.0, 2.0]))
    assert "<title>rising</title>" in sparkline(np.array([1.0, 2.0]), "rising")
