"""The tree that flows lie in."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator


def tree(client: Any) -> Any:
    (root,) = client.call("directories/listWorkFlowDirs").json["data"]
    return root


def create(client: Any, **body: Any) -> Any:
    return client.call("directories/create", body).json


def titles(node: Any) -> list[str]:
    return [child["title"] for child in node["children"]]


def test_the_tree(sim: EnosSimulator, client: Any) -> None:
    root = tree(client)
    assert (root["title"], root["type"], root["isDirectory"]) == ("Workflow", 1, True)
    assert titles(root) == ["meter data", "examples"]
    meters, examples = root["children"]
    assert re.fullmatch(r"[0-9a-f]{32}", meters["key"])
    assert titles(meters) == ["scheduled", "meter_readings_daily", "relies_on_meter_readings"]
    assert meters["children"][1] == {
        "editable": True,
        "title": "meter_readings_daily",
        "type": 1,
        "key": 3377,
        "isDirectory": False,
    }
    assert {file["title"] for file in examples["children"] if not file["editable"]} == {"of_another_user"}
    sim.switch({"directory_type_as": "str", "ids_as": "str"})
    meters = tree(client)["children"][0]
    assert (meters["type"], meters["children"][1]["key"]) == ("1", "3377")


def test_a_flow_without_a_directory_lies_in_the_root(sim: EnosSimulator, client: Any) -> None:
    sim.add_flow(31, name="loose")
    sim.add_flow(32, name="filed", directory=sim.add_directory("empty so far"))
    assert titles(tree(client)) == ["meter data", "examples", "empty so far", "loose"]
    assert titles(tree(client)["children"][2]) == ["filed"]


def test_create(client: Any) -> None:
    root = tree(client)["key"]
    made = create(client, parentId=root, dirName="d")
    assert (made["code"], made["msg"], list(made["data"])) == (0, "OK", ["dirId"])
    assert re.fullmatch(r"[0-9a-f]{32}", made["data"]["dirId"])
    inner = create(client, parentId=made["data"]["dirId"], dirName="d")
    assert inner["code"] == 0, "a name is taken only beside its like"
    found = tree(client)["children"][-1]
    assert (found["key"], titles(found)) == (made["data"]["dirId"], ["d"])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"parentId": "249a33bd419a4710b1567f5088f8955b"}, "param: dirName cannot be empty"),
        ({"parentId": "249a33bd419a4710b1567f5088f8955b", "dirName": ""}, "param: dirName cannot be empty"),
        ({"parentId": "249a33bd419a4710b1567f5088f8955b", "dirName": "  "}, "param: dirName cannot be empty"),
        ({"parentId": None, "dirName": "d"}, "param: parentId cannot be empty"),
        ({"dirName": "d"}, "param: parentId cannot be empty"),
        ({"parentId": "0", "dirName": "d"}, "parentId not found"),
        ({"parentId": "3377", "dirName": "d"}, "parentId not found"),
        (
            {"parentId": "249a33bd419a4710b1567f5088f8955b", "dirName": "examples"},
            "A directory of the same name already exists",
        ),
        ({"parentId": 7, "dirName": "d"}, "Invalid request body."),
        ({"parentId": "0", "dirName": "d", "more": 1}, "Invalid request body."),
    ],
)
def test_directories_that_cannot_be_made(sim: EnosSimulator, client: Any, body: Any, says: str) -> None:
    answer = create(client, **body)
    assert (answer["code"], answer["msg"]) == (62102, says)
    assert len(sim.directories) == 4


def test_directories_from_within(sim: EnosSimulator) -> None:
    sim.add_directory("d")
    with pytest.raises(ValueError, match="there is a directory 'd'"):
        sim.add_directory("d")
    with pytest.raises(KeyError):
        sim.add_directory("d", "nowhere")
