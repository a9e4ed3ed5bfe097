"""The model store: what was in production for a stream at a time has one answer."""

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from subprocess import PIPE, Popen

import numpy as np
import pytest

from mlma.domain.errors import ArtefactError, MissingExtraError, SettingsError
from mlma.domain.streams import Grid, Series
from mlma.domain.versions import NewVersion, wall_time
from mlma.library.versions import ModelStore, fingerprint
from mlma.ports import ArtefactStore
from model_versions import FIRST, LAST, fitted_of, forecasts, new, stream


@pytest.fixture(params=["folder", "memory", "file"])
def url(request, tmp_path):
    """An empty store of each kind."""
    local = str(tmp_path / "models")
    addresses = {"folder": local, "memory": f"memory:/{tmp_path}", "file": f"file://{local}"}
    return addresses[request.param]


class Strange:
    """A model of a type that nobody knows."""

    def predict(self, series, first, last):
        return np.zeros((last - first, series.y.shape[1]))


def answer(store, stream, at=None):
    deployment = store.deployed(stream, at)
    return None if deployment is None else deployment.version


def three_versions(url):
    store: ArtefactStore = ModelStore(url)
    return ModelStore(url), [record.version for record in store.save_many([new()] * 3)]


def test_a_store_answers_what_was_in_production_at_any_time(url):
    store, (v1, v2, v3) = three_versions(url)
    store.deploy([("a", v1)], "2024-03-01", "first")
    store.deploy([("a", v2)], "2024-04-01T06:00", "degraded")
    store.roll_back("a", "2024-04-03", "worse")
    store.retire(["a"], "2024-05-01", "shop closed")
    store.deploy([("a", v3)], "2024-06-01", "shop opened again")
    again = ModelStore(url)
    times = {
        "2024-02-29T23:59:59": None,
        "2024-03-01": v1,
        "2024-04-01T05:59": v1,
        "2024-04-01T06:00": v2,
        "2024-04-02": v2,
        "2024-04-03": v1,
        "2024-05-01": None,
        "2024-05-31": None,
        "2024-06-01": v3,
        "2030-01-01": v3,
    }
    assert {time: answer(again, "a", time) for time in times} == times
    assert answer(again, "a") == v3
    actions = [(event.action, event.reason) for event in again.history("a")]
    assert actions[2:4] == [("roll_back", "worse"), ("retire", "shop closed")]
    assert answer(again, "b", "2024-04-01") is None


def test_the_answer_names_version_hash_and_since_when(url):
    store, (version, *_) = three_versions(url)
    store.deploy([("a", version)], "2024-03-01", "first")
    found = store.deployed("a", "2024-03-09")
    assert found.at == datetime(2024, 3, 1)
    assert found.sha256 == store.record(version).sha256
    assert found.reason == "first"


def test_a_record_says_how_a_version_was_made(tmp_path):
    store = ModelStore(tmp_path)
    record = store.save(
        fitted_of("lightgbm(n_estimators=5)"),
        streams="a",
        trained_from=np.datetime64("2024-01-15"),
        trained_until=date(2024, 2, 19),
        live_from="2024-02-20",
        seed=5,
        fit_seconds=0.25,
        data_fingerprint="abc",
        forecaster_name="lightgbm",
        settings={"n_estimators": 5},
    )
    assert store.record(record.version) == record
    assert record.trained_from == datetime(2024, 1, 15)
    assert record.trained_until == datetime(2024, 2, 19)
    assert record.live_from == datetime(2024, 2, 20)
    assert set(record.libraries) >= {"mlma", "numpy", "scikit-learn", "lightgbm"}
    assert record.needs == ("lightgbm", "mlma")
    assert record.python.startswith("3.")
    assert len(record.sha256) == 64
    assert record.settings == {"n_estimators": 5}


def test_versions_of_a_cycle_are_one_bundle_and_come_back_in_order(url):
    names = [f"s{row}" for row in range(20)]
    made = [fitted_of("ridge", stream(name, row)) for row, name in enumerate(names)]
    store = ModelStore(url)
    records = store.save_many([new(model, name) for model, name in zip(made, names, strict=True)])
    assert len(store.bundle(records[3].version)) == 2
    asked = [records[row].version for row in (7, 0, 19, 7)]
    loaded = store.load_many(asked)
    for row, model in zip((7, 0, 19, 7), loaded, strict=True):
        assert np.array_equal(forecasts(made[row]), forecasts(model))
    assert [record.streams for record in store.records()] == [(name,) for name in names]
    assert [record.version for record in store.records("s4")] == [records[4].version]


