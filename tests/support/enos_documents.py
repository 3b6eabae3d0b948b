"""Documents as EnOS sends them, and the ways in which it writes them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

TASKS = [
    {"taskName": "tass", "taskInstId": "104890-20190808093200", "taskId": 104890, "nodeId": "t_104890"},
    {"taskName": "next", "taskInstId": "104891-20190808093200", "taskId": 104891, "nodeId": "t_104891"},
]
STATUSES = ["SUCCESS", "INIT"]
GRAPH = {
    "id": 2809,
    "instId": "2809-20190808093200",
    "flows": [{"flowId": 1, "status": "NONE"}],
    "relations": [],
    "tasks": [{**task, "status": status} for task, status in zip(TASKS, STATUSES, strict=True)],
}
INSTANCE = {
    "instanceId": "2809-20190808093200",
    "flowId": 2809,
    "flowName": "21",
    "freq": "0 0 0 * * ? *",
    "cycle": "D",
    "parameters": "[]",
    "doAs": "someone",
    "graph": json.dumps(GRAPH),
    "status": 1,
    "statusDesc": "SUCCESS",
    "triggerTime": "2019-08-08 09:32:12",
    "startTime": "2019-08-08 09:32:30",
    "endTime": "2019-08-08 09:32:32",
    "timestamp": "2019-08-08 09:34:36.0",
    "virtual": False,
    "owner": "someone",
    "alertMode": 3,
    "calDt": "2019-08-07",
    "hasEditPri": True,
    "hasReadPri": True,
}
TASK = {
    "instanceId": "104890-20190808093200",
    "taskId": 104890,
    "taskName": "tass",
    "flowInstId": "2809-20190808093200",
    "status": 1,
    "stsDesc": "SUCCESS",
    "runNum": 1,
    "recallNum": 0,
    "recallLimit": 3,
    "isTimeout": 0,
    "cmd": "echo",
}
FLOW = {
    "flowId": 3377,
    "flowName": "daily",
    "type": 0,
    "active": 1,
    "locked": False,
    "isUserLocked": 0,
    "freq": "0 0 0 * * ? *",
    "desc": "what it does",
    "graph": json.dumps({"tasks": [{"taskId": 108580, "taskName": "first", "nodeId": "t_108580"}]}),
    "parameters": json.dumps([{"key": "REPLACE", "value": "ddee"}]),
}

FLOW_GRAPH = {
    "name": "workflow1",
    "queue": "root.q",
    "flows": [
        {"flowId": "2809", "flowName": "upstream", "nodeId": "f_2809", "isVirtual": False, "x": 10.5, "y": 20.0},
    ],
    "tasks": [
        {"taskName": "load", "taskId": "104575", "nodeId": "t_104575", "x": 100.0, "y": 50.25},
        {"taskName": "sum", "taskId": 104576, "nodeId": "t_104576", "x": 100, "y": 150},
    ],
    "relations": [
        {"cycleGap": "D0", "source": "f_2809", "target": "t_104575", "rerun": False},
        {"cycleGap": "D0", "source": "t_104575", "target": "t_104576", "rerun": True},
    ],
}
WHOLE_FLOW = {
    "flowId": 2515,
    "flowName": "workflow1",
    "active": 1,
    "creator": "maker",
    "createTime": "2019-08-08 06:09:09.0",
    "updateUser": "changer",
    "updateTime": "2019-08-09 06:09:09.0",
    "freq": "0 0 0 * * ? *",
    "cycle": "D",
    "parameters": '[{"key":"REPLACE","value":"ddee"}]',
    "owner": ";someone;other;",
    "visitor": ";reader;",
    "doAs": "db_someone",
    "alertMode": 3,
    "entry": 0,
    "type": 1,
    "syncType": 1,
    "graph": json.dumps(FLOW_GRAPH),
    "desc": "what it does",
    "startTime": "2019-08-08",
    "virtual": False,
    "locked": False,
    "hasEditPri": True,
    "hasReadPri": True,
    "isUserLocked": False,
}
EXPORTED_TASK = {
    "name": "load",
    "resource": "default",
    "type": "COMMAND",
    "runMode": '{"taskMode":1,"cpu":0.6,"memory":1.1,"maxParallel":0,"keyType":0,"datasourceId":0,"path":""}',
    "syncType": 1,
    "cmd": 'echo "hi"',
    "submitter": "db_someone",
    "filePackage": "",
    "cron": "0 0 0 * * ? *",
    "priorityLevel": 1,
    "timeout": 300,
    "retryLimit": 3,
    "retryInterval": 0,
    "successCode": "0",
    "asLink": True,
}
EXPORT = {
    "name": "workflow1",
    "cycle": "D",
    "cron": "0 0 0 * * ? *",
    "parameters": '[{"key":"REPLACE","value":"ddee"}]',
    "alertMode": 3,
    "type": 1,
    "syncType": 1,
    "submitter": "db_someone",
    "owners": ";someone;",
    "visitors": ";",
    "desc": "what it does",
    "startTime": "2019-08-08",
    "tasks": [EXPORTED_TASK, {**EXPORTED_TASK, "name": "sum", "type": 3, "asLink": False}],
    "flowLinks": [{"linkId": "f_2809", "sourceFlowName": "upstream"}],
    "taskLinks": [{"linkId": "t_9", "sourceFlowName": "upstream", "sourceTaskName": "last"}],
    "relations": [{"sourceTaskName": "load", "targetTaskName": "sum", "rerun": True}],
    "linkRelations": [{"linkId": "f_2809", "targetTaskName": "load", "rerun": False}],
}
ROOT_ID, FOLDER_ID = "249a33bd419a4710b1567f5088f8955b", "62e3038840514caf9af60ad36878851e"
DIRECTORY = {
    "children": [
        {
            "children": [{"editable": True, "title": "workflow1", "type": 1, "key": 2512, "isDirectory": False}],
            "title": "ffdir",
            "type": 1,
            "key": FOLDER_ID,
            "isDirectory": True,
        },
        {"title": "empty", "type": 1, "key": "e0", "isDirectory": True, "children": []},
    ],
    "title": "Workflow",
    "type": 1,
    "key": ROOT_ID,
    "isDirectory": True,
}
MY_FLOW = {"flowId": "3318", "editable": True, "flowName": "reduce_entity", "cycle": "D"}
FOUND_FLOW = {"flowId": "20", "flowName": "vd_text"}

json_values: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**15, 10**400)
    | st.floats()
    # Halves of characters included.
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(
        [
            *("SUCCESS", "1", "D", "{}", "[]", "[" * 5000),
            *('{"tasks": [5]}', '{"tasks": [{"status": {}}]}', '{"flows": [{"x": []}], "relations": [0]}'),
        ]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)


def snake(value: Any) -> Any:
    """Return the same with keys in snake case, at every level."""
    if isinstance(value, list):
        return [snake(one) for one in value]
    if isinstance(value, dict):
        return {
            "".join(f"_{c.lower()}" if c.isupper() else c for c in key): snake(inner) for key, inner in value.items()
        }
    return value


def but(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the same with other values; ``...`` leaves a key out."""
    return {key: value for key, value in (document | changes).items() if value is not ...}
