"""Exported flows: what Export Flow gives and Import Flow takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_enos.protocol.models.fields import Fields, one, parameters
from airflow_provider_enos.protocol.models.flows import Cycle, FlowType, flow_type_of, pairs


@dataclass(frozen=True, slots=True)
class ExportedTask:
    """A task of an exported flow. The units of ``timeout`` and ``retry_interval`` are not documented."""

    name: str
    type: int | str | None
    """What it does. Documented as a number, in the samples a text such as ``"COMMAND"``: kept as it came."""
    command: str
    run_mode: Mapping[str, Any]
    """``Run Mode`` of the documentation: ``taskMode``, ``cpu`` (cores), ``memory`` (GB), ``maxParallel``..."""
    resource: str
    submitter: str
    file_package: str
    cron: str
    success_code: str
    sync_type: int | None
    priority_level: int | None
    timeout: int | None
    retry_limit: int | None
    retry_interval: int | None
    as_link: bool
    """Whether other flows may depend on it."""
    other: Mapping[str, Any] = field(default_factory=dict)
    """Fields that are not documented, as they came."""

    @classmethod
    def parse(cls, data: object) -> ExportedTask:
        fields = Fields(data, "exported task")
        return cls(
            name=fields.text("name"),
            type=_task_type(fields),
            command=fields.text("cmd", ""),
            run_mode=_run_mode(fields),
            resource=fields.text("resource", ""),
            submitter=fields.text("submitter", ""),
            file_package=fields.text("filePackage", ""),
            cron=fields.text("cron", ""),
            success_code=fields.text("successCode", ""),
            sync_type=fields.number("syncType", None),
            priority_level=fields.number("priorityLevel", None),
            timeout=fields.number("timeout", None),
            retry_limit=fields.number("retryLimit", None),
            retry_interval=fields.number("retryInterval", None),
            as_link=fields.flag("asLink"),
            other=fields.others(_TASK_FIELDS),
        )

    def document(self) -> dict[str, object]:
        """``Task`` of an export, as EnOS writes it."""
        return _present(
            {
                "name": self.name,
                "resource": self.resource,
                "type": self.type,
                "runMode": _json(dict(self.run_mode)),
                "syncType": self.sync_type,
                "cmd": self.command,
                "submitter": self.submitter,
                "filePackage": self.file_package,
                "cron": self.cron,
                "priorityLevel": self.priority_level,
                "timeout": self.timeout,
                "retryLimit": self.retry_limit,
                "retryInterval": self.retry_interval,
                "successCode": self.success_code,
                "asLink": self.as_link,
                **self.other,
            }
        )


_TASK_FIELDS = (
    *("name", "resource", "type", "runMode", "syncType", "cmd", "submitter", "filePackage", "cron"),
    *("priorityLevel", "timeout", "retryLimit", "retryInterval", "successCode", "asLink"),
)


@dataclass(frozen=True, slots=True)
class FlowLink:
    """Another flow that an exported flow depends on, by name."""

    link_id: str
    source_flow_name: str

    @classmethod
    def parse(cls, data: object) -> FlowLink:
        fields = Fields(data, "flow link")
        return cls(link_id=fields.text("linkId"), source_flow_name=fields.text("sourceFlowName", ""))

    def document(self) -> dict[str, object]:
        """As EnOS writes it."""
        return {"linkId": self.link_id, "sourceFlowName": self.source_flow_name}


@dataclass(frozen=True, slots=True)
class TaskLink:
    """A task of another flow that an exported flow depends on, by names."""

    link_id: str
    source_flow_name: str
    source_task_name: str

    @classmethod
    def parse(cls, data: object) -> TaskLink:
        fields = Fields(data, "task link")
        return cls(
            link_id=fields.text("linkId"),
            source_flow_name=fields.text("sourceFlowName", ""),
            source_task_name=fields.text("sourceTaskName", ""),
        )

    def document(self) -> dict[str, object]:
        """As EnOS writes it."""
        return {
            "linkId": self.link_id,
            "sourceFlowName": self.source_flow_name,
            "sourceTaskName": self.source_task_name,
        }


@dataclass(frozen=True, slots=True)
class ExportedRelation:
    """An edge from one task of an exported flow to another, by name."""

    source_task_name: str
    target_task_name: str
    rerun: bool

    @classmethod
    def parse(cls, data: object) -> ExportedRelation:
        fields = Fields(data, "exported relation")
        return cls(
            source_task_name=fields.text("sourceTaskName"),
            target_task_name=fields.text("targetTaskName"),
            rerun=fields.flag("rerun"),
        )

    def document(self) -> dict[str, object]:
        """As EnOS writes it."""
        return {
            "sourceTaskName": self.source_task_name,
            "targetTaskName": self.target_task_name,
            "rerun": self.rerun,
        }


@dataclass(frozen=True, slots=True)
class LinkRelation:
    """An edge from a link of an exported flow to one of its tasks."""

    link_id: str
    target_task_name: str
    rerun: bool

    @classmethod
    def parse(cls, data: object) -> LinkRelation:
        fields = Fields(data, "link relation")
        return cls(
            link_id=fields.text("linkId"),
            target_task_name=fields.text("targetTaskName"),
            rerun=fields.flag("rerun"),
        )

    def document(self) -> dict[str, object]:
        """As EnOS writes it."""
        return {"linkId": self.link_id, "targetTaskName": self.target_task_name, "rerun": self.rerun}


@dataclass(frozen=True, slots=True)
class FlowExport:
    """A flow as Export Flow gives it and Import Flow takes it: names in place of ids.

    ``owners`` and ``visitors`` are user names with ``;`` between them, and often around them.
    """

    name: str
    """Empty where the export has none."""
    type: FlowType | None
    cycle: Cycle
    cron: str
    description: str
    parameters: tuple[tuple[str, str], ...]
    tasks: tuple[ExportedTask, ...]
    relations: tuple[ExportedRelation, ...]
    flow_links: tuple[FlowLink, ...]
    task_links: tuple[TaskLink, ...]
    link_relations: tuple[LinkRelation, ...]
    start_date: str
    """``startTime``: the day from which its schedule is in effect, ``yyyy-MM-dd``."""
    submitter: str
    owners: str
    visitors: str
    alert_mode: int | None
    sync_type: int | None
    other: Mapping[str, Any] = field(default_factory=dict)
    """Fields that are not documented, as they came."""

    @classmethod
    def parse(cls, data: object) -> FlowExport:
        fields = Fields(one(data, "flow export"), "flow export")
        return cls(
            name=fields.text("name", ""),
            type=flow_type_of(fields, "type"),
            cycle=Cycle(fields.text("cycle", "")),
            cron=fields.text("cron", ""),
            description=fields.text("desc", ""),
            parameters=parameters(fields.decoded("parameters")),
            tasks=tuple(ExportedTask.parse(item) for item in fields.items("tasks")),
            relations=tuple(ExportedRelation.parse(item) for item in fields.items("relations")),
            flow_links=tuple(FlowLink.parse(item) for item in fields.items("flowLinks")),
            task_links=tuple(TaskLink.parse(item) for item in fields.items("taskLinks")),
            link_relations=tuple(LinkRelation.parse(item) for item in fields.items("linkRelations")),
            start_date=fields.text("startTime", ""),
            submitter=fields.text("submitter", ""),
            owners=fields.text("owners", ""),
            visitors=fields.text("visitors", ""),
            alert_mode=fields.number("alertMode", None),
            sync_type=fields.number("syncType", None),
            other=fields.others(_FLOW_FIELDS),
        )

    def document(self) -> dict[str, object]:
        """The Export-Flow structure as EnOS writes it: JSON, for Import Flow or a file."""
        named = {"name": self.name} if self.name else {}
        return _present(
            {
                **named,
                "cycle": self.cycle,
                "cron": self.cron,
                "parameters": _json(pairs(self.parameters)),
                "alertMode": self.alert_mode,
                "type": self.type,
                "syncType": self.sync_type,
                "submitter": self.submitter,
                "owners": self.owners,
                "visitors": self.visitors,
                "desc": self.description,
                "startTime": self.start_date,
                "tasks": [task.document() for task in self.tasks],
                "flowLinks": [link.document() for link in self.flow_links],
                "taskLinks": [link.document() for link in self.task_links],
                "relations": [relation.document() for relation in self.relations],
                "linkRelations": [relation.document() for relation in self.link_relations],
                **self.other,
            }
        )


_FLOW_FIELDS = (
    *("name", "cycle", "cron", "parameters", "alertMode", "type", "syncType", "submitter", "owners", "visitors"),
    *("desc", "startTime", "tasks", "flowLinks", "taskLinks", "relations", "linkRelations"),
)


def _task_type(fields: Fields) -> int | str | None:
    value = fields.any("type")
    return fields.number("type") if isinstance(value, (int, float)) else fields.text("type", None)


def _run_mode(fields: Fields) -> Mapping[str, Any]:
    mode = fields.decoded("runMode")
    if mode is None:
        return {}
    if not isinstance(mode, Mapping):
        raise fields.wrong("runMode", "an object", mode)
    return mode


def _present(document: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in document.items() if value is not None}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