def test_nothing_is_written_where_one_version_of_a_cycle_cannot_be_saved(tmp_path):
    with pytest.raises(ArtefactError, match="not trusted"):
        ModelStore(tmp_path).save_many([new(), new(Strange())])
    assert ModelStore(tmp_path).records() == []
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mlma-store.json"]


def test_a_shared_model_is_saved_once_and_deployed_for_each_of_its_streams(tmp_path):
    store = ModelStore(tmp_path)
    record = store.save_many([new(streams=["a", "b", "c"])])[0]
    store.deploy([("a", record), ("b", record)], "2024-03-01")
    assert record.streams == ("a", "b", "c")
    assert answer(store, "a") == answer(store, "b") == record.version
    assert answer(store, "c") is None
    assert store.streams() == ["a", "b"]


def test_production_answers_for_all_streams_at_once(url):
    store = ModelStore(url)
    records = store.save_many([new(streams=name) for name in "abc"])
    store.deploy([(record.streams[0], record) for record in records], "2024-03-01")
    store.retire("b", "2024-03-05")
    live = store.production("2024-03-06")
    assert {name: live[name].version for name in live} == {
        "a": records[0].version,
        "c": records[2].version,
    }
    assert set(store.production("2024-03-04", ["b", "x"])) == {"b"}
    assert store.production("2024-02-01") == {}


def test_two_roll_backs_go_back_twice(tmp_path):
    store, (v1, v2, v3) = three_versions(tmp_path)
    for day, version in enumerate((v1, v2, v3), start=1):
        store.deploy([("a", version)], f"2024-03-0{day}")
    store.roll_back("a", "2024-03-04")
    assert answer(store, "a") == v2
    store.roll_back("a", "2024-03-05")
    assert answer(store, "a") == v1
    with pytest.raises(ArtefactError, match="no version before"):
        store.roll_back("a", "2024-03-06")


def test_a_roll_back_after_a_retirement_returns_to_the_retired_version(tmp_path):
    store, (v1, *_) = three_versions(tmp_path)
    store.deploy([("a", v1)], "2024-03-01")
    store.retire("a", "2024-03-02")
    store.roll_back("a", "2024-03-03", "retired by mistake")
    assert answer(store, "a") == v1


def test_the_last_event_written_counts_among_those_of_one_time(tmp_path):
    stopped = ModelStore(tmp_path, clock=lambda: datetime(2024, 3, 1))
    v1, v2, v3 = (record.version for record in stopped.save_many([new()] * 3))
    for version in (v2, v1, v3):
        stopped.deploy([("a", version)], "2024-03-01")
    assert answer(ModelStore(tmp_path), "a", "2024-03-01") == v3


def test_an_event_that_is_written_late_counts_from_its_own_time(tmp_path):
    store, (v1, v2, _) = three_versions(tmp_path)
    store.deploy([("a", v2)], "2024-04-01")
    store.deploy([("a", v1)], "2024-03-01")
    assert answer(store, "a", "2024-03-15") == v1
    assert answer(store, "a", "2024-04-15") == v2


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "a/b\\c",
        "",
        ".",
        "ночь 🌙",
        'quo"te',
        "line\nbreak",
        "nul\0",
        "\ud800",
        "'",
    ],
)
def test_any_text_may_name_a_stream_and_none_becomes_a_file(name, tmp_path):
    store = ModelStore(tmp_path / "models")
    record = store.save_many([new(streams=name)])[0]
    store.deploy([(name, record)], "2024-03-01", name.encode("utf8", "replace").decode())
    assert answer(ModelStore(tmp_path / "models"), name) == record.version
    assert store.records(name)[0].streams == (name,)
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert all(path.parts[0] == "models" and path.parts[-1].isascii() for path in files)


