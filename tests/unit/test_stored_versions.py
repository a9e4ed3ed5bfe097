"""A replay with a store: what was in production for a stream at a time has one answer."""

import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import mlma
from histories import BatchMean, FittedMean, fleet, replayed, stream
from mlma.adapters.frames.history import Columns, read_history
from mlma.agent.service import (
    ADOPTED,
    LONG_HISTORY,
    OTHER,
    PROMOTED,
    RETURNED,
    TOGETHER,
    ServiceLog,
    Training,
)
from mlma.agent.training import Version
from mlma.cli.app import app
from mlma.domain.errors import ArtefactError, ArtefactWarning, SettingsError
from mlma.domain.verdicts import Reason
from mlma.library.stored_versions import ENDED, shared_fingerprint
from mlma.library.versions import ModelStore, NewVersion, fingerprint

ALONE = "mlma(pool=1)"
FACES = ("unique_id", "ds", "y")


class Watched(ModelStore):
    """A store that also hands out the very models of the replay that it was given."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.given: list[tuple[NewVersion, str]] = []

    def save_many(self, new):
        records = super().save_many(new)
        self.given += [(one, record.version) for one, record in zip(new, records, strict=True)]
        return records


def panel_of(history):
    return read_history(history, columns=Columns(*FACES), batch="1d").panel


def losses_of_the_store(store, history, result):
    """Mean absolute errors of what the store says was in production, by stream and batch."""
    panel = panel_of(history)
    starts = panel.grid.batch_starts()
    out = np.full((len(result.record.ids), panel.grid.n_batches), np.nan)
    for row, name in enumerate(result.record.ids):
        series = panel.series(panel.ids.index(name))
        for batch, start in enumerate(starts):
            event = store.deployed(name, start)
            if event is not None:
                y_hat = store.load(event.version).predict(series, batch, batch + 1)[0]
                out[row, batch] = np.abs(series.y[batch] - y_hat).mean()
    return out


def test_every_stored_version_forecasts_the_same_bits_as_in_the_replay(tmp_path):
    history, store = fleet(2, days=100), Watched(tmp_path)
    replayed(history, policies=["mlma"], store=store)
    panel = panel_of(history)
    assert len(store.given) > 3
    for new, version in store.given:
        series = panel.series(panel.ids.index(new.streams[0]))
        first = store.load(version).predict(series, 60, 100)
        np.testing.assert_array_equal(first, new.fitted.predict(series, 60, 100))
    assert store.verify().damaged == ()


@pytest.mark.parametrize(
    "policy",
    [
        ALONE,
        "mlma(pool=1, gate=True, rollback_batches=14)",
        "mlma(pool=1, train_on='best', max_age=20)",
    ],
)
def test_what_the_store_says_was_in_production_lost_what_the_replay_lost(tmp_path, policy):
    history, store = fleet(2, days=110), ModelStore(tmp_path)
    result = replayed(history, policies=[policy], store=store)
    run = next(run for run in result.record.runs if run.role == "policy")
    stored = losses_of_the_store(store, history, result)
    assert run.retrained.any()
    np.testing.assert_allclose(stored, run.loss, rtol=1e-9)


def test_events_stand_at_the_batches_of_the_replay_at_random_times(tmp_path):
    history, store = fleet(4), ModelStore(tmp_path)
    result = replayed(history, policies=["mlma"], store=store)
    run = next(run for run in result.record.runs if run.role == "policy")
    grid = result.record.grid
    rng = np.random.default_rng(7)
    for _ in range(40):
        row, slot = int(rng.integers(4)), int(rng.integers(grid.n_batches * grid.slots))
        event = store.deployed(result.record.ids[row], grid.start + grid.step * slot)
        live = np.isfinite(run.loss[row])
        changes = np.flatnonzero(run.retrained[row] | (live & (np.cumsum(live) == 1)))
        past = changes[changes <= slot // grid.slots]
        assert (event is None) == (len(past) == 0)
        if event is not None:
            assert event.at == grid.batch_starts()[past[-1]].item()


def test_a_stream_that_never_retrained_has_one_version_with_its_origin(tmp_path):
    history, store = stream("calm", 60), ModelStore(tmp_path)
    quiet = "mlma(pool=1, false_retrainings=None, level=1e-9, max_age=None, review_age=None)"
    result = replayed(history, policies=[quiet], store=store, seed=5)
    (event,) = store.history("calm")
    (record,) = store.records()
    series = panel_of(history).series(0)
    starts = result.record.grid.batch_starts()
    assert (event.action, event.reason, event.version) == (
        "deploy",
        "first version",
        record.version,
    )
    assert record.trained_from == starts[0].item()
    assert record.trained_until == record.live_from == event.at == starts[28].item()
    assert record.data_fingerprint == fingerprint(series, 0, 28)
    assert (record.seed, record.forecaster, record.settings["window"]) == (5, "ridge", "28 batches")
    assert record.settings["model"].startswith("SklearnForecaster(Ridge(alpha=10.0")
    assert record.settings["policy"].startswith("mlma(pool=1, level=1e-09")
    assert record.fit_seconds > 0
    assert store.deployed("calm", starts[28].item() - timedelta(minutes=1)) is None


def two_breaks(n=3):
    """Streams whose level doubles for two weeks, and comes back."""
    rows = []
    for row in range(n):
        calm = stream(f"s{row}", 150, seed=row)
        at = pl.int_range(pl.len()) // 4
        rows.append(
            calm.with_columns(y=pl.when(at.is_between(70, 84)).then(pl.col("y") * 3).otherwise("y"))
        )
    return pl.concat(rows)


def test_a_stream_that_goes_back_has_its_former_version_in_production_again(tmp_path):
    store = ModelStore(tmp_path)
    history = two_breaks()
    result = replayed(history, policies=["mlma(pool=1, rollback_batches=28)"], store=store)
    back = [
        (name, place, store.history(name))
        for name in result.record.ids
        for place, event in enumerate(store.history(name))
        if event.action == "roll_back"
    ]
    assert back
    for _, place, events in back:
        assert events[place].reason == RETURNED
        assert events[place].version in {event.version for event in events[: place - 1]}
        assert events[place].version != events[place - 1].version
    run = next(run for run in result.record.runs if run.role == "policy")
    stored = losses_of_the_store(store, history, result)
    np.testing.assert_allclose(stored, run.loss, rtol=1e-9)


def test_a_candidate_comes_into_service_when_it_is_promoted(tmp_path):
    store = ModelStore(tmp_path)
    gated = "mlma(pool=1, gate=True, gate_level=0.001)"
    replayed(fleet(4, breaks_at=60), policies=[gated], store=store)
    promoted = [e for n in store.streams() for e in store.history(n) if e.reason == PROMOTED]
    assert promoted
    for event in promoted:
        record = store.record(event.version)
        assert record.live_from == event.at > record.trained_until


def test_the_newest_version_of_a_pool_is_in_production_and_long_members_stand_beside(tmp_path):
    store = ModelStore(tmp_path)
    replayed(fleet(3, days=150), policies=["mlma(long_member=True)"], store=store)
    long_ones = [r for r in store.records() if r.settings.get("role") == LONG_HISTORY]
    in_production = {e.version for name in store.streams() for e in store.history(name)}
    assert len(long_ones) >= 3
    assert not in_production & {record.version for record in long_ones}
    assert all(r.trained_until - r.trained_from > timedelta(days=28) for r in long_ones)
    assert in_production == {r.version for r in store.records()} - {r.version for r in long_ones}


def test_a_shared_model_is_one_version_of_many_streams(tmp_path):
    late = stream("late", 50, seed=9, first_day=50)
    history, store = pl.concat([fleet(3, days=100), late]), ModelStore(tmp_path)
    result = replayed(history, policies=["mlma(pool=1, max_age=20)"], scope="fleet", store=store)
    run = next(run for run in result.record.runs if run.role == "policy")
    panel = panel_of(history)
    first = store.records()[0]
    old = [panel.series(panel.ids.index(name)) for name in ("s0", "s1", "s2")]
    assert set(first.streams) >= {"s0", "s1", "s2"}
    assert first.data_fingerprint == shared_fingerprint(old, 0, 28)
    assert store.history("late")[0].reason == ADOPTED
    assert (
        store.history("late")[0].version
        == store.deployed("s0", store.history("late")[0].at).version
    )
    again = [store.history(name)[1] for name in ("s0", "s1", "s2")]
    assert {event.version for event in again} == {store.records()[1].version}
    assert {event.reason for event in again} == {"maximum age reached"}
    np.testing.assert_allclose(losses_of_the_store(store, history, result), run.loss, rtol=1e-9)


def test_a_stream_that_ends_is_retired_at_its_end(tmp_path):
    history = pl.concat([stream("short", 50), stream("whole", 70, seed=1)])
    store = ModelStore(tmp_path)
    result = replayed(history, policies=[ALONE], store=store)
    last = store.history("short")[-1]
    assert (last.action, last.reason) == ("retire", ENDED)
    assert last.at == result.record.grid.batch_starts()[50].item()
    assert store.history("whole")[-1].action == "deploy"


def test_a_stream_on_which_the_model_failed_is_not_in_the_log(tmp_path):
    pytest.importorskip("skops")
    store = ModelStore(tmp_path, trust=[f"{FittedMean.__module__}.FittedMean"])
    model = BatchMean(fails="predict", on=("s1",), from_batch=0)
    result = replayed(fleet(3, days=60), model=model, policies=[ALONE], store=store)
    assert set(result.record.failures) == {"s1"}
    assert set(store.streams()) == {"s0", "s2"}
    assert {name for record in store.records() for name in record.streams} == {"s0", "s2"}


def test_the_store_changes_nothing_in_the_replay(tmp_path):
    history = fleet(2, days=90)
    without = replayed(history, policies=["mlma"]).record.runs
    with_store = replayed(history, policies=["mlma"], store=str(tmp_path)).record.runs
    for one, other in zip(without, with_store, strict=True):
        np.testing.assert_array_equal(one.loss, other.loss)


def test_the_first_of_two_mlma_policies_is_stored(tmp_path):
    store = ModelStore(tmp_path)
    replayed(fleet(2, days=60), policies=["never", ALONE, "mlma(level=0.01)"], store=store)
    assert {"pool=1" in record.settings["policy"] for record in store.records()} == {True}


def test_the_command_line_answers_after_a_replay(tmp_path):
    replayed(fleet(2), policies=[ALONE], store=tmp_path / "models")
    asked = ["versions", "at", str(tmp_path / "models"), "s0", "2024-02-10 12:00", "--json"]
    answer = CliRunner().invoke(app, asked, catch_exceptions=False)
    told = json.loads(answer.stdout)
    assert told["deployment"]["reason"] == "first version"
    assert told["version"]["trained_until"] == told["deployment"]["at"] == "2024-01-29T00:00:00"


def test_a_place_in_memory_is_a_store():
    pytest.importorskip("fsspec")
    replayed(fleet(1, days=50), policies=[ALONE], store="memory://replay-of-one")
    assert ModelStore("memory://replay-of-one").deployed("s0", "2024-02-10") is not None


def counted():
    """A function for ``progress``, and the list of what it was told."""
    told: list[str] = []
    return told, lambda label, done, total: told.append(label)


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("no folder")
    told, progress = counted()
    with pytest.raises(ArtefactError, match="cannot be written: File exists"):
        replayed(fleet(1), policies=["mlma"], store=tmp_path / "file", progress=progress)
    assert told == []


def test_a_second_replay_of_a_stream_is_refused_and_other_streams_are_added(tmp_path):
    replayed(fleet(2, days=50), policies=[ALONE], store=tmp_path)
    before = ModelStore(tmp_path).history("s0")
    told, progress = counted()
    with pytest.raises(ArtefactError, match=r"already what was in production for .*s0.*s1"):
        replayed(fleet(2, days=50), policies=[ALONE], store=tmp_path, progress=progress)
    assert told == []
    replayed(stream("new", 50), policies=[ALONE], store=tmp_path)
    store = ModelStore(tmp_path)
    assert store.streams() == ["new", "s0", "s1"]
    assert store.history("s0") == before


def test_a_replay_without_an_mlma_policy_has_nothing_to_store(tmp_path):
    with pytest.raises(SettingsError, match=r"first MLMA policy.*Got never.*Hint"):
        replayed(fleet(1), policies=["never"], store=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["", 3, ["models"]])
def test_what_is_no_place_is_refused(place):
    with pytest.raises(SettingsError, match="must be a path, an address or a `ModelStore`"):
        replayed(fleet(1), policies=["mlma"], store=place)


def test_a_model_that_the_store_does_not_trust_is_refused_at_its_first_version(tmp_path):
    pytest.importorskip("skops")
    told, progress = counted()
    with pytest.raises(ArtefactError, match="FittedMean"):
        replayed(
            fleet(2),
            model=BatchMean(),
            policies=["mlma"],
            store=tmp_path,
            progress=progress,
        )
    assert told == []
    assert ModelStore(tmp_path).records() == []


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (Reason.ALARM, "loss above the reference"),
        (Reason.UNFIT, TOGETHER),
        (Reason.ROLLED_BACK, OTHER),
        (Reason.TRIAL, OTHER),
    ],
)
def test_a_reason_that_was_written_over_is_not_taken_for_that_of_the_training(reason, told):
    version = Version(
        FittedMean(np.ones((2, 1)), 0),
        2,
        np.ones((1, 1)),
        None,
        0,
        3.0,
        0.0,
        0.0,
        0.5,
        0,
        ("a", "b"),
    )
    log = ServiceLog()
    log.brought({1: version}, np.array([0]), np.array([0, reason], dtype=np.int8), 2)
    (entry,) = log.entries
    assert (entry.row, entry.batch, entry.kind, entry.reason) == (1, 2, "deployed", told)
    assert entry.training == Training(0, 2, ("a", "b"), 6.0)


class FullAtTheEnd(ModelStore):
    """A store whose place fills up while the replay runs."""

    def save_many(self, new):
        raise ArtefactError("The disk is full.")


def test_a_replay_that_is_over_is_not_lost_when_the_store_fails(tmp_path):
    with pytest.warns(ArtefactWarning, match=r"replay is complete, but not all.*disk is full"):
        result = replayed(fleet(1, days=50), policies=[ALONE], store=FullAtTheEnd(tmp_path))
    assert isinstance(result, mlma.ReplayResult)
    assert ModelStore(tmp_path).streams() == []
