"""The live demo: a real server, a platform with planted breaks, and a summary that is true."""

import json
import signal
import time
from datetime import datetime
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest

from commands import started
from mlma.domain.errors import SettingsError
from mlma.library.live_demo.history import History
from mlma.library.live_demo.plan import HISTORY_DAYS, Plan
from mlma.library.live_demo.platform import DeliveryPlatform
from mlma.library.live_demo.run import Place, run
from mlma.library.live_demo.server import ServerError, serving
from mlma.library.versions import ModelStore


def test_a_month_of_24_streams_finds_breaks_and_loses_no_row(tmp_path):
    folder = tmp_path / "demo"
    options = ["--streams", 24, "--days", 30, "--folder", folder, "--json"]
    process = started("serve-demo", *options, cwd=tmp_path)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    told = json.loads(out)  # one document, and nothing else on stdout
    assert told["planted"] == len(told["breaks"]) > 5
    assert told["found"] == sum(one["found"] is not None for one in told["breaks"]) >= 4
    assert told["healed"] == sum(one["healed"] for one in told["breaks"]) >= 2
    assert told["false_retrainings"] <= 2
    assert told["failed"] == 0
    asked = told["alarms"] + told["follow_ups"] + told["reviews"]
    assert told["retrainings"] == asked > 4
    # What a re-training changes is seen in forecasts that really were made.
    assert 0.0 < told["fleet_gain"] < told["broken_gain"]
    assert told["cycles"] == 30
    assert told["revisions"] > 0
    assert told["pushed"] == told["stored"] > 24 * 24 * 30 * 2 * 0.98
    assert told["lost"] == 0
    assert told["ledger_holds"]
    assert told["store_bytes"] > 100_000
    versions = ModelStore(folder / "models").records()
    assert len(versions) == 24 + told["retrainings"]
    assert refused(told["address"])


def test_a_demo_that_is_ended_leaves_no_process_and_no_folder(tmp_path):
    process = started(
        "serve-demo", "--streams", 8, "--days", 300, cwd=tmp_path, TMPDIR=str(tmp_path)
    )
    try:
        address = process.stdout.readline().split()[-1].removesuffix("/fleet")
        assert httpx.get(f"{address}/health", trust_env=False).status_code == 200
        until = time.monotonic() + 60
        while not process.stdout.readline().startswith("2024") and time.monotonic() < until:
            pass
        assert list(tmp_path.iterdir())
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert refused(address)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_refused_before_anything_starts(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(SettingsError, match="must be empty or new"):
        run(Plan(8, 14), Place(tmp_path), None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_store_that_only_the_server_could_read_is_refused():
    with pytest.raises(SettingsError, match="another process"):
        run(Plan(8, 14), Place(store="memory://"), None, None)


def test_a_server_that_cannot_start_says_why(tmp_path):
    (tmp_path / "mlma.toml").write_text("[nonsense]\n")
    with pytest.raises(ServerError, match="nonsense"), serving(tmp_path):
        pass


@pytest.mark.parametrize("wrong", [{"streams": 3}, {"days": 5}, {"seed": -1}])
def test_a_plan_out_of_range_is_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Plan(**wrong)


def test_whatever_is_late_revised_or_told_twice_the_truth_arrives():
    platform = DeliveryPlatform(Plan(8, 20, seed=3))
    letters = platform.letters
    played = np.isfinite(platform.y[:, HISTORY_DAYS:])
    assert len(letters) > played.sum()  # some rows come twice
    days = letters.slot // 24
    assert (letters.day >= days).all()
    assert (letters.day > days).any()
    for day in range(HISTORY_DAYS, platform.plan.all_days + 1):
        platform.arrived(letters.on(day))
    np.testing.assert_array_equal(platform.known, platform.y)


def test_a_forecast_reads_nothing_of_its_own_day():
    plan = Plan(8, 14)
    one, other = DeliveryPlatform(plan), DeliveryPlatform(plan)
    other.known[:, HISTORY_DAYS] = 1000.0

    class Seen:
        def predict(self, series, first, last):
            assert (first, last) == (len(series.y) - 1, len(series.y))
            return np.nan_to_num(series.y, nan=-1.0)[-2:-1] + series.y[-1:].size * 0

    told = [each.forecast(HISTORY_DAYS, [Seen()] * 8, range(8)) for each in (one, other)]
    np.testing.assert_array_equal(*told)


def test_later_files_of_the_history_overrule_earlier_ones(tmp_path):
    history = History(tmp_path)
    at = [datetime(2024, 1, 1), datetime(2024, 1, 2)]
    history.append(1, pl.DataFrame({"unique_id": ["b", "a"], "ds": at, "y": [1.0, 2.0]}))
    assert history.recent(2).ids == ("a", "b")
    history.append(2, pl.DataFrame({"unique_id": ["b"], "ds": at[:1], "y": [7.0]}))
    y = history.recent(2).y
    assert y[1, 0, 0] == 7.0
    assert y[0, 1, 0] == 2.0
    assert np.isnan(y).sum() == y.size - 2
    assert not list(Path(tmp_path).rglob("*.part"))


def refused(address):
    try:
        httpx.get(f"{address}/health", trust_env=False)
    except httpx.ConnectError:
        return True
    return False
