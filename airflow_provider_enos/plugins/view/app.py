"""The paths of the view, and who may see what.

    GET /enos/view           the page, an iframe on the page of a task instance
    GET /enos/static/...     its style and script
    GET /enos/api/instance   what it draws
    GET /enos/api/log        the end of one node's log
    GET /enos/api/why        why the instance or the task failed

Airflow's auth manager decides: all but the style and the scripts need the right to read the task instance, and logs
and reasons the right to read its logs. Requests name the task instance by ``dag_id``, ``run_id``, ``task_id`` and
``map_index``.

Only for the API server, on Airflow 3.1 and later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.staticfiles import StaticFiles

from airflow_provider_enos.plugins.view import kept_error, picture
from airflow_provider_enos.plugins.view.lookups import Lookups, OwnLoop, Problem
from airflow_provider_enos.plugins.view.record import Key, Record, read, settings_of

STATIC = Path(__file__).parent / "static"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every reply. The browser runs only the script of this package, whatever EnOS sends."""

_SAID = {
    401: "You are not signed in to Airflow any more. Sign in, and load this page again.",
    403: "You may not see this task instance.",
}
_PAGE_OF_ERROR = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>EnOS</title>'
    '<link rel="stylesheet" href="static/view.css"><main><p class="note empty">{}</p></main></html>'
)
_WHY_NONE = {
    "skipped": " The task was skipped.",
    "upstream_failed": " A task before this one failed, so this one did not run.",
    "removed": " The task is not in its DAG any more.",
}
"""By the state of a task that has ended without an instance; a reason of its own comes from ``why``."""
_LONGEST_NAME = 1000

Name = Annotated[str, Query(max_length=_LONGEST_NAME)]


def key_of(dag_id: Name, run_id: Name, task_id: Name, map_index: str = "-1") -> Key:
    """Return the task instance. Airflow leaves the placeholder ``{MAP_INDEX}`` in place if a task is not mapped."""
    digits = map_index if map_index.isascii() and map_index.isdigit() and len(map_index) < 10 else "-1"
    return Key(dag_id, run_id, task_id, int(digits))


WantedKey = Annotated[Key, Depends(key_of)]
MAY_SEE = Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.TASK_INSTANCE))
MAY_SEE_LOGS = Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.TASK_LOGS))


def build() -> FastAPI:
    """Return the app, with an event loop of its own for requests to EnOS."""
    app = FastAPI(title="EnOS", docs_url=None, redoc_url=None, openapi_url=None)
    own_loop, lookups = OwnLoop(), Lookups(settings_of)
    page = (STATIC / "view.html").read_text(encoding="utf-8")

    @app.middleware("http")
    async def with_headers(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await go_on(request)
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(AnyHTTPException)
    async def refused(request: Request, error: AnyHTTPException) -> Response:
        if request.url.path.endswith("/view"):
            return HTMLResponse(
                _PAGE_OF_ERROR.format(_SAID.get(error.status_code, "This cannot be shown.")), error.status_code
            )
        return JSONResponse({"detail": _SAID.get(error.status_code, error.detail)}, error.status_code)

    @app.get("/view", dependencies=[MAY_SEE])
    async def view(dag_id: Name) -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/api/instance", dependencies=[MAY_SEE])
    async def instance(key: WantedKey) -> JSONResponse:
        record = await _record(key)
        seen = _nothing(record) if record.source is None else await own_loop.run(lookups.instance(record.source))
        drawn = picture.of_problem(seen.message, seen.fresh) if isinstance(seen, Problem) else dict(seen)
        if record.source is not None and drawn["refresh"] is None and not record.ended:
            # A retry may start another instance.
            drawn["refresh"] = picture.REFRESH_SLOW
        drawn["airflow"] = {"state": record.state or "no status", "try_number": record.try_number}
        return JSONResponse(drawn)

    @app.get("/api/log", dependencies=[MAY_SEE, MAY_SEE_LOGS])
    async def log(key: WantedKey, node: Name) -> dict[str, str]:
        record = await _record(key)
        if record.source is None:
            return {"problem": "No flow instance is on record."}
        seen = await own_loop.run(lookups.instance(record.source))
        if isinstance(seen, Problem):
            return {"problem": seen.message}
        if not any(one["has_log"] and one["id"] == node for one in seen["nodes"]):
            raise HTTPException(404, "The flow instance of this task instance has no such node.")
        text = await own_loop.run(lookups.log(record.source, node))
        return {"problem": text.message} if isinstance(text, Problem) else {"log": text}

    @app.get("/api/why", dependencies=[MAY_SEE, MAY_SEE_LOGS])
    async def why(key: WantedKey) -> dict[str, str]:
        record = await _record(key)
        of_instance = None if record.source is None else await own_loop.run(lookups.why(record.source))
        return await run_in_threadpool(kept_error.told, key, record, of_instance)

    app.mount("/static", StaticFiles(directory=STATIC))
    return app


async def _record(key: Key) -> Record:
    record = await run_in_threadpool(read, key)
    if record is None:
        raise HTTPException(404, "Airflow has no such task instance.")
    return record


def _nothing(record: Record) -> picture.Json:
    """Return a note on why there is nothing to draw."""
    if record.of_enos is None:
        message = "Airflow does not know this task any more, so there is nothing to show."
        return picture.note(message, refresh=None, title="Nothing to show")
    if not record.of_enos:
        message = "This is not an EnOS task, so there is no remote run to show."
        return picture.note(message, refresh=None, title="Nothing to show")
    if not record.has_connection:
        message = "Airflow does not have on record any more which connection this task used."
        return picture.note(message, refresh=None, title="Nothing to show")
    if record.ended:
        why = _WHY_NONE.get(record.state or "", "")
        message = f"No flow instance is on record for this task instance.{why}"
        return picture.note(message, refresh=None, title="No flow instance")
    message = "No flow instance is on record for this task instance yet."
    return picture.note(message, refresh=picture.REFRESH, title="No flow instance yet")
