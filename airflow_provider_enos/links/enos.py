"""The link from a task to its flow instance in the EnOS console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_enos.version_compat import BaseOperatorLink, xcom

if TYPE_CHECKING:
    from airflow_provider_enos.version_compat import BaseOperator, TaskInstanceKey

__all__ = ["EnosFlowInstanceLink"]

LINK_KEY = "_link_EnosFlowInstanceLink"
"""The XCom with the address. Airflow 3 serves it from there for subclasses of our operators and sensors."""

_pushed: tuple[tuple[object, ...] | None, str] = (None, "")
"""The task instance for which this process has stored an address last, and the address."""


class EnosFlowInstanceLink(BaseOperatorLink):
    """Link a task to its flow instance in the EnOS console, by the connection's ``console_url``.

    The link appears as soon as the instance is known: while the task runs or is deferred, and after it has ended. After
    a retry or a clear it leads to the newest instance. Without ``console_url`` there is no link.

    The plugin of this package builds the address when it is served, from ``console_url`` and the id of an instance of
    the task's flow. For your own subclasses of our operators and sensors, Airflow 3 serves the address from XCom.
    """

    name = "EnOS flow instance"

    @property
    def xcom_key(self) -> str:
        """The XCom with the address."""
        return LINK_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address; empty if there is none, or if the XCom holds something else."""
        if not hasattr(ti_key, "xcom_push"):
            # The webserver of Airflow 2 calls this.
            from airflow_provider_enos.plugins.view.console import address_of

            return address_of(ti_key)
        # A worker of Airflow 3 calls this when the task ends, and stores the address again.
        if _name(ti_key) == _pushed[0]:
            value: object = _pushed[1]
        elif getattr(operator, "link_may_be_stored", True):
            value = xcom().get_value(key=LINK_KEY, ti_key=ti_key)
        else:
            # Airflow would log an error of an XCom that is not there.
            value = ""
        return value if isinstance(value, str) and value.startswith(("https://", "http://")) else ""


def _name(task_instance: Any) -> tuple[object, ...]:
    return tuple(
        getattr(task_instance, name, None) for name in ("dag_id", "task_id", "run_id", "map_index", "try_number")
    )


def push_link(task_instance: Any, link: str | None) -> None:
    """Store the address of this task's instance, from a worker. None: there is none."""
    global _pushed
    task_instance.xcom_push(key=LINK_KEY, value=link or "")
    _pushed = (_name(task_instance), link or "")


def push_instance(task_instance: Any, flow_instance_id: str, link: str | None, *, do_xcom_push: bool) -> None:
    """Store, from a worker, the link of the task's instance, and its id if XComs are wanted."""
    push_link(task_instance, link)
    if do_xcom_push:
        task_instance.xcom_push(key="flow_instance_id", value=flow_instance_id)
