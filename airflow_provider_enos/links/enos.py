"""The link from a task to its flow instance in the EnOS console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_enos.version_compat import BaseOperatorLink, xcom

if TYPE_CHECKING:
    from airflow_provider_enos.version_compat import BaseOperator, TaskInstanceKey

__all__ = ["EnosFlowInstanceLink"]

LINK_KEY = "_link_EnosFlowInstanceLink"
"""Where the address is in XCom: Airflow 3 serves it from there for classes that are made of ours."""


class EnosFlowInstanceLink(BaseOperatorLink):
    """Leads to the task's flow instance in the EnOS console, by the connection's ``console_url``.

    The link is there from when the instance is known: while the task runs, while it is deferred, and once it has ended;
    after a retry or a clear it leads to the newest instance. Without ``console_url`` there is none.

    The address is built when it is served, by the plugin of this package, from ``console_url`` and the id of an
    instance of the task's flow. For operators and sensors of your own that are made of ours Airflow 3 serves what
    stands in XCom.
    """

    name = "EnOS flow instance"

    @property
    def xcom_key(self) -> str:
        """Where the address is."""
        return LINK_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address; empty where there is none, or where somebody has put something else in its place."""
        if not hasattr(ti_key, "xcom_push"):
            # In the webserver of Airflow 2.
            from airflow_provider_enos.plugins.view.console import address_of

            return address_of(ti_key)
        # In a worker of Airflow 3, which stores it once more when the task ends.
        value = xcom().get_value(key=LINK_KEY, ti_key=ti_key)
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
