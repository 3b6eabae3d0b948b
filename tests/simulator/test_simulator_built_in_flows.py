"""The flows of a new simulator."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.simulator.built_in_flows import BUILT_IN_FLOWS
from airflow_provider_enos.simulator.flows import PERIODIC

PROJECT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"""\bflow_id\s*=\s*"?(\d+)|\bflow[- ](\d{4})\b""")


def test_each_is_described() -> None:
    assert [flow.flow_id for flow in sorted(EnosSimulator().flows, key=lambda flow: flow.flow_id)] == [*BUILT_IN_FLOWS]


def test_help_and_docs_list_them_from_one_table() -> None:
    command = [sys.executable, "-m", "airflow_provider_enos.simulator", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    page = (PROJECT / "docs" / "testing.md").read_text()
    for flow in EnosSimulator().flows:
        about = BUILT_IN_FLOWS[flow.flow_id]
        assert f"  {flow.flow_id}  {about}\n" in told
        assert f"| {flow.flow_id} | `{flow.name}` | {about} |\n" in page


@pytest.mark.parametrize("flow_id", [flow_id for flow_id, about in BUILT_IN_FLOWS.items() if "ends as" in about])
def test_they_end_as_their_description_says(sim: EnosSimulator, client: Any, flow_id: int) -> None:
    sim.trigger(flow_id)
    sim.clock_skew = 600
    for _ in range(6):
        client.search()
    assert f"ends as {sim.instances[0].status}" in BUILT_IN_FLOWS[flow_id]


def test_those_with_a_schedule() -> None:
    by_schedule = {flow.flow_id for flow in EnosSimulator().flows if flow.type == PERIODIC}
    assert by_schedule == {flow_id for flow_id, about in BUILT_IN_FLOWS.items() if "by a schedule of its own" in about}


def test_every_flow_of_an_example_exists() -> None:
    """In example DAGs, in the pages, and in the README."""
    files = [*(PROJECT / "example_dags").glob("*.py"), *(PROJECT / "docs").rglob("*.md"), PROJECT / "README.md"]
    files += (PROJECT / "docs" / "examples").rglob("*.py")
    named = {int(found[1] or found[2]): path.name for path in files for found in NAMED.finditer(path.read_text())}
    assert {3377, 3388, 4009, 4010} <= named.keys()
    assert {flow_id: name for flow_id, name in named.items() if flow_id not in BUILT_IN_FLOWS} == {}
