"""Instances in a window of trigger times, and what a wait for them is made of."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_enos.protocol.follow.options import DEFAULT_ALLOWED, DEFAULT_FAILED, DEFAULT_SKIPPED
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.follow.window_rules import Rules
from airflow_provider_enos.protocol.follow.window_wait import Wanted
from airflow_provider_enos.protocol.models import Flow, FlowInstance, FlowInstancePage

FLOW = 3377
START, END = "2024-03-02T00:00:00+00:00", "2024-03-03T00:00:00+00:00"


def rules(**changes: Any) -> Rules:
    defaults: dict[str, Any] = {
        "allowed_statuses": DEFAULT_ALLOWED,
        "failed_statuses": DEFAULT_FAILED,
        "skipped_statuses": DEFAULT_SKIPPED,
        "instances": "all",
        "expected_instances": 1,
        "types": 1,
        "scheduled_only": True,
    }
    return Rules.of(**{**defaults, **changes})


def wanted(**changes: Any) -> Wanted:
    return Wanted(FLOW, Window.between(START, END), rules(**changes))


def instance(name: object, status: object = "SUCCESS", **more: Any) -> FlowInstance:
    return FlowInstance.parse({"instanceId": str(name), "flowId": FLOW, "status": status, **more})


def several(*statuses: str) -> list[FlowInstance]:
    return [
        instance(f"{FLOW}-{2024030300 + number}", status, triggerTime=f"2024-03-03 {number:02}:00:00")
        for number, status in enumerate(statuses)
    ]


def page(*instances: FlowInstance) -> FlowInstancePage:
    return FlowInstancePage(instances, None)


def flow(**more: Any) -> Flow:
    return Flow.parse({"flowId": FLOW, "active": 1, **more})


def body(call: Any) -> dict[str, Any]:
    """What a call sends."""
    assert call.body is not None
    found: dict[str, Any] = json.loads(call.body)
    return found
