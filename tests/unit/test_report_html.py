import json
import re
from dataclasses import replace

import numpy as np
import pytest
from plotly.offline import get_plotlyjs
from report_fixtures import MLMA_LABEL, lifelike, make_replayed, make_run, small

from mlma.domain.verdicts import Reason
from mlma.report import charts, style
from mlma.report.figures import ALARMS, summary_rows
from mlma.report.page import MOST_BYTES, render_page, save_html

LIBRARY = get_plotlyjs()
NASTY = "</script><script>alert(1)</script>"


def own_text(page):
    """Return the page without Plotly's library."""
    before, after = page.split(LIBRARY)
    return before + after


def block(page, name):
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)
    return json.loads(found.group(1))


@pytest.mark.parametrize(("streams", "batches"), [(2_000, 400), (21, 2_560)])
def test_the_page_stays_under_six_megabytes(streams, batches):
    page = render_page(lifelike(streams, batches))
    assert len(page.encode()) <= MOST_BYTES == 6_000_000
    assert len(block(page, "streams-data")["streams"]) >= 12


def test_the_page_asks_nothing_of_the_network():
    text = own_text(render_page(lifelike()))
    assert re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', text) == ["data:,"]
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", text)
    assert "default-src 'none'" in text


def test_plotly_brings_no_end_of_its_script_element():
    assert "</script" not in LIBRARY.lower()


def test_names_and_tags_and_messages_cannot_become_markup():
    record = lifelike(3, id_of=lambda row: f"{NASTY}{row}")
    record = replace(record, tags={NASTY: (NASTY,) * 3}, failures={NASTY: NASTY})
    record = replace(record, settings={NASTY: NASTY})
    page = render_page(record)
    assert NASTY not in page
    assert page.count("<script") == own_text(page).count("<script") + LIBRARY.count("<script")
    assert own_text(page).count("<script") == 5
    assert block(page, "streams-data")["streams"][0]["id"].startswith(NASTY)


def test_a_label_in_a_chart_is_shown_as_it_is():
    assert style.plain('<b>%{y}</b> "x"') == '&lt;b&gt;%&#123;y}&lt;/b&gt; "x"'


def test_charts_use_only_colours_that_have_a_dark_twin():
    charts_data = json.dumps(block(render_page(lifelike()), "charts-data"))
    used = set(re.findall(r'"(#[0-9a-f]{3,8}|rgba?\([^"]*\))"', charts_data))
    assert used - {"rgba(0,0,0,0)"} <= set(style.COLOURS)
    assert style.ACCENT in used


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_name_and_a_colour_of_the_page(reason):
    name, colour, _ = style.reason_style(reason)
    assert name == name.lower() != ""
    assert colour in style.COLOURS


def test_reasons_of_alarms_share_a_colour_and_differ_in_their_symbols():
    styles = [style.reason_style(reason) for reason in ALARMS]
    assert {colour for _, colour, _ in styles} == {style.ALARM}
    assert len({symbol for _, _, symbol in styles}) == len(ALARMS) == 4


def _contrast(one, other):
    levels = sorted((_luminance(one), _luminance(other)))
    return (levels[1] + 0.05) / (levels[0] + 0.05)


def _luminance(colour):
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("name", ["ACCENT", "ALARM", "FOLLOW_UP", "REVIEW", "OTHER"])
def test_marks_stand_out_from_the_ground_in_light_and_in_dark(name):
    light = getattr(style, name)
    assert _contrast(light, style.PAPER) >= 3
    assert _contrast(style.COLOURS[light], style.COLOURS[style.PAPER]) >= 3


@pytest.mark.parametrize("name", ["INK", "MUTED"])
def test_text_stands_out_from_the_ground_in_light_and_in_dark(name):
    light = getattr(style, name)
    assert _contrast(light, style.PAPER) >= 4.5
    assert _contrast(style.COLOURS[light], style.COLOURS[style.PAPER]) >= 4.5


def test_every_policy_is_a_point_and_mlma_is_the_largest():
    rows = summary_rows(lifelike())
    figure = charts.frontier(rows, MLMA_LABEL, width=charts.WIDE)
    sizes = [trace.marker.size for trace in figure.data]
    assert len(sizes) == len(figure.layout.annotations) == len(rows)
    assert figure.data[sizes.index(max(sizes))].marker.color == style.ACCENT


