"""What every operator and sensor knows of its connection."""

from __future__ import annotations

import pytest

from airflow_provider_enos import errors
from airflow_provider_enos.operators.enos import EnosEnableFlowOperator
from airflow_provider_enos.simulator import EnosSimulator


def test_a_task_has_one_hook_for_its_connection_and_tenant(connection: EnosSimulator) -> None:
    task = EnosEnableFlowOperator(task_id="task", flow_id=3377, org_id="o1", user_id="u1")
    assert task.hook is task.hook
    assert (task.hook.enos_conn_id, task.hook.org_id, task.hook.user_id) == ("enos_default", "o1", "u1")
    assert connection.requests == []


def test_a_rendered_connection_that_cannot_be_one_is_refused() -> None:
    task = EnosEnableFlowOperator(task_id="task", flow_id=3377)
    task.enos_conn_id = "None"
    with pytest.raises(errors.EnosConfigError, match=r"^enos_conn_id: "):
        _ = task.hook


def test_the_hook_keeps_what_the_connection_said_last(connection: EnosSimulator) -> None:
    hook = EnosEnableFlowOperator(task_id="task", flow_id=3377).hook
    assert hook.last_settings is None
    assert hook.settings.base_url == connection.url
    assert hook.last_settings is hook.settings
