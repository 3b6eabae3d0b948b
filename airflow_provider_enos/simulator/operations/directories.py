"""The tree that flows lie in."""

from __future__ import annotations

from airflow_provider_enos.simulator.directories import Directory
from airflow_provider_enos.simulator.operations.checks import text
from airflow_provider_enos.simulator.operations.registry import Ask, ServiceRefused, operation
from airflow_provider_enos.simulator.operations.shapes import id_as_set, is_owner
from airflow_provider_enos.simulator.state import SameName

SAME_NAME = "A directory of the same name already exists"
_WORKFLOW = 1


@operation("POST", "directories/create", optional=("parentId", "dirName"), writes=True)
def _create_directory(ask: Ask) -> object:
    name, parent = _filled(ask, "dirName"), _filled(ask, "parentId")
    try:
        return {"dirId": ask.world.add_directory(name, parent).id}
    except KeyError as error:
        raise ServiceRefused(62102, "parentId not found") from error
    except SameName as error:
        raise ServiceRefused(62102, SAME_NAME) from error


@operation("GET", "directories/listWorkFlowDirs")
def _list_workflow_directories(ask: Ask) -> object:
    return [_shown(ask, ask.world.directories()[0])]


def _filled(ask: Ask, name: str) -> str:
    if ask.body.get(name) is None or not text(ask.body, name).strip():
        raise ServiceRefused(62102, f"param: {name} cannot be empty")
    return text(ask.body, name)


def _shown(ask: Ask, directory: Directory) -> dict[str, object]:
    inner = [_shown(ask, one) for one in ask.world.directories() if one.parent == directory.id]
    files: list[dict[str, object]] = [
        {
            "editable": is_owner(ask.config, flow),
            "title": flow.name,
            "type": _type(ask),
            "key": id_as_set(ask.config, flow.flow_id),
            "isDirectory": False,
        }
        for flow in ask.world.flows()
        if flow.directory == directory.id and flow.copy_of is None
    ]
    return {
        "children": inner + files,
        "title": directory.title,
        "type": _type(ask),
        "key": directory.id,
        "isDirectory": True,
    }


def _type(ask: Ask) -> int | str:
    return _WORKFLOW if ask.config.directory_type_as == "int" else str(_WORKFLOW)