def test_a_policy_without_any_fit_stands_left_of_all_others():
    rows = summary_rows(lifelike())
    figure = charts.frontier(rows, MLMA_LABEL, width=charts.WIDE)
    places = {row.label: trace.x[0] for row, trace in zip(rows, figure.data, strict=True)}
    assert min(places, key=places.get) == "seasonal_naive"
    assert places["always"] == pytest.approx(2.0)
    assert figure.layout.xaxis.ticktext[0] == "none"


def test_a_loss_beyond_the_scale_is_pinned_and_tells_its_value():
    rows = summary_rows(lifelike())
    figure = charts.frontier(rows, MLMA_LABEL, width=charts.WIDE)
    texts = [label.text for label in figure.layout.annotations]
    assert any(re.fullmatch(r"never \(\+\d+ %\)", text) for text in texts)
    top = figure.layout.yaxis.range[1]
    assert all(trace.y[0] < top for trace in figure.data)


def test_the_page_of_one_stream_and_baselines_only_can_be_drawn():
    record = small()
    runs = tuple(replace(run, **_first_row(run)) for run in record.runs[:2])
    record = replace(record, ids=("north",), runs=runs, y_mean=record.y_mean[:1])
    page = render_page(record)
    assert "No policy that looks at losses was asked for" in page
    assert "this is what the others cost on 1 stream." in page


def _first_row(run):
    return {"loss": run.loss[:1], "retrained": run.retrained[:1], "fits": run.fits[:1]}


def test_the_page_without_a_watching_policy_says_nothing_of_alarms():
    record = lifelike()
    runs = tuple(run for run in record.runs if run.evidence is None)
    text = own_text(render_page(replace(record, runs=runs)))
    assert "With periodic(every=28), 21 streams" in text
    assert "degraded batch, alarm" not in text
    assert block(text, "streams-data")["streams"][0]["alarms"] is None


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_the_page_of_streams_without_any_ratio_can_be_drawn(value):
    record = lifelike(3, 100)
    runs = tuple(replace(run, loss=np.full_like(run.loss, value)) for run in record.runs)
    text = own_text(render_page(replace(record, runs=runs)))
    assert "3 streams (sensor 00, sensor 01, sensor 02) without a ratio" in text
    assert "NaN" not in text


def test_the_page_of_a_run_that_equals_always_can_be_drawn():
    always = make_run("always", np.ones((2, 30)), role="baseline")
    same = make_run("periodic(every=1)", np.ones((2, 30)))
    text = own_text(render_page(make_replayed([always, same])))
    assert "2 streams lost as much as re-training every day" in text


def test_only_the_first_failures_are_listed_and_all_are_counted():
    failures = {f"stream {i}": "ModelError: no usable row" for i in range(1_234)}
    text = own_text(render_page(replace(lifelike(3), failures=failures)))
    assert "1,234 failures, the first 50 of them" in text
    assert text.count("ModelError: no usable row") == 50


def test_what_was_left_out_and_every_setting_stand_on_the_page():
    record = lifelike()
    text = own_text(render_page(record))
    assert "2 streams: fewer batches than the first training window (x, y)" in text
    assert all(f"{run.label} in full" in text for run in record.runs)
    assert "train_batches" in text


def test_the_same_replay_gives_the_same_page():
    assert render_page(lifelike()) == render_page(lifelike())


def test_a_saved_page_is_the_rendered_page(tmp_path):
    path = save_html(lifelike(), tmp_path / "new folder" / "report.html")
    assert path.read_text(encoding="utf-8") == render_page(lifelike())
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_a_save_that_fails_half_way_leaves_the_old_page_and_nothing_else(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    unwritable = lifelike(3, id_of=lambda row: f"\ud800{row}")  # UTF-8 has no such character
    with pytest.raises(UnicodeEncodeError):
        save_html(unwritable, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_onto_a_folder_leaves_no_temporary_file(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        save_html(lifelike(3), tmp_path / "report.html")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
