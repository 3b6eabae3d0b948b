import os
from pathlib import Path

# Before Airflow is imported. `dag.test()` looks for the DAG in this folder.
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).parent / "dags")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

pytest_plugins = ["airflow_provider_enos.testing.pytest_plugin"]
