"""One wait, as the poller sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from fake_tenant import api_error
from worker import Log

from airflow_provider_enos.client.polling.wait import Wait
from airflow_provider_enos.errors import (
    EnosAuthError,
    EnosConfigError,
    EnosError,
    EnosFlowTimeoutError,
    EnosPollLostError,
    EnosServerError,
)
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.follow.log_tail import LogStream
from airflow_provider_enos.protocol.models import FlowInstance

ID = "3377-20200706062600"


def instance(status: str) -> FlowInstance:
    return FlowInstance.parse({"instanceId": ID, "status": status, "flowId": 3377})


def waited(work: Callable[[Wait], None], *, left: float = 60.0, tolerance: float = 10.0, **options: Any) -> Any:
    """Return the result of a wait after these events; None if it goes on."""

    async def main() -> Any:
        wait = Wait(
            watch=InstanceWatch(ID, tolerance=tolerance, log=Log(), **options),
            poll_interval=30.0,
            deadline=time.time() + left,
            reads_end=False,
            result=asyncio.get_running_loop().create_future(),
            minute=0,
            begun=0.0,
            seen=0.0,
        )
        work(wait)
        return await wait.result if wait.result.done() else None

    return asyncio.run(main())


def test_it_ends_with_the_instance() -> None:
    assert waited(lambda wait: wait.saw(instance("RUNNING"), 1.0)) is None
    assert waited(lambda wait: wait.saw(instance("FAIL"), 1.0)).status.name == "FAIL"


@pytest.mark.parametrize("error", [api_error(EnosAuthError, 401), EnosConfigError("host", "no", accepted="another")])
def test_a_refusal_ends_it_whatever_the_watch_tolerates(error: EnosError) -> None:
    with pytest.raises(type(error)):
        waited(lambda wait: wait.missed(error))


def test_another_error_is_left_to_the_watch() -> None:
    assert waited(lambda wait: wait.missed(api_error(EnosServerError))) is None
    with pytest.raises(EnosPollLostError):
        waited(lambda wait: wait.missed(api_error(EnosServerError)), tolerance=0.0)


def test_at_the_deadline_the_last_look_counts() -> None:
    assert waited(lambda wait: wait.saw(instance("SUCCESS"), 1.0), left=-1.0).status.name == "SUCCESS"
    with pytest.raises(EnosFlowTimeoutError) as raised:
        waited(lambda wait: wait.saw(instance("RUNNING"), 1.0), left=-1.0)
    assert raised.value.status == "RUNNING"


def test_nothing_changes_after_its_end() -> None:
    def work(wait: Wait) -> None:
        wait.saw(instance("SUCCESS"), 1.0)
        wait.saw(instance("FAIL"), 2.0)
        wait.missed(api_error(EnosAuthError, 401))
        wait.fail(ZeroDivisionError())

    assert waited(work).status.name == "SUCCESS"


def test_a_list_cannot_answer_where_nodes_are_wanted() -> None:
    found: list[bool] = []
    waited(lambda wait: found.append(wait.may_be_listed))
    waited(lambda wait: found.append(wait.may_be_listed), stream=LogStream(Log()))
    waited(lambda wait: found.append(wait.may_be_listed), left=-1.0)
    assert found == [True, False, False]
