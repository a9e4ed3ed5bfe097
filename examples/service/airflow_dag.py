"""One pass of the live agent after the forecasts of the night, as a task of Airflow.

`mlma cycle` ends with 0 where it did all it could, also nothing; with 1 where the store or a source
could not be reached: Airflow tries again, and nothing is judged twice.
"""

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG(
    dag_id="mlma",
    schedule="15 6 * * *",
    start_date=pendulum.datetime(2024, 1, 1, tz="Europe/Paris"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
):
    BashOperator(
        task_id="cycle",
        bash_command="/opt/mlma/bin/mlma cycle --json",
        env={"MLMA_CONFIG": "/etc/mlma/mlma.toml"},
        append_env=True,
    )
