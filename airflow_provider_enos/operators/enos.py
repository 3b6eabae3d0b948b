"""The operators for EnOS flows."""

from __future__ import annotations

from airflow_provider_enos.operators.base import DEFAULT_TRIGGER_TIME
from airflow_provider_enos.operators.cancel import EnosCancelFlowInstanceOperator
from airflow_provider_enos.operators.schedule import EnosDisableFlowOperator, EnosEnableFlowOperator
from airflow_provider_enos.operators.trigger import EnosTriggerFlowFromTaskOperator, EnosTriggerFlowOperator

__all__ = [
    "DEFAULT_TRIGGER_TIME",
    "EnosCancelFlowInstanceOperator",
    "EnosDisableFlowOperator",
    "EnosEnableFlowOperator",
    "EnosTriggerFlowFromTaskOperator",
    "EnosTriggerFlowOperator",
]
