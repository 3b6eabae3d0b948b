"""The plugin that Airflow loads. Every process of Airflow loads it, so it imports as little as possible.

The API server builds the tab and the links when a browser first asks for them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from importlib import import_module
from typing import Any

from airflow.plugins_manager import AirflowPlugin

URL_PREFIX = "/enos"
"""The path under which the API server serves the view."""

VIEW = {
    "name": "EnOS",
    # Relative: Airflow's pages have a <base>, so this works under a base path, too.
    "href": "enos/view?dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}",
    "destination": "task_instance",
    "url_route": "enos",
    # Airflow 3.4 shows the tab of tasks with this template field. Before, it ignores this, and all tasks have the tab.
    "applies_to": {"task.template_fields": ["enos_conn_id"]},
}
"""The tab on the page of a task instance."""

RUN_VIEW = {
    "name": "EnOS",
    "href": "enos/run?dag_id={DAG_ID}&run_id={RUN_ID}",
    "destination": "dag_run",
    # Airflow loads no two views with one route.
    "url_route": "enos_tasks",
}
"""The tab on the page of a DAG run."""


class _LazyApp:
    """The ASGI app of the view, imported and built at its first request."""

    def __init__(self) -> None:
        self._app: Callable[..., Awaitable[None]] | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if self._app is None:
            from airflow_provider_enos.plugins.view.app import build

            self._app = build()
        await self._app(scope, receive, send)


class ConsoleLink:
    """The link to the EnOS console in the API server, where its address is built when it is asked for.

    Airflow prefers a plugin's link to an operator's link of the same name. The operator's link is served from XCom,
    where anybody who may write XComs can put another address. This class does not inherit from ``BaseOperatorLink``, so
    that not every process has to import it.
    """

    name = "EnOS flow instance"
    xcom_key = "_link_EnosFlowInstanceLink"

    @cached_property
    def operators(self) -> list[type[Any]]:
        """The classes of this package that have the link. Airflow compares class names, so subclasses do not count."""
        modules = [import_module(f"airflow_provider_enos.{name}.enos") for name in ("operators", "sensors")]
        public: list[Any] = [getattr(module, name) for module in modules for name in module.__all__]
        return [one for one in public if self.name in {link.name for link in getattr(one, "operator_extra_links", ())}]

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address; empty if there is none."""
        from airflow_provider_enos.plugins.view.console import address_of

        return address_of(ti_key)


class EnosPlugin(AirflowPlugin):
    """Builds the link to the console in the API server, and adds the tab "EnOS" to task instances and DAG runs
    (Airflow 3.1)."""

    name = "enos"
    operator_extra_links = [ConsoleLink()]
    if hasattr(AirflowPlugin, "external_views"):
        fastapi_apps = [{"app": _LazyApp(), "url_prefix": URL_PREFIX, "name": "EnOS"}]
        external_views = [VIEW, RUN_VIEW]
