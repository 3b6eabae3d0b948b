"""The directories of flows."""

from __future__ import annotations

from airflow_provider_enos.simulator.catalog import SameName
from airflow_provider_enos.simulator.directories import Directory
from airflow_provider_enos.simulator.operations.checks import text
from airflow_provider_enos.simulator.operations.registry import Call, ServiceRefused, operation
from airflow_provider_enos.simulator.operations.shapes import formatted_id, is_owner

SAME_NAME = "A directory of the same name already exists"
_WORKFLOW = 1


@operation("POST", "directories/create", optional=("parentId", "dirName"), writes=True)
def _create_directory(call: Call) -> object:
    name, parent = _filled(call, "dirName"), _filled(call, "parentId")
    try:
        return {"dirId": call.catalog.add_directory(name, parent).id}
    except KeyError as error:
        raise ServiceRefused(62102, "parentId not found") from error
    except SameName as error:
        raise ServiceRefused(62102, SAME_NAME) from error


@operation("GET", "directories/listWorkFlowDirs")
def _list_workflow_directories(call: Call) -> object:
    return [_shown(call, call.catalog.directories()[0])]


def _filled(call: Call, name: str) -> str:
    if call.body.get(name) is None or not text(call.body, name).strip():
        raise ServiceRefused(62102, f"param: {name} cannot be empty")
    return text(call.body, name)


def _shown(call: Call, directory: Directory) -> dict[str, object]:
    inner = [_shown(call, one) for one in call.catalog.directories() if one.parent == directory.id]
    files: list[dict[str, object]] = [
        {
            "editable": is_owner(call.config, flow),
            "title": flow.name,
            "type": _type(call),
            "key": formatted_id(call.config, flow.flow_id),
            "isDirectory": False,
        }
        for flow in call.catalog.flows()
        if flow.directory == directory.id and flow.copy_of is None
    ]
    return {
        "children": inner + files,
        "title": directory.title,
        "type": _type(call),
        "key": directory.id,
        "isDirectory": True,
    }


def _type(call: Call) -> int | str:
    return _WORKFLOW if call.config.directory_type_as == "int" else str(_WORKFLOW)
