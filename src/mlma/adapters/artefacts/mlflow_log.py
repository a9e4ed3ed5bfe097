"""Cycles in MLflow: one run per cycle, with its numbers and the bundle of its versions.

Takes the metrics of a cycle and the files of its bundle, gives the id of a run. One registered
model per stream would be 100,000 models; a run per cycle stays readable.
"""

import os
import tempfile
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from time import time
from typing import Any

from mlma.domain.errors import ArtefactError, MissingExtraError


class MLflowLog:
    """Writes cycles to an MLflow tracking server or database.

    MLflow's own telemetry is turned off, unless ``MLFLOW_DISABLE_TELEMETRY`` is set already.

    Parameters
    ----------
    tracking_uri
        such as ``http://host:5000`` or ``sqlite:///mlflow.db``; None = as MLflow is configured.
    experiment
        name of the experiment; made where it is missing.
    artifacts
        where artefacts of a new experiment go; None = as the server or MLflow decides.

    Raises
    ------
    MissingExtraError
        MLflow is not installed.
    ArtefactError
        MLflow refused, or cannot be reached.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str = "mlma",
        *,
        artifacts: str | None = None,
    ) -> None:
        if find_spec("mlflow") is None:
            raise MissingExtraError("`MLflowLog`", "mlflow")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._where = tracking_uri or "the configured place"
        self._experiment = experiment
        with self._told():
            from mlflow import MlflowClient

            self._client: Any = MlflowClient(tracking_uri=tracking_uri)
            found = self._client.get_experiment_by_name(experiment)
            made = found.experiment_id if found else None
            self._id = made or self._client.create_experiment(experiment, artifacts)

    def cycle(
        self,
        name: str,
        metrics: Mapping[str, float],
        *,
        bundle: Mapping[str, bytes] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Write one run and return its id.

        Parameters
        ----------
        name
            of the run, such as the time of the cycle.
        metrics
            numbers by name: fits, seconds, share of each verdict...; NaN is left out.
        bundle
            files by name, see `ModelStore.bundle`.
        """
        with self._told():
            run = self._client.create_run(self._id, run_name=name, tags=dict(tags or {}))
            run_id = str(run.info.run_id)
            status = "FAILED"
            try:
                self._client.log_batch(run_id, metrics=_measured(metrics))
                self._put(run_id, bundle or {})
                status = "FINISHED"
            finally:
                self._client.set_terminated(run_id, status)
        return run_id

    def _put(self, run_id: str, bundle: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in bundle.items():
                path = Path(folder) / Path(name).name
                path.write_bytes(content)
                self._client.log_artifact(run_id, str(path), "bundle")

    def _told(self) -> "_Told":
        return _Told(self._where, self._experiment)


def _measured(metrics: Mapping[str, float]) -> list[Any]:
    from mlflow.entities import Metric

    now = round(1000 * time())
    known = {key: float(value) for key, value in metrics.items() if isfinite(value)}
    return [Metric(key, value, now, 0) for key, value in known.items()]


class _Told:
    """Turns what MLflow raises into an error of ours, and keeps its warnings to itself."""

    def __init__(self, where: str, experiment: str) -> None:
        self._text = f"MLflow at {where}, experiment `{experiment}`"
        self._quiet = warnings.catch_warnings()

    def __enter__(self) -> None:
        self._quiet.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._quiet.__exit__(None, None, None)
        if isinstance(error, Exception):
            raise ArtefactError(
                f"{self._text}, did not take the cycle: {error} Hint: sqlite:///mlflow.db is a "
                f"tracking address that needs no server."
            ) from error
