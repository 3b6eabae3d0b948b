"""The plugin that Airflow loads. Every process of Airflow does, so it imports next to nothing.

What it adds is built when the first browser asks for it, and only in the API server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
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


class EnosPlugin(AirflowPlugin):
    """Adds the tab "EnOS" to task instances on Airflow 3.1 and later, and nothing to older ones, which have no tabs."""

    name = "enos"
    if hasattr(AirflowPlugin, "external_views"):
        fastapi_apps = [{"app": _LazyApp(), "url_prefix": URL_PREFIX, "name": "EnOS"}]
        external_views = [VIEW]
