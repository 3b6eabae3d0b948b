"""The link from a task to its flow instance in the EnOS console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey

__all__ = ["EnosFlowInstanceLink"]

LINK_KEY = "_link_EnosFlowInstanceLink"
"""Where Airflow 3 looks for the address in XCom, and where we keep it for Airflow 2."""


class EnosFlowInstanceLink(BaseOperatorLink):
    """Leads to the task's flow instance in the EnOS console, by the connection's ``console_url``.

    The address is in XCom from when the instance is known, so the link is there while the task runs, while it is
    deferred, and once it has ended; after a retry or a clear it leads to the newest instance. Without ``console_url``
    there is none.
    """

    name = "EnOS flow instance"

    @property
    def xcom_key(self) -> str:
        """Where the address is."""
        return LINK_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The address; empty where there is none, or where somebody has put something else in its place."""
        value = XCom.get_value(key=LINK_KEY, ti_key=ti_key)
        return value if isinstance(value, str) and value.startswith(("https://", "http://")) else ""


def push_link(task_instance: Any, link: str | None) -> None:
    """Makes ``link`` the one of this task, from a worker. None: there is none."""
    # Airflow asks for it when the task ends, and logs an error where nothing has been stored.
    task_instance.xcom_push(key=LINK_KEY, value=link or "")


def push_instance(task_instance: Any, flow_instance_id: str, link: str | None, *, do_xcom_push: bool) -> None:
    """Puts on record, from a worker, which instance the task is about: its link, and its id where XComs are wanted."""
    push_link(task_instance, link)
    if do_xcom_push:
        task_instance.xcom_push(key="flow_instance_id", value=flow_instance_id)
