"""MLflow: one run per cycle, with its numbers and its bundle, in a real tracking database."""

import os
import sys

import pytest

from mlma.domain.errors import ArtefactError, MissingExtraError
from mlma.library.versions import MLflowLog, ModelStore
from model_versions import new

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")
pytestmark = pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning")


def tracking(tmp_path):
    return f"sqlite:///{tmp_path}/mlflow.db"


def test_a_cycle_is_one_run_with_its_numbers_and_its_bundle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    store = ModelStore(tmp_path / "models")
    record = store.save_many([new(streams=name) for name in "ab"])[0]
    bundle = store.bundle(record.version)
    log = MLflowLog(tracking(tmp_path), artifacts=str(tmp_path / "artefacts"))
    metrics = {"fits": 2, "seconds": 0.5, "share_degraded": 0.25, "unknown": float("nan")}
    run_id = log.cycle("2024-03-01", metrics, bundle=bundle, tags={"model": "ridge"})

    client = mlflow.MlflowClient(tracking_uri=tracking(tmp_path))
    run = client.get_run(run_id)
    assert run.data.metrics == {"fits": 2.0, "seconds": 0.5, "share_degraded": 0.25}
    assert run.data.tags["model"] == "ridge"
    assert (run.info.status, run.info.run_name) == ("FINISHED", "2024-03-01")
    logged = {file.name: file.read_bytes() for file in (tmp_path / "artefacts").rglob("*.*")}
    assert {name: logged[name] for name in bundle} == bundle
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"

    again = MLflowLog(tracking(tmp_path))  # the experiment is there already
    again.cycle("2024-03-02", {"fits": 0})
    experiment = client.get_experiment_by_name("mlma").experiment_id
    assert len(client.search_runs([experiment])) == 2


@pytest.mark.parametrize("uri", ["carrier-pigeon://there", "file:runs"])
def test_a_tracking_address_that_does_not_work_is_named(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(ArtefactError, match=f"(?s)MLflow at {uri}, experiment `mlma`.*sqlite:"):
        MLflowLog(uri)


def test_without_mlflow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"mlma\[mlflow\]"):
        MLflowLog()
