"""What EnOS's answers mean. Parsed once, here; the rest of the package never sees the wire format.

The wire is loose: ids come as numbers or text, structures as objects or as JSON text, keys of a graph in camelCase
or snake_case, one object sometimes as a list of one. All of these are read. What is missing or of another shape is
an ``EnosReplyError`` that names the field.

Classes load with the first use of one: operators are imported wherever DAG files are parsed, and need none of them
there, and making the classes takes longer than all the rest of such an import.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from airflow_provider_enos.protocol.models.answers import (
    AccessToken,
    current_time_of,
    directory_id_of,
    flow_id_of,
    flow_instance_id_of,
    log_of,
    nothing,
    time_zone_of,
)
from airflow_provider_enos.protocol.models.fields import Fields, one
from airflow_provider_enos.protocol.models.statuses import FlowStatus, Outcome

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models.directories import Directory, directories_of
    from airflow_provider_enos.protocol.models.exports import (
        ExportedRelation,
        ExportedTask,
        FlowExport,
        FlowLink,
        LinkRelation,
        TaskLink,
    )
    from airflow_provider_enos.protocol.models.flows import (
        Cycle,
        Flow,
        FlowNode,
        FlowPage,
        FlowReference,
        FlowSummary,
        FlowType,
        MyFlow,
        Relation,
        my_flows_of,
        pairs,
    )
    from airflow_provider_enos.protocol.models.instances import (
        FlowInstance,
        FlowInstanceGraph,
        FlowInstanceNode,
        FlowInstancePage,
        FlowInstanceReference,
        TaskInstance,
    )
else:

    def __getattr__(name: str) -> object:
        if name in __all__:
            for module in ("instances", "flows", "exports", "directories"):
                members = vars(import_module(f"{__name__}.{module}"))
                if name in members:
                    return globals().setdefault(name, members[name])
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AccessToken",
    "Cycle",
    "Directory",
    "ExportedRelation",
    "ExportedTask",
    "Fields",
    "Flow",
    "FlowExport",
    "FlowInstance",
    "FlowInstanceGraph",
    "FlowInstanceNode",
    "FlowInstancePage",
    "FlowInstanceReference",
    "FlowLink",
    "FlowNode",
    "FlowPage",
    "FlowReference",
    "FlowStatus",
    "FlowSummary",
    "FlowType",
    "LinkRelation",
    "MyFlow",
    "Outcome",
    "Relation",
    "TaskInstance",
    "TaskLink",
    "current_time_of",
    "directories_of",
    "directory_id_of",
    "flow_id_of",
    "flow_instance_id_of",
    "log_of",
    "my_flows_of",
    "nothing",
    "one",
    "pairs",
    "time_zone_of",
]