def test_a_stream_whose_name_stands_in_a_reason_is_not_taken_for_it(tmp_path):
    store, (v1, *_) = three_versions(tmp_path)
    store.deploy([("a", v1)], "2024-03-01", "b")
    assert store.history("b") == []


@pytest.mark.parametrize("version", ["../../etc/passwd", "../x.0", "", "nonsense", "a.b.0"])
def test_a_name_that_is_no_version_opens_no_file(version, tmp_path):
    (tmp_path / "x.jsonl").write_text("secret")
    store = ModelStore(tmp_path / "models")
    known = store.save_many([new()])[0].version
    with pytest.raises(ArtefactError, match=f"There is no version .* Nearest: {known}"):
        store.load(version)


def test_a_version_that_is_not_there_is_told_with_the_nearest(tmp_path):
    store = ModelStore(tmp_path)
    with pytest.raises(ArtefactError, match="no version yet"):
        store.load("20240601T000000000000-00000000.0")
    versions = [record.version for record in store.save_many([new()] * 3)]
    commit = versions[0].rpartition(".")[0]
    with pytest.raises(ArtefactError, match=f"has {versions[0]} to {versions[2]}"):
        store.load(f"{commit}.7")
    with pytest.raises(ArtefactError, match=f"Nearest: {versions[0]}"):
        store.load(f"{commit[:-1]}x.0")
    with pytest.raises(ArtefactError, match="There is no version"):
        store.deploy([("a", f"{commit}.9")], "2024-03-01")
    assert store.history("a") == []


def test_a_version_cannot_be_deployed_for_a_stream_it_was_not_trained_for(tmp_path):
    store, (v1, *_) = three_versions(tmp_path)
    with pytest.raises(ArtefactError, match=r"Got others: b\."):
        store.deploy([("a", v1), ("b", v1)], "2024-03-01")
    assert store.history("a") == []


def test_a_stream_stands_once_in_a_call(tmp_path):
    store, (v1, v2, _) = three_versions(tmp_path)
    with pytest.raises(SettingsError, match=r"more than once: a\."):
        store.deploy([("a", v1), ("a", v2)], "2024-03-01")
    with pytest.raises(SettingsError, match=r"more than once: a\."):
        store.retire(["a", "a"], "2024-03-01")


def test_calls_without_streams_write_nothing(tmp_path):
    store = ModelStore(tmp_path / "models")
    assert store.save_many([]) == []
    assert store.deploy([], "2024-03-01") == []
    assert store.retire([], "2024-03-01") == []
    assert not store.exists
    assert not (tmp_path / "models").exists()
    assert store.records() == []
    assert store.production() == {}


WRITER = """
import sys
from model_versions import new
from mlma.library.versions import ModelStore
store, name = ModelStore(sys.argv[1]), sys.argv[2]
record = store.save_many([new(streams=name)])[0]
for day in range(1, 26):
    store.deploy([(name, record)], f"2024-03-{day:02d}", "by " + name)
"""


def test_two_processes_write_one_store_at_the_same_time(tmp_path, request):
    paths = f"import sys; sys.path.insert(0, {str(request.config.rootpath / 'tests')!r})"
    command = [sys.executable, "-c", paths + WRITER, str(tmp_path)]
    writers = [Popen([*command, name], stderr=PIPE) for name in ("a", "b")]
    told = [writer.communicate(timeout=60)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], told
    found = ModelStore(tmp_path).verify()
    assert (found.versions, found.events, found.damaged) == (2, 50, ())
    assert len(ModelStore(tmp_path).history("b")) == 25


ENDLESS = WRITER.replace("for day in range(1, 26):", "while True:").replace("{day:02d}", "01")


def test_a_writer_that_is_killed_leaves_a_store_without_damage(tmp_path, request):
    paths = f"import sys; sys.path.insert(0, {str(request.config.rootpath / 'tests')!r})"
    writer = Popen([sys.executable, "-c", paths + ENDLESS, str(tmp_path), "a"])
    try:
        while len(list(tmp_path.glob("log/*.jsonl"))) < 20:
            assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
    found = ModelStore(tmp_path).verify()
    assert found.events >= 20
    assert found.damaged == ()
    assert ModelStore(tmp_path).deployed("a").reason == "by a"


