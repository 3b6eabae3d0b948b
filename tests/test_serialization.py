"""Each parse serializes a DAG in the same way: otherwise Airflow makes a new version of the DAG."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE / "serialized"))

from everything import ARGUMENTS, CLASSES, OF_GROUPS, TRIGGERS  # noqa: E402

SEEDS = ("0", "1")
"""Of Python's hashes. The sets that are tried have another order with each of them."""


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """What two processes make of the same DAG and triggers."""
    script = HERE / "serialized" / "everything.py"
    processes = [
        subprocess.Popen(
            [sys.executable, str(script)], env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True
        )
        for seed in SEEDS
    ]
    # Some versions of Airflow print lines of their log before it.
    return [f"\n{process.communicate()[0]}".partition("\n{\n")[2] for process in processes]


def test_each_process_serializes_the_same(printed: list[str]) -> None:
    assert len(printed[0]) > 10_000
    for other in printed[1:]:
        assert other == printed[0]


def test_every_argument_of_every_class_is_in_it() -> None:
    for cls in CLASSES:
        assert set(cls._enos_arguments) <= ARGUMENTS.keys()
    for cls in TRIGGERS:
        assert set(inspect.signature(cls).parameters) <= ARGUMENTS.keys()


def test_every_argument_of_a_group_is_in_it() -> None:
    given = {"self", "group_id", "definition", "from_task_id", "from_task_name", "parameters", "kwargs", *OF_GROUPS}
    assert given == {*inspect.signature(EnosFlowTaskGroup.__init__).parameters}


def test_what_a_definition_is_made_of_is_in_the_graph_of_the_dag_alone(printed: list[str]) -> None:
    """Airflow stores the tasks and the edges. The definition itself need not be in its database."""
    groups = json.dumps(json.loads("{" + printed[0])["groups"])
    assert "some.start" in groups
    assert "without a (1)" in groups
    assert '"relations"' not in groups


def test_sets_do_have_another_order_in_each_process() -> None:
    code = "print([*{'FAIL', 'CANCEL', 'TIMEOUT', 'INTERNAL_ERROR'}])"
    orders = {
        subprocess.check_output([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, text=True)
        for seed in SEEDS
    }
    assert len(orders) > 1


def test_the_order_in_which_a_collection_is_written_does_not_matter() -> None:
    """So that two DAGs that mean the same share what triggers share."""
    from everything import made

    def kwargs(**arguments: Any) -> Any:
        return [cls(**made(cls, **arguments)).serialize() for cls in TRIGGERS]

    assert kwargs(failed_statuses=["FAIL", "CANCEL"], statuses=["FAIL", "SKIP"], types=[1, 0]) == kwargs(
        failed_statuses=("CANCEL", "FAIL", "FAIL"), statuses={"SKIP", "FAIL"}, types={0, 1}
    )
