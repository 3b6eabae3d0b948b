"""Exported flows: what Export Flow returns and Import Flow takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from airflow_provider_enos.protocol.models.documents import (
    OTHER,
    Document,
    custom,
    flag,
    key_values,
    number,
    several,
    text,
)
from airflow_provider_enos.protocol.models.fields import Fields, one
from airflow_provider_enos.protocol.models.flows import Cycle, FlowType, cycle_of, flow_type_of, pairs


def _task_type(fields: Fields, name: str) -> int | str | None:
    value = fields.any(name)
    return fields.number(name) if isinstance(value, (int, float)) else fields.text(name, None)


def _run_mode(fields: Fields, name: str) -> Mapping[str, Any]:
    mode = fields.decoded(name)
    if mode is None:
        return {}
    if not isinstance(mode, Mapping):
        raise fields.wrong(name, "an object", mode)
    return mode


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json_object(mode: Mapping[str, Any]) -> str:
    return _json(dict(mode))


def _json_pairs(given: tuple[tuple[str, str], ...]) -> str:
    return _json(pairs(given))


def _unless_empty(name: str) -> str | None:
    return name or None


@dataclass(frozen=True, slots=True)
class ExportedTask(Document):
    """A task of an exported flow. The units of ``timeout`` and ``retry_interval`` are not documented."""

    _what = "exported task"

    name: Annotated[str, text("name")]
    resource: Annotated[str, text("resource", "")]
    type: Annotated[int | str | None, custom("type", _task_type)]
    """What it does. Documented as a number, in the samples a text such as ``"COMMAND"``: kept as it came."""
    run_mode: Annotated[Mapping[str, Any], custom("runMode", _run_mode, write=_json_object)]
    """``Run Mode`` of the documentation: ``taskMode``, ``cpu`` (cores), ``memory`` (GB), ``maxParallel``..."""
    sync_type: Annotated[int | None, number("syncType", None)]
    command: Annotated[str, text("cmd", "")]
    submitter: Annotated[str, text("submitter", "")]
    file_package: Annotated[str, text("filePackage", "")]
    cron: Annotated[str, text("cron", "")]
    priority_level: Annotated[int | None, number("priorityLevel", None)]
    timeout: Annotated[int | None, number("timeout", None)]
    retry_limit: Annotated[int | None, number("retryLimit", None)]
    retry_interval: Annotated[int | None, number("retryInterval", None)]
    success_code: Annotated[str, text("successCode", "")]
    as_link: Annotated[bool, flag("asLink")]
    """Whether other flows may depend on it."""
    other: Annotated[Mapping[str, Any], OTHER] = field(default_factory=dict)
    """Fields that are not documented, as they came."""


@dataclass(frozen=True, slots=True)
class FlowLink(Document):
    """Another flow that an exported flow depends on, by name."""

    _what = "flow link"

    link_id: Annotated[str, text("linkId")]
    source_flow_name: Annotated[str, text("sourceFlowName", "")]


@dataclass(frozen=True, slots=True)
class TaskLink(Document):
    """A task of another flow that an exported flow depends on, by names."""

    _what = "task link"

    link_id: Annotated[str, text("linkId")]
    source_flow_name: Annotated[str, text("sourceFlowName", "")]
    source_task_name: Annotated[str, text("sourceTaskName", "")]


@dataclass(frozen=True, slots=True)
class ExportedRelation(Document):
    """An edge from one task of an exported flow to another, by name."""

    _what = "exported relation"

    source_task_name: Annotated[str, text("sourceTaskName")]
    target_task_name: Annotated[str, text("targetTaskName")]
    rerun: Annotated[bool, flag("rerun")]


@dataclass(frozen=True, slots=True)
class LinkRelation(Document):
    """An edge from a link of an exported flow to one of its tasks."""

    _what = "link relation"

    link_id: Annotated[str, text("linkId")]
    target_task_name: Annotated[str, text("targetTaskName")]
    rerun: Annotated[bool, flag("rerun")]


@dataclass(frozen=True, slots=True)
class FlowExport(Document):
    """A flow as Export Flow returns it and Import Flow takes it: names in place of ids.

    ``owners`` and ``visitors`` are user names with ``;`` between them, and often around them. ``document()`` returns
    the export as JSON, for Import Flow or for a file.
    """

    _what = "flow export"

    name: Annotated[str, text("name", "", write=_unless_empty)]
    """Empty where the export has none."""
    cycle: Annotated[Cycle, custom("cycle", cycle_of)]
    cron: Annotated[str, text("cron", "")]
    parameters: Annotated[tuple[tuple[str, str], ...], key_values("parameters", write=_json_pairs)]
    alert_mode: Annotated[int | None, number("alertMode", None)]
    type: Annotated[FlowType | None, custom("type", flow_type_of)]
    sync_type: Annotated[int | None, number("syncType", None)]
    submitter: Annotated[str, text("submitter", "")]
    owners: Annotated[str, text("owners", "")]
    visitors: Annotated[str, text("visitors", "")]
    description: Annotated[str, text("desc", "")]
    start_date: Annotated[str, text("startTime", "")]
    """``startTime``: the day from which its schedule is in effect, ``yyyy-MM-dd``."""
    tasks: Annotated[tuple[ExportedTask, ...], several("tasks", ExportedTask)]
    flow_links: Annotated[tuple[FlowLink, ...], several("flowLinks", FlowLink)]
    task_links: Annotated[tuple[TaskLink, ...], several("taskLinks", TaskLink)]
    relations: Annotated[tuple[ExportedRelation, ...], several("relations", ExportedRelation)]
    link_relations: Annotated[tuple[LinkRelation, ...], several("linkRelations", LinkRelation)]
    other: Annotated[Mapping[str, Any], OTHER] = field(default_factory=dict)
    """Fields that are not documented, as they came."""

    @classmethod
    def parse(cls, data: object) -> FlowExport:
        """Return the export in ``data``, which may also be a list of one. Raises ``EnosReplyError``."""
        return cls._read(Fields(one(data, cls._what), cls._what))