def test_threads_share_one_store(tmp_path):
    store = ModelStore(tmp_path)
    record = store.save_many([new(streams=[f"s{row}" for row in range(40)])])[0]

    def deploy(row):
        return store.deploy([(f"s{row}", record)], "2024-03-01")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(deploy, range(40)))
    assert len(store.production()) == 40
    assert len(store.verify().damaged) == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"trained_until": "2024-01-15"}, "`trained_until` .* after `trained_from`"),
        ({"live_from": "2024-02-18"}, "`live_from` .* at or after `trained_until`"),
        ({"trained_from": "yesterday"}, "`trained_from` .*Got 'yesterday'"),
        ({"trained_from": datetime(2024, 1, 1, tzinfo=UTC)}, "without a zone"),
        ({"trained_from": np.datetime64("NaT")}, "`trained_from`"),
        ({"fit_seconds": float("nan")}, "`fit_seconds`"),
        ({"fitted": "ridge"}, "`fitted` .* with `predict`"),
        ({"streams": []}, "`streams`"),
        ({"streams": [1]}, "`streams`"),
    ],
)
def test_a_version_that_is_described_wrongly_is_refused(changes, named):
    with pytest.raises(SettingsError, match=named):
        new(**changes)


def test_settings_that_are_not_json_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="plain JSON values"):
        ModelStore(tmp_path).save_many([new(settings={"model": object()})])


def test_a_time_with_a_zone_is_refused_because_slots_have_none(tmp_path):
    with pytest.raises(SettingsError, match="without a zone"):
        ModelStore(tmp_path).deployed("a", "2024-03-01T00:00+02:00")
    assert wall_time(date(2024, 3, 1)) == datetime(2024, 3, 1)


def test_trust_is_a_list(tmp_path):
    with pytest.raises(SettingsError, match="list of names"):
        ModelStore(tmp_path, trust="shop.models.Fitted")


def test_an_address_needs_fsspec_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match="artefacts"):
        ModelStore("memory://without")
    assert ModelStore(tmp_path).save_many([new()])


def test_an_address_that_fsspec_does_not_know_is_refused():
    with pytest.raises(SettingsError, match="fsspec knows"):
        ModelStore("carrier-pigeon://models")


def test_an_address_that_needs_one_more_library_says_which():
    with pytest.raises(ArtefactError, match="s3fs"):
        ModelStore("s3://models")


def test_a_fingerprint_tells_training_data_apart():
    series = stream()
    known = fingerprint(series, FIRST, LAST)
    assert (
        fingerprint(Series("other name", series.grid, series.y, series.exogenous), FIRST, LAST)
        == known
    )
    changed = series.y.copy()
    changed[LAST, 0] += 1.0  # after the window
    assert fingerprint(Series("a", series.grid, changed, series.exogenous), FIRST, LAST) == known
    changed[FIRST, 0] = np.nextafter(changed[FIRST, 0], 0)
    assert fingerprint(Series("a", series.grid, changed, series.exogenous), FIRST, LAST) != known
    later = Grid(series.grid.start + series.grid.batch, series.grid.step, 24, 56)
    assert fingerprint(Series("a", later, series.y, series.exogenous), FIRST, LAST) != known
    assert fingerprint(series, FIRST + 1, LAST) != known
    assert (
        fingerprint(Series("a", series.grid, series.y, series.exogenous + 1), FIRST, LAST) != known
    )


def test_a_fingerprint_is_the_same_wherever_the_window_stands_in_its_grid():
    series = stream()
    cut = Grid(series.grid.start + 10 * series.grid.batch, series.grid.step, 24, 46)
    short = Series("a", cut, series.y[10:], series.exogenous[10:])
    assert fingerprint(short, FIRST - 10, LAST - 10) == fingerprint(series, FIRST, LAST)


def test_a_fingerprint_of_batches_outside_the_series_is_refused():
    with pytest.raises(SettingsError, match=r"0 to 56\. Got 50 and 57"):
        fingerprint(stream(), 50, 57)


def test_a_new_version_takes_one_name_or_many():
    assert isinstance(new(), NewVersion)
    assert new().streams == ("a",)
    assert new(streams=["a", "b"]).streams == ("a", "b")
