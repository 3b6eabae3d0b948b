"""Where the link of a node's task leads, while the task waits in the triggerer."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from happened import until
from pages import with_console

from airflow_provider_enos.links.enos import LINK_KEY
from airflow_provider_enos.protocol.start.group import GroupInstance, GroupStart
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers import base, node
from airflow_provider_enos.triggers.node import EnosFlowNodeTrigger
from airflow_provider_enos.utils import group_record

TIME = 1594016819108
NODE = 108582
"""The last node of flow 3377."""


@pytest.fixture
def xcoms(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], Any]:
    """The XComs by task and key."""
    stored: dict[tuple[str, str], Any] = {}

    class XCom:
        @staticmethod
        def get_one(*, task_id: str, key: str, **_: Any) -> Any:
            return stored.get((task_id, key))

        @staticmethod
        def set(*, task_id: str, key: str, value: Any, **_: Any) -> None:
            stored[task_id, key] = value

    async def push(task_instance: Any, value: Any, key: str = "return_value") -> None:
        stored[task_instance.task_id, key] = value

    monkeypatch.setattr(group_record, "xcom", lambda: XCom)
    for where in (node, base):
        monkeypatch.setattr(where, "push_xcom", push)
    return stored


@pytest.mark.parametrize("is_first_try", [True, False], ids=["began in the triggerer", "deferred by a worker"])
def test_the_link_follows_to_an_instance_that_was_started_since(
    connection: EnosSimulator,
    monkeypatch: pytest.MonkeyPatch,
    xcoms: dict[tuple[str, str], Any],
    is_first_try: bool,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", with_console(connection.connection_json))
    connection.progress = "manual"
    first = connection.trigger(3377, None, TIME).id
    second = connection.trigger(3377, 108580, TIME + 60_000).id
    start = GroupStart(3377, TIME, GroupInstance(first, None, 0), connection.url)
    xcoms["start", "enos_group"] = start.to_json()
    trigger = EnosFlowNodeTrigger(
        NODE,
        "start",
        flow_instance_id=None if is_first_try else first,
        enos_conn_id="enos_default",
        poll_interval=0.02,
        ends_task=True,
        deadline=time.time() + 30,
    )
    trigger.task_instance = SimpleNamespace(dag_id="dag", task_id="publish", run_id="run", map_index=-1, try_number=1)

    async def main() -> None:
        fired = asyncio.ensure_future(anext(trigger.run()))
        await until(lambda: connection.count("flowInstances/get") >= 1)
        assert xcoms.get(("publish", "flow_instance_id")) == (first if is_first_try else None)
        xcoms["start", "enos_restarts"] = True
        xcoms["start", "enos_restart_1"] = {**GroupInstance(second, 108580, 1).to_json(), "round": first}
        connection.finish(first, "SUCCESS")
        await until(lambda: xcoms.get(("publish", "flow_instance_id")) == second)
        assert not fired.done()
        connection.finish(second, "SUCCESS")
        await asyncio.wait_for(fired, 30)

    asyncio.run(main())
    assert xcoms["publish", "flow_instance_id"] == second
    assert xcoms["publish", LINK_KEY].endswith(f"id={second}")
