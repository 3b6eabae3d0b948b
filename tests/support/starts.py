"""Drive a start by hand: the replies of the gateway, and the record that is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from airflow_provider_enos.errors import (
    EnosError,
    EnosNotFoundError,
    EnosRequestError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.models import Flow, FlowInstance, FlowInstanceGraph, FlowInstancePage
from airflow_provider_enos.protocol.start.attempts import Intent, Target
from airflow_provider_enos.protocol.start.starting import Starter
from airflow_provider_enos.protocol.trigger_time import MINUTE, predicted_flow_instance_id
from airflow_provider_enos.protocol.wire.messages import Procedure

TIME = 1594016819108
"""2020-07-06T06:26:59.108Z, which is 14:26 in the gateway's zone."""
FIRST = TIME - TIME % MINUTE
ZONE = "GMT+8"
TARGET = Target(3377, 108580)

TRIGGER, LOOK, LIST, FLOW, ZONE_CALL = (
    "Trigger Flow From Task",
    "Get Flow Instance",
    "List Flow Instances",
    "Get Flow",
    "Get Timezone",
)


def name(minute: int) -> str:
    """Return the id of the instance that is ``minute`` minutes after the first."""
    return predicted_flow_instance_id(3377, FIRST + minute * MINUTE)


def instance(minute: int = 0, status: str = "RUNNING", **changes: Any) -> FlowInstance:
    return FlowInstance.parse({"instanceId": name(minute), "flowId": 3377, "status": status, **changes})


def graph(minute: int = 0, statuses: str = "SUCCESS FAIL", status: str = "FAIL", **changes: Any) -> FlowInstanceGraph:
    """An instance of the nodes 108580, 108581 and so on, one after the other, that has ended."""
    tasks = [
        {"taskId": 108580 + at, "taskName": f"n{at}", "nodeId": f"t{at}", "taskInstId": f"{at}-1", "status": shown}
        for at, shown in enumerate(statuses.split())
    ]
    relations = [{"source": f"t{at}", "target": f"t{at + 1}"} for at in range(len(tasks) - 1)]
    instance = {"instanceId": name(minute), "flowId": 3377, "status": status, "endTime": "2020-07-06 14:40:00"}
    contents = {"tasks": tasks, "relations": relations}
    return FlowInstanceGraph.parse({**instance, "graph": contents, **changes})


def page(*instances: FlowInstance) -> FlowInstancePage:
    return FlowInstancePage(instances, None)


def refusal(cls: Any, code: int, text: str = "no") -> EnosError:
    return cls(code, text, operation="x", http_status=200)


def never_sent(error: EnosError) -> EnosError:
    error.sent = False
    return error


THE_FLOW = Flow.parse(
    {
        "flowId": 3377,
        "graph": {"tasks": [{"taskId": 108580, "taskName": "first"}, {"taskId": 108581, "taskName": "second"}]},
    }
)
CONFLICT = refusal(EnosRequestError, 62102, "Cannot create workflow instance.")
GONE = refusal(EnosNotFoundError, 0)
LOST = EnosTransportError("read timed out", sent=True)
UNSENT = EnosTransportError("connection refused", sent=False)
NOT_LISTED = [page()] * 6
"""Page 0 and page 1 of each type."""
NOWHERE = [GONE, *NOT_LISTED]
LOOKED_FOR = [LOOK, *[LIST] * 6]


def times_of(played: Any) -> list[int]:
    """The trigger times that were sent."""
    return [json.loads(call.body)["triggerTime"] for call in played.sent if "Trigger" in call.operation]


def ids_of(played: Any) -> list[str]:
    """The ids that were looked up."""
    return [dict(call.query)["flowInstId"] for call in played.sent if call.operation == LOOK]


HERE = "https://gateway o1"
"""The gateway and the organisation."""


@dataclass
class Kept:
    """A record that keeps all that is written down."""

    intents: list[Intent]
    superseded: bool = False

    def save(self, intent: Intent) -> None:
        self.intents.append(intent)


def started_id(*arguments: Any, **options: Any) -> Procedure[str]:
    started = yield from Starter(*arguments, **options).run()
    return started.flow_instance_id


NOW_MS = 1_600_000_000_000
"""When a test begins, by the fixture's clock."""
written = partial(Intent, flow_id=3377, first_sent=NOW_MS, origin=HERE, first_task_id=108580, from_task_id=108580)
"""The record of a request for this flow."""
named = partial(written, named=True)
"""The same once a reply has named the instance."""


def retry(**changes: Any) -> dict[str, Any]:
    return {"fresh": False, **changes}


def stored(sent_time: int = TIME, flow_instance_id: str | None = None, **changes: Any) -> dict[str, Any]:
    refused = changes.pop("refused", False)
    first_index, trigger_time = changes.get("first_index", 0), changes.get("trigger_time", TIME)
    node = changes.pop("node", 108580)
    intent = Intent(
        0,
        first_index,
        trigger_time,
        sent_time,
        flow_instance_id,
        refused=refused,
        first_task_id=108580,
        from_task_id=node,
    )
    return {"fresh": False, "has_record": True, "intent": intent, **changes}
