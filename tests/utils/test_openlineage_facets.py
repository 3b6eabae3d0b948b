from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from run_dag import result_of

from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils import openlineage_facets
from airflow_provider_enos.utils.openlineage import External

DAGS = Path(__file__).resolve().parent / "lineage_dags"
RUNNER = Path(__file__).resolve().parent.parent / "support" / "run_dag.py"
GATEWAY = "https://apim.example.com"
INSTANCE = "3377-20200706062600"


def provider_works() -> bool:
    """Whether Airflow's own provider has all that it needs: ``make matrix AIRFLOW=lowest`` has less."""
    needs = [Requirement(one) for one in requires("apache-airflow-providers-openlineage") or ()]
    compat = [one for one in needs if one.name == "apache-airflow-providers-common-compat" and not one.marker]
    return all(version(one.name) in one.specifier for one in compat)


def facets(external: External) -> tuple[dict[str, Any], dict[str, Any]]:
    """Job and run facets as OpenLineage sends them, without what all facets have."""
    from openlineage.client.serde import Serde

    lineage = openlineage_facets.lineage_of(*external)
    assert not lineage.inputs
    assert not lineage.outputs
    job, run = (
        {name: Serde.to_dict(one) for name, one in found.items()} for found in (lineage.job_facets, lineage.run_facets)
    )
    return plain(job), plain(run)


def plain(found: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: value for key, value in facet.items() if not key.startswith("_")} for name, facet in found.items()
    }


@pytest.mark.parametrize(
    ("external", "job", "run"),
    [
        (External(None), {}, {}),
        (External(3377), {"enos_flow": {"flowId": 3377}}, {}),
        (External(None, flow_name="load"), {"enos_flow": {"flowName": "load"}}, {}),
        (External(3377, 108580), {"enos_flow": {"flowId": 3377, "fromTaskId": 108580}}, {}),
        (External(3377, gateway=GATEWAY), {"enos_flow": {"flowId": 3377, "gateway": GATEWAY}}, {}),
        (
            External(3377, None, ("3377-20200706062500", INSTANCE), GATEWAY),
            {"enos_flow": {"flowId": 3377, "gateway": GATEWAY}},
            {
                "enos_flowInstances": {"flowInstanceIds": ["3377-20200706062500", INSTANCE], "gateway": GATEWAY},
                "externalQuery": {"externalQueryId": INSTANCE, "source": GATEWAY},
            },
        ),
    ],
)
def test_there_is_a_facet_for_what_is_known(external: External, job: dict[str, Any], run: dict[str, Any]) -> None:
    assert facets(external) == (job, run)


def test_they_are_facets_of_the_specification() -> None:
    """They have properties of their own, which it allows, and the schema of all facets."""
    lineage = openlineage_facets.lineage_of(3377, None, (INSTANCE,), GATEWAY)
    assert lineage.job_facets["enos_flow"]._schemaURL.endswith("OpenLineage.json#/$defs/JobFacet")
    assert lineage.run_facets["enos_flowInstances"]._schemaURL.endswith("OpenLineage.json#/$defs/RunFacet")
    assert lineage.run_facets["externalQuery"]._schemaURL.endswith("#/$defs/ExternalQueryRunFacet")


@pytest.mark.skipif(not provider_works(), reason="the OpenLineage provider needs a newer common-compat")
def test_what_airflow_sends(
    sim: EnosSimulator, migrated_home: Path, tmp_path: Path, make_environment: Callable[[], dict[str, str]]
) -> None:
    """A DAG runs through Airflow, and its own provider writes the events: deferred, sensed and failed."""
    sim.progress = "at_once"
    shutil.copy(migrated_home / "airflow.db", tmp_path)
    events = tmp_path / "events"
    events.mkdir()
    # A file for each: several processes write at once.
    transport = {"type": "file", "log_file_path": str(events / "event"), "append": False}
    process = subprocess.run(
        [sys.executable, str(RUNNER), str(DAGS / "lineage.py"), "lineage"],
        env={
            **make_environment(),
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW_CONN_ENOS_DEFAULT": sim.connection_json,
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    printed = process.stdout + process.stderr
    assert process.returncode == 0, printed
    assert result_of(process.stdout)["tasks"] == {
        "started": "success",
        "waited": "success",
        "failed": "failed",
    }
    written = [path.read_text() for path in sorted(events.iterdir())]
    told: dict[tuple[str, str], dict[str, Any]] = {}
    for event in map(json.loads, written):
        # A task that is resumed is told as started once more, and may know more by then.
        told.setdefault((event["job"]["name"], event["eventType"]), event)
    flow = {"flowId": 3377, "fromTaskId": 108580}
    failed = "4001-20200706062600"
    assert named(told["lineage.started", "START"]) == {"enos_flow": flow}
    assert named(told["lineage.started", "COMPLETE"]) == known({**flow, "gateway": sim.url}, INSTANCE)
    assert named(told["lineage.waited", "START"]) == {"enos_flow": {"flowId": 3377}}
    assert named(told["lineage.waited", "COMPLETE"]) == known({"flowId": 3377, "gateway": sim.url}, INSTANCE)
    assert named(told["lineage.failed", "FAIL"]) == known({"flowId": 4001, "gateway": sim.url}, failed)
    for secret in (sim.secret_key, sim.access_key):
        assert not [text for text in written if secret in text]


def named(event: dict[str, Any]) -> dict[str, Any]:
    """What an event says of EnOS."""
    found = {**event["job"]["facets"], **event["run"]["facets"]}
    return plain({name: facet for name, facet in found.items() if name.startswith(("enos_", "externalQuery"))})


def known(flow: dict[str, Any], flow_instance_id: str) -> dict[str, Any]:
    gateway = flow["gateway"]
    return {
        "enos_flow": flow,
        "enos_flowInstances": {"flowInstanceIds": [flow_instance_id], "gateway": gateway},
        "externalQuery": {"externalQueryId": flow_instance_id, "source": gateway},
    }
