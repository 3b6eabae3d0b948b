"""The plugin that Airflow loads. Every process of Airflow does, so it imports next to nothing.

What it adds is built when the first browser asks for it, and only in the API server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from importlib import import_module
from typing import Any

from airflow.plugins_manager import AirflowPlugin

URL_PREFIX = "/enos"
"""Under which path of the API server the view is served."""

VIEW = {
    "name": "EnOS",
    # Without a slash in front: Airflow's pages have a <base>, so this is right under a base path, too.
    "href": "enos/view?dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}",
    "destination": "task_instance",
    "url_route": "enos",
}
"""The tab on the page of a task instance."""


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
    """The link to the EnOS console, as the API server gives it: built when it is asked for.

    Of two links of one name Airflow takes the plugin's. The other one, which the operators have, is served from XCom,
    where anybody who may write XComs can put another address. ``BaseOperatorLink`` in all but name, which every process
    would have to import.
    """

    name = "EnOS flow instance"
    xcom_key = "_link_EnosFlowInstanceLink"

    @cached_property
    def operators(self) -> list[type[Any]]:
        """The classes of this package that have the link. Airflow goes by their names: classes made of them are not
        among them.
        """
        modules = [import_module(f"airflow_provider_enos.{name}.enos") for name in ("operators", "sensors")]
        public: list[Any] = [getattr(module, name) for module in modules for name in module.__all__]
        return [one for one in public if self.name in {link.name for link in getattr(one, "operator_extra_links", ())}]

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address; empty where there is none."""
        from airflow_provider_enos.plugins.view.console import address_of

        return address_of(ti_key)


class EnosPlugin(AirflowPlugin):
    """Has the link to the console built where it is served, and adds the tab "EnOS" to task instances on Airflow 3.1
    and later; older ones have no tabs.
    """

    name = "enos"
    operator_extra_links = [ConsoleLink()]
    if hasattr(AirflowPlugin, "external_views"):
        fastapi_apps = [{"app": _LazyApp(), "url_prefix": URL_PREFIX, "name": "EnOS"}]
        external_views = [VIEW]
