"""The speed benchmark: its ratios, tables and picture; not its seconds."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "speed"


@pytest.fixture(autouse=True)
def _beside_the_benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def run_of(streams, *, numba=False, cycle=0.04):
    times = {"losses.sum()": 0.004, "losses @ ones": 0.002}
    return {
        "numba": numba,
        "streams": streams,
        "passes": {name: {"best": best, "median": 2 * best} for name, best in times.items()},
        "cycle": {"best": cycle, "median": 1.5 * cycle},
        "steps": {"compare": 0.01},
        "peak_bytes": 3 * 2**20,
        "batch_bytes": 2**20,
        "state_bytes": 100 * streams,
    }


PEER = {
    "tool": "river",
    "version": "1.0",
    "what": "ADWIN",
    "microseconds": 60.0,
    "stream_batches": 99,
    "at_once": 1,
}


def test_the_unit_is_the_fastest_pass():
    from cycle_tables import unit

    assert unit(run_of(1000)) == ("losses @ ones", {"best": 0.002, "median": 0.004})


def test_a_cycle_is_told_in_passes_best_by_best_and_median_by_median():
    from cycle_tables import cycle_table

    row = cycle_table([run_of(1000)]).splitlines()[-1]
    assert "| 20.0 / 15.0 | 60.000 | 3 (1) | 100 |" in row


def test_a_peer_is_told_as_a_multiple_of_our_largest_fleet():
    from cycle_tables import peer_table

    runs = [run_of(100_000), run_of(1000), run_of(100_000, numba=True, cycle=0.02)]
    row = peer_table([PEER], runs).splitlines()[-1]
    assert "| 60 | 99 | 100 | 200 | 60 s |" in row


def test_without_our_runs_the_peers_are_told_alone():
    from cycle_tables import peer_table

    assert peer_table([PEER], []).splitlines()[-1].endswith("| 60 | 99 | 60 s |")


def test_all_rows_of_a_table_have_as_many_cells_as_its_head():
    from cycle_tables import cycle_table, pass_table, peer_table, step_table

    runs = [run_of(1000), run_of(1000, numba=True)]
    made = (cycle_table(runs), pass_table(runs), step_table(runs), peer_table([PEER], runs))
    for text in made:
        assert len({line.count("|") for line in text.splitlines()}) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.05, "50 ms"), (59, "59 s"), (240, "4 min"), (25_000, "6.94 h"), (864_000, "10 d")],
)
def test_durations_read_in_the_unit_that_fits(seconds, text):
    from cycle_tables import duration

    assert duration(seconds) == text


def test_the_report_says_what_was_left_out():
    from cycle_cost import machine, markdown

    report = {"machine": machine(), "runs": [], "peers": [], "missing": ["river: no network"]}
    assert markdown(report) == "Left out:\n\n- river: no network"


def test_the_picture_is_well_formed_and_tells_measured_from_extrapolated():
    from curve import picture
    from cycle_cost import curves

    report = {"runs": [run_of(n) for n in (1000, 10_000)], "peers": [PEER]}
    root = ElementTree.fromstring(picture(curves(report, [1000, 10_000]), "a < b & c"))
    kinds = [path.get("class") for path in root.iter("{http://www.w3.org/2000/svg}path")]
    circles = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert kinds.count("line guess") == 1
    assert len(circles) == 4  # two sizes of a pass and of our cycle


def test_labels_of_curves_that_end_together_do_not_overlap():
    from curve import LABEL_GAP, label_places

    places = sorted(label_places([200.0, 201.0, 199.0, 448.0, 447.0]))
    assert np.diff(places).min() >= LABEL_GAP - 1e-9


def test_one_size_gives_a_picture_a_frame():
    from curve import Curve, frame_of

    frame = frame_of([Curve("one", (1000.0,), (0.01,), (True,))])
    assert frame.x == (3, 4)
    assert frame.y == (-2, -1)


def test_losses_of_a_day_are_reproducible_and_break_in_every_hundredth_stream():
    from loss_days import BREAK, fill, levels

    losses, again = np.empty((200, 96), np.float32), np.empty((200, 96), np.float32)
    fill(losses, BREAK, levels(200, 0), 0)
    fill(again, BREAK, levels(200, 0), 0)
    assert np.array_equal(losses, again)
    means = losses.mean(axis=1) / levels(200, 0)
    assert means[7::100].mean() > 1.3 * np.delete(means, [7, 107]).mean()


def test_every_pass_reads_all_losses():
    from passes import passes

    losses = np.ones((10, 4), np.float32)
    for read in passes(with_numba=False).values():
        assert np.sum(read(losses)) == 40


def test_tools_with_requirements_have_an_environment_of_their_own():
    from environments import interpreter_of

    assert interpreter_of("scipy") == sys.executable
    assert {path.name for path in FOLDER.glob("requirements-*.txt")} == {
        f"requirements-{tool}.txt" for tool in ("river", "frouros", "evidently")
    }
