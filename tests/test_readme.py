"""What the README says is so."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from airflow.plugins_manager import AirflowPlugin
from airflow.providers_manager import ProvidersManager
from airflows import AIRFLOW, dag_bag

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.version_compat import triggers_are_told_of_kills

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
DEPENDENCIES = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 170


def test_it_is_installed_with_the_constraints_of_a_supported_airflow() -> None:
    airflow, python = re.findall(r"^(?:AIRFLOW|PYTHON)_VERSION=(\S+)", README, re.M)
    series = airflow.rpartition(".")[0]
    assert f"apache-airflow=={airflow}" in (PROJECT / "requirements" / f"airflow-{series}.txt").read_text()
    supported = README.splitlines()[2]
    assert supported.split(" · ")[0].endswith(f" {series}")
    assert python in supported.split(" · ")[1]
    command = re.findall(r"^pip install .*\\\n.*", README, re.M)[0]
    assert "airflow-provider-enos" in command
    assert "/constraints-${AIRFLOW_VERSION}/constraints-${PYTHON_VERSION}.txt" in command


def test_all_dependencies_are_named() -> None:
    said = re.findall(r"^Besides Airflow it needs (.+?),", README, re.M)[0]
    needed = {re.split(r"[<>=]", one)[0] for one in DEPENDENCIES}
    assert set(re.findall(r"`([\w-]+)`", said)) == needed - {"apache-airflow"}


def test_the_first_dag_is_short_and_works(tmp_path: Path) -> None:
    dag_file = SNIPPETS[0]
    assert len([line for line in dag_file.splitlines() if line.strip()]) <= 12
    if AIRFLOW < (3, 0):
        dag_file = dag_file.replace("from airflow.sdk import DAG", "from airflow import DAG")
    (tmp_path / "meter_readings.py").write_text(dag_file)
    bag = dag_bag(tmp_path)
    assert bag.import_errors == {}
    dag = bag.dags["meter_readings"]
    assert "catchup=False" in dag_file
    assert not dag.catchup
    assert isinstance(dag.task_dict["clean_meter_readings"], EnosTriggerFlowFromTaskOperator)


def test_the_simulator_snippet_runs() -> None:
    exec(SNIPPETS[1], {})


def test_the_simulator_prints_the_line_that_is_shown() -> None:
    shown = re.search(r"^export AIRFLOW_CONN_ENOS_DEFAULT='(.*), \.\.\.}'$", README, re.M)
    assert shown
    with subprocess.Popen(
        [sys.executable, "-m", "airflow_provider_enos.simulator", "--quiet"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name, value = shlex.split(process.stdout.readline())[1].split("=", 1)
        process.terminate()
    assert name == "AIRFLOW_CONN_ENOS_DEFAULT"
    printed, promised = json.loads(value), json.loads(shown[1] + "}")
    assert {**{field: printed[field] for field in promised}, "port": 8790} == promised


def test_the_demo_shows_the_documented_instance(sim: EnosSimulator) -> None:
    assert sim.trigger(3377, 108580, 1594016819108).id == "3377-20200706062600"
    assert README.count("3377-20200706062600") >= 3


def keeps_state() -> bool:
    """Return whether this Airflow has stores in which tasks and triggers keep something."""
    try:
        from airflow.sdk.definitions.context import Context
    except ImportError:  # Airflow 2
        return False
    return "task_state_store" in Context.__annotations__


HAS = {
    "airflow enos": hasattr(ProvidersManager, "cli_command_functions"),
    "EnosFlowEventTrigger": find_spec("airflow.sdk") is not None,
    "miss nothing": keeps_state(),
    'The tab "EnOS"': hasattr(AirflowPlugin, "external_views"),
    "start_from_trigger=True": triggers_are_told_of_kills(),
    "A record of each request": keeps_state(),
}
"""What this Airflow can do, by a part of the row that says so; what no row names works everywhere."""


def test_what_this_airflow_has_is_said() -> None:
    lines = README[README.index("| feature |") :].split("\n\n")[0].splitlines()
    heading, _, *rows = [[cell.strip() for cell in line[1:].removesuffix("|").split("|")] for line in lines]
    assert heading[1:] == re.findall(r"\d+\.\d+", README.splitlines()[2].split(" · ")[0])
    here = ".".join(map(str, AIRFLOW))
    # A beta has no column yet. It has what the newest release has.
    column = heading.index(here) if here in heading else -1
    for row in rows:
        known = [has for name, has in HAS.items() if name in row[0]] or [True]
        assert row[column] == ("yes" if known[0] else ""), row[0]
        assert row[1:] == sorted(row[1:]), "what a version has, later ones have, too"
    assert all(any(name in row[0] for row in rows) for name in HAS)


def test_every_target_that_it_names_exists() -> None:
    targets = set(re.findall(r"`make ([\w-]+)", README))
    assert targets >= {"demo", "test", "bench", "docs"}
    makefile = (PROJECT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    file, _, heading = link.partition("#")
    assert (PROJECT / file).exists()
    if heading:
        headings = re.findall(r"^#+ (.+)$", (PROJECT / file).read_text(), re.M)
        assert heading in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
