"""The paths of the view, and who may see what.

    GET /enos/view           the page, an iframe on the page of a task instance
    GET /enos/run            the page of a DAG run: all its EnOS tasks
    GET /enos/static/...     their styles and scripts
    GET /enos/api/instance   what the page of a task instance draws
    GET /enos/api/run        what the page of a DAG run draws
    GET /enos/api/log        the end of one node's log
    GET /enos/api/why        why the instance or the task failed

Airflow's auth manager decides: all but the styles and scripts need the right to read the task instances, and logs
and reasons the right to read its logs. Requests name the task instance by ``dag_id``, ``run_id``, ``task_id`` and
``map_index``. ``try_number`` may name an earlier try.

Only for the API server, on Airflow 3.1 and later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.staticfiles import StaticFiles

from airflow_provider_enos.plugins.view import kept_error, picture, run_picture
from airflow_provider_enos.plugins.view.briefs import BriefLooks
from airflow_provider_enos.plugins.view.lookups import Lookups, OwnLoop, Problem, Source
from airflow_provider_enos.plugins.view.record import Record, read, settings_of
from airflow_provider_enos.plugins.view.run_record import read_run
from airflow_provider_enos.plugins.view.stored import Key
from airflow_provider_enos.plugins.view.usual import UsualTimes
from airflow_provider_enos.protocol.follow.failure_report import last_meaningful_line

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
Try = Annotated[int | None, Query(ge=1, le=10**6)]
"""The number of an earlier try; None for the newest one."""


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
    usual_times = UsualTimes(lookups)
    page = (STATIC / "view.html").read_text(encoding="utf-8")

    async def drawn_of(source: Source) -> picture.Json | Problem:
        seen = await lookups.instance(source)
        return seen if isinstance(seen, Problem) else await usual_times.added_to(seen, source)

    @app.middleware("http")
    async def with_headers(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await go_on(request)
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(AnyHTTPException)
    async def refused(request: Request, error: AnyHTTPException) -> Response:
        if request.url.path.endswith(("/view", "/run")):
            return HTMLResponse(
                _PAGE_OF_ERROR.format(_SAID.get(error.status_code, "This cannot be shown.")), error.status_code
            )
        return JSONResponse({"detail": _SAID.get(error.status_code, error.detail)}, error.status_code)

    @app.get("/view", dependencies=[MAY_SEE])
    async def view(dag_id: Name) -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/api/instance", dependencies=[MAY_SEE])
    async def instance(key: WantedKey, try_number: Try = None) -> JSONResponse:
        record = await _record(key, try_number)
        seen = _nothing(record) if record.source is None else await own_loop.run(drawn_of(record.source))
        drawn = picture.of_problem(seen.message, seen.fresh) if isinstance(seen, Problem) else dict(seen)
        if record.source is not None and drawn["refresh"] is None and not record.ended:
            # A retry may start another instance.
            drawn["refresh"] = picture.REFRESH_SLOW
        drawn["node"] = record.node
        drawn["airflow"] = {"state": record.state or "no status", "try_number": record.try_number}
        drawn["tries"] = [asdict(one) for one in record.tries]
        drawn["shown_try"] = record.shown_try or record.try_number
        return JSONResponse(drawn)

    _add_logs(app, own_loop, lookups)
    _add_run(app, own_loop, BriefLooks(lookups))
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def _add_logs(app: FastAPI, own_loop: OwnLoop, lookups: Lookups) -> None:
    """Add the paths for users who may read the task's logs."""

    @app.get("/api/log", dependencies=[MAY_SEE, MAY_SEE_LOGS])
    async def log(key: WantedKey, node: Name, try_number: Try = None) -> dict[str, str]:
        record = await _record(key, try_number)
        if record.source is None:
            return {"problem": "No flow instance is on record."}
        seen = await own_loop.run(lookups.instance(record.source))
        if isinstance(seen, Problem):
            return {"problem": seen.message}
        if not any(one["has_log"] and one["id"] == node for one in seen["nodes"]):
            raise HTTPException(404, "The flow instance of this task instance has no such node.")
        text = await own_loop.run(lookups.log(record.source, node))
        return {"problem": text.message} if isinstance(text, Problem) else _log(text)

    @app.get("/api/why", dependencies=[MAY_SEE, MAY_SEE_LOGS])
    async def why(key: WantedKey, try_number: Try = None) -> dict[str, str]:
        record = await _record(key, try_number)
        of_instance = None if record.source is None else await own_loop.run(lookups.why(record.source))
        return await run_in_threadpool(kept_error.told, key, record, of_instance)


def _add_run(app: FastAPI, own_loop: OwnLoop, brief_looks: BriefLooks) -> None:
    """Add the paths of a DAG run."""
    page = (STATIC / "run.html").read_text(encoding="utf-8")

    @app.get("/run", dependencies=[MAY_SEE])
    async def run(dag_id: Name, run_id: Name) -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/api/run", dependencies=[MAY_SEE])
    async def tasks_of_run(dag_id: Name, run_id: Name) -> JSONResponse:
        record = await run_in_threadpool(read_run, dag_id, run_id)
        if record is None:
            raise HTTPException(404, "Airflow has no such DAG run.")
        sources = [row.record.source for row in record.rows if row.record.source is not None]
        seen = await own_loop.run(brief_looks.of(sources))
        return JSONResponse(run_picture.of_run(record, dict(zip(sources, seen, strict=True))))


def _log(text: str) -> dict[str, str]:
    """Return a log, and its line that says best why it ended."""
    return {"log": text, "reason": last_meaningful_line(text)}


async def _record(key: Key, try_number: int | None) -> Record:
    record = await run_in_threadpool(read, key, try_number)
    if record is None:
        raise HTTPException(404, "Airflow has no such task instance.")
    if try_number not in (None, record.try_number, record.shown_try):
        raise HTTPException(404, "Airflow has no such try of this task instance.")
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
    if record.shown_try is not None:
        message = (
            f"Airflow does not have on record which flow instance try {record.shown_try} had. The try's log names it, "
            "if it had one."
        )
        return picture.note(message, refresh=None, title="No flow instance on record")
    if record.ended:
        why = _WHY_NONE.get(record.state or "", "")
        message = f"No flow instance is on record for this task instance.{why}"
        return picture.note(message, refresh=None, title="No flow instance")
    message = "No flow instance is on record for this task instance yet."
    return picture.note(message, refresh=picture.REFRESH, title="No flow instance yet")
